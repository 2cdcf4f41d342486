"""How fast this machine runs a model that is not there: a few seconds with one of its decoder layers.

The configuration is cut to one layer and a tiny vocabulary, built without values, filled with a constant (the speed of dense
arithmetic does not depend on the numbers, as long as they are not denormal) and timed on one window of up to 512 tokens. The
result is a rate in FLOP per second, by the same count as ``ModelShape.forward_flop``, so that longer windows and more layers
follow from it. Where not even one layer fits into half the free memory, or the architecture cannot be cut, the rate is that of
a matrix product, and ``Speed.how`` says so. Cost: about ``budget_s`` seconds and one layer's memory. It does not know how
the speed of a hot machine falls, what the pass adds to the forward, or how slow offloaded weights are to read.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from curator.errors import ModelError
from curator.lm.families import locate_mlps, text_config_of
from curator.lm.memory import free_memory
from curator.lm.shape import UNUSABLE, ModelShape, attention_width, decoder_layer, linear_weights, model_from_config

log = logging.getLogger(__name__)
_VOCABULARY = 64
_FEW, _MANY = 64, 512
_GEMM_SIDE = 1024
_CONSTANT = 1e-3


@dataclass(frozen=True, slots=True)
class Speed:
    """FLOP per second, and what was timed: one decoder ``layer`` over so many tokens, or a ``product`` of matrices."""

    flop_per_second: float
    how: Literal["layer", "product"]
    tokens: int = 0


def forward_speed(
    config: Any, name: str, shape: ModelShape, dtype: torch.dtype, device: torch.device, *, budget_s: float
) -> Speed:
    """The rate at which this machine runs a model of this configuration, without its weights."""
    free = free_memory(device)
    if free is None or 2 * shape.layer_parameters * dtype.itemsize <= free:
        try:
            return _layer_speed(one_layer(config, name, dtype, device), shape, device, budget_s)
        except (*UNUSABLE, ModelError) as error:
            log.warning("a layer could not be timed", extra={"model": name, "error": str(error)})
    return Speed(product_speed(dtype, device, budget_s=budget_s / 2), "product")


def one_layer(config: Any, name: str, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """The text part of a configuration cut to one decoder layer, with constant weights. Raises ModelError."""
    small = copy.deepcopy(config.get_text_config())
    small.num_hidden_layers, small.vocab_size = 1, _VOCABULARY
    for token in ("pad_token_id", "bos_token_id", "eos_token_id"):
        setattr(small, token, 0)
    for listed in ("layer_types", "attention_layers", "attention_types"):
        if isinstance(getattr(small, listed, None), list):
            setattr(small, listed, getattr(small, listed)[:1])
    model = model_from_config(small, name, device="meta", dtype=dtype).eval().requires_grad_(False)
    model.to_empty(device=device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(_CONSTANT)
        for buffer in model.buffers():
            buffer.zero_()
    return model


def product_speed(dtype: torch.dtype, device: torch.device, *, budget_s: float) -> float:
    """FLOP per second of a square matrix product, the best of as many as fit into the budget."""
    matrix = torch.full((_GEMM_SIDE, _GEMM_SIDE), _CONSTANT, dtype=dtype, device=device)
    _best(lambda: matrix @ matrix, device, 0.0)
    return 2 * _GEMM_SIDE**3 / _best(lambda: matrix @ matrix, device, budget_s)


def _layer_speed(model: PreTrainedModel, shape: ModelShape, device: torch.device, budget_s: float) -> Speed:
    layer = decoder_layer(model, locate_mlps(model)[0])
    weights, width = linear_weights(layer), attention_width(text_config_of(model))

    most = min(_MANY, shape.max_positions or _MANY)
    few = min(_FEW, most)
    ids = torch.zeros((1, most), dtype=torch.int64, device=device)

    def seconds(tokens: int, budget: float) -> float:
        return _best(lambda: model(input_ids=ids[:, :tokens], use_cache=False), device, budget)

    seconds(1, 0.0)  # the first run touches every weight and sets up the libraries
    tokens, best = few, seconds(few, 0.0)
    affordable = min(most, int(few * budget_s / 2 / best))
    if affordable >= 2 * few:
        tokens, best = affordable, seconds(affordable, budget_s / 2)
    return Speed((2 * weights + 4 * tokens * width) * tokens / best, "layer", tokens)


def _best(work: Callable[[], object], device: torch.device, budget_s: float) -> float:
    """Shortest time of ``work`` in seconds; it runs once at least, then until the budget is spent."""
    times: list[float] = []
    with torch.inference_mode():
        while not times or sum(times) < budget_s:
            _wait(device)
            start = time.perf_counter()
            work()
            _wait(device)
            times.append(time.perf_counter() - start)
    return max(min(times), 1e-9)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
