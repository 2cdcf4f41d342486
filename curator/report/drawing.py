"""How every figure of the report is drawn: one style, and from a matplotlib figure to SVG for the page, SVG and PNG as files.

matplotlib draws through its object interface (no pyplot, no shared state); a fixed hash salt and absent metadata make the
bytes reproducible. For the page the SVG's text stays text, element names get a prefix so that several figures can share one
document, and colours become CSS variables with the printed colour as fallback, so that one drawing serves light and dark. The
files keep plain colours on white. The palette is Okabe and Ito's (jfly.uni-koeln.de/color), and shape or line style always
repeats what colour says. Cost: about 0.15 s a figure. It does not know what is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# What matplotlib draws with, and the CSS variable that takes its place on the page.
INK, MUTED, RULE = "#1c2024", "#6b7280", "#d4d7dd"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#007a5a", "#aa4499"
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PURPLE: "purple",
}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_NO_METADATA: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
_PNG_DPI = 160
_BROAD_PX = 700  # a wider figure would be unreadable on a phone: there it keeps its size and is moved sideways


class Drawing(NamedTuple):
    """One figure: its name (letters and hyphens), title, SVG for the page, SVG and PNG for files of their own."""

    name: str
    title: str
    page_svg: str
    file_svg: str
    png: bytes


@contextmanager
def styled() -> Generator[None, None, None]:
    """The report's style while the block lasts."""
    with mpl.rc_context(STYLE):
        yield


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches with one pair of axes."""
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def panels(width: float, height: float, columns: int) -> tuple[Figure, Sequence[Axes]]:
    """A figure of several axes side by side."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def unit_square(axes: Axes, x: str, y: str) -> None:
    """Both axes from 0 to 1, with a grid."""
    axes.set_xlim(-0.02, 1.03)
    axes.set_ylim(-0.02, 1.03)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True)


def legend_above(axes: Axes, columns: int) -> None:
    """The legend over the plot, where it covers no mark."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, fontsize=9, handletextpad=0.5, columnspacing=1.2
    )


def finished(figure: Figure, name: str, title: str) -> Drawing:
    """The figure as a drawing; ``title`` is also what a screen reader says of it. The figure is used up."""
    cut: dict[str, Any] = {"bbox_inches": "tight", "pad_inches": 0.06}
    text, image = io.StringIO(), io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA, **cut)
    FigureCanvasAgg(figure)
    figure.savefig(image, format="png", dpi=_PNG_DPI, facecolor="white", metadata={"Software": None}, **cut)
    figure.clear()
    page = _for_page(text.getvalue(), name, title)
    return Drawing(name, title, page, _for_file(page), image.getvalue())


def _for_page(svg: str, name: str, title: str) -> str:
    """Strip what only a file of its own needs, and make names, colours, size and title fit for a shared document."""
    name = f"figure-{name}"
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    view_box = re.search(r'viewBox="0 0 ([0-9.]+) [^"]+"', svg)
    width = round(float(view_box.group(1)) * 4 / 3) if view_box else 600
    kind = "figure broad" if width > _BROAD_PX else "figure"
    head = (
        f'<svg class="{kind}" role="img" aria-labelledby="{name}-title" style="max-width: {width}px" '
        f'xmlns="http://www.w3.org/2000/svg" {view_box.group(0) if view_box else ""}>\n'
        f'<title id="{name}-title">{escape(title)}</title>'
    )
    return head + svg[svg.index(">") + 1 :].rstrip()


def _for_file(svg: str) -> str:
    """The page's SVG with plain colours: not every viewer knows CSS variables."""
    return re.sub(r"var\(--\w+, (#[0-9a-f]{6})\)", r"\1", svg) + "\n"
