"""Texts that point, in the forms of grounding sets: LLaVA and GeoChat conversations, RefCOCO instances and expressions.

Boxes and masks are on the label's grid in the dataset, which fills the chip; here they are on the picture's, which may
overhang the chip by a pixel where a layer is on its sensor's own lattice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.georef import Bounds, GeoRef
from schemas.sample import Sample
from shards.export_texts import Record, TextExporter, code_block
from shards.exporters import ExportJob


class LlavaExporter(TextExporter):
    """``<split>.json``: conversations with an image token, task tokens and boxes as percent of the picture."""

    title = "conversations (LLaVA, GeoChat)"
    notes = (
        *TextExporter.notes,
        "Boxes stand as `{<x0><y0><x1><y1>|<angle>}` in whole percent of width and height: the corners of the oriented "
        "box before it is turned about its centre, in pixels, by `angle` degrees clockwise; of a slanting object whose "
        "corners would leave the picture, its upright box. Phrases stand in `<p>...</p>`.",
        "Task tokens: `[grounding]` for a description with boxes, `[refer]` for an expression.",
    )

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`: one entry per dialogue, description, question or expression."""
        told = [text for text in sample.texts if conversation(text)]
        picture = self.save_picture(sample, told)
        if picture is None:
            return
        name, georef = picture
        window = window_of(sample.row["bounds_xyxy"], georef)
        for text in told:
            rows = [
                {"from": "human" if n % 2 == 0 else "gpt", "value": f"<image>\n{turn}" if n == 0 else turn}
                for n, turn in enumerate(conversation(text, window))
            ]
            entry = {"id": text["text_id"], "image": name, "conversations": rows}
            self.array(f"{sample.split}.json").add(entry)

    def card(self) -> str:
        """See `Exporter.card`."""
        return code_block(
            "import json",
            "",
            f'rows = json.load(open("{self.first_file("*.json")}"))  # id, image, conversations',
        )


DESCRIBE = {
    "short": "Describe the image in one sentence.", "long": "Describe the image in detail.",
    "theme": "What kind of landscape is this?", "quantitative": "Describe the image in figures.",
}  # fmt: skip
"""Style of a caption -> what it answers."""


class Window(NamedTuple):
    """Where the chip lies in its picture, as shares of the picture's width and height from its upper left corner."""

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0


WHOLE = Window()
"""The chip fills its picture."""


def window_of(bounds: Bounds, picture: GeoRef) -> Window:
    """The window of a chip.

    Example:
        >>> window_of((5.0, 5.0, 45.0, 45.0), GeoRef(32631, 0.0, 50.0, 10.0, (5, 5)))
        Window(left=0.1, top=0.1, width=0.8, height=0.8)
    """
    x0, y0, x1, y1 = picture.bounds_xyxy
    left, bottom, right, top = bounds
    width, height = x1 - x0, y1 - y0
    return Window((left - x0) / width, (y1 - top) / height, (right - left) / width, (top - bottom) / height)


def conversation(text: Record, window: Window = WHOLE) -> list[str]:
    """Turns of a record, the user's first; empty where it makes no conversation."""
    if text["kind"] == "dialogue":
        return [turn["text"] for turn in text["turns"]]
    if text["kind"] == "qa":
        options = "".join(f"\n{letter}. {o}" for letter, o in zip("ABCDEF", text["options"], strict=False))
        return [f"{text['question']}{options}", text["answer"]]
    if text["kind"] == "caption" and text["style"] in DESCRIBE:
        return [DESCRIBE[text["style"]], text["text"]]
    if text["kind"] == "change":
        return ["What has changed between the two dates?", text["text"]]
    if text["kind"] == "grounded":
        return ["[grounding] Describe the image and point to what you name.", with_boxes(text, window)]
    if text["kind"] == "referring":
        asked = f"[refer] Where is <p>{text['text'][:1].lower()}{text['text'][1:]}</p>?"
        return [asked, "There is none." if text["empty_target"] else "".join(boxes_of(text, text["spans"][0], window))]
    return []


