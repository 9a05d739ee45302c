from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from reports.html import write_report

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-sync",
]

pytestmark = [pytest.mark.services("chromium"), pytest.mark.slow]


@pytest.fixture(scope="module")
def made_up() -> ModuleType:
    path = Path(__file__).parents[1] / "unit" / "reports" / "conftest.py"
    spec = importlib.util.spec_from_file_location("made_up_version", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page_path(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("version"), made_up.report_inputs())


@pytest.fixture(scope="module")
def odd_path(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(tmp_path_factory.mktemp("odd"), made_up.odd_inputs())


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(chromium), args=FLAGS)
        yield started
        started.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (375, 720)])
def test_page_fits_and_is_quiet(
    browser: Browser, page_path: Path, tmp_path: Path, scheme: Any, width: int, height: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    messages: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("dialog", lambda dialog: messages.append(f"dialog {dialog.message}"))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_path.as_uri())

    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [page_path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    pictures = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.naturalHeight])")
    assert pictures == [[64, 48]] * 8
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(251, 250, 247)") is (scheme == "light")
    assert page.locator("#map polygon").count() == 26
    assert page.locator("#registration rect.bar").count() > 3
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert (tmp_path / "page.png").stat().st_size > 20_000
    page.close()


def test_colours_and_code_are_whole_on_paper(browser: Browser, page_path: Path) -> None:
    page = browser.new_page()
    page.goto(page_path.as_uri())
    page.emulate_media(media="print")

    def style(place: str, name: str) -> Any:
        return page.evaluate(f"getComputedStyle(document.querySelector('{place}')).{name}")

    for place in (".swatch", ".stack span", ".share i"):  # else paper shows empty boxes
        assert style(place, "printColorAdjust") == "exact", place
    assert style("pre", "whiteSpace") == "pre-wrap"
    assert style(".scroll", "overflowX") == "visible"
    page.close()


def test_paper_shows_what_is_folded_and_cuts_no_table(browser: Browser, page_path: Path, odd_path: Path) -> None:
    """An A4 page between Chromium's margins is 718 CSS pixels wide."""
    for path in (page_path, odd_path):
        page = browser.new_page(viewport={"width": 718, "height": 1047})
        page.goto(path.as_uri())
        page.emulate_media(media="print")
        folded = page.locator("details > :not(summary)")
        assert folded.count() > 2
        assert all(part.is_visible() for part in folded.all())
        assert page.evaluate("document.documentElement.scrollWidth") <= 718
        page.close()


def test_paper_is_light_for_who_reads_in_the_dark(browser: Browser, page_path: Path) -> None:
    page = browser.new_page()
    page.goto(page_path.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(29, 36, 40)"
    page.close()


@pytest.mark.parametrize(("width", "text_size_px"), [(360, 16), (720, 32)], ids=["phone", "large-text"])
def test_long_words_and_large_text_stay_within_the_screen(
    browser: Browser, odd_path: Path, width: int, text_size_px: int
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 720})
    page.goto(odd_path.as_uri())
    page.evaluate(f"document.documentElement.style.fontSize = '{text_size_px}px'")  # as a browser's setting does
    assert page.evaluate("getComputedStyle(document.body).fontSize") == f"{text_size_px}px"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cards = "document.querySelectorAll('.card, .map, .key li, .says, .place, .chart')"
    assert page.evaluate(f"[...{cards}].filter(e => e.scrollWidth > e.clientWidth + 1).length") == 0
    names = page.locator(".bars th").all()[:2]  # one letter a line, they were
    assert all(name.evaluate("e => e.offsetHeight / parseFloat(getComputedStyle(e).fontSize)") < 7 for name in names)
    page.close()


def test_maps_of_narrow_regions_fit_the_screen_and_their_scale_is_read(browser: Browser, odd_path: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 720})
    page.goto(odd_path.as_uri())
    assert page.evaluate("Math.max(...[...document.querySelectorAll('svg')].map(e => e.clientHeight))") <= 448
    assert page.evaluate("document.querySelectorAll('.map svg text').length") == 0  # it would shrink with the map
    assert "Bar: 1 km" in page.inner_text("#map")
    page.close()


def test_forty_regions_leave_the_page_readable_on_a_telephone(browser: Browser, odd_path: Path) -> None:
    page = browser.new_page(viewport={"width": 360, "height": 720})
    page.goto(odd_path.as_uri())
    assert page.locator("figure.map").count() == 40
    for section in ("#map", "#labels"):
        maps = page.locator(f"{section} .maps > figure")
        assert sum(one.is_visible() for one in maps.all()) == maps.count() * 6 // 40
    page.locator("#map summary").press("Enter")
    assert all(one.is_visible() for one in page.locator("figure.map").all())
    page.close()


def test_legends_and_bars_keep_their_colours_where_a_system_forces_its_own(browser: Browser, page_path: Path) -> None:
    page = browser.new_page(forced_colors="active")
    page.goto(page_path.as_uri())
    for place in (".key .swatch", ".stack span", ".share i"):
        seen = page.evaluate(
            f"getComputedStyle(document.querySelector('#gallery {place}, #labels {place}')).backgroundColor"
        )
        assert seen not in ("rgba(0, 0, 0, 0)", page.evaluate("getComputedStyle(document.body).backgroundColor")), place
    page.close()


LEFT_OF = """(element, words) => {
  const nodes = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  for (let node = nodes.nextNode(); node; node = nodes.nextNode()) {
    const at = node.data.indexOf(words);
    if (at < 0) continue;
    const range = document.createRange();
    range.setStart(node, at);
    range.setEnd(node, at + 1);
    return range.getBoundingClientRect().left;
  }
}"""


def test_names_from_right_to_left_leave_the_figures_behind_them_in_their_place(
    browser: Browser, odd_path: Path, made_up: ModuleType
) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(odd_path.as_uri())
    page.emulate_media(media="print")  # with everything unfolded
    name = made_up.RIGHT_TO_LEFT
    behind = {".place": "47.01", "figure.map:last-child figcaption": "4 chips"}
    for place, figure in behind.items():
        shown = page.locator(place, has_text=name).last
        assert shown.evaluate(LEFT_OF, figure) > shown.evaluate(LEFT_OF, name), place
    assert page.locator("h1").evaluate("e => getComputedStyle(e).direction") == "rtl"
    page.close()


def test_tables_and_what_takes_the_focus_have_names(browser: Browser, page_path: Path) -> None:
    page = browser.new_page()
    page.goto(page_path.as_uri())
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    seen = [node for node in nodes if not node.get("ignored")]

    def is_focusable(node: Any) -> bool:
        return any(one["name"] == "focusable" and one["value"]["value"] for one in node.get("properties", ()))

    tables = [node for node in seen if node["role"]["value"] == "table"]
    focusable = [node for node in seen if is_focusable(node) and node["role"]["value"] != "RootWebArea"]
    assert len(tables) > 5
    assert len(focusable) > 20
    assert [node["role"]["value"] for node in (*tables, *focusable) if not node.get("name", {}).get("value")] == []
    page.close()
