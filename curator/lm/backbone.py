"""Loads a frozen language model without its LM head, with everything that reading its neurons needs.

``load_backbone`` accepts a hub name or a folder, pins the revision, reads safetensors only and never runs code from a
repository. The computing type is float32 on a CPU, whatever the type on disk, and bfloat16 on CUDA. A checkpoint of a
causal language model is loaded into the base model; should a weight of the base model be missing from the checkpoint, that
is an error, for transformers would fill it with random numbers and go on. Cost: reading the weights, plus hashing them (see
``weights``). It does not know how text is batched or which neurons matter.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.utils import logging as transformers_logging

from curator import fingerprint
from curator.errors import ArchitectureError, ConfigError, ModelError
from curator.lm.batching import start_tokens
from curator.lm.families import MlpSite, locate_mlps, text_config_of
from curator.lm.weights import config_fingerprint, model_folder, read_config, weight_files, weights_fingerprint

log = logging.getLogger(__name__)
MAX_TOKENS = 2048
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
_UNLOADABLE = (OSError, ValueError, RuntimeError, ImportError, KeyError, AttributeError, TypeError, SafetensorError)


@dataclass(frozen=True, slots=True, eq=False)
class Backbone:
    """A frozen model and what identifies it.

    Attributes:
        name: the hub name or folder as it was asked for.
        revision: commit of a hub model; for a folder the hash of its weights.
        fingerprint: of configuration and weights; equal for the same model on hub and disk. Without the computing type.
        tokenizer_fingerprint: of everything that decides how text becomes tokens.
        model: the base model in eval mode, without LM head, no gradients.
        tokenizer: a fast tokenizer (it reports offsets).
        sites: the MLP of each layer.
        hidden_size: width of the residual stream.
        max_tokens: longest window: what positions and tokenizer allow, capped.
        start_tokens: special tokens that the tokenizer puts before a text (BOS), often none.
        device: where the model is.
        dtype: what it computes in.
    """

    name: str
    revision: str
    fingerprint: str
    tokenizer_fingerprint: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    sites: tuple[MlpSite, ...]
    hidden_size: int
    max_tokens: int
    start_tokens: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype

    @property
    def neurons(self) -> int:
        """MLP neurons over all layers."""
        return sum(site.width for site in self.sites)

    @property
    def gated(self) -> bool:
        """Whether the MLPs are gated, so that a neuron's sign is arbitrary."""
        return any(site.gated for site in self.sites)


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What a configuration alone says of a model; ``widths`` are the neurons of each layer."""

    hidden_size: int
    widths: tuple[int, ...]
    gated: bool
    parameters: int


def load_backbone(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    cache_dir: Path | None = None,
    local_files_only: bool | None = None,
    max_tokens: int = MAX_TOKENS,
) -> Backbone:
    """Load a model by hub name or folder.

    Args:
        name: for example ``EleutherAI/pythia-160m``, or a folder that ``save_pretrained`` wrote.
        revision: branch, tag or commit of a hub model; the main branch when None. The commit is recorded.
        dtype: ``auto`` (float32 on a CPU, bfloat16 on CUDA) or a torch floating type's name.
        device: ``auto`` (CUDA where there is any) or a torch device.
        cache_dir: the hub's cache; its own default when None.
        local_files_only: do not touch the network; when None, the environment's HF_HUB_OFFLINE decides.
        max_tokens: cap on the window length.

    Raises:
        ModelNotFoundError: no such model or revision, or not in the cache while offline.
        ArchitectureError: its MLP neurons cannot be located.
        ModelError: no safetensors, no fast tokenizer, weights missing or unreadable.
        ConfigError: an unknown device or type.
    """
    place = _device(device)
    computing = _dtype(dtype, place)
    folder, commit = model_folder(name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
    config = _known_config(folder, name)
    files = weight_files(folder, name)
    weights = weights_fingerprint(files)
    tokenizer = _load_tokenizer(folder, name)
    model = _load_model(folder, name, computing)
    sites = locate_mlps(model)
    _check_vocabulary(model, tokenizer, name)
    backbone = Backbone(
        name=name,
        revision=commit or weights,
        fingerprint=fingerprint.of_parts([config_fingerprint(config), weights]),
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
        model=model.to(device=place),  # pyright: ignore[reportCallIssue, reportArgumentType] - transformers wraps `to`
        tokenizer=tokenizer,
        sites=sites,
        hidden_size=int(getattr(text_config_of(model), "hidden_size")),  # noqa: B009 - the config's type declares no fields
        max_tokens=_window(model, tokenizer, max_tokens),
        start_tokens=start_tokens(tokenizer),
        device=place,
        dtype=computing,
    )
    log.info("model loaded", extra={"model": name, "revision": backbone.revision, "neurons": backbone.neurons})
    return backbone


def model_shape(
    name: str, *, revision: str | None = None, cache_dir: Path | None = None, local_files_only: bool | None = None
) -> ModelShape:
    """Layers and widths from the configuration, without reading weights (the model is built on the meta device)."""
    folder, _ = model_folder(name, revision=revision, cache_dir=cache_dir, local_files_only=local_files_only)
    _known_config(folder, name)
    with _quiet(), torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    sites = locate_mlps(model)
    return ModelShape(
        hidden_size=int(getattr(text_config_of(model), "hidden_size")),  # noqa: B009
        widths=tuple(site.width for site in sites),
        gated=any(site.gated for site in sites),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Fingerprint of vocabulary, merges, normalisation and special tokens, without the padding and truncation in force."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state.pop("truncation", None)
    state.pop("padding", None)
    return fingerprint.of_json([state, list(start_tokens(tokenizer))])


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"{device!r} is no torch device; use auto, cpu, cuda or cuda:0.") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"The device {device} is wanted and torch sees no CUDA; use cpu or install a CUDA torch.")
    return place


def _dtype(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        raise ConfigError(f"{dtype!r} is no computing type; use auto or one of {', '.join(_DTYPES)}.")
    return _DTYPES[dtype]


def _known_config(folder: Path, name: str) -> dict[str, Any]:
    config = read_config(folder, name)
    if config["model_type"] not in CONFIG_MAPPING:
        raise ArchitectureError(
            f"transformers has no architecture {config['model_type']!r} for {name}, and code from a model's repository "
            "is never run; name a model that transformers supports itself."
        )
    return config


def _load_model(folder: Path, name: str, dtype: torch.dtype) -> PreTrainedModel:
    try:
        with _quiet():
            model, report = AutoModel.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
            )
    except _UNLOADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "no reason given"
        raise ModelError(f"{name} could not be loaded ({type(error).__name__}: {reason[:200]}).") from error
    lacking = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lacking:
        raise ModelError(
            f"The weights of {name} do not fit its configuration: {len(lacking)} are missing or of another shape, "
            f"{lacking[0]} first; fetch the model again."
        )
    return model.eval().requires_grad_(False)


def _load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerFast:
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    except _UNLOADABLE as error:
        raise ModelError(
            f"The tokenizer of {name} could not be loaded; add its tokenizer.json to the model."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"{name} has only a slow tokenizer, which reports no offsets; convert it to a tokenizer.json.")
    if (
        tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False) == 0
    ):  # transformers makes one up without files
        raise ModelError(f"{name} comes without a tokenizer; add its tokenizer.json to the model.")
    return tokenizer


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    rows = cast(nn.Embedding, model.get_input_embeddings()).weight.shape[0]
    vocabulary = tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False)
    if vocabulary > rows:
        raise ModelError(
            f"The tokenizer of {name} has {vocabulary} tokens and the model {rows}; they do not belong together."
        )


def _window(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, cap: int) -> int:
    positions = getattr(text_config_of(model), "max_position_embeddings", None)
    limits = [cap, tokenizer.model_max_length, positions]
    return min(int(limit) for limit in limits if isinstance(limit, int | float) and limit > 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bar and loading report away; the report lists the unused LM head, ``_load_model`` reads it."""

    def without_report(record: logging.LogRecord) -> bool:
        return record.funcName != "log_state_dict_report"

    loader = logging.getLogger("transformers.modeling_utils")
    bars = transformers_logging.is_progress_bar_enabled()
    loader.addFilter(without_report)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        loader.removeFilter(without_report)
        if bars:
            transformers_logging.enable_progress_bar()
