"""The second pass: fuse, facts, captions, from the fragments alone (no imagery is read again), and the tars.

Everything a sample holds stands in two fragments of its chip: pixels and product labels from the first pass, the
fused label, texts and the finished row from the second. Imagery alone needs no second pass: there the two are one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from captioners.base import CaptionInput, make_captioner
from chips.inputs import FUSE, input_hash, with_models
from chips.rows import licence_entry
from flows.caption_inputs import caption_input, view_arrays, waiting_input
from flows.captioning import TEXTS
from flows.cluster import freeze_imports
from flows.fragments import FragmentWriter, read_chip, read_facts, read_json
from flows.job import Job
from flows.packing import unpack_features, unpack_layers
from labelers import derived, fuse
from labelers.label_statistics import FUSED, layer_columns, pair_disagreement
from labelers.pixel_features import to_pixel_geojson
from labelers.targets import ChipLabels, Made, make_targets
from schemas.georef import GeoRef
from schemas.labels import LabelLayer
from schemas.sample import Sample
from shards.tar import StoredSample, WrittenShard, write_shard

Place = tuple[str, Path, Path]
"""Chip id and the folders of its fragments of the first and the second pass."""


def has_second_pass(job: Job, models: Collection[str]) -> bool:
    """Whether anything is left to a second pass: imagery that no estimate moves or rejects is finished by the first.

    Args:
        job: the run.
        models: components of a chip's inputs that go by what was estimated over the whole dataset.
    """
    return job.recipe.labels is not None or job.recipe.captions is not None or bool(set(models) - {FUSE})


def second_pass(job: Job, first: Path, final: Path, model: Mapping[str, Any] | None, models: Mapping[str, str]) -> Path:
    """One tile: fused label, facts, template captions and the finished row of each kept chip.

    Args:
        job: the run.
        first: the tile's fragments of the first pass.
        final: where the fragments of this pass go.
        model: the estimated fusion, as JSON; None where the recipe fuses nothing.
        models: component -> hash of the estimated parameters that it goes by.
    """
    if final.exists():
        return final
    freeze_imports()
    writer = FragmentWriter(final)
    fusion = fuse.FusionModel.from_dict(model) if model is not None else None
    kept = sorted(read_json(first / "tile.json")["kept"])
    inputs: list[CaptionInput] = []
    finished: dict[str, tuple[dict[str, NDArray[Any]], dict[str, Any]]] = {}
    for chip_id in kept:
        facts, arrays = read_chip(first, chip_id)
        labels = labels_of(facts, arrays)
        fused, written = _fused(fusion, labels, facts["row"]["region"])
        row = dict(facts["row"]) | {"input_hash": input_hash(with_models(facts["inputs"], models))}
        made = _targets(job, facts, labels, fused)
        row |= (
            _label_columns(fusion, fused, labels) | made.columns | {"licences": cited(row["licences"], fused, labels)}
        )
        written |= {f"target/{name}": array for name, array in made.arrays.items()}
        extra: dict[str, Any] = {"row": row, "osm": _osm(job, facts), "targets": made.documents}
        if job.recipe.captions is not None:
            inputs.append(caption_input(job, chip_id, facts, arrays, labels, fused))
        finished[chip_id] = (written, extra)
    if job.recipe.captions is not None and job.recipe.captions.backend == "template":
        _caption(job, inputs, finished)
    waiting = {given.chip_id: given for given in inputs if "texts" not in finished[given.chip_id][1]}
    for chip_id, (written, extra) in finished.items():
        pictures = view_arrays(waiting[chip_id]) if chip_id in waiting else {}
        writer.add(chip_id, written | pictures, extra)
    pending = {chip_id: waiting_input(given) for chip_id, given in waiting.items()}
    return writer.commit({"chips": kept, "pending": pending})


def labels_of(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, LabelLayer]:
    """The product labels of a chip, from its fragment."""
    layers = {}
    for name, fields in facts["labels"].items():
        epsg, x0, y0, size, shape = fields["georef"]
        known = {key: value for key, value in fields.items() if key != "georef"}
        layers[name] = LabelLayer(
            classes=arrays[f"label/{name}"], georef=GeoRef(epsg, x0, y0, size, (shape[0], shape[1])), **known
        )
    return layers


def _fused(
    fusion: fuse.FusionModel | None, labels: Mapping[str, LabelLayer], region: str
) -> tuple[LabelLayer | None, dict[str, NDArray[Any]]]:
    """The fused layer, and the arrays to store of it."""
    if fusion is None or not labels:
        return None, {}
    layer = fuse.fused_layer(fusion, list(labels.values()), region)
    return layer, {"label": layer.classes} | ({} if layer.confidence is None else {"confidence": layer.confidence})


def _label_columns(
    fusion: fuse.FusionModel | None, fused: LabelLayer | None, labels: Mapping[str, LabelLayer]
) -> dict[str, Any]:
    columns = {key: value for name, layer in labels.items() for key, value in layer_columns(name, layer).items()}
    if fusion is None or fused is None or fused.confidence is None:
        return columns
    votes = list(labels.values())
    return columns | {
        **layer_columns(FUSED, fused, by="index"),
        "label.agreement": derived.agreement(votes, fusion.setup),
        "label.disagreement": pair_disagreement(votes, fusion.setup),
        "label.mean_confidence": round(derived.mean_confidence(fused.confidence), 6),
    }


def cited(
    licences: Sequence[Mapping[str, Any]], fused: LabelLayer | None, labels: Mapping[str, LabelLayer]
) -> list[dict[str, Any]]:
    """A row's licences with that of the fused label: share-alike as soon as one of its sources is, and citing all."""
    found = {str(entry["layer"]): dict(entry) for entry in licences}
    if fused is not None:
        shown = dict.fromkeys(found[name]["attribution"] for name in labels if name in found)
        found[FUSED] = licence_entry(FUSED, fused.licence, "; ".join(text for text in shown if text))
    return [found[layer] for layer in sorted(found)]


