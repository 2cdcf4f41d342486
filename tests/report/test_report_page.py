"""Page, JSON and Markdown say the same, in the same bytes each time, and no text of a context becomes markup."""

import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import pytest

from curator.errors import ArtifactError, ArtifactNotFoundError
from curator.report.derived import wilson
from curator.report.findings import find
from curator.report.inputs import ModelRef, ReportInputs
from curator.report.page import SCHEMA, STATIC_NEURONS, load_report, render_html, write_report
from curator.report.panels import Column
from curator.report.parts import Context, DomainHistogram, NeuronEntry, Reading
from curator.report.payload import encoded_reading, level
from curator.report.printing import (
    NOT_MEASURED,
    format_interval,
    format_number,
    plain_cell,
    shade_class,
    text_runs,
)
from curator.report.sections import panels_of
from curator.report.study_sections import study_panels

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
        self.blocks: dict[str, str] = {}
        self._block = ""
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
        if tag == "script":
            self._block = given.get("id") or "script"
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        self._block = ""

    def handle_data(self, data):
        if self._block:
            self.blocks[self._block] = self.blocks.get(self._block, "") + data
        else:
            self.text.append(data)


def html_of(inputs: ReportInputs) -> str:
    findings = find(inputs)
    return render_html(inputs, findings, (*panels_of(inputs, findings), *study_panels(inputs.study, findings)))


@pytest.fixture(scope="module")
def html(inputs: ReportInputs) -> str:
    return html_of(inputs)


@pytest.fixture(scope="module")
def html_of_many(many: ReportInputs) -> str:
    return html_of(many)


@pytest.fixture(scope="module")
def written(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory):
    return write_report(inputs, tmp_path_factory.mktemp("report"))


def numbers(value) -> set[float]:
    if isinstance(value, dict):
        return set().union(*(numbers(v) for v in value.values()), set())
    if isinstance(value, list):
        return set().union(*(numbers(v) for v in value), set())
    return {value} if isinstance(value, int | float) and not isinstance(value, bool) else set()


def test_every_number_of_the_page_stands_in_the_json(inputs: ReportInputs, written):
    shown, stored = Reader(written.html.read_text()).values, numbers(json.loads(written.json.read_text()))
    counted = {len(inputs.neuron_set)} | {
        (abs(n.matches[0].rho) + abs(n.matches[1].rho)) / 2 for n in inputs.neuron_set
    }
    assert len(shown) > 200
    assert set(shown) <= stored | counted


def test_every_measured_input_stands_on_the_page(inputs: ReportInputs, html: str):
    shown = set(Reader(html).values)
    parts = ("rosetta", "filter", "scorers", "calibration", "precision_recall", "depths", "held_out")
    stored = numbers({name: inputs.model_dump(mode="json")[name] for name in parts})
    totals = {
        inputs.held_out.documents,
        inputs.held_out.on_target,
        inputs.held_out.tokens,
    }  # printed as shares and in words
    assert stored - shown - totals == set()


def test_every_table_of_the_page_stands_in_json_and_markdown(written):
    stored, markdown = json.loads(written.json.read_text()), written.markdown.read_text()
    tables = [table for section in stored["sections"].values() for table in section["tables"]]
    assert len(tables) > 12
    for table in tables:
        assert table["caption"] in markdown
        assert all(len(row) == len(table["columns"]) for row in table["rows"])


def test_equal_inputs_give_equal_bytes_in_every_form(inputs: ReportInputs, written, tmp_path: Path):
    again = write_report(inputs.model_copy(), tmp_path)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) > 12
    for name in files:
        assert (tmp_path / name).read_bytes() == (written.json.parent / name).read_bytes(), name
    assert again.html.name == "report.html"


def test_the_json_gives_the_inputs_back(inputs: ReportInputs, written):
    assert json.loads(written.json.read_text())["schema"] == SCHEMA == "curator.report/2"
    assert load_report(written.json) == inputs


def test_a_report_of_another_version_is_refused(written, tmp_path: Path):
    stored = json.loads(written.json.read_text())
    other = tmp_path / "report.json"
    other.write_text(json.dumps({**stored, "schema": "curator.report/1"}))
    with pytest.raises(ArtifactError, match=r"'curator.report/1', not 'curator.report/2'; write the report again"):
        load_report(other)
    other.write_text(json.dumps({**stored, "inputs": {"title": "half a report"}}))
    with pytest.raises(ArtifactError, match="not a valid report"):
        load_report(other)
    with pytest.raises(ArtifactNotFoundError):
        load_report(tmp_path / "none.json")


