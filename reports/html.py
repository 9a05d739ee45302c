"""The HTML report of a version: one self-contained page without scripts, from tables and PNG quicklooks.

Everything that is shown came from outside at some point (OSM names, captions, catalog ids): the template
autoescapes all of it, and nothing is marked as safe.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import shapely

from reports import label_tables, tables
from reports.blocks import Block, blocks
from reports.charts import place_text
from reports.headline import TIME_ENDINGS, headline
from reports.outcomes import outcome_rows
from reports.validation import validation_section
from schemas.antimeridian import centre
from schemas.dataset import FUSED_SOURCE, PARTS, version_name
from shards.guard import publishable

log = logging.getLogger(__name__)

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PNG_BYTES = 4_000_000
"""Quicklooks on the page; base64 makes a third more of it, and the page stays under 6 MB."""

MAPS_OPEN = 6
"""Regions whose maps are seen at once, in each section that has maps; those of all others are folded: of forty
regions they were a long way to scroll on a telephone before the first table."""


@dataclass(frozen=True, slots=True)
class Quicklook:
    """One picture of a chip."""

    title: str
    """What it shows: ``s2 2022-06-16``."""
    png: bytes
    """The file's bytes."""
    classes: tuple[str, ...] = ()
    """Of a label layer: names of the classes that are on it."""

    def __post_init__(self) -> None:
        if not self.png.startswith(PNG_SIGNATURE):
            raise ValueError(f"quicklook {self.title!r} is no PNG")

    @property
    def data_uri(self) -> str:
        """The picture as a ``data:`` URI."""
        return "data:image/png;base64," + base64.b64encode(self.png).decode("ascii")


CHIP_COLUMNS = ("chip_id", "geometry", "bbox", "region", "split", "label.fractions", "label.agreement", "caption")
LAYER_ENDINGS = (
    ".item_ids", ".clear_fraction", ".gap_days", ".registered", ".shift_dx_m", ".shift_dy_m", ".shift_sigma_m",
    ".shift_reference", *TIME_ENDINGS,
)  # fmt: skip


def is_shown(column: str) -> bool:
    """Whether the page has anything of a column of ``chips.parquet``."""
    return column in CHIP_COLUMNS or column.endswith(LAYER_ENDINGS)


@dataclass(frozen=True)
class ReportInputs:
    """What the page is made from: the tables of a version as they stand, and pictures of some chips."""

    dataset_json: Mapping[str, Any]
    """``dataset.json``."""
    chips: pa.Table
    """``chips.parquet``, or those of its columns that `is_shown` names: one row per kept chip."""
    outcomes: pa.Table
    """``outcomes.parquet``, or its `reports.outcomes.OUTCOME_COLUMNS`: one row per planned chip."""
    texts: pa.Table
    """``texts.parquet``, or its `reports.tables.TEXT_COLUMNS`; without rows where the recipe asks for none."""
    quicklooks: Mapping[str, Sequence[Quicklook]] = field(default_factory=dict)
    """Chip id -> its pictures, in the order of the gallery."""
    validation: Mapping[str, Any] | None = None
    """The newest ``validations/<version>/<time>.json``, if the version was validated."""
    suspicious: Mapping[str, Sequence[Quicklook]] = field(default_factory=dict)
    """Chip id -> pictures, of chips that the validation wants looked at."""


@dataclass(frozen=True, slots=True)
class Card:
    """One chip of the gallery."""

    chip_id: str
    """Which chip."""
    split: str
    """train, val or test."""
    region: str
    """Where it lies; empty where that has no name."""
    place: str
    """Its centre, for people; empty where it has no outline."""
    caption: str
    """Its first short caption."""
    pictures: tuple[Quicklook, ...]
    """What it looks like."""
    shares: tuple[tuple[str, str, float], ...]
    """(class, colour, fraction), the largest first."""


def render_report(inputs: ReportInputs) -> str:
    """The page.

    Returns:
        One HTML document: CSS and pictures inline, nothing fetched, no script. Same inputs, same text.
    """
    return _template().render(page=_page(inputs))


