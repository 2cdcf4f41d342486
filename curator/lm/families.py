"""Where a language model keeps its MLP neurons: one row for each known architecture, a structural search for the rest.

A neuron is one coordinate of the input of an MLP's down projection [S, section 2]: after the activation function and, in
gated MLPs, after the product with the other branch. ``locate_mlps`` gives one ``MlpSite`` for each layer. Architectures in
``FAMILIES`` are looked up by ``model_type``; others are resolved by shape alone: the stack of decoder layers is the module
list that has as many entries as the configuration has layers, and an MLP's down projection is the linear map outside the
token mixer (attention, convolution, recurrence) that leads from another width back to the hidden size. What stays ambiguous
is an error, never a guess. Cost: one walk over the modules, no tensor is read, so it works on the meta device as well.
It does not know whether the model it is given was trained.

[S] Dravid, Bahri, Efros, Gandelsman, Neuron Populations Exhibit Divergent Selectivity with Scale, arXiv 2606.03990.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from curator.errors import ArchitectureError

Activation = Callable[[torch.Tensor], torch.Tensor]
# Parts of a layer that mix tokens: a wide linear map inside them is no MLP (a Mamba mixer has exactly an MLP's shapes).
_TOKEN_MIXER = re.compile(r"attn|attention|mixer|mamba|ssm|conv|recurrent|rnn|lstm|time_mix", re.IGNORECASE)
_EXPERTS = re.compile(r"(^|\.)(experts|block_sparse_moe)$")


@dataclass(frozen=True, slots=True)
class Family:
    """Module paths of one architecture: ``layers`` from the base model, the others from one layer.

    ``gate`` equal to ``up`` says that one map of double width computes both, the gate in the first half of its rows. ``after``
    is a norm between the MLP and the residual stream, whose gain is its weight, or one more in ``gain_from_one``.
    """

    layers: str
    down: str
    up: str
    activation: str
    gate: str | None = None
    after: str | None = None
    gain_from_one: bool = False


_LLAMA_LIKE = Family("layers", "mlp.down_proj", "mlp.up_proj", "mlp.act_fn", gate="mlp.gate_proj")
_PHI3_LIKE = Family("layers", "mlp.down_proj", "mlp.gate_up_proj", "mlp.activation_fn", gate="mlp.gate_up_proj")
_OLMO2_LIKE = replace(_LLAMA_LIKE, after="post_feedforward_layernorm")
_GEMMA2_LIKE = replace(_OLMO2_LIKE, gain_from_one=True)
_GPT2_LIKE = Family("h", "mlp.c_proj", "mlp.c_fc", "mlp.act")
_GPTJ_LIKE = Family("h", "mlp.fc_out", "mlp.fc_in", "mlp.act")

FAMILIES: dict[str, Family] = {
    "gpt2": _GPT2_LIKE,
    "gpt_neo": _GPT2_LIKE,
    "gpt_bigcode": _GPT2_LIKE,
    "starcoder2": Family("layers", "mlp.c_proj", "mlp.c_fc", "mlp.act"),
    "gptj": _GPTJ_LIKE,
    "codegen": _GPTJ_LIKE,
    "gpt_neox": Family("layers", "mlp.dense_4h_to_h", "mlp.dense_h_to_4h", "mlp.act"),
    "falcon": Family("h", "mlp.dense_4h_to_h", "mlp.dense_h_to_4h", "mlp.act"),
    "bloom": Family("h", "mlp.dense_4h_to_h", "mlp.dense_h_to_4h", "mlp.gelu_impl"),
    "opt": Family("decoder.layers", "fc2", "fc1", "activation_fn"),
    "phi": Family("layers", "mlp.fc2", "mlp.fc1", "mlp.activation_fn"),
    "phi3": _PHI3_LIKE,
    "glm": _PHI3_LIKE,
    "glm4": replace(_PHI3_LIKE, after="post_mlp_layernorm"),
    "nemotron": Family("layers", "mlp.down_proj", "mlp.up_proj", "mlp.act_fn"),
    "mpt": Family("blocks", "ffn.down_proj", "ffn.up_proj", "ffn.act"),
    "gemma2": _GEMMA2_LIKE,
    "gemma3_text": _GEMMA2_LIKE,
    "gemma3": replace(
        _GEMMA2_LIKE, layers="language_model.layers"
    ),  # gemma-3-4b and larger, which carry a vision tower
    "olmo2": _OLMO2_LIKE,
    "olmo3": _OLMO2_LIKE,
    "exaone4": _OLMO2_LIKE,
} | dict.fromkeys(
    (
        "cohere",
        "cohere2",
        "gemma",
        "granite",
        "granite_swa",
        "helium",
        "llama",
        "ministral3",
        "mistral",
        "olmo",
        "qwen2",
        "qwen3",
        "seed_oss",
        "smollm3",
        "stablelm",
    ),
    _LLAMA_LIKE,
)


@dataclass(frozen=True, slots=True, eq=False)
class MlpSite:
    """The MLP of one layer; ``down``'s input, (tokens, width), is the vector of neurons.

    ``up``, ``gate`` and ``activation`` allow single neurons to be computed from the MLP's input; they are None where the site
    was found by structure, for shapes do not say in which order an unknown architecture applies them. Where one fused map
    computes both branches, ``gate`` is ``up`` and the gate comes first. ``after`` is the norm that the MLP's output goes
    through before it is added to the residual stream; None where there is none, or the site was found by structure.
    """

    layer: int
    width: int
    gated: bool
    down: nn.Module
    up: nn.Module | None = None
    gate: nn.Module | None = None
    activation: Activation | None = None
    after: nn.Module | None = None
    gain_from_one: bool = False

    @property
    def fused(self) -> bool:
        """Whether one linear map computes gate and up branch."""
        return self.gate is not None and self.gate is self.up

    @property
    def computes_rows(self) -> bool:
        """Whether single neurons can be computed without the others."""
        return self.up is not None and self.activation is not None and (self.gate is not None or not self.gated)


def locate_mlps(model: PreTrainedModel) -> tuple[MlpSite, ...]:
    """The MLPs of a base model, in layer order.

    Raises:
        ArchitectureError: for mixtures of experts, encoder-decoders, and where shapes leave the MLP ambiguous or absent.
    """
    _refuse_unsuitable(model)
    family = FAMILIES.get(model.config.model_type)
    sites = _by_table(model, family) if family else None
    return sites or _by_structure(model)


def text_config_of(model: PreTrainedModel) -> object:
    """The configuration of the text part, which for a text-only model is the whole configuration."""
    return model.config.get_text_config()


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """(inputs, outputs) of a linear map, None for anything else; knows ``nn.Linear`` and transformers' ``Conv1D``."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    return None


