"""Texts in the forms of published caption datasets: one picture per chip, and what stands beside it.

Layouts follow the published documentation and repositories (ChatEarthNet, RSTeller, SkyScript, RSVLM-QA); their own
loaders were not at hand. What a form cannot hold (facts, checks, licence per text) stays in ``texts.parquet``.
"""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any

import numpy as np
from PIL import Image

from schemas.errors import DatasetError
from schemas.georef import GeoRef
from schemas.sample import Sample
from shards.export_layers import band_names, shown_bands, stack, tables_of, thumbnail
from shards.exporters import ExportJob

Record = Mapping[str, Any]


class TextExporter:
    """What the forms share: the picture of a chip, and its texts by kind and style.

    Args:
        job: what is exported.
    """

    title = ""
    members: tuple[str, ...] = ("texts",)
    order = "shards"
    takes_samples_per_file = False
    left_out = 0
    notes: tuple[str, ...] = (
        "Pictures are 8 bit, red, green and blue where the first modality has them, stretched between the 2nd and 98th "
        "percentile of the clearest date.",
    )
    pictures = True

    def __init__(self, job: ExportJob) -> None:
        self.job = job
        self.files = ExitStack()
        modality = job.dataset.layer(job.groups[0]).modality
        self._clear = job.dataset.document.clear_codes(modality)
        self._tables = tables_of(job.dataset, job.groups, modality)
        if self.pictures:
            (job.folder / "images").mkdir()
        self._arrays: dict[str, JsonArray] = {}

    def array(self, name: str) -> JsonArray:
        """The JSON list of that name, open for more."""
        if name not in self._arrays:
            self._arrays[name] = JsonArray(self.open(name))
        return self._arrays[name]

    def open(self, name: str) -> IO[str]:
        """A text file of the export, open until its end."""
        path = self.job.folder / name
        return self.files.enter_context(path.open("w", newline="", encoding="utf-8"))

    def finish(self) -> None:
        """See `Exporter.finish`.

        Raises:
            DatasetError: no chip holds a text of this form.
        """
        if self.left_out == len(self.job.chip_ids):
            what = "no chip holds a text of this form"
            raise DatasetError(what, where=self.job.dataset.name, mend="the kinds of captions in the recipe")
        for array in self._arrays.values():
            array.end()
        self.files.close()

    def abandon(self) -> None:
        """See `Exporter.abandon`."""
        self.files.close()

    def picture(self, sample: Sample) -> tuple[bytes, GeoRef] | None:
        """PNG of the clearest date and its grid, None where the chip has none of the first modality."""
        found = stack(sample, self._tables)
        if found is None:
            return None
        shares = [(float(np.isin(mask, self._clear).mean()), float((mask != 0).mean())) for mask in found.valid]
        date = shares.index(max(shares))
        names = band_names(self._tables)
        planes = found.data[date][[names.index(name) for name in shown_bands(self._tables)]]
        return thumbnail(planes, found.valid[date]), found.georef

    def first_file(self, pattern: str) -> str:
        """Name of a finished file that a card can show: of the train split where that is exported."""
        names = sorted(path.name for path in self.job.folder.glob(pattern))
        return min(names, key=lambda name: "train" not in name)

    def save_picture(self, sample: Sample, told: Sequence[object]) -> tuple[str, GeoRef] | None:
        """(path of the picture below the folder, its grid); None where there is none, or nothing is told of the chip:
        it is left out, which is counted.
        """
        found = self.picture(sample) if told else None
        if found is None:
            self.left_out += 1
            return None
        name = f"images/{sample.chip_id}.png"
        (self.job.folder / name).write_bytes(found[0])
        return name, found[1]


