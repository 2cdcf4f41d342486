"""Reads MLP neurons during a forward pass: hooks as a context manager, and nothing computed after the last wanted layer.

``with tap(backbone, [0, 3]) as tapped: hidden = tapped.run(ids, mask)`` registers a forward-pre-hook on the down projection of
each wanted layer; the hook keeps the projection's input as it is, so the values are those of plain hooks on the raw model, bit
for bit. (Both without a key-value cache: with one, GPT-J, CodeGen and GPT-Neo lay their keys out differently in memory, and
the last bit moves.) The hook of the deepest wanted layer ends the forward pass by a private exception: later layers and the
LM head are never computed. With ``rows`` only the wanted neurons are returned, and in the deepest layer only they are
computed: the pass ends at the MLP's input, and only the wanted rows of the up and gate projection are applied to it.

Each ``Tapped`` listens only to forward passes that its own ``run`` started in the same thread, so taps may be nested and
used from several threads on one model. Cost: the forward pass up to the deepest layer; captured tensors stay on the model's
device, batch x tokens x width x 4 bytes a layer in float32, unless they are consumed layer by layer. It does not know about
spans, pooling or padding: rows of padding tokens hold values without meaning.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeGuard

import torch
from torch import nn
from torch.nn import functional

from curator.errors import ConfigError, ModelError
from curator.lm.backbone import Backbone
from curator.lm.families import MlpSite

Captured = dict[int, torch.Tensor]
Consume = Callable[[int, torch.Tensor], None]


class _Stopped(Exception):  # noqa: N818 - a signal to the one run that owns ``captured``, not an error
    def __init__(self, run: _Run) -> None:
        self.run = run


class _Run:
    """One forward pass: what it has captured, or which layers it has handed on."""

    def __init__(self, shape: torch.Size, consume: Consume | None) -> None:
        self.captured = Captured()
        self.seen: set[int] = set()
        self._shape, self._consume = shape, consume

    def take(self, layer: int, values: torch.Tensor) -> None:
        self.seen.add(layer)
        values_BTU = values.reshape(*self._shape, -1)
        if self._consume:
            self._consume(layer, values_BTU)
        else:
            self.captured[layer] = values_BTU


class _Rows:
    """The wanted rows of one MLP's input projections, copied once: x (…, hidden) to neurons (…, rows)."""

    def __init__(self, site: MlpSite, rows_R: torch.Tensor) -> None:
        if site.up is None or site.activation is None:
            raise ModelError(f"Layer {site.layer} was found by structure; single neurons cannot be computed there.")
        self._activation = site.activation
        self._up = _linear_rows(site.up, rows_R + site.width if site.fused else rows_R)
        self._gate = None if site.gate is None else _linear_rows(site.gate, rows_R)

    def __call__(self, x_BTH: torch.Tensor) -> torch.Tensor:
        up_BTR = functional.linear(x_BTH, *self._up)
        if self._gate is None:
            return self._activation(up_BTR)
        return self._activation(functional.linear(x_BTH, *self._gate)) * up_BTR