def with_boxes(text: Record, window: Window = WHOLE) -> str:
    """The text with its phrases marked and followed by their boxes."""
    out, end = "", 0
    for span in text["spans"]:
        boxes = "".join(boxes_of(text, span, window))
        if boxes:
            out += f"{text['text'][end : span['start']]}<p>{span['phrase']}</p> {boxes}"
            end = span["end"]
    return out + str(text["text"])[end:]


def boxes_of(text: Record, span: Mapping[str, Any], window: Window = WHOLE) -> list[str]:
    """Oriented boxes of a span in whole percent of the picture."""
    shapes = [text["geometries"][target] for target in span["targets"]]
    upright, turned = ([shape for shape in shapes if shape["kind"] == kind] for kind in ("box", "oriented_box"))
    return [told_box(*pair, window) for pair in zip(turned, upright, strict=True)]


def told_box(turned: Mapping[str, Any], upright: Mapping[str, Any], window: Window = WHOLE) -> str:
    """An object's box. Its numbers are those before it is turned, which must lie in the picture: cut at the border they
    would be of another box, with another centre. Where they do not (a tall object at the left edge is a long one turned
    by 90 degrees), they are those of the same box seen from its other side, else of the upright one.

    Args:
        turned: the object's ``oriented_box``.
        upright: its ``box``.
        window: where the chip lies in the picture.

    Example:
        >>> tall = {"values": (2.0, 78.0, 18.0, 4.0, -90.0), "shape_yx": (100, 100)}
        >>> told_box(tall, {"values": (0.0, 69.0, 4.0, 87.0)})
        '{<0><69><4><87>|<0>}'
    """
    cx, cy, w, h, degrees = turned["values"]
    ways = (
        ((cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2), degrees),
        ((cx - h / 2, cy - w / 2, cx + h / 2, cy + w / 2), degrees + (90.0 if degrees < 0 else -90.0)),
        (upright["values"], 0.0),
    )
    told = [(_percent(edges, turned["shape_yx"], window), angle) for edges, angle in ways]
    numbers, angle = next((one for one in told if min(one[0]) >= 0 and max(one[0]) <= 100), told[-1])
    return f"{{{''.join(f'<{number}>' for number in numbers)}|<{round(angle)}>}}"


def _percent(edges: Sequence[float], shape_yx: tuple[int, int], window: Window) -> list[int]:
    """Edges x0, y0, x1, y1 in pixels as whole percent of the picture."""
    height, width = shape_yx
    x0, x1 = (round(100 * (window.left + window.width * x / width)) for x in edges[::2])
    y0, y1 = (round(100 * (window.top + window.height * y / height)) for y in edges[1::2])
    return [x0, y0, x1, y1]


