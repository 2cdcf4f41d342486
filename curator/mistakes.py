"""Mistakes in what users write, in one sentence: a name that is nearly right, a key that nobody knows, a value out of range.

Every settings file and every look-up by name words its refusal here, so that all of them say what is wrong, where it stands and
which known name is nearest. It knows no setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError

from curator.errors import ConfigError


def suggestion(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'law'?`` where a known name resembles the word; else nothing."""
    by_folded = {name.casefold(): name for name in known}
    found = get_close_matches(word.casefold(), by_folded, n=1)
    return f"; did you mean {by_folded[found[0]]!r}?" if found else ""


def unknown_key(key: str, known: Sequence[str], where: str) -> ConfigError:
    """The refusal of a key that is not among the known ones; ``where`` names the file, table or value it stands in."""
    hint = suggestion(key, known) or f"; what can stand there: {', '.join(known)}."
    return ConfigError(f"{where} has the unknown key {key!r}{hint}")


def require_known(value: object, kind: type[BaseModel], where: str) -> None:
    """For validators of ``kind``, whose own words are short: raise ValueError for the first key that is no field of it."""
    for key in value if isinstance(value, Mapping) else ():
        if key not in kind.model_fields:
            raise ValueError(str(unknown_key(str(key), list(kind.model_fields), where)))


def wrong_setting(error: ValidationError, kind: type[BaseModel], where: str) -> ConfigError:
    """What ``kind`` refused, as one sentence; a key that it does not know comes before one that is missing, which it may be."""
    found = error.errors()
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])
    path = [str(part) for part in first["loc"]]
    known = _keys(kind, path[:-1])
    if first["type"] == "extra_forbidden" and known:
        table = f"the table {'.'.join(path[:-1])!r} of {where}" if path[:-1] else where
        return unknown_key(path[-1], known, _capital(table))
    place = f" at {'.'.join(path)}" if path else ""
    return ConfigError(f"{_capital(where)} is wrong{place}: {plain(first['msg'])}; correct that value.")


def plain(message: str) -> str:
    """A message of pydantic's as the middle of a sentence."""
    text = message.removeprefix("Value error, ").rstrip(".")
    return text[:1].lower() + text[1:]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:] if text.startswith("the ") else text


def _keys(kind: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The fields that a value at ``path`` below a model may have; none where it is no model."""
    for part in path:
        if part.isdigit():
            continue
        annotation = kind.model_fields[part].annotation if part in kind.model_fields else None
        inner = [
            one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        if not inner:
            return []
        kind = inner[0]
    return list(kind.model_fields)
