"""Texts that point, in the forms of grounding sets: LLaVA and GeoChat conversations, RefCOCO instances and expressions.

Boxes and masks are on the label's grid in the dataset; here they are scaled to the picture's pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.sample import Sample
from shards.export_texts import Record, TextExporter, code_block
from shards.exporters import ExportJob


class LlavaExporter(TextExporter):
    """``<split>.json``: conversations with an image token, task tokens and boxes as percent of the picture."""

    title = "conversations (LLaVA, GeoChat)"
    notes = (
        *TextExporter.notes,
        "Boxes stand as `{<x0><y0><x1><y1>|<angle>}` in whole percent of width and height: the corners of the oriented "
        "box before it is turned about its centre by `angle` degrees clockwise. Phrases stand in `<p>...</p>`.",
        "Task tokens: `[grounding]` for a description with boxes, `[refer]` for an expression.",
    )

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`: one entry per dialogue, description, question or expression."""
        told = [(text["text_id"], turns) for text in sample.texts if (turns := conversation(text))]
        picture = self.save_picture(sample, told)
        if picture is None:
            return
        for text_id, turns in told:
            rows = [
                {"from": "human" if n % 2 == 0 else "gpt", "value": f"<image>\n{turn}" if n == 0 else turn}
                for n, turn in enumerate(turns)
            ]
            entry = {"id": text_id, "image": picture[0], "conversations": rows}
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


def conversation(text: Record) -> list[str]:
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
        return ["[grounding] Describe the image and point to what you name.", with_boxes(text)]
    if text["kind"] == "referring":
        asked = f"[refer] Where is <p>{text['text'][:1].lower()}{text['text'][1:]}</p>?"
        return [asked, "There is none." if text["empty_target"] else "".join(boxes_of(text, text["spans"][0]))]
    return []


def with_boxes(text: Record) -> str:
    """The text with its phrases marked and followed by their boxes."""
    out, end = "", 0
    for span in text["spans"]:
        boxes = "".join(boxes_of(text, span))
        if boxes:
            out += f"{text['text'][end : span['start']]}<p>{span['phrase']}</p> {boxes}"
            end = span["end"]
    return out + str(text["text"])[end:]


def boxes_of(text: Record, span: Mapping[str, Any]) -> list[str]:
    """Oriented boxes of a span in whole percent."""
    found = []
    for target in span["targets"]:
        geometry = text["geometries"][target]
        if geometry["kind"] == "oriented_box":
            height, width = geometry["shape_yx"]
            cx, cy, w, h, degrees = geometry["values"]
            edges = ((cx - w / 2) / width, (cy - h / 2) / height, (cx + w / 2) / width, (cy + h / 2) / height)
            told = "".join(f"<{min(100, max(0, round(100 * edge)))}>" for edge in edges)
            found.append(f"{{{told}|<{round(degrees)}>}}")
    return found


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
        name, (height, width) = picture
        image = len(self._images) + 1
        self._images.append({"id": image, "file_name": name, "height": height, "width": width})
        known: dict[tuple[Any, ...], int] = {}
        for text in texts:
            annotation, category = -1, -1
            if not text["empty_target"]:
                annotation, category = self._annotation(text, image, (height, width), known)
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
        self, text: Record, image: int, shape: tuple[int, int], known: dict[tuple[Any, ...], int]
    ) -> tuple[int, int]:
        """(id, category) of the object that an expression means; one annotation per object."""
        span = text["spans"][0]
        shapes = {text["geometries"][t]["kind"]: text["geometries"][t] for t in span["targets"]}
        box, mask = shapes["box"], shapes["mask"]
        category = self._categories.setdefault(span["class_name"], len(self._categories) + 1)
        key = (category, *box["values"])
        if key not in known:
            pixels = scaled(mask, shape)
            rows, columns = np.nonzero(pixels)
            x0, y0 = int(columns.min()), int(rows.min())
            size = [int(columns.max()) + 1 - x0, int(rows.max()) + 1 - y0]
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1, "image_id": image, "category_id": category,
                    "bbox": [x0, y0, *size], "area": int(pixels.sum()), "iscrowd": 0,
                    "segmentation": {"size": list(shape), "counts": coco_counts(pixels)},
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


def scaled(mask: Mapping[str, Any], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask on the picture's grid, by the nearest pixel."""
    height, width = mask["shape_yx"]
    flat = np.repeat(np.arange(len(mask["rle"])) % 2 == 1, np.asarray(mask["rle"], dtype=np.int64))
    pixels = flat.reshape(height, width)
    if (height, width) == shape:
        return np.asarray(pixels)
    rows = np.arange(shape[0]) * height // shape[0]
    columns = np.arange(shape[1]) * width // shape[1]
    return np.asarray(pixels[np.ix_(rows, columns)])


def coco_counts(pixels: NDArray[np.bool_]) -> list[int]:
    """Run lengths as COCO has them: column by column, beginning with zeros."""
    flat = pixels.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = [int(n) for n in np.diff(np.concatenate([[0], changes, [flat.size]]))]
    return [0, *runs] if flat[0] else runs
