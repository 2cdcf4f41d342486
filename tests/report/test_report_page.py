"""The page and the JSON say the same, in the same bytes each time, and no text of a context becomes markup."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from curator.report.findings import find, wilson
from curator.report.inputs import Context, DomainHistogram, ModelRef, NeuronEntry, ReportInputs
from curator.report.page import (
    NOT_MEASURED,
    format_interval,
    format_number,
    render_html,
    report_json,
    token_class,
    write_report,
)

VOID = {"meta", "link", "br", "img", "input", "hr"}
RESOURCES = {"src", "srcset", "action", "poster", "data"}


class Reader(HTMLParser):
    """Collects what the tests ask of the page: tags, ids, links, data values; and proves that elements nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.values: list[float] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if "href" in given else []
        self.values += [json.loads(given["value"])] if tag == "data" else []
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def html_of(inputs: ReportInputs) -> str:
    return render_html(inputs, find(inputs))


@pytest.fixture(scope="module")
def html(inputs: ReportInputs) -> str:
    return html_of(inputs)


def numbers(value) -> set[float]:
    if isinstance(value, dict):
        return set().union(*(numbers(v) for v in value.values()), set())
    if isinstance(value, list):
        return set().union(*(numbers(v) for v in value), set())
    return {value} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def test_every_number_of_the_page_stands_in_the_json(inputs: ReportInputs, tmp_path: Path):
    paths = write_report(inputs, tmp_path)
    shown, stored = Reader(paths.html.read_text()).values, numbers(json.loads(paths.json.read_text()))
    assert len(shown) > 200
    assert set(shown) <= stored | {len(neuron.matches) for neuron in inputs.neuron_set}


def test_every_measured_input_stands_on_the_page(inputs: ReportInputs, html: str):
    shown = set(Reader(html).values)
    parts = ("rosetta", "filter", "scorers", "calibration", "precision_recall")
    stored = numbers({name: report_json(inputs, find(inputs))["inputs"][name] for name in parts})
    assert stored - shown == set()


def test_equal_inputs_give_equal_bytes(inputs: ReportInputs, tmp_path: Path):
    first, second = write_report(inputs, tmp_path / "a"), write_report(inputs.model_copy(), tmp_path / "b")
    assert first.html.read_bytes() == second.html.read_bytes()
    assert first.json.read_bytes() == second.json.read_bytes()


def test_the_json_gives_the_inputs_back(inputs: ReportInputs, tmp_path: Path):
    stored = json.loads(write_report(inputs, tmp_path).json.read_text())
    assert stored["schema"] == "curator.report/1"
    assert ReportInputs.model_validate(stored["inputs"]) == inputs


def test_a_script_in_a_context_stays_text(html: str):
    page = Reader(html)
    assert "script" not in page.tags and "img" not in page.tags
    assert "&lt;script&gt;alert(" in html and "<script" not in html
    assert any('<script>alert("x")</script>' in text for text in page.text)


def test_hostile_names_are_escaped_everywhere(inputs: ReportInputs):
    bad = '"><script>x</script>'
    hostile = inputs.model_copy(
        update={
            "title": bad,
            "target_domain": bad,
            "model": ModelRef(name=bad, fingerprint=bad),
            "versions": {bad: bad},
            "created": bad,
        }
    )
    assert "script" not in Reader(html_of(hostile)).tags


def test_the_page_asks_for_nothing_from_elsewhere(html: str):
    page = Reader(html)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not RESOURCES & {name for name, _ in page.attributes} and "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]+)\)", html))
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "default-src 'none'" in html


def test_no_two_elements_share_a_name(html: str):
    ids = Reader(html).ids
    assert len(ids) == len(set(ids))


def test_every_figure_has_a_title_and_no_drawing_is_empty(inputs: ReportInputs, html: str):
    drawings = re.findall(r'<svg class="figure".*?</svg>', html, flags=re.DOTALL)
    assert len(drawings) == 3 + len(inputs.neuron_set)
    assert all("<title " in drawing and drawing.count("<path") > 5 for drawing in drawings)


