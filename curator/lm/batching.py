"""Texts to windows, windows to micro-batches: bounded memory, little padding, an order that can be restored.

A text is tokenised once. Its tokens are cut into windows of at most ``max_tokens``; when the tokenizer starts a text with
special tokens (BOS), every window starts with them. The first ``skip`` positions of a window hold attention sinks and are
not scored; a later window therefore repeats the tokens before it, so that in all of a document only its own first positions
go unscored and every other token is scored exactly once. Windows are sorted by length and cut into batches whose padded size
stays under a token budget and the lengths in it are near each other: 400 windows of 8 to 128 tokens leave 5 % padding at a
budget of 2,048 and 12 % at 16,384, in batches of 16 as they come 44 %.

Byte ranges are half-open positions in the text's UTF-8 form. A byte-level tokenizer may cut inside one character; each of
those tokens then covers the whole character, because tokenizers report characters. Some tokenizers leave a word's leading
space out of its range. A control token that a document spells out (``<s>``, ``<|endoftext|>``) is read as the characters that
it is: as the token itself it would tell the model that a text begins, and any document could say so.

Cost: tokenising, about 1 MB of text a second and core. It does not know what is computed with the batches, and it holds the
windows of all given texts in memory (28 bytes a token): give it a slice of a long stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from curator.errors import ConfigError, DocumentError

DEFAULT_SKIP = 4
DEFAULT_TOKEN_BUDGET = 16_384
_MOST_TOKENS, _FEWEST_TOKENS = 8192, 512
_LAYER_BYTES = {"cpu": 24 << 20, "cuda": 1 << 30}
# A batch that holds an eighth of the budget ends early rather than take in windows a fifth shorter than its longest.
_LARGE_ENOUGH = 1 / 8
_MUCH_SHORTER = 0.8


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """A run of one document's tokens that a model reads at once.

    ``input_ids`` (T,) int32; ``bytes_T2`` (T, 2) int64, the byte range of each token, (0, 0) for special tokens;
    ``scored`` (T,) bool, False for special tokens, attention sinks and what an earlier window has scored.
    """

    document: int
    input_ids: np.ndarray
    bytes_T2: np.ndarray
    scored: np.ndarray

    def __len__(self) -> int:
        return len(self.input_ids)


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatch:
    """Windows padded on the right to one length.

    ``input_ids`` and ``attention_mask`` (B, T) int64; ``indices`` (B,), places of the windows in the batched sequence.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    indices: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Tokens that are not padding."""
        return int(self.attention_mask.sum())


def start_tokens(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """The special tokens that the tokenizer puts before a text by default; empty for GPT-2 and Pythia."""
    encoded = tokenizer("a", return_special_tokens_mask=True, split_special_tokens=True)
    plain = list(encoded["special_tokens_mask"]).index(0)
    return tuple(encoded["input_ids"][:plain])


def windows(
    tokenizer: PreTrainedTokenizerFast,
    texts: Sequence[str],
    max_tokens: int,
    skip: int = DEFAULT_SKIP,
    *,
    max_windows: int | None = None,
) -> list[Window]:
    """The windows of all texts, in document order; a text with no scorable token (empty, or shorter than ``skip``) has none.

    Args:
        tokenizer: a fast tokenizer.
        texts: documents; ``Window.document`` is the place in this sequence.
        max_tokens: longest window, special tokens included.
        skip: unscored positions at the start of each window, special tokens included.
        max_windows: keep only this many windows of each document.

    Raises:
        ConfigError: when ``max_tokens`` leaves no room after the skipped positions.
        DocumentError: for a text that has no UTF-8 form (a lone surrogate).
    """
    start = start_tokens(tokenizer)
    if max_tokens <= max(skip, len(start)) or skip < 0:
        raise ConfigError(f"A window of {max_tokens} tokens has no room after {skip} skipped ones; make it longer.")
    offsets = [_byte_offsets(text, place) for place, text in enumerate(texts)]
    if not offsets:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        padding=False,
        truncation=False,
        return_offsets_mapping=True,
        return_attention_mask=False,
        split_special_tokens=True,
        verbose=False,
    )
    found: list[Window] = []
    for document, (ids, spans) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
        bytes_N2 = offsets[document][np.asarray(spans, dtype=np.int64).reshape(-1, 2)]
        cut = _cut(document, np.asarray(ids, dtype=np.int32), bytes_N2, start, max_tokens, skip)
        found.extend(window for count, window in enumerate(cut) if max_windows is None or count < max_windows)
    return found


def fitting_budget(widest: int, device: torch.device) -> int:
    """Tokens of a micro-batch at which one layer's neurons, ``widest`` of them, stay about as large as the device likes.

    On a CPU that is what its caches hold: for 2,048 neurons a layer, 8,192 tokens were a quarter slower than 4,096.
    """
    fitting = _LAYER_BYTES["cuda" if device.type == "cuda" else "cpu"] // (4 * widest)
    return min(_MOST_TOKENS, max(_FEWEST_TOKENS, fitting))


def micro_batches(
    items: Sequence[Window], token_budget: int = DEFAULT_TOKEN_BUDGET, *, even: bool = False
) -> Iterator[MicroBatch]:
    """Batches of windows of similar length, the longest first, each at most ``token_budget`` tokens with its padding.

    The longest come first so that memory runs out at once or never. A single window over the budget is a batch of its own.
    The order depends on nothing but the lengths; put results back by ``MicroBatch.indices``. With ``even`` the budget is lowered
    as far as there are as many batches, so that no small one is left over: for threads that keep step.
    """
    order = sorted(range(len(items)), key=lambda index: (-len(items[index]), index))
    lengths = [len(items[index]) for index in order]
    budget = _even_budget(lengths, token_budget) if even else token_budget
    for start, end in pairwise([0, *_ends(lengths, budget)]):
        yield _pad(items, order[start:end], lengths[start])


def padding_ratio(batches: Iterable[MicroBatch]) -> float:
    """Share of padding among all positions of the batches; 0 for none."""
    real = positions = 0
    for batch in batches:
        real += batch.tokens
        positions += batch.input_ids.numel()
    return 1.0 - real / positions if positions else 0.0


def _ends(lengths: Sequence[int], token_budget: int) -> list[int]:
    """Ends of all batches in falling ``lengths``."""
    ends: list[int] = []
    at = 0
    while at < len(lengths):
        at = _batch_end(lengths, at, token_budget)
        ends.append(at)
    return ends


def _even_budget(lengths: Sequence[int], token_budget: int) -> int:
    """About the smallest budget that makes no more batches, by halving."""
    most = len(_ends(lengths, token_budget))
    low, high = sum(lengths) // max(1, most), token_budget
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(_ends(lengths, middle)) <= most else (middle + 1, high)
    return high


def _batch_end(lengths: Sequence[int], at: int, token_budget: int) -> int:
    """End of the batch that starts at ``at`` in falling ``lengths``: at the budget, or where much padding would begin."""
    longest, end = lengths[at], at + 1
    while end < len(lengths) and (end + 1 - at) * longest <= token_budget:
        large_enough = (end - at) * longest >= token_budget * _LARGE_ENOUGH
        if large_enough and lengths[end] < _MUCH_SHORTER * longest:
            break
        end += 1
    return end


def _pad(items: Sequence[Window], indices: Sequence[int], longest: int) -> MicroBatch:
    ids_BT = torch.zeros((len(indices), longest), dtype=torch.int64)
    mask_BT = torch.zeros_like(ids_BT)
    for row, index in enumerate(indices):
        length = len(items[index])
        ids_BT[row, :length] = torch.from_numpy(items[index].input_ids)
        mask_BT[row, :length] = 1
    return MicroBatch(ids_BT, mask_BT, tuple(indices))


def _cut(
    document: int, ids_N: np.ndarray, bytes_N2: np.ndarray, start: tuple[int, ...], max_tokens: int, skip: int
) -> Iterator[Window]:
    """Windows over one document; each but the first repeats ``lead`` tokens, which are its skipped positions."""
    special = len(start)
    lead = max(0, skip - special)
    body = max_tokens - special
    step = body - lead
    for first in range(0, max(0, len(ids_N) - lead), step):
        piece_ids, piece_bytes = ids_N[first : first + body], bytes_N2[first : first + body]
        scored = np.ones(special + len(piece_ids), dtype=bool)
        scored[: special + lead] = False
        yield Window(
            document,
            np.concatenate([np.asarray(start, dtype=np.int32), piece_ids]),
            np.concatenate([np.zeros((special, 2), dtype=np.int64), piece_bytes]),
            scored,
        )


def _byte_offsets(text: str, place: int) -> np.ndarray:
    """Byte position of each character's start, and of the end, in the UTF-8 form: (characters + 1,) int64."""
    if text.isascii():
        return np.arange(len(text) + 1, dtype=np.int64)
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    if bool(((points >= 0xD800) & (points <= 0xDFFF)).any()):
        raise DocumentError(
            f"Text {place} holds a lone surrogate and has no UTF-8 form; decode it again or leave it out."
        )
    widths = 1 + (points >= 0x80).astype(np.int64) + (points >= 0x800) + (points >= 0x10000)
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(widths)])
