"""The report's page: how soon it is seen, how large it is, how long it takes to make.

    python benchmarks/report.py [--quick] [--json FILE] [--only SECTION]

The neurons are invented: each has eight contexts of two hundred characters that three models read, which is what a real one
has. ``first_paint_s`` is the browser's own ``first-contentful-paint`` of a page with 2,000 of them, loaded from a file in a
headless Chromium without a GPU, the median of several loads with an empty cache; ``interactive_s`` is when the table of neurons
stands. Rates are those of this machine and of whatever else runs on it. Without a browser there are only the sizes.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Row, Section, rounded, run_benchmark, seconds
from curator.report.inputs import ModelRef, ReportInputs
from curator.report.page import write_report
from curator.report.parts import Context, DomainHistogram, NeuronEntry, PeerMatch, Reading

_MODELS = ("anchor", "peer-one", "peer-two")
_DOMAINS = ("law", "web", "code", "news", "prose", "maths", "chemistry", "medicine", "speech", "fiction")
_TEXT = ("The licensee shall indemnify the licensor against all claims that arise from its use of the work, " * 3)[:200]
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def _page(quick: bool) -> Iterator[Row]:
    neurons, loads = (500, 3) if quick else (2_000, 9)
    inputs = ReportInputs(
        target_domain="law",
        model=ModelRef(name=_MODELS[0]),
        neuron_set=tuple(_neuron(number) for number in range(neurons)),
    )
    with tempfile.TemporaryDirectory() as folder:
        paths = write_report(inputs, Path(folder))
        made = seconds(lambda: write_report(inputs, Path(folder)))
        megabytes = paths.html.stat().st_size / 1e6
        about = {"neurons": neurons}
        yield Row("page_megabytes", megabytes, "MB", {**about, "goal": "under 15", "about": "size of the page"})
        yield Row("page_written_s", made, "s", {**about, "about": "HTML, JSON, Markdown and figures written"})
        browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
        if browser is None:
            return
        paint, ready = _loads(browser, paths.html.as_uri(), loads)
        yield Row("first_paint_s", statistics.median(paint), "s", {
            **about, "goal": "under 1", "about": "first contentful paint, median", "loads": rounded(paint),
        })  # fmt: skip
        yield Row("interactive_s", statistics.median(ready), "s", {
            **about, "about": "navigation to the table of neurons in place, median", "loads": rounded(ready),
        })  # fmt: skip


def _loads(browser: str, url: str, count: int) -> tuple[list[float], list[float]]:
    """Seconds to the first paint and to the end of the page's script, of so many loads after one that is not counted."""
    from playwright.sync_api import sync_playwright

    paint, ready = [], []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(count + 1):
            with running.new_context() as context, context.new_page() as page:
                page.goto(url)
                page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
                paint.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1e3)
                ready.append(
                    page.evaluate("performance.timing.domInteractive - performance.timing.navigationStart") / 1e3
                )
        running.close()
    return paint[1:], ready[1:]


def _neuron(number: int) -> NeuronEntry:
    kinds = ("top",) * 4 + ("middle",) * 2 + ("near zero",) * 2
    partners = [f"L{number % 24}/U{7 * number + shift}" for shift in (0, 1, 2)]
    contexts = tuple(
        Context(
            kind=kind,
            document=f"document-{number}-{place}",
            domain=_DOMAINS[(number + place) % len(_DOMAINS)],
            text=_TEXT,
            span=(40, 50),
            z=9.0 - place,
            readings=tuple(
                _reading(model, name, number + place) for model, name in zip(_MODELS, partners, strict=True)
            ),
        )
        for place, kind in enumerate(kinds)
    )
    counts = {
        domain: tuple((number + 3 * bin_ + place) % 29 for bin_ in range(24)) for place, domain in enumerate(_DOMAINS)
    }
    return NeuronEntry(
        id=partners[0],
        domain="law",
        strict=True,
        auroc_report=1 - number / 5_000,
        matches=tuple(
            PeerMatch(peer=model, neuron=name, rho=0.7, standard_error=0.02, interval=(0.65, 0.75), q=0.001)
            for model, name in zip(_MODELS[1:], partners[1:], strict=True)
        ),
        histogram=DomainHistogram(edges=tuple(0.1 * edge for edge in range(25)), counts=counts),
        contexts=contexts,
    )


def _reading(model: str, neuron: str, shift: int) -> Reading:
    lengths = (4,) * (len(_TEXT) // 4)
    return Reading(
        model=model,
        neuron=neuron,
        lengths=lengths,
        z=tuple(float((place + shift) % 13 - 4) for place in range(len(lengths))),
    )


SECTIONS: dict[str, Section] = {"page": _page}

if __name__ == "__main__":
    run_benchmark("report", __doc__ or "", SECTIONS)
