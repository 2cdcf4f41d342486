"""Loads a frozen language model without its LM head, with everything that reading its neurons needs.

``load_backbone`` accepts a hub name or a folder, pins the revision, reads safetensors only and never runs code from a
repository. The computing type is float32 on a CPU, whatever the type on disk, and bfloat16 on CUDA. A checkpoint of a
causal language model is loaded into the base model; should a weight of the base model be missing from the checkpoint, that
is an error, for transformers would fill it with random numbers and go on. A model that one device cannot hold is refused
before it is read, and loads with the device ``sharded`` (see ``sharded``). With ``untrained`` no weights are read: the
architecture's own initialisation makes them, for controls. Cost: reading the weights, plus hashing them (see ``weights``).
It does not know how text is batched or which neurons matter.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from curator import fingerprint
from curator.errors import ConfigError, ModelError
from curator.lm.batching import start_tokens
from curator.lm.causality import require_causal
from curator.lm.families import MlpSite, locate_mlps, text_config_of
from curator.lm.memory import free_memory, is_out_of_memory
from curator.lm.shape import (
    UNUSABLE,
    ModelShape,
    known_config,
    load_config,
    model_from_config,
    model_shape,
    quiet,
    reason,
    shape_of,
)
from curator.lm.sharded import SHARDED, input_device, require_accelerate, site_devices
from curator.lm.weights import config_fingerprint, model_folder, weight_files, weights_fingerprint

__all__ = [
    "MAX_TOKENS",
    "Backbone",
    "ModelShape",
    "load_backbone",
    "model_fingerprint",
    "model_shape",
    "tokenizer_fingerprint",
]
log = logging.getLogger(__name__)
MAX_TOKENS = 2048
UNTRAINED = "untrained:"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
_NO_PLACE = {"meta": "holds no numbers", "mps": "has no float64, in which sums are kept"}
_SHARD_ADVICE = "load it with --device sharded, or in a smaller --dtype"


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
        device: where token ids go; for a model that is not sharded, where all of it is.
        dtype: what it computes in.
        site_devices: for each of ``sites``, the device on which its neurons appear; all ``device`` unless sharded.
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
    site_devices: tuple[torch.device, ...] = ()

    def __post_init__(self) -> None:
        if not self.site_devices:
            object.__setattr__(self, "site_devices", (self.device,) * len(self.sites))

    @property
    def neurons(self) -> int:
        """MLP neurons over all layers."""
        return sum(site.width for site in self.sites)

    @property
    def gated(self) -> bool:
        """Whether the MLPs are gated, so that a neuron's sign is arbitrary."""
        return any(site.gated for site in self.sites)