def _refuse_unsuitable(model: PreTrainedModel) -> None:
    kind = model.config.model_type
    if model.config.is_encoder_decoder:
        raise ArchitectureError(f"'{kind}' is an encoder-decoder; name a decoder-only language model.")
    for name, module in model.named_modules():
        if _EXPERTS.search(name) or type(module).__name__.endswith("Experts"):
            raise ArchitectureError(
                f"'{kind}' is a mixture of experts (module {name}), whose neurons only see the tokens routed to them; "
                "name a dense model."
            )


def _by_table(model: PreTrainedModel, family: Family) -> tuple[MlpSite, ...] | None:
    """Sites from a row of the table, or None where this model's modules do not lie where the row says."""
    try:
        stack = model.get_submodule(family.layers)
        return tuple(_site(layer, index, family) for index, layer in enumerate(stack.children()))
    except AttributeError:
        return None


def _site(layer: nn.Module, index: int, family: Family) -> MlpSite:
    down = layer.get_submodule(family.down)
    shape = linear_shape(down)
    if shape is None:
        raise AttributeError(f"{family.down} is not a linear map")
    return MlpSite(
        layer=index,
        width=shape[0],
        gated=family.gate is not None,
        down=down,
        up=layer.get_submodule(family.up),
        gate=layer.get_submodule(family.gate) if family.gate else None,
        activation=layer.get_submodule(family.activation),
        after=layer.get_submodule(family.after) if family.after else None,
        gain_from_one=family.gain_from_one,
    )


def _by_structure(model: PreTrainedModel) -> tuple[MlpSite, ...]:
    config = text_config_of(model)
    hidden = getattr(config, "hidden_size", None)
    if not isinstance(hidden, int):
        raise ArchitectureError(
            f"The MLP neurons of '{model.config.model_type}' could not be located: looked for 'hidden_size' in the "
            "configuration and found none; name a model of a listed architecture."
        )
    stack_name, stack = _decoder_layers(model, getattr(config, "num_hidden_layers", None))
    return tuple(
        _structural_site(layer, index, hidden, f"'{model.config.model_type}' ({stack_name}.{index})")
        for index, layer in enumerate(stack)
    )


def _decoder_layers(model: PreTrainedModel, layers: int | None) -> tuple[str, nn.ModuleList]:
    """The module list with one entry for each layer; of several (a vision tower beside the text) the largest."""
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    fitting = {name: module for name, module in lists.items() if len(module) == layers and any(_linears(module))}
    if not fitting:
        found = ", ".join(f"{name} ({len(module)})" for name, module in lists.items()) or "none"
        raise ArchitectureError(
            f"The MLP neurons of '{model.config.model_type}' could not be located: looked for a module list of {layers} "
            f"decoder layers, found these lists: {found}; name a model of a listed architecture."
        )
    return max(fitting.items(), key=lambda item: sum(parameter.numel() for parameter in item[1].parameters()))


def _structural_site(layer: nn.Module, index: int, hidden: int, where: str) -> MlpSite:
    linears = {name: (module, shape) for name, module, shape in _linears(layer) if not _TOKEN_MIXER.search(name)}
    downs = [(shape[0], module) for module, shape in linears.values() if shape[1] == hidden and shape[0] != hidden]
    width = max((width for width, _ in downs), default=0)
    widest = [module for candidate, module in downs if candidate == width]
    inputs = [shape[1] for _, shape in linears.values() if shape[0] == hidden and shape[1] in {width, 2 * width}]
    if len(widest) != 1 or inputs not in ([width], [width, width], [2 * width]):
        found = ", ".join(f"{name} {shape[0]}->{shape[1]}" for name, (_, shape) in linears.items()) or "none"
        raise ArchitectureError(
            f"The MLP neurons of {where} could not be located: looked outside attention for one linear map from a width "
            f"other than {hidden} to {hidden}, fed by one or two maps from {hidden}, found these linear maps: {found}; "
            "name a model of a listed architecture."
        )
    return MlpSite(layer=index, width=width, gated=inputs != [width], down=widest[0])


def _linears(root: nn.Module) -> Iterator[tuple[str, nn.Module, tuple[int, int]]]:
    for name, module in root.named_modules():
        shape = linear_shape(module)
        if shape is not None:
            yield name, module, shape