class RefCocoExporter(TextExporter):
    """``instances.json`` and ``refs.json``: objects with boxes and masks, and expressions for them; no pickle."""

    title = "instances and referring expressions (RefCOCO)"
    notes = (
        *TextExporter.notes,
        "Masks are uncompressed COCO run lengths, column by column. An expression for what is not there has `ann_id` "
        "-1 and `no_target` true, as in gRefCOCO.",
    )

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._categories: dict[str, int] = {}
        self._sentences = 0

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`."""
        texts = [t for t in sample.texts if t["kind"] == "referring"]
        picture = self.save_picture(sample, texts)
        if picture is None:
            return
        name, georef = picture
        (height, width), bounds = georef.shape_yx, sample.row["bounds_xyxy"]
        image = len(self._images) + 1
        self._images.append({"id": image, "file_name": name, "height": height, "width": width})
        known: dict[tuple[Any, ...], int] = {}
        for text in texts:
            annotation, category = -1, -1
            if not text["empty_target"]:
                annotation, category = self._annotation(text, image, (bounds, georef), known)
            self._sentences += 1
            raw = text["text"]
            sentence = {"sent_id": self._sentences, "raw": raw, "sent": raw.lower(), "tokens": raw.lower().split()}
            self.array("refs.json").add(
                {
                    "ref_id": self._sentences, "ann_id": annotation, "image_id": image, "file_name": name,
                    "category_id": category, "split": sample.split, "sentences": [sentence],
                    "sent_ids": [self._sentences], "no_target": bool(text["empty_target"]),
                }
            )  # fmt: skip

    def _annotation(
        self, text: Record, image: int, place: tuple[Bounds, GeoRef], known: dict[tuple[Any, ...], int]
    ) -> tuple[int, int]:
        """(id, category) of the object that an expression means; one annotation per object."""
        span = text["spans"][0]
        shapes = {text["geometries"][t]["kind"]: text["geometries"][t] for t in span["targets"]}
        box, mask = shapes["box"], shapes["mask"]
        category = self._categories.setdefault(span["class_name"], len(self._categories) + 1)
        key = (category, *box["values"])
        if key not in known:
            pixels = scaled(mask, *place)
            rows, columns = np.nonzero(pixels)
            x0, y0 = int(columns.min()), int(rows.min())
            size = [int(columns.max()) + 1 - x0, int(rows.max()) + 1 - y0]
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1, "image_id": image, "category_id": category,
                    "bbox": [x0, y0, *size], "area": int(pixels.sum()), "iscrowd": 0,
                    "segmentation": {"size": list(pixels.shape), "counts": coco_counts(pixels)},
                }
            )  # fmt: skip
            known[key] = len(self._annotations)
        return known[key], category

    def finish(self) -> None:
        """See `Exporter.finish`."""
        instances = self.array("instances.json")
        instances.whole(
            {
                "images": self._images,
                "annotations": self._annotations,
                "categories": [{"id": number, "name": name} for name, number in self._categories.items()],
            }
        )
        super().finish()

    def card(self) -> str:
        """See `Exporter.card`."""
        return code_block(
            "from pycocotools.coco import COCO",
            "",
            'coco = COCO("instances.json")  # masks: coco.annToMask(annotation)',
        )


def scaled(mask: Mapping[str, Any], bounds: Bounds, picture: GeoRef) -> NDArray[np.bool_]:
    """A mask on the picture's grid: what lies under the centres of its pixels; of an object between them all, the
    pixels above it.

    Args:
        mask: run lengths on the label's grid.
        bounds: of the chip, which the label's grid fills.
        picture: the grid wanted.
    """
    height, width = mask["shape_yx"]
    flat = np.repeat(np.arange(len(mask["rle"])) % 2 == 1, np.asarray(mask["rle"], dtype=np.int64))
    pixels = flat.reshape(height, width)
    left, bottom, right, top = bounds
    labels = GeoRef(picture.epsg, left, top, (right - left) / width, (height, width), (top - bottom) / height)
    rows, columns = _cells(labels, picture.x_centres(), picture.y_centres())
    is_row, is_column = (rows >= 0) & (rows < height), (columns >= 0) & (columns < width)
    found = np.zeros(picture.shape_yx, np.bool_)
    found[np.ix_(is_row, is_column)] = pixels[np.ix_(rows[is_row], columns[is_column])]
    if not found.any():
        y, x = np.nonzero(pixels)
        found[_cells(picture, labels.x_centres()[x], labels.y_centres()[y])] = True
    return found


def _cells(grid: GeoRef, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of places by their y, columns by their x; also beyond the grid."""
    rows, columns = (grid.y0 - y) / grid.height, (x - grid.x0) / grid.pixel_size
    return np.floor(rows).astype(np.intp), np.floor(columns).astype(np.intp)


def coco_counts(pixels: NDArray[np.bool_]) -> list[int]:
    """Run lengths as COCO has them: column by column, beginning with zeros."""
    flat = pixels.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = [int(n) for n in np.diff(np.concatenate([[0], changes, [flat.size]]))]
    return [0, *runs] if flat[0] else runs