def test_a_report_of_nothing_says_not_measured_everywhere(bare: ReportInputs, tmp_path: Path):
    paths = write_report(bare, tmp_path)
    page = Reader(html := paths.html.read_text())
    assert html.count("not measured") >= 8
    assert "svg" not in page.tags and page.values == []
    assert json.loads(paths.json.read_text())["derived"]["rosetta_fraction"] is None


@pytest.mark.parametrize(
    "part",
    [
        "study",
        "rosetta",
        "neuron_set",
        "scorers",
        "calibration",
        "filter",
        "precision_recall",
        "files",
        "probe",
        "peers",
    ],
)
def test_a_report_without_one_part_still_renders(inputs: ReportInputs, part: str):
    empty = () if isinstance(getattr(inputs, part), tuple) else None
    short = inputs.model_copy(update={"neuron_set": inputs.neuron_set[:1]})
    Reader(html_of(short.model_copy(update={part: empty})))


def test_a_neuron_without_evidence_still_has_its_place(inputs: ReportInputs):
    plain = NeuronEntry(id="L1/U2", domain="legal", contexts=(Context(text="only <b>text</b>", value=0.0),))
    html = html_of(inputs.model_copy(update={"neuron_set": (plain,)}))
    assert "only &lt;b&gt;text&lt;/b&gt;" in html and "L1/U2" in html


def test_a_lone_surrogate_in_a_context_does_not_stop_the_report(inputs: ReportInputs, tmp_path: Path):
    odd = NeuronEntry(
        id="L0/U1", domain="legal", contexts=(Context(text="a\ud800b", tokens=(("a\ud800b", 1.0),), value=1.0),)
    )
    paths = write_report(inputs.model_copy(update={"neuron_set": (odd,)}), tmp_path)
    assert "a\N{REPLACEMENT CHARACTER}b" in paths.html.read_text() and paths.json.exists()


def test_tokens_share_one_scale_and_know_their_direction():
    assert [token_class(v, 4.0) for v in (4.0, 2.0, -4.0, 0.1, 0.0)] == ["p8", "p4", "n8", "", ""]
    assert token_class(1.0, 0.0) == "" and token_class(9.0, 4.0) == "p8"


def test_a_neuron_that_means_its_domain_when_low_is_coloured_the_other_way(inputs: ReportInputs):
    context = Context(text="ab", tokens=(("a", -2.0), ("b", 2.0)), value=-2.0)
    low = NeuronEntry(id="L0/U1", domain="legal", sign=-1, contexts=(context,))
    html = html_of(inputs.model_copy(update={"neuron_set": (low,)}))
    assert '<b class="p8" title="-2.00">a</b><b class="n8" title="2.00">b</b>' in html
    assert "low activation means legal" in html


def test_numbers_are_printed_for_people_and_kept_for_machines():
    assert format_number(12345) == '<data value="12345">12,345</data>'
    assert format_number(-0.12345, 2) == '<data value="-0.12345">\N{MINUS SIGN}0.12</data>'
    assert format_number(0.00001234, 3) == '<data value="1.234e-05">1.23e\N{MINUS SIGN}05</data>'
    assert format_number(0.947, 1, percent=True) == '<data value="0.947">94.7%</data>'
    assert format_number(None) == NOT_MEASURED == format_interval(None)


def test_wilsons_interval_has_its_textbook_value():
    assert wilson(0.9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(1.0, 5)[1] == 1.0 and wilson(0.0, 5)[0] == 0.0


def test_a_histogram_whose_rows_do_not_fit_its_edges_is_refused():
    with pytest.raises(ValueError, match="3 edges need 2 counts"):
        DomainHistogram(edges=(0, 1, 2), counts={"legal": (1, 2, 3)})
    with pytest.raises(ValueError, match="increase"):
        DomainHistogram(edges=(0, 0), counts={"legal": (1,)})