class JsonArray:
    """A JSON list that is written entry by entry.

    Args:
        stream: an empty text file.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream, self.count = stream, 0

    def add(self, entry: object) -> None:
        """One entry more."""
        self._stream.write("[\n" if self.count == 0 else ",\n")
        self._stream.write(json.dumps(entry, ensure_ascii=False))
        self.count += 1

    def whole(self, content: object) -> None:
        """Something else instead of a list."""
        json.dump(content, self._stream, ensure_ascii=False)
        self.count = -1

    def end(self) -> None:
        """Close the list."""
        if self.count >= 0:
            self._stream.write("\n]\n" if self.count else "[]\n")


def of_style(sample: Sample, kind: str, *styles: str) -> list[Record]:
    """Records of a kind, those of the first of the styles that the chip has."""
    for style in styles:
        found = [text for text in sample.texts if text["kind"] == kind and text["style"] == style]
        if found:
            return found
    return []


class ChatEarthNetExporter(TextExporter):
    """``<split>.json``: a list of image and caption."""

    title = "image and caption lists (ChatEarthNet)"
    notes = (
        *TextExporter.notes,
        "The caption is the one of kind `chatearthnet`, else the long one.",
    )

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`."""
        captions = of_style(sample, "caption", "chatearthnet", "long", "short")
        picture = self.save_picture(sample, captions)
        if picture is None:
            return
        row = {"image_id": sample.chip_id, "image": picture[0], "caption": captions[0]["text"]}
        self.array(f"{sample.split}.json").add(row)

    def card(self) -> str:
        """See `Exporter.card`."""
        return code_block(
            "import json",
            "",
            f'rows = json.load(open("{self.first_file("*.json")}"))  # image_id, image, caption',
        )


