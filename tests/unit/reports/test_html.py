from __future__ import annotations

import dataclasses
import itertools
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
import shapely

from reports import html
from reports.headline import headline
from reports.html import Quicklook, ReportInputs, count_line, render_report, write_report
from shards.tables import chips_table


class Page(HTMLParser):
    """Tags, ids, image sources and running text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def source(inputs: ReportInputs) -> str:
    return render_report(inputs)


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


def test_names_from_outside_are_escaped(source: str, page: Page) -> None:
    assert "script" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count('<script>alert("x")</script>') >= 2  # shown as text: the caption and the sample
    assert "<script" not in source


def test_page_fetches_nothing(source: str, page: Page) -> None:
    links = [value or "" for name, value in page.attributes if name in ("src", "href")]
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    assert not re.search(r"url\(|@import|http-equiv=.refresh", source)
    assert {"link", "iframe", "object"}.isdisjoint(page.tags)


def test_sections_that_the_navigation_names_are_there(page: Page) -> None:
    anchors = {(value or "")[1:] for name, value in page.attributes if name == "href"}
    ids = {value for name, value in page.attributes if name == "id"}
    assert anchors <= ids
    assert {"map", "gallery", "labels", "registration", "outcomes", "texts", "licences", "load"} <= anchors


def test_counts_add_up_on_the_page(page: Page) -> None:
    words = " ".join(page.text.split())
    assert "30planned = 26kept + 3rejected + 1failed" in words
    assert "does not add up" not in words


def test_the_first_screen_says_when_how_large_whose_and_what_changed(inputs: ReportInputs) -> None:
    days = [[datetime(2022, 6, 16, tzinfo=UTC), None], [datetime(2021, 7, 20, tzinfo=UTC)], *[[]] * 24]
    chips = inputs.chips.append_column("s2.datetimes", pa.array(days, pa.list_(pa.timestamp("us", "UTC"))))
    layers = [dict(layer, shape_yx=(64, 96)) for layer in inputs.dataset_json["modalities"]]
    diff = {"added": 3, "changed": 1200, "removed": 0, "touched": {}}
    later = {**inputs.dataset_json, "modalities": layers, "parent_version": "20261119T1", "diff": diff}
    assert headline(later, chips, {"passed": False}) == [
        ("acquired", "2021-07-20 to 2022-06-16"),
        ("finest layer", "s2_10m, 96 x 64 pixels of 10 m"),
        ("licences", "ODbL-1.0 (share alike)"),
        ("against its parent", "3 chips added, 1,200 changed, 0 removed"),
        ("validation", "did not pass"),
    ]
    top = Page(render_report(dataclasses.replace(inputs, dataset_json=later, chips=chips))).text.partition("Map")[0]
    assert "2021-07-20 to 2022-06-16" in top


def test_the_page_says_where_every_estimate_comes_from() -> None:
    estimates = {"version": "V1", "chips": 9, "touched_since": 2, "bands": {"s2": "V3"}, "parts": {"shifts": "V2"}}
    told = html.changes({"estimates": estimates | {"datasets": {"V1": "elsewhere"}}})["parameters estimated"]
    of_others = "statistics of s2 in V3; shifts of acquisitions in V2"
    assert told == f"in V1 of the dataset elsewhere over 9 chips; 2 touched since; {of_others}"


def test_counts_that_do_not_add_up_are_called_out(inputs: ReportInputs) -> None:
    document = {**inputs.dataset_json, "counts": {"planned": 31, "kept": 26, "rejected": {}, "failed": {}}}
    assert "does not add up" in render_report(dataclasses.replace(inputs, dataset_json=document))


def test_count_line_sums_reasons() -> None:
    counts = {
        "planned": 9,
        "kept": 4,
        "rejected": {"cloudy": 2, "nodata": 1},
        "failed": {"ThrottledError": 2},
    }
    assert count_line(counts) == {"planned": 9, "kept": 4, "rejected": 3, "failed": 2, "adds_up": True}


def test_same_inputs_give_the_same_page(inputs: ReportInputs, source: str) -> None:
    assert render_report(inputs) == source


def test_a_chip_over_the_antimeridian_is_shown_where_it_lies(inputs: ReportInputs) -> None:
    halves = [shapely.box(179.99, -17.0, 180.0, -16.99), shapely.box(-180.0, -17.0, -179.96, -16.99)]
    row = {
        "chip_id": "a",
        "split": "val",
        "region": "fiji",
        "geometry_wkb": shapely.to_wkb(shapely.MultiPolygon(halves)),
    }
    pictures = {"a": next(iter(inputs.quicklooks.values()))}
    words = Page(render_report(dataclasses.replace(inputs, chips=chips_table([row]), quicklooks=pictures))).text
    assert "fiji, 16.9950° S, 179.9850° W" in words


def test_headings_leave_no_level_out_and_tables_are_reached_by_key(source: str, page: Page) -> None:
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert "<th></th>" not in source
    named = re.findall(r'class="scroll" tabindex="0" role="group" aria-label="[^"]+"', source)
    assert source.count('class="scroll"') == len(named) > 3
    assert not re.findall(r"<table(?![^>]* aria-label=.[^\"])", source)


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _over(colour: str, ground: str, opacity: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * c + (1 - opacity) * g):02x}" for c, g in pairs)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_stand_out_from_what_they_stand_on(source: str, scheme: int) -> None:
    """WCAG 2.2, success criterion 1.4.3: 4.5 to 1."""
    names = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", source, re.DOTALL)[scheme]))
    for ground in ("ground", "card"):
        for ink in ("ink", "soft", "accent", "wrong", "train", "val", "test", "other"):
            assert _contrast(names[ink], names[ground]) >= 4.5, (ink, ground)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_splits_and_bars_are_told_apart_without_hues(source: str, scheme: int) -> None:
    """On the map by lightness, as grey paper and eyes that mix up green and brown need it; bars stand out by 3 to 1
    (WCAG 2.2, success criterion 1.4.11).
    """
    names = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", re.findall(r":root \{(.*?)\}", source, re.DOTALL)[scheme]))
    opacities = {
        split: float(re.findall(rf"\.chip-{split} {{[^}}]*fill-opacity: ([.\d]+)", source)[0])
        for split in ("val", "test")
    }
    opacities["train"] = float(re.findall(r"\.chip {[^}]*fill-opacity: ([.\d]+)", source)[0])
    fills = [_over(names[split], names["card"], opacity) for split, opacity in opacities.items()]
    for one, other in itertools.combinations(fills, 2):
        assert _contrast(one, other) >= 1.5
    for ground in ("ground", "card"):
        assert _contrast(names["bar"], names[ground]) >= 3.0


def test_code_to_load_reads_one_split_and_the_codes_are_told(page: Page) -> None:
    assert 'if shard["split"] == "train"]' in page.text
    assert "3 cloud shadow" in page.text


def test_the_fused_label_stands_among_the_licences(inputs: ReportInputs) -> None:
    fused = {"licence": "ODbL-1.0", "attribution": "(c) all of them", "share_alike": True, "non_commercial": False}
    document = {**inputs.dataset_json, "fusion": {"licences": [fused]}}
    words = "".join(Page(render_report(dataclasses.replace(inputs, dataset_json=document))).text.split())
    assert "labelfusedofthelabelsourcesODbL-1.0,sharealike(c)allofthem" in words


def test_licence_duties_are_shown(page: Page) -> None:
    words = " ".join(page.text.split())
    assert "ODbL-1.0, share alike" in words
    assert "(c) OpenStreetMap contributors" in words


def test_gallery_stays_under_its_size_and_says_what_it_left_out(
    inputs: ReportInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_chip = sum(len(picture.png) for picture in inputs.quicklooks["u32-0000"])
    monkeypatch.setattr(html, "MAX_PNG_BYTES", int(one_chip * 1.5))
    source = render_report(inputs)
    assert source.count('class="card"') == 1
    assert "3 more chips with pictures left out" in source


def test_each_legend_has_its_own_key_of_the_classes_that_are_shown(inputs: ReportInputs) -> None:
    """The same colour stands for other things in other products."""
    fields = {"classes": [{"name": "Farmland", "colour": "#f096ff"}, {"name": "Never", "colour": "#000000"}]}
    legends = {**inputs.dataset_json["legends"], "osm": fields}
    legends["worldcover"] = legends["label"]
    image = inputs.quicklooks["u32-0000"][0].png
    shown = [("worldcover", ("Water",)), ("osm", ("Farmland",)), ("label", ("Cropland",))]
    pictures = {"u32-0000": [Quicklook(title, image, classes) for title, classes in shown]}
    document = {**inputs.dataset_json, "legends": legends}
    words = Page(render_report(dataclasses.replace(inputs, dataset_json=document, quicklooks=pictures))).text
    assert "worldcover, label:CroplandWater" in words
    assert "osm:Farmland" in words
    assert "Never" not in words


def test_a_gallery_of_which_nothing_fits_says_so(inputs: ReportInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "MAX_PNG_BYTES", 10)
    source = render_report(inputs)
    assert 'href="#gallery"' in source
    assert "4 more chips with pictures left out" in source


def test_pictures_that_a_validation_wants_are_counted_too(
    inputs: ReportInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_chip = sum(len(picture.png) for picture in inputs.quicklooks["u32-0000"])
    monkeypatch.setattr(html, "MAX_PNG_BYTES", int(one_chip * 2.5))
    gates = {"gates": [{"gate": "labels", "said": "look", "chips": list(inputs.quicklooks)}]}
    source = render_report(dataclasses.replace(inputs, suspicious=inputs.quicklooks, validation=gates))
    assert source.count("<img ") == 4


def test_a_quicklook_must_be_a_png() -> None:
    with pytest.raises(ValueError, match="is no PNG"):
        Quicklook("s2", b"<svg onload=alert(1)>")


def test_a_version_without_labels_texts_and_pictures_has_a_page(inputs: ReportInputs) -> None:
    columns = [name for name in inputs.chips.column_names if not name.startswith(("label.", "caption"))]
    document = {
        "format": 1,
        "name": "bare",
        "version": "20261120T101500Z-00000000",
        "counts": {"planned": 26, "kept": 26, "rejected": {}, "failed": {}},
    }
    bare = ReportInputs(document, inputs.chips.select(columns), inputs.outcomes[:26], pa.table({}))
    source = render_report(bare)
    assert 'id="map"' in source
    assert 'id="texts"' not in source
    assert 'id="labels"' not in source


def test_an_empty_version_has_a_page(inputs: ReportInputs) -> None:
    counts = {"planned": 1, "kept": 0, "rejected": {"too_cloudy": 1}, "failed": {}}
    document = {**inputs.dataset_json, "counts": counts, "shards": []}
    empty = ReportInputs(document, inputs.chips[:0], inputs.outcomes[-2:], inputs.texts[:0])
    assert "too_cloudy" in render_report(empty)


def test_write_report_puts_the_page_where_the_format_says(inputs: ReportInputs, source: str, tmp_path: Path) -> None:
    path = write_report(tmp_path, inputs)
    assert path == tmp_path / "report" / "index.html"
    assert path.read_text(encoding="utf-8") == source


def test_shifts_of_corrected_dates_are_said_to_be_those_before(inputs: ReportInputs, page: Page) -> None:
    said = "Of corrected dates it is the shift as it was found"
    assert said not in page.text
    place = inputs.chips.column_names.index("s1.registered")
    moved = pa.array([["corrected", "measured"]] * len(inputs.chips), inputs.chips.schema.field(place).type)
    chips = inputs.chips.set_column(place, "s1.registered", moved)
    assert said in Page(render_report(dataclasses.replace(inputs, chips=chips))).text