@cache
def _template() -> jinja2.Template:
    """``page.html.jinja``, compiled once in a process."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string((resources.files("reports") / "page.html.jinja").read_text(encoding="utf-8"))


def write_report(version_dir: Path, inputs: ReportInputs) -> Path:
    """Writes ``report/index.html`` below a version that is being published, and returns its path."""
    path = version_dir / "report" / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = render_report(inputs)
    path.write_text(text, encoding="utf-8")
    log.info("report of %s: %d bytes", inputs.dataset_json.get("version", ""), len(text))
    return path


def _page(inputs: ReportInputs) -> dict[str, Any]:
    """Everything the template shows, by name."""
    document = inputs.dataset_json
    legend = document.get("legends", {}).get("label", {})
    suspicious, suspicious_bytes = _within(inputs.suspicious, MAX_PNG_BYTES // 2)
    gallery, _ = _within(inputs.quicklooks, MAX_PNG_BYTES - suspicious_bytes)
    cards = _cards(inputs.chips, gallery, tables.legend_colours(legend))
    recipe = document.get("recipe", {})
    split_table = document.get("splits", {})
    split_sizes = dict(tables.counted(inputs.chips, "split"))
    maps, rows = tables.region_maps(inputs.chips), tables.modality_rows(inputs.chips)
    regions = max(len(tables.counted(inputs.chips, "region")), len(maps))
    return {
        "title": document.get("title") or document["name"],
        "name": document["name"],
        "version": document["version"],
        "parent_version": document.get("parent_version") or "",
        "created": document.get("created", ""),
        "description": recipe.get("description", ""),
        "code_version": document.get("code_version", ""),
        "recipe_hash": document.get("recipe_hash", ""),
        "content_hash": document.get("content_hash", ""),
        "private": bool(document.get("private", False)),
        "counts": count_line(document.get("counts", {})),
        "headline": [Block("", (), tuple(headline(document, inputs.chips, inputs.validation)))],
        "tiles": _tiles(inputs, regions),
        "maps": maps,
        "maps_left_out": regions - len(maps),
        "maps_open": MAPS_OPEN,
        "splits": [(name, split_sizes[name]) for name in tables.split_order(split_sizes)],
        "split_order": tables.split_order(split_sizes),
        "split_facts": blocks({k: v for k, v in split_table.items() if k not in ("counts", "leakage")}),
        "leakage": blocks(split_table.get("leakage") or {}),
        "cards": cards,
        "cards_left_out": len(inputs.quicklooks) - len(cards),
        "picture_keys": _picture_keys(cards, document.get("legends", {})),
        "legend_title": legend.get("title", ""),
        "class_shares": tables.class_shares(inputs.chips, legend),
        "fusion": blocks(label_tables.fusion_facts(document.get("fusion") or {})),
        **label_tables.label_sections(document.get("fusion") or {}, inputs.chips, legend, maps),
        "layers": list(document.get("modalities", ())),
        "modality_rows": rows,
        "is_corrected": any("corrected" in row.statuses for row in rows),
        "shift_histograms": tables.shift_histograms(inputs.chips),
        "clear_histograms": tables.clear_histograms(inputs.chips),
        "gap_histograms": tables.gap_histograms(inputs.chips),
        "changes": blocks(changes(document)),
        "outcomes": outcome_rows(inputs.outcomes),
        "text_counts": [
            (column, tables.counted(inputs.texts, column)) for column in ("kind", "verification", "backend", "model")
        ],
        "text_facts": blocks(document.get("texts") or {}) + blocks(_costs(document)),
        "text_samples": tables.text_samples(inputs.texts),
        "sources": [*document.get("sources", ()), *_fused_sources(document)],
        "has_shards": bool(document.get("shards")),
        "zarr": dict(document.get("zarr") or {}),
        "software": sorted(document.get("software", {}).items()),
        "validation": validation_section(inputs.validation),
        "suspicious": suspicious,
    }


def count_line(counts: Mapping[str, Any]) -> dict[str, Any]:
    """planned, kept, rejected, failed as numbers, and whether the first is the sum of the others.

    >>> count_line({"planned": 7, "kept": 4, "rejected": {"cloudy": 2}, "failed": {"ThrottledError": 1}})
    {'planned': 7, 'kept': 4, 'rejected': 2, 'failed': 1, 'adds_up': True}
    """

    def total(value: Any) -> int:
        return sum(int(part) for part in value.values()) if isinstance(value, Mapping) else int(value or 0)

    line = {name: total(counts.get(name, 0)) for name in ("planned", "kept", "rejected", "failed")}
    return {**line, "adds_up": line["planned"] == line["kept"] + line["rejected"] + line["failed"]}


def changes(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a version changed against its parent, and where its estimated parameters come from, for people."""
    diff = dict(document.get("diff") or {})
    touched = diff.pop("touched", {}) or {}
    estimates = document.get("estimates") or {}
    shown: dict[str, Any] = {"made from": document.get("parent_version") or "nothing: the first version"}
    shown |= {f"chips {name}": diff[name] for name in ("added", "changed", "unchanged", "removed") if name in diff}
    shown |= {name.replace("_", " "): value for name, value in diff.items() if "shard" in name}
    if estimates:
        where = f"in {version_name(estimates, estimates['version'], '')} over {estimates['chips']} chips"
        since = f"; {estimates['touched_since']} touched since" if estimates["touched_since"] else ""
        apart = {f"statistics of {group}": of for group, of in (estimates.get("bands") or {}).items()}
        apart |= {PARTS.get(name, name): of for name, of in (estimates.get("parts") or {}).items()}
        since += "".join(f"; {what} in {version_name(estimates, of, '')}" for what, of in apart.items())
        shown["parameters estimated"] = f"{where}{since}"
    return shown | ({"touched, by component": touched} if touched else {})