def test_every_figure_is_a_file_of_both_kinds_and_none_is_empty(written):
    names = {path.stem for path in written.figures.iterdir()}
    assert {"matches", "thresholds", "precision-recall", "calibration", "depth"} < names
    for name in names:
        svg, png = (written.figures / f"{name}.svg").read_text(), (written.figures / f"{name}.png").read_bytes()
        assert svg.startswith("<svg") and "var(--" not in svg and svg.count("<path") > 5
        width, height = struct.unpack(">II", png[16:24])
        assert png.startswith(b"\x89PNG") and width > 500 and height > 250
        assert f"figures/{name}.png" in written.markdown.read_text()


def test_a_script_in_a_context_stays_text(html: str):
    page = Reader(html)
    assert page.tags.count("script") == 3 and "img" not in page.tags
    assert set(page.blocks) == {"neuron-index", "neuron-evidence", "script"}
    assert any('<script>alert("x")</script>' in text.replace("\n", "") for text in ["".join(page.text)])
    second = json.loads(page.blocks["neuron-evidence"].strip().splitlines()[1])
    assert any('<script>alert("x")</script>' in context[3] for context in second["contexts"])


def test_hostile_names_are_escaped_everywhere(inputs: ReportInputs):
    bad = '"><script>x</script><!--'
    hostile = inputs.model_copy(
        update={
            "title": bad,
            "target_domain": bad,
            "model": ModelRef(name=bad, fingerprint=bad),
            "versions": {bad: bad},
            "created": bad,
            "neuron_set": (inputs.neuron_set[0].model_copy(update={"domain": bad}),),
        }
    )
    page = Reader(html_of(hostile))
    assert page.tags.count("script") == 3
    assert "<" not in page.blocks["neuron-index"] + page.blocks["neuron-evidence"]


def test_the_page_asks_for_nothing_from_elsewhere(html: str):
    page = Reader(html)
    ids = {*page.ids, *(f"open={neuron}" for neuron in re.findall(r"L\d+/U\d+", html))}
    assert all(link.startswith("#") and link[1:] in ids for link in page.links)
    assert not RESOURCES & {name for name, _ in page.attributes} and "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]+)\)", html))
    assert not any(name.startswith("on") for name, _ in page.attributes)
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in (value or ""))
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "script-src 'unsafe" not in policy


def test_no_two_elements_share_a_name(html: str):
    ids = Reader(html).ids
    assert len(ids) == len(set(ids))


def test_every_figure_has_a_title(html: str):
    drawings = re.findall(r'<svg class="figure[^>]*>.*?</svg>', html, flags=re.DOTALL)
    assert len(drawings) >= 6
    assert all("<title " in drawing and drawing.count("<path") > 5 for drawing in drawings)


def test_without_the_script_the_first_neurons_stand_in_a_table(html_of_many: str):
    html = html_of_many
    table = html[
        html.index('<tbody id="neuron-rows">') : html.index("</tbody>", html.index('<tbody id="neuron-rows">'))
    ]
    assert table.count("<tr>") == STATIC_NEURONS
    assert f"{STATIC_NEURONS} of 2000 neurons" in html


def test_two_thousand_neurons_fit_in_fifteen_megabytes_and_all_are_there(many: ReportInputs, html_of_many: str):
    assert len(html_of_many.encode()) < 15_000_000
    page = Reader(html_of_many)
    index = json.loads(page.blocks["neuron-index"])
    assert [row[0] for row in index["neurons"]] == [neuron.id for neuron in many.neuron_set]
    assert len(page.blocks["neuron-evidence"].strip().splitlines()) == 2_000


def test_a_report_of_nothing_says_not_measured_everywhere(bare: ReportInputs, tmp_path: Path):
    paths = write_report(bare, tmp_path)
    page = Reader(html := paths.html.read_text())
    assert html.count("not measured") >= 8
    assert "svg" not in page.tags and page.values == []
    assert json.loads(paths.json.read_text())["derived"]["rosetta_fraction"] is None
    assert paths.markdown.read_text().count("*not measured*") >= 5