def _label_grid(job: Job, facts: Mapping[str, Any]) -> GeoRef:
    left, bottom, right, top = facts["row"]["bounds_xyxy"]
    gsd = job.recipe.grid.gsd_m
    return GeoRef(facts["row"]["epsg"], left, top, gsd, (round((top - bottom) / gsd), round((right - left) / gsd)))


def _osm(job: Job, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    table = unpack_features(facts["features"])
    return None if table is None else to_pixel_geojson(table, _label_grid(job, facts))


def _targets(job: Job, facts: Mapping[str, Any], labels: Mapping[str, LabelLayer], fused: LabelLayer | None) -> Made:
    """What the recipe derives of the layers for training."""
    recipe = job.recipe
    if recipe.labels is None or not recipe.labels.targets:
        return Made()
    chip_id, features = facts["row"]["chip_id"], unpack_features(facts["features"])
    chip = ChipLabels(chip_id, _label_grid(job, facts), labels, fused, features, recipe.seed)
    return make_targets(recipe.labels, chip)


def _caption(
    job: Job,
    inputs: Sequence[CaptionInput],
    finished: Mapping[str, tuple[dict[str, NDArray[Any]], dict[str, Any]]],
) -> None:
    """Texts of the template, put beside the rows."""
    captions = job.recipe.captions
    if captions is None:
        return
    for given, records in zip(inputs, make_captioner(captions).write(inputs), strict=True):
        finished[given.chip_id][1]["texts"] = [record.model_dump(mode="json") for record in records]


def _paid_texts(second: Path) -> Mapping[str, Any]:
    """Texts that a paid model wrote for a tile, or none."""
    path = second / TEXTS
    try:
        found = path.stat()  # chips that are asked again replace the file
    except FileNotFoundError:
        return {}
    return _read_texts(path, found.st_ino, found.st_mtime_ns)


@lru_cache(maxsize=8)
def _read_texts(path: Path, _inode: int, _written_ns: int) -> Mapping[str, Any]:
    return dict(read_json(path))


def chip_places(first: Mapping[str, Path], second: Mapping[str, Path]) -> dict[str, tuple[str, Path, Path]]:
    """Kept chip -> split and the folders of its fragments, by chip id."""
    places = {}
    for tile_id, folder in first.items():
        for chip_id, split in read_json(folder / "tile.json")["kept"].items():
            places[chip_id] = (split, folder, second[tile_id])
    return dict(sorted(places.items()))


def finished_row(chip_id: str, second: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A chip's row and text records."""
    return _with_texts(chip_id, read_facts(second, chip_id), second)


def _with_texts(chip_id: str, extra: Mapping[str, Any], second: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A chip's row, with its caption, and its text records: the template's, or those a paid model wrote."""
    texts = list(extra.get("texts") or _paid_texts(second).get(chip_id, ()))
    row = dict(extra["row"])
    short = next((text["text"] for text in texts if text["kind"] == "caption" and text["style"] == "short"), None)
    return row if short is None else row | {"caption": short}, texts


def load_sample(place: Place) -> Sample:
    """A finished chip, from its fragments."""
    chip_id, first, second = place
    facts, arrays = read_chip(first, chip_id)
    extra, fused = (facts, {}) if second == first else read_chip(second, chip_id)
    row, texts = _with_texts(chip_id, extra, second)
    return Sample(
        chip_id=chip_id,
        split=facts["split"],
        layers=unpack_layers(arrays, facts["georefs"]),
        labels={name: arrays[f"label/{name}"] for name in facts["labels"]},
        label=fused.get("label"),
        confidence=fused.get("confidence"),
        osm=extra.get("osm"),
        targets={n.removeprefix("target/"): a for n, a in fused.items() if n.startswith("target/")},
        target_documents=extra.get("targets", {}),
        texts=tuple(texts),
        row=row,
    )


Member = Place | StoredSample
"""What a shard is written of: a chip that was made, or one that the parent holds."""


def load_samples(members: Sequence[Member]) -> Iterator[Sample | StoredSample]:
    """Finished chips, one at a time; what the parent holds is not decoded."""
    for member in members:
        yield member if isinstance(member, StoredSample) else load_sample(member)


def write_bucket(job: Job, split: str, bucket: int, members: Sequence[Member]) -> WrittenShard:
    """One tar of one bucket."""
    return write_shard(job.storage, split, bucket, load_samples(members), scratch=job.work / "shards")
