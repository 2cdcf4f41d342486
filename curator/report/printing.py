"""How values are printed: numbers for people with the machine's value behind them, intervals, shades of tokens, table cells.

Whole numbers stand in full with their thousands separated, others are rounded, and what is None says "not measured". Minus is
the minus sign. Pure functions; they know neither page nor figures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from curator.report.panels import Column, Value
from curator.report.payload import LEVELS, level

NOT_MEASURED = Markup('<span class="none">not measured</span>')
_MINUS = "\N{MINUS SIGN}"
_PLAIN = Column("")


def shown_number(value: float, digits: int = 2, *, percent: bool = False) -> str:
    """A number as people read it."""
    if percent:
        text = f"{100 * value:.{digits}f}%"
    elif isinstance(value, int):
        text = f"{value:,}"
    elif value and (abs(value) < 10**-digits / 2 or abs(value) >= 1e7):
        text = f"{value:.{max(digits - 1, 1)}e}"
    else:
        text = f"{value:,.{digits}f}"
    return text.replace("-", _MINUS)


def format_number(value: float | None, digits: int = 2, *, percent: bool = False) -> Markup:
    """A number for the page, with its full precision for machines; None as "not measured"."""
    if value is None:
        return NOT_MEASURED
    shown = shown_number(value, digits, percent=percent)
    return Markup('<data value="{}">{}</data>').format(json.dumps(value), shown)


def format_interval(ends: tuple[float, float] | None, digits: int = 2, *, percent: bool = False) -> Markup:
    """Both ends of an interval, or "not measured"."""
    if ends is None:
        return NOT_MEASURED
    low, high = (format_number(end, digits, percent=percent) for end in ends)
    return Markup("{}&ensp;to&ensp;{}").format(low, high)


def format_cell(value: Value, column: Column) -> Markup | str:
    """A table's value for the page, by its column; text that looks like a fingerprint is cut with the whole behind it."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return format_interval(value, column.digits, percent=column.kind == "share interval")
    return format_number(value, column.digits, percent=column.kind == "share")


def plain_cell(value: Value, column: Column = _PLAIN) -> str:
    """The same for Markdown."""
    if value is None:
        return "not measured"
    if isinstance(value, str):
        return value.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
    percent = column.kind in {"share", "share interval"}
    ends = value if isinstance(value, tuple) else (value,)
    return " to ".join(shown_number(end, column.digits, percent=percent) for end in ends)


def shade_class(value: float | None, unit: float) -> str:
    """The CSS class of a token's shade: ``p1`` to ``p8`` for it, ``n1`` to ``n8`` against it, or none below one unit."""
    shade = 0 if value is None else level(value, unit)
    return f"{'p' if shade > 0 else 'n'}{abs(shade)}" if shade else ""


def text_runs(text: str, lengths: Sequence[int], values: Sequence[float | None]) -> Iterator[tuple[str, float | None]]:
    """The text cut into tokens of so many characters, each with its value."""
    at = 0
    for length, value in zip(lengths, values, strict=True):
        yield text[at : at + length], value
        at += length


def effect_unit(scale: float) -> float:
    """The unit of effect that one shade stands for, when the strongest effect has the last shade."""
    return scale / LEVELS