PARTS = (
    "study", "rosetta", "neuron_set", "scorers", "calibration", "filter", "precision_recall", "files", "probe", "peers",
    "depths", "held_out", "samples",
)  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_report_without_one_part_still_renders(inputs: ReportInputs, part: str):
    empty = () if isinstance(getattr(inputs, part), tuple) else None
    others = dict.fromkeys(("study",)) if part != "study" else {}
    Reader(html_of(inputs.model_copy(update={**others, part: empty})))


def test_a_neuron_without_evidence_still_has_its_place(inputs: ReportInputs):
    html = html_of(inputs.model_copy(update={"neuron_set": (NeuronEntry(id="L1/U2", domain="legal"),), "samples": ()}))
    line = json.loads(Reader(html).blocks["neuron-evidence"])
    assert "L1/U2" in html and line["contexts"] == [] and line["histogram"] is None


def test_a_lone_surrogate_in_a_context_does_not_stop_the_report(inputs: ReportInputs, tmp_path: Path):
    context = Context(kind="top", text="a\ud800b", span=(0, 1), z=1.0)
    odd = NeuronEntry(id="L0/U1", domain="legal", contexts=(context,))
    paths = write_report(inputs.model_copy(update={"neuron_set": (odd,), "study": None}), tmp_path)
    assert "a\N{REPLACEMENT CHARACTER}b" in paths.html.read_text() and paths.json.exists()


def test_tokens_share_one_scale_and_know_their_direction():
    assert [shade_class(v, 1.0) for v in (4.0, 2.9, -4.0, 0.1, 0.0, 30.0, None)] == ["p4", "p2", "n4", "", "", "p8", ""]
    assert shade_class(1.0, 0.0) == "" and level(-99.0) == -8


def test_a_reading_travels_as_two_characters_a_token_and_covers_its_text():
    reading = Reading(model="m", neuron="L0/U1", lengths=(3, 40, 1), z=(None, 2.5, -30.0))
    code = encoded_reading(reading)
    assert code == "3.zk5k1a"
    assert sum(int(length, 36) for length in code[::2]) == 44


def test_a_text_is_cut_at_its_tokens():
    assert list(text_runs("abcde", (2, 3), (1.0, None))) == [("ab", 1.0), ("cde", None)]


def test_numbers_are_printed_for_people_and_kept_for_machines():
    assert format_number(12345) == '<data value="12345">12,345</data>'
    assert format_number(-0.12345, 2) == '<data value="-0.12345">\N{MINUS SIGN}0.12</data>'
    assert format_number(0.00001234, 3) == '<data value="1.234e-05">1.23e\N{MINUS SIGN}05</data>'
    assert format_number(0.947, 1, percent=True) == '<data value="0.947">94.7%</data>'
    assert format_number(None) == NOT_MEASURED == format_interval(None)


def test_markdown_cells_cannot_break_their_table():
    assert plain_cell("a|b\n<i>", Column("x", "text")) == "a\\|b &lt;i>"
    assert plain_cell((0.25, 0.5), Column("x", "share interval", 1)) == "25.0% to 50.0%"
    assert plain_cell(None) == "not measured"


def test_wilsons_interval_has_its_textbook_value():
    assert wilson(0.9, 10) == pytest.approx((0.5958, 0.9821), abs=1e-4)
    assert wilson(1.0, 5)[1] == 1.0 and wilson(0.0, 5)[0] == 0.0


def test_a_histogram_whose_rows_do_not_fit_its_edges_is_refused():
    with pytest.raises(ValueError, match="3 edges need 2 counts"):
        DomainHistogram(edges=(0, 1, 2), counts={"legal": (1, 2, 3)})
    with pytest.raises(ValueError, match="increase"):
        DomainHistogram(edges=(0, 0), counts={"legal": (1,)})


def test_tokens_that_do_not_cover_their_text_are_refused():
    short = Reading(model="m", neuron="L0/U1", lengths=(2,), z=(1.0,))
    with pytest.raises(ValueError, match="must cover the text"):
        Context(kind="top", text="abc", span=(0, 1), z=1.0, readings=(short,))


def test_the_report_of_a_study_has_the_studys_sections_alone(inputs: ReportInputs):
    study = ReportInputs(subject="study", model=inputs.model, study=inputs.study)
    html = html_of(study)
    assert 'id="study-growth"' in html and 'id="neurons"' not in html and "Target domain" not in html
    assert "5 sizes of models, from 256 to 4,608 neurons" in html
    assert "Paper rule: exponent" in html and "No filter" not in html