class Tapped:
    """Runs a model and returns the tapped neurons; made by ``tap``."""

    def __init__(
        self, backbone: Backbone, sites: Sequence[MlpSite], stop: bool, rows: Mapping[int, torch.Tensor]
    ) -> None:
        self._backbone = backbone
        self._sites = tuple(sites)
        self._stop = stop
        self._rows = dict(rows)
        self._running = threading.local()

    @property
    def layers(self) -> tuple[int, ...]:
        """The tapped layers, in order."""
        return tuple(site.layer for site in self._sites)

    def run(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None, *, consume: Consume | None = None
    ) -> Captured:
        """Neurons by layer, each (batch, tokens, width), or (batch, tokens, rows) for a layer with ``rows``.

        Args:
            input_ids: (batch, tokens) int64; moved to the model's device.
            attention_mask: (batch, tokens), 1 for real tokens; all ones when absent. A causal model never looks to the right,
                where ``micro_batches`` puts the padding, so its real tokens need no mask, and without one attention is faster.
            consume: called with (layer, neurons) as soon as a layer is there, in place of keeping it: one layer is then in
                memory at a time, still warm in the cache; the result is empty.

        Raises:
            ModelError: when the model's forward pass did not go through a tapped module.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        device, run = self._backbone.device, _Run(input_ids.shape, consume)
        outer = getattr(self._running, "run", None)
        self._running.run = run
        try:
            with torch.no_grad():
                self._backbone.model(input_ids=input_ids.to(device), attention_mask=mask.to(device), use_cache=False)
        except _Stopped as signal:
            if signal.run is not run:
                raise
        finally:
            self._running.run = outer
        missing = [layer for layer in self.layers if layer not in run.seen]
        if missing:
            raise ModelError(f"{self._backbone.name} computed no MLP in the layers {missing}; choose other layers.")
        return run.captured

    def handles(self) -> Iterator[Any]:
        """Register the hooks one by one; each yielded handle removes one."""
        for site in self._sites:
            last = site is self._sites[-1]
            rows_R = self._rows.get(site.layer)
            entry = site.up if site.gate is None else site.gate
            if last and rows_R is not None and site.computes_rows and _in_memory(entry):
                yield self._listen(entry, site.layer, _Rows(site, rows_R), stop=self._stop)
            else:
                yield self._listen(site.down, site.layer, _selection(rows_R), stop=self._stop and last)

    def _listen(self, module: nn.Module, layer: int, read: Callable[[torch.Tensor], torch.Tensor], stop: bool) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            run: _Run | None = getattr(self._running, "run", None)
            if run is None:
                return
            run.take(layer, read(inputs[0]))
            if stop:
                raise _Stopped(run)

        return module.register_forward_pre_hook(hook)


@contextmanager
def tap(
    backbone: Backbone,
    layers: Sequence[int] | None = None,
    *,
    stop: bool = True,
    rows: Mapping[int, Sequence[int]] | None = None,
) -> Iterator[Tapped]:
    """Listen to the MLP neurons of some layers while the block lasts; the hooks go on exit, whatever happens.

    Args:
        backbone: the model.
        layers: layers to read; all when None.
        stop: end each forward pass at the deepest of them.
        rows: wanted units by layer, in the wanted order; a layer without an entry gives all its units.

    Raises:
        ConfigError: for a layer or unit that the model does not have, or rows for a layer that is not tapped.
    """
    sites = _chosen_sites(backbone, layers)
    device_of = {site.layer: device for site, device in zip(backbone.sites, backbone.site_devices, strict=True)}
    tapped = Tapped(backbone, sites, stop, _checked_rows(sites, rows or {}, device_of))
    handles: list[Any] = []
    try:
        handles.extend(tapped.handles())
        yield tapped
    finally:
        for handle in handles:
            handle.remove()


def _chosen_sites(backbone: Backbone, layers: Sequence[int] | None) -> list[MlpSite]:
    by_layer = {site.layer: site for site in backbone.sites}
    wanted = sorted(by_layer if layers is None else set(layers))
    unknown = [layer for layer in wanted if layer not in by_layer]
    if unknown or not wanted:
        raise ConfigError(
            f"{backbone.name} has the layers 0 to {len(by_layer) - 1}; asked for {unknown or 'none'}: choose among them."
        )
    return [by_layer[layer] for layer in wanted]


def _checked_rows(
    sites: Sequence[MlpSite], rows: Mapping[int, Sequence[int]], device_of: Mapping[int, torch.device]
) -> dict[int, torch.Tensor]:
    width = {site.layer: site.width for site in sites}
    for layer, units in rows.items():
        if layer not in width:
            raise ConfigError(f"Units of layer {layer} are wanted and the layer is not tapped; add it to the layers.")
        if not units or min(units) < 0 or max(units) >= width[layer]:
            raise ConfigError(f"Layer {layer} has the units 0 to {width[layer] - 1}; ask for at least one of them.")
    return {
        layer: torch.tensor(list(units), dtype=torch.int64, device=device_of[layer]) for layer, units in rows.items()
    }


def _selection(rows_R: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    if rows_R is None:
        return lambda hidden: hidden
    return lambda hidden: hidden.index_select(-1, rows_R)


def _in_memory(module: nn.Module | None) -> TypeGuard[nn.Module]:
    """Whether there is a module and its weights are at hand; those of an offloaded one are on the meta device."""
    return module is not None and not any(parameter.is_meta for parameter in module.parameters())


def _linear_rows(module: nn.Module, rows_R: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(weight (rows, inputs), bias (rows,)) of some outputs of a linear map; ``Conv1D`` keeps its weight transposed."""
    weight, bias = module.weight, getattr(module, "bias", None)
    if not isinstance(weight, torch.Tensor):
        raise ModelError(f"The projection {type(module).__name__} has no weight matrix; tap the layer without rows.")
    weight_RH = weight[rows_R] if isinstance(module, nn.Linear) else weight[:, rows_R].T.contiguous()
    return weight_RH, bias[rows_R] if isinstance(bias, torch.Tensor) else None
