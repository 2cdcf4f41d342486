"""The page in a real browser: it loads clean, finds neurons, remembers in its address, and can be read by everyone."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from playwright.sync_api import Browser, Page, expect

from curator.report.inputs import ReportInputs
from curator.report.page import write_report
from tests.report.browser import LOWEST_CONTRAST, chromium, opened
from tests.report.conftest import invented_neuron

PHONE = {"width": 390, "height": 844}
ROWS = "#neuron-rows > tr:not(.detail)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def url(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> str:
    some = (*inputs.neuron_set, *(invented_neuron(number) for number in range(5, 90)))
    paths = write_report(inputs.model_copy(update={"neuron_set": some}), tmp_path_factory.mktemp("page"))
    return paths.html.as_uri()


@pytest.fixture(scope="module")
def url_of_many(many: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> str:
    paths = write_report(many.model_copy(update={"study": None}), tmp_path_factory.mktemp("many"))
    return paths.html.as_uri()


def shown(page: Page) -> list[str]:
    return page.locator(f"{ROWS} button.open").all_inner_texts()


def test_the_page_loads_without_an_error_and_asks_for_nothing(browser: Browser, url: str):
    with opened(browser, url) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text("TEST PAGE, numbers invented")
        expect(page.locator("#neuron-count")).to_have_text("88 of 88 neurons")
        assert len(shown(page)) == 50


def test_a_neuron_is_found_by_its_name_by_a_partner_and_by_its_domain(browser: Browser, url: str):
    with opened(browser, url) as page:
        search = page.get_by_role("searchbox", name="Find")
        search.fill("l4/u368")
        assert shown(page) == ["L4/U368"]
        search.fill("python L1/U1660")
        assert shown(page) == []
        expect(page.locator("#neuron-count")).to_contain_text("nothing fits")
        search.fill("L2/U80")
        assert shown(page) == ["L8/U1660"]
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#neuron-count")).to_have_text("88 of 88 neurons")


def test_filters_and_order_follow_the_numbers(browser: Browser, url: str):
    with opened(browser, url) as page:
        page.get_by_label("q at most").fill("0.00205")
        assert {"L1/U317", "L2/U334", "L4/U368", "L5/U385"} == set(shown(page))
        page.get_by_label("strict only").check()
        assert set(shown(page)) == {"L1/U317", "L2/U334", "L4/U368", "L5/U385"}
        page.get_by_label("ρ at least").fill("0.68")
        assert shown(page) == []
        page.get_by_role("button", name="Clear").click()
        page.get_by_label("Domain").select_option("python")
        page.get_by_label("Order").select_option("name")
        layers = [int(name[1:].split("/")[0]) for name in shown(page)]
        assert layers == sorted(layers) and len(layers) == 17


def test_the_address_holds_what_was_searched_and_opened(browser: Browser, url: str):
    with opened(browser, url) as page:
        page.get_by_role("searchbox", name="Find").fill("L5/")
        page.get_by_label("strict only").check()
        page.get_by_role("button", name="L5/U385", exact=True).click()
        shared, before = page.url, shown(page)
    assert "find=L5/" in shared and "strict=1" in shared and "open=L5/U385" in shared
    with opened(browser, shared) as page:
        assert shown(page) == before
        expect(page.get_by_role("article", name="Evidence for L5/U385")).to_be_visible()
        page.evaluate("location.hash = '#find=L4/U368'")
        expect(page.locator("#neuron-count")).to_have_text("1 of 88 neurons")
        assert page.get_by_role("article", name="Evidence for").count() == 0


@pytest.mark.parametrize(
    "hash_", ["#open=L9/U9,%E0%A4%A", "#find=%E0%A4%A&sort=nothing", "#=&&=", "#neurons", "#doubts"]
)
def test_an_address_that_means_nothing_does_no_harm(browser: Browser, url: str, hash_: str):
    with opened(browser, url + hash_) as page:
        assert len(shown(page)) == 50


def test_no_figure_is_empty(browser: Browser, url: str):
    with opened(browser, url) as page:
        page.locator("button.open").first.click()
        figures = page.locator("svg.figure").all()
        assert len(figures) >= 7
        for figure in figures:
            box = figure.bounding_box()
            assert box is not None and box["width"] > 200 and box["height"] > 90
            assert figure.locator("path").count() >= 3


def test_the_evidence_of_a_neuron_shows_partners_domains_and_texts_on_one_scale(browser: Browser, url: str):
    with opened(browser, url) as page:
        page.get_by_role("button", name="L1/U317", exact=True).click()
        evidence = page.get_by_role("article", name="Evidence for L1/U317")
        expect(evidence).to_contain_text("gpt2-128x4")
        expect(evidence.get_by_role("img", name="0.704 to 0.762")).to_be_visible()
        assert evidence.locator("svg.histogram path").count() == 6
        assert evidence.locator(".context").count() == 4
        for context in evidence.locator(".context").all():
            texts = [line.inner_text() for line in context.locator(".reading .tokens").all()]
            assert len(texts) == 3 and len(set(texts)) == 1, "every model reads the same words"
            assert context.locator("b.span").count() >= 3
        evidence.get_by_text("The numbers").click()
        assert evidence.locator("details table tbody tr").count() == 24


def test_hostile_text_is_shown_and_never_run(browser: Browser, url: str):
    with opened(browser, url) as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        page.get_by_role("button", name="L2/U334", exact=True).click()
        expect(page.get_by_role("article", name="Evidence for L2/U334")).to_contain_text('<script>alert("x")</script>')
        expect(page.locator("#samples")).to_contain_text("<img src=x onerror=alert(1)>")
        assert page.locator("img").count() == 0


def test_a_sample_leads_to_the_neuron_that_moved_it(browser: Browser, url: str):
    with opened(browser, url) as page:
        page.get_by_label("strict only").check()
        page.locator("#samples a", has_text="L1/U317").first.click()
        expect(page.get_by_role("article", name="Evidence for L1/U317")).to_be_visible()
        expect(page.get_by_role("button", name="L1/U317", exact=True)).to_be_focused()


def test_everything_can_be_reached_and_done_by_keyboard(browser: Browser, url: str):
    with opened(browser, url) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.name") == "find":
                break
        page.keyboard.type("L4/U368")
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.dataset.neuron") == "L4/U368":
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", "what has the focus can be seen"
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="L4/U368", expanded=True)).to_be_focused()
        page.keyboard.press("Space")
        assert page.locator("tr.detail").count() == 0


def test_names_for_those_who_do_not_see(browser: Browser, url: str):
    with opened(browser, url) as page:
        page.locator("button.open").first.click()
        unnamed = page.evaluate(
            """() => [...document.querySelectorAll("input, select, button")].filter((element) =>
            !element.labels?.length && !element.textContent.trim()).length"""
        )
        bare = page.evaluate(
            """() => [...document.querySelectorAll("table")].filter((table) => !table.caption?.textContent.trim()).length"""
        )
        silent = page.evaluate(
            """() => [...document.querySelectorAll('svg[role="img"]')].filter((svg) =>
            !svg.getAttribute("aria-label") && !document.getElementById(svg.getAttribute("aria-labelledby"))).length"""
        )
        assert (unnamed, bare, silent) == (0, 0, 0)
        levels = page.evaluate(
            "[...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1]))"
        )
        assert levels[0] == 1 and all(b - a <= 1 for a, b in pairwise(levels))
        for role in ("main", "navigation", "search", "banner", "contentinfo"):
            assert page.get_by_role(role).count() == 1, role
        assert page.locator("#neuron-count").get_attribute("aria-live") == "polite"
        assert page.locator("html").get_attribute("lang") == "en"


def test_a_phone_never_scrolls_sideways(browser: Browser, url: str):
    with opened(browser, url, viewport=PHONE, device_scale_factor=2, is_mobile=True) as page:
        page.locator("button.open").first.click()
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_enough_contrast(browser: Browser, url: str, scheme: str):
    with opened(browser, url, color_scheme=scheme) as page:
        page.locator("button.open").first.click()
        page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
        contrast, where = page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, where


def test_light_and_dark_can_be_switched(browser: Browser, url: str):
    with opened(browser, url, color_scheme="light") as page:
        before = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.get_by_role("button", name="Dark").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
        expect(page.get_by_role("button", name="Dark", pressed=True)).to_be_visible()
        page.get_by_role("button", name="Dark").click()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == before


def test_paper_gets_the_numbers_and_no_controls(browser: Browser, url: str):
    with opened(browser, url, color_scheme="dark") as page:
        page.emulate_media(media="print")
        for hidden in ("nav", "#neuron-form", "#neuron-more"):
            expect(page.locator(hidden)).to_be_hidden()
        table = page.locator("#thresholds details.numbers table").first.bounding_box()
        assert table is not None and table["height"] > 50, "folded numbers unfold on paper"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        contrast, where = page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, where
        assert page.pdf(format="A4").startswith(b"%PDF")


def test_without_its_script_the_page_still_shows_figures_samples_and_a_table(browser: Browser, url: str):
    with opened(browser, url, java_script_enabled=False) as page:
        assert page.locator(ROWS).count() == 40
        expect(page.locator("#neuron-form")).to_be_hidden()
        expect(page.locator("#samples article").first).to_be_visible()
        assert page.locator("svg.figure").count() >= 6


def test_two_thousand_neurons_are_few_elements_until_they_are_asked_for(browser: Browser, url_of_many: str):
    with opened(browser, url_of_many) as page:
        expect(page.locator("#neuron-count")).to_have_text("2,000 of 2,000 neurons")
        assert page.evaluate("document.querySelectorAll('*').length") < 8_000
        page.get_by_role("button", name="Show 50 more").click()
        assert len(shown(page)) == 100
        page.get_by_role("searchbox", name="Find").fill("L7/U34283")
        page.get_by_role("button", name="L7/U34283", exact=True).click()
        evidence = page.get_by_role("article", name="Evidence for L7/U34283")
        assert evidence.locator(".context").count() == 8