class RsTellerExporter(TextExporter):
    """WebDataset tars: ``<key>.jpg`` and ``<key>.json`` with metadata and annotations by task."""

    title = "WebDataset with annotations by task (RSTeller)"
    pictures = False
    notes = (
        *TextExporter.notes,
        "Tasks as published: 1 description of an area, 2 of what is no area, 3 revision. `osm_ids` names the map "
        "features that the text rests on.",
    )

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self._tars: dict[str, tarfile.TarFile] = {}

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`."""
        captions = of_style(sample, "caption", "rsteller")
        picture = self.picture(sample) if captions else None
        if picture is None:
            self.left_out += 1
            return
        caption = captions[0]
        revisions = [t for t in sample.texts if t["kind"] == "revision" and t["parent_id"] == caption["text_id"]]
        is_area = any(fact.endswith(".area") for fact in caption["facts"])
        annotations = [{"task": 1 if is_area else 2, "text": caption["text"]}]
        annotations += [{"task": 3, "text": text["text"]} for text in revisions]
        ids = sorted(
            {fact.split(".")[1].replace("-", "/", 1) for fact in caption["facts"] if fact.startswith("element.")}
        )
        metadata = {"patch_id": sample.chip_id, "image_name": f"{sample.chip_id}.jpg", "osm_ids": ids}
        tar = self._tar(sample.split)
        jpeg = io.BytesIO()
        with Image.open(io.BytesIO(picture[0])) as image:
            image.convert("RGB").save(jpeg, "JPEG", quality=95)
        append(tar, f"{sample.chip_id}.jpg", jpeg.getvalue())
        body = {"metadata": metadata, "annotations": annotations}
        append(tar, f"{sample.chip_id}.json", json.dumps(body, ensure_ascii=False).encode())

    def _tar(self, split: str) -> tarfile.TarFile:
        if split not in self._tars:
            path = self.job.folder / f"{split}-000000.tar"
            tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
            self._tars[split] = self.files.enter_context(tar)
        return self._tars[split]

    def card(self) -> str:
        """See `Exporter.card`."""
        return code_block(
            "import webdataset",
            "",
            f'for sample in webdataset.WebDataset("{self.first_file("*.tar")}").decode("pil"):',
            '    print(sample["jpg"].size, sample["json"]["annotations"])',
        )


class SkyScriptExporter(TextExporter):
    """``<split>.csv`` of file path and two titles, and the metadata as JSON, not as a pickle."""

    title = "CSV of titles (SkyScript)"
    notes = (
        *TextExporter.notes,
        "`title` names the map object in focus, `title_multi_objects` it with its surroundings; they are equal where "
        "nothing else can be made out. `meta/*.json` stands in for the published pickles.",
    )

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self._writers: dict[str, Any] = {}
        (job.folder / "meta").mkdir()

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`."""
        titles = of_style(sample, "caption", "title")
        picture = self.save_picture(sample, titles)
        if picture is None:
            return
        several = of_style(sample, "caption", "title_multi_objects") or titles
        if sample.split not in self._writers:
            self._writers[sample.split] = csv.writer(self.open(f"{sample.split}.csv"))
            self._writers[sample.split].writerow(("filepath", "title", "title_multi_objects"))
        self._writers[sample.split].writerow((picture[0], titles[0]["text"], several[0]["text"]))
        facts = sorted({fact for text in (*titles, *several) for fact in text["facts"]})
        meta = {
            "chip_id": sample.chip_id,
            "bounds_xyxy": list(sample.row["bounds_xyxy"]),
            "epsg": sample.row["epsg"],
            "facts": facts,
        }
        (self.job.folder / "meta" / f"{sample.chip_id}.json").write_text(json.dumps(meta), encoding="utf-8")

    def card(self) -> str:
        """See `Exporter.card`."""
        return code_block(
            "import pandas",
            "",
            f'rows = pandas.read_csv("{self.first_file("*.csv")}")  # filepath, title, title_multi_objects',
        )


class RsVlmQaExporter(TextExporter):
    """``<split>.jsonl``: caption, paragraph, relations and questions of one image per line."""

    title = "JSON lines of captions, relations and questions (RSVLM-QA)"
    notes = (
        *TextExporter.notes,
        "Answers are computed from the labels. Questions are those of kind `rsvlm_qa`, whose `question_type` is "
        "spatial, object, scene or quantity; of a chip without any all others, by their style.",
    )

    def __init__(self, job: ExportJob) -> None:
        super().__init__(job)
        self._streams: dict[str, IO[str]] = {}

    def add(self, sample: Sample) -> None:
        """See `Exporter.add`."""
        asked = [text for text in sample.texts if text["kind"] == "qa"]
        questions = [text for text in asked if text["style"].startswith("rsvlm_")] or asked  # most ask the same
        picture = self.save_picture(sample, questions)
        if picture is None:
            return
        if sample.split not in self._streams:
            self._streams[sample.split] = self.open(f"{sample.split}.jsonl")
        short = of_style(sample, "caption", "rsvlm_caption", "short")
        long = of_style(sample, "caption", "rsvlm_paragraph", "long")
        relations = of_style(sample, "labels", "relations")
        row = {
            "id": sample.chip_id,
            "image": picture[0],
            "caption": short[0]["text"] if short else "",
            "paragraph": long[0]["text"] if long else "",
            "relations": [triple for text in relations for triple in triples(text)],
            "vqa_pairs": [
                {
                    "question_id": text["text_id"],
                    "question_type": text["style"].removeprefix("rsvlm_"),
                    "question": text["question"],
                    "answer": text["answer"],
                    "options": list(text["options"]),
                }
                for text in questions
            ],
        }
        self._streams[sample.split].write(json.dumps(row, ensure_ascii=False) + "\n")

    def card(self) -> str:
        """See `Exporter.card`."""
        return code_block(
            "import json",
            "",
            f'rows = [json.loads(line) for line in open("{self.first_file("*.jsonl")}")]',
            "# vqa_pairs, relations, caption",
        )


def triples(text: Mapping[str, Any]) -> list[dict[str, str]]:
    """Objects and relations of a text of style ``relations``: its spans are the objects, whose names may hold anything.

    >>> spans = [{"start": 0, "end": 5, "phrase": "crops"}, {"start": 17, "end": 28, "phrase": "water; reed"}]
    >>> triples({"text": "crops, north of, water; reed", "spans": spans})
    [{'object1': 'crops', 'relation': 'north of', 'object2': 'water; reed'}]
    """
    spans = text["spans"]
    return [
        {
            "object1": one["phrase"],
            "relation": text["text"][one["end"] : other["start"]].strip(", "),
            "object2": other["phrase"],
        }
        for one, other in zip(spans[::2], spans[1::2], strict=False)
    ]


def code_block(*lines: str) -> str:
    """Python code as Markdown."""
    return "\n".join(("```python", *lines, "```"))


def append(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """A member without owner or time."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
