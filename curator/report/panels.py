"""What a section of the report is made of: a sentence, figures, and the figures' numbers as tables that say how to print them.

HTML page, Markdown and JSON are three printings of the same panels, so none can show a number that the others lack. A table's
values are raw; a column's kind says what they are. A panel without figures and tables stands for something that was not
measured. Pure values: they draw and compute nothing.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from curator.report.drawing import Drawing

ColumnKind = Literal["text", "count", "number", "share", "interval", "share interval"]
Value = str | int | float | tuple[float, float] | None


class Column(NamedTuple):
    """One column: its head, what its values are, and the decimals that they are printed with."""

    name: str
    kind: ColumnKind = "number"
    digits: int = 3


class Table(NamedTuple):
    """Numbers with a caption; every row has a value for every column, None where it was not measured."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def as_json(self) -> dict[str, Any]:
        """For the report's JSON: the heads and the raw rows."""
        return {
            "caption": self.caption,
            "columns": [column.name for column in self.columns],
            "rows": [list(row) for row in self.rows],
        }


class Panel(NamedTuple):
    """A section: ``anchor`` (its name in addresses), title, what it shows in one sentence, figures, tables, remarks.

    ``caption`` is said under the figures. The tables of a panel that has figures stand folded behind them.
    """

    anchor: str
    title: str
    how: str
    drawings: tuple[Drawing, ...] = ()
    caption: str = ""
    tables: tuple[Table, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.drawings and not self.tables

    def as_json(self) -> dict[str, Any]:
        """For the report's JSON: everything but the drawings, which are files of their own."""
        return {
            "title": self.title,
            "how": self.how,
            "caption": self.caption,
            "figures": [{"name": drawing.name, "title": drawing.title} for drawing in self.drawings],
            "tables": [table.as_json() for table in self.tables],
            "remarks": list(self.remarks),
        }