def _tiles(inputs: ReportInputs, regions: int) -> list[tuple[str, str]]:
    """(number, what it counts), the headline figures."""
    document = inputs.dataset_json
    shards = document.get("shards", ())
    figures = [
        (len(inputs.chips), "chip", " kept"),
        (len({str(layer.get("modality", "")) for layer in document.get("modalities", ())}), "modality", ""),
        (regions, "region", ""),
        (len(inputs.texts), "text", ""),
        (len(shards), "tar shard", ""),
    ]
    shown = [(f"{count:,}", _plural(count, noun) + rest) for count, noun, rest in figures if count]
    megabytes = sum(int(shard.get("bytes", 0)) for shard in shards) / 1e6
    return [*shown, (f"{megabytes:,.1f} MB", "in tar shards")] if shards else shown


def _plural(count: int, noun: str) -> str:
    """The noun as it follows the count.

    >>> _plural(1, "chip"), _plural(2, "chip"), _plural(3, "modality")
    ('chip', 'chips', 'modalities')
    """
    if count == 1:
        return noun
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def _within(pictures: Mapping[str, Sequence[Quicklook]], most_bytes: int) -> tuple[dict[str, Sequence[Quicklook]], int]:
    """The chips whose pictures fit into so many bytes, and the bytes that they take."""
    found: dict[str, Sequence[Quicklook]] = {}
    spent = 0
    for chip_id, shown in pictures.items():
        size = sum(len(picture.png) for picture in shown)
        if spent + size <= most_bytes:
            found[chip_id] = shown
            spent += size
    return found, spent


def _cards(chips: pa.Table, gallery: Mapping[str, Sequence[Quicklook]], colours: Mapping[str, str]) -> list[Card]:
    """The gallery."""
    by_id = tables.rows_of(chips, gallery, CHIP_COLUMNS)
    cards: list[Card] = []
    for chip_id, pictures in gallery.items():
        row = by_id.get(chip_id, {})
        fractions = tables.fractions_of(row.get("label.fractions"))
        ordered = sorted(fractions.items(), key=lambda pair: (-pair[1], pair[0]))
        cards.append(
            Card(
                chip_id=chip_id,
                split=str(row.get("split", "")),
                region=str(row.get("region") or ""),
                place=_place(row),
                caption=publishable(row.get("caption") or ""),
                pictures=tuple(pictures),
                shares=tuple((name, colours.get(name, "#888888"), share) for name, share in ordered if share > 0),
            )
        )
    return cards


def _picture_keys(cards: Sequence[Card], legends: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(layers, [(class, colour), ...]) of the label pictures: one key for each legend, of the classes that are there.

    Legends share colours: CORINE's fields are as pale as WorldCover's grass, OpenStreetMap's as its moss.
    """
    found: dict[tuple[tuple[str, str], ...], tuple[dict[str, None], set[str]]] = {}
    for picture in (picture for card in cards for picture in card.pictures if picture.classes):
        colours = tuple(tables.legend_colours(legends.get(picture.title, {})).items())
        layers, names = found.setdefault(colours, ({}, set()))
        layers[picture.title] = None
        names.update(picture.classes)
    keys = [
        (", ".join(layers), [pair for pair in colours if pair[0] in names])
        for colours, (layers, names) in found.items()
    ]
    if not keys and "label" in legends:
        keys.append(("label", list(tables.legend_colours(legends["label"]).items())))
    return keys


def _place(row: Mapping[str, Any]) -> str:
    geometry = shapely.from_wkb(row.get("geometry"))
    if geometry is None or geometry.is_empty:
        return ""
    middle = centre(geometry)
    return place_text(middle.y, middle.x, 4)


def _fused_sources(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lines of the fused label beside those of the sources."""
    licences = (document.get("fusion") or {}).get("licences") or ()
    return [{**FUSED_SOURCE, **told} for told in licences]


def _costs(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the texts cost, where a model was asked."""
    paid = dict((document.get("run") or {}).get("texts") or {})
    if not paid.get("calls"):
        return {}
    names = (
        "calls",
        "attempts",
        "tokens_in",
        "tokens_cached",
        "tokens_out",
        "cost",
        "currency",
        "max_cost",
        "per_1000",
    )
    whole = {name: paid[name] for name in names if name in paid}
    return {"cost": whole, "cost by fate": paid.get("cost_by_fate"), "cost by kind": paid.get("kinds")}