def load_backbone(
    name: str,
    *,
    revision: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    untrained: int | None = None,
    cache_dir: Path | None = None,
    local_files_only: bool | None = None,
    max_tokens: int = MAX_TOKENS,
) -> Backbone:
    """Load a model by hub name or folder.

    Args:
        name: for example ``EleutherAI/pythia-160m``, or a folder that ``save_pretrained`` wrote.
        revision: branch, tag or commit of a hub model; the main branch when None. The commit is recorded.
        dtype: ``auto`` (float32 on a CPU, bfloat16 on CUDA) or a torch floating type's name.
        device: ``auto`` (CUDA where there is any), a torch device, or ``sharded``: over all devices there are, RAM and disk.
        untrained: a seed. The weights are then not read but drawn by the architecture's own initialisation, in float32 and
            on a CPU whatever the device, so that one seed is one model; configuration and tokenizer are the named model's.
        cache_dir: the hub's cache; its own default when None.
        local_files_only: do not touch the network; when None, the environment's HF_HUB_OFFLINE decides.
        max_tokens: cap on the window length.

    Raises:
        ModelNotFoundError: no such model or revision, or not in the cache while offline.
        ArchitectureError: its MLP neurons cannot be located, or a token's depend on the tokens after it.
        ModelError: no safetensors, no fast tokenizer, weights missing, unreadable or too large for the device.
        MissingExtraError: ``sharded`` is wanted and accelerate is not installed.
        ConfigError: an unknown device or type, or an untrained model that is to be sharded.
    """
    place = computing_device(device)
    computing = computing_dtype(dtype, place)
    sharded = device == SHARDED
    if sharded and untrained is not None:
        raise ConfigError("An untrained control is drawn in memory and cannot be sharded; use auto, cpu or cuda.")
    if sharded:
        require_accelerate()
    folder, commit = model_folder(
        name,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        weights=untrained is None,
    )
    config = config_fingerprint(known_config(folder, name))
    content = _content(folder, name, untrained)
    tokenizer = _load_tokenizer(folder, name)
    try:
        model = _make_model(folder, name, computing, None if sharded else place, untrained)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        advice = "use a smaller --dtype, or a machine with more memory" if sharded else _SHARD_ADVICE
        raise ModelError(f"{name} does not fit into the memory of {device} ({reason(error)}); {advice}.") from error
    sites = locate_mlps(model)
    vocabulary = _check_vocabulary(model, tokenizer, name)
    entry, longest = input_device(model) if sharded else place, _window(model, tokenizer, max_tokens)
    require_causal(model, sites, name, device=entry, max_tokens=longest, vocabulary=vocabulary)
    backbone = Backbone(
        name=name if untrained is None else f"{UNTRAINED}{name}",
        revision=commit or content,
        fingerprint=fingerprint.of_parts([config, content]),
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer),
        model=model,
        tokenizer=tokenizer,
        sites=sites,
        hidden_size=int(getattr(text_config_of(model), "hidden_size")),  # noqa: B009 - the config's type declares no fields
        max_tokens=longest,
        start_tokens=start_tokens(tokenizer),
        device=entry,
        dtype=computing,
        site_devices=site_devices(sites) if sharded else (),
    )
    log.info("model loaded", extra={"model": name, "revision": backbone.revision, "neurons": backbone.neurons})
    return backbone


def model_fingerprint(name: str, *, revision: str | None = None, untrained: int | None = None) -> str:
    """The ``fingerprint`` that the loaded model would have, without loading it. Raises as ``load_backbone`` does."""
    folder, _ = model_folder(name, revision=revision, weights=untrained is None)
    return fingerprint.of_parts([config_fingerprint(known_config(folder, name)), _content(folder, name, untrained)])


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerFast) -> str:
    """Fingerprint of vocabulary, merges, normalisation and special tokens, without the padding and truncation in force."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state.pop("truncation", None)
    state.pop("padding", None)
    return fingerprint.of_json([state, list(start_tokens(tokenizer))])


def computing_device(device: str) -> torch.device:
    """The torch device of a name, the first one that computes for ``auto`` and ``sharded``. Raises ConfigError."""
    if device in {"auto", SHARDED}:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"{device!r} is no torch device; use auto, cpu, cuda, cuda:0 or sharded.") from error
    if place.type in _NO_PLACE:
        raise ConfigError(f"The device {device} {_NO_PLACE[place.type]}; use auto, cpu, cuda, cuda:0 or sharded.")
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"The device {device} is wanted and torch sees no CUDA; use cpu or install a CUDA torch.")
    return place


def computing_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """The torch type of a name; ``auto`` is bfloat16 on CUDA, else float32. Raises ConfigError."""
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in _DTYPES:
        raise ConfigError(f"{dtype!r} is no computing type; use auto or one of {', '.join(_DTYPES)}.")
    return _DTYPES[dtype]


def _content(folder: Path, name: str, untrained: int | None) -> str:
    """What identifies the weights: their hash, or the seed that they are drawn with."""
    if untrained is not None:
        return f"untrained-{untrained}"
    return weights_fingerprint(weight_files(folder, name))


def _make_model(
    folder: Path, name: str, dtype: torch.dtype, place: torch.device | None, untrained: int | None
) -> PreTrainedModel:
    """The model in eval mode on its device, or wherever accelerate puts it when ``place`` is None."""
    if place is not None:
        _check_memory(folder, name, dtype if untrained is None else torch.float32, place)
    if untrained is None:
        model = _load_model(folder, name, dtype, sharded=place is None)
    else:
        model = _draw_model(folder, name, untrained).to(dtype)  # pyright: ignore[reportArgumentType] - transformers wraps `to`
    model = model.eval().requires_grad_(False)
    return model if place is None else model.to(device=place)  # pyright: ignore[reportCallIssue, reportArgumentType]


def _check_memory(folder: Path, name: str, dtype: torch.dtype, place: torch.device) -> None:
    """Refuse weights that are larger than the free memory: a CPU would not raise but kill the process."""
    free = free_memory(place)
    needed = shape_of(model_from_config(load_config(folder, name), name, device="meta")).parameters * dtype.itemsize
    if free is not None and needed > free:
        raise ModelError(
            f"The weights of {name} take {needed / 1e9:.1f} GB and {place} has {free / 1e9:.1f} GB free; {_SHARD_ADVICE}."
        )


def _draw_model(folder: Path, name: str, seed: int) -> PreTrainedModel:
    """A base model with weights from the architecture's own initialisation; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return model_from_config(load_config(folder, name), name, device="cpu")


def _load_model(folder: Path, name: str, dtype: torch.dtype, *, sharded: bool) -> PreTrainedModel:
    spread = {"device_map": "auto"} if sharded else {}
    try:
        with quiet():
            model, report = AutoModel.from_pretrained(
                folder, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **spread
            )
    except UNUSABLE as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{name} could not be loaded ({reason(error)}).") from error
    lacking = sorted(report["missing_keys"]) + sorted(str(key) for key in report["mismatched_keys"])
    if lacking:
        raise ModelError(
            f"The weights of {name} do not fit its configuration: {len(lacking)} are missing or of another shape, "
            f"{lacking[0]} first; fetch the model again."
        )
    return model


def _load_tokenizer(folder: Path, name: str) -> PreTrainedTokenizerFast:
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises nothing more exact
        raise ModelError(
            f"The tokenizer of {name} could not be loaded; add its tokenizer.json to the model."
        ) from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"{name} has only a slow tokenizer, which reports no offsets; convert it to a tokenizer.json.")
    if (
        tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False) == 0
    ):  # transformers makes one up without files
        raise ModelError(f"{name} comes without a tokenizer; add its tokenizer.json to the model.")
    _check_offsets(tokenizer, name)
    return tokenizer


def _check_offsets(tokenizer: PreTrainedTokenizerFast, name: str) -> None:
    """Refuse a tokenizer that gives no token of plain text a place in it: nothing could be pooled onto spans."""
    try:
        offsets = tokenizer("a", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    except Exception as error:  # the tokenizers library raises nothing more exact
        raise ModelError(
            f"The tokenizer of {name} reports no offsets ({reason(error)}); use another tokenizer.json."
        ) from error
    if not any(stop > start for start, stop in offsets):
        raise ModelError(f"The tokenizer of {name} finds no token in plain text; use the tokenizer.json it came with.")


def _check_vocabulary(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, name: str) -> int:
    """The number of tokens that text can become. Raises ModelError where the model has no row for some of them."""
    rows = cast(nn.Embedding, model.get_input_embeddings()).weight.shape[0]
    vocabulary = tokenizer.backend_tokenizer.get_vocab_size(with_added_tokens=False)
    if vocabulary > rows:
        raise ModelError(
            f"The tokenizer of {name} has {vocabulary} tokens and the model {rows}; they do not belong together."
        )
    return vocabulary


def _window(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, cap: int) -> int:
    config = text_config_of(model)
    positions = [
        getattr(config, name, None) for name in ("max_position_embeddings", "max_seq_len")
    ]  # the other is MPT's
    limits = [cap, tokenizer.model_max_length, *positions]
    return min(int(limit) for limit in limits if isinstance(limit, int | float) and limit > 0)
