"""`export_dataset`: a version in another form, in a folder that appears when it is whole.

Everything is written into a hidden folder beside the name (`shards.export_place`) and moved to it at the end. An export
that fails or is interrupted removes that folder, and what one that was killed left. ``export.json`` lists every file
with its hash; ``README.md`` says where the pixels come from and under which licences; ``LICENCES.md`` lists them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from schemas.dataset import SourceTable
from schemas.errors import DatasetError, UserError
from shards import layout
from shards.export_place import growing
from shards.exporters import Exporter, ExportJob, find_exporter, options_of
from shards.filters import ChipFilter
from shards.guard import findings_in
from shards.reader import Dataset

log = logging.getLogger(__name__)

MANIFEST = "export.json"


@dataclass(frozen=True)
class ExportOptions:
    """What is exported, and how."""

    form: str
    """Name of the exporter."""
    split: str | None = None
    """One split; all where None."""
    where: ChipFilter | None = None
    """Further conditions on chips."""
    modalities: tuple[str, ...] | None = None
    """Modalities or groups; all where None."""
    private: bool = False
    """Export layers that may not be given on, too; the export says that it is private."""
    samples_per_file: int | None = None
    """Of forms that put several samples into a file."""


@dataclass(frozen=True)
class ExportResult:
    """What was exported."""

    folder: Path
    """Where."""
    samples: int
    """How many."""
    left_out: int
    """Chips of the selection that hold nothing of this form."""
    files: int
    """Files, less the export's own papers."""
    bytes: int
    """Of these."""


def _quiet(done: int, total: int) -> None:
    """Nobody listens."""


def export_dataset(
    dataset: Dataset, to: Path, options: ExportOptions, on_sample: Callable[[int, int], None] = _quiet
) -> ExportResult:
    """Write a version in another form.

    Args:
        dataset: an open version.
        to: the folder that shall appear; may not exist, or be empty.
        options: what, and in which form.
        on_sample: told (done, all) after each sample.

    Raises:
        DatasetError: a layer that may not be given on, nothing to export, a folder that is taken or that another export
            writes, or a dataset that the form cannot hold.
        UserError: an unknown form, or samples per file of a form that has no use for it.
    """
    exporter = find_exporter(options.form)
    if options.samples_per_file is not None and not getattr(exporter, "takes_samples_per_file", True):
        raise UserError(f"has no effect on the form {options.form}", where="--samples-per-file", mend="leave it out")
    if options.samples_per_file is not None and options.samples_per_file < 1:
        raise UserError(f"{options.samples_per_file} is none", where="--samples-per-file", mend="at least 1")
    groups = tuple(dataset.wanted_groups(options.modalities))
    if not groups:
        raise DatasetError("no modality to export", where=dataset.name, mend=f"it has {', '.join(dataset.modalities)}")
    sources = _sources(dataset, groups, exporter.members)
    private = _require_licence(dataset, sources, options)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise DatasetError("something is there already", where=str(to), mend="give another folder, or remove it")
    numbers = dataset.select(options.where, options.split)
    if exporter.order == "table":
        numbers = np.sort(numbers)
    if not len(numbers):
        raise DatasetError("no chip to export", where=dataset.name, mend="widen the split or the filter")
    chip_ids = tuple(dataset.places.of(int(number))[0] for number in numbers)
    with growing(to) as unfinished:
        job = ExportJob(dataset, unfinished, groups, chip_ids, options.samples_per_file)
        writer = _write(exporter, job, on_sample)
        result = _finish(job, writer, options, sources, private)
        if to.exists():
            to.rmdir()
        unfinished.rename(to)
    layout.sync_folder(to.parent)
    log.info("exported %d samples of %s to %s", result.samples, dataset.version, to)
    return replace(result, folder=to)


def _write(exporter: type[Exporter], job: ExportJob, on_sample: Callable[[int, int], None]) -> Exporter:
    """Hand all samples of a job to its writer, which is then done."""
    writer = exporter(job)
    try:
        for number, chip_id in enumerate(job.chip_ids):
            writer.add(job.dataset.sample(chip_id, modalities=job.groups, members=writer.members))
            on_sample(number + 1, len(job.chip_ids))
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
    return writer


def _sources(dataset: Dataset, groups: Collection[str], members: Collection[str]) -> tuple[SourceTable, ...]:
    """Sources of what is exported: of its modalities, and of labels and texts where the form holds them; and what the
    fused label stands under.
    """
    exported = {dataset.layer(group).modality for group in groups}
    modalities = set(dataset.modalities)
    derived = bool({"labels", "label", "osm", "texts"} & set(members))
    document = dataset.document
    sources = tuple(s for s in document.sources if s.layer in exported or (derived and s.layer not in modalities))
    return sources + (document.fused_sources() if "label" in members else ())


def _require_licence(dataset: Dataset, sources: Collection[SourceTable], options: ExportOptions) -> bool:
    """Whether the export is private.

    Raises:
        DatasetError: a layer may not be given on, and nobody said that the export stays private.
    """
    closed = sorted({source.layer for source in sources if not source.redistributable})
    if (closed or dataset.document.private) and not options.private:
        what = f"{', '.join(closed)} may not be given on" if closed else "the dataset is private"
        raise DatasetError(what, where=f"{dataset.name} {dataset.version}", mend="--private, or leave the layer out")
    return bool(closed) or dataset.document.private


def _finish(
    job: ExportJob, writer: Exporter, options: ExportOptions, sources: Collection[SourceTable], private: bool
) -> ExportResult:
    """Write the papers, look for what may not be in them, and make all of it durable."""
    for name, text in (
        ("README.md", _card(job, writer, options, sources, private)),
        ("LICENCES.md", _licences(sources)),
    ):
        before = (job.folder / name).read_text(encoding="utf-8") if (job.folder / name).exists() else ""
        (job.folder / name).write_text(before + text, encoding="utf-8")
    files: dict[str, dict[str, Any]] = {
        path.relative_to(job.folder).as_posix(): {"bytes": path.stat().st_size, "sha256": layout.sha256_of(path)}
        for path in sorted(p for p in job.folder.rglob("*") if p.is_file())
    }
    document, missing = job.dataset.document, _left_out(writer)
    manifest: dict[str, Any] = {
        "form": options.form,
        "dataset": document.name,
        "version": document.version,
        "content_hash": document.content_hash,
        "code_version": document.code_version,
        "samples": len(job.chip_ids) - missing,
        "left_out": missing,
        "options": {**options_of(job), "split": options.split},
        "private": private,
        "sources": [source.model_dump(mode="json", exclude={"items"}) for source in sources],
        "layers": [job.dataset.layer(group).model_dump(mode="json") for group in job.groups],
        "legends": _legends(job, writer),
        "files": files,
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (job.folder / MANIFEST).write_text(text, encoding="utf-8")
    found = findings_in([job.folder / name for name in ("README.md", "LICENCES.md", MANIFEST)])
    if found:
        file, what = next(iter(found.items()))
        raise DatasetError(f"{what[0]} must not be exported", where=file.name)
    layout.sync_tree(job.folder)
    size = sum(int(entry["bytes"]) for entry in files.values())
    return ExportResult(job.folder, len(job.chip_ids) - missing, missing, len(files), size)


def _left_out(writer: Exporter) -> int:
    return int(getattr(writer, "left_out", 0))


def _card(
    job: ExportJob, writer: Exporter, options: ExportOptions, sources: Collection[SourceTable], private: bool
) -> str:
    document = job.dataset.document
    missing = _left_out(writer)
    lines = [
        f"# {document.title or document.name}: {writer.title}",
        "",
        f"{len(job.chip_ids) - missing} samples of `{document.name}`, version `{document.version}`"
        f"{f', split {options.split}' if options.split else ''}, exported with Terraweft {document.code_version}.",
        *([f"{missing} chip(s) of the selection hold nothing of this form."] if missing else []),
        "",
        *(["**Private**: it holds layers that may not be given on.", ""] if private else []),
        "| group | sensor | GSD (m) | bands | stored as | unit of the physical value | no data |",
        "|---|---|---|---|---|---|---|",
    ]
    for group in job.groups:
        table = job.dataset.layer(group)
        bands = ", ".join(band.name for band in table.bands[:16]) + (" ..." if len(table.bands) > 16 else "")
        lines.append(
            f"| `{group}` | {table.sensor} | {table.gsd_m:g} | {bands} | {table.dtype} | {table.unit} | "
            f"{'' if table.nodata is None else f'{table.nodata:g}'} |"
        )
    lines += [
        "",
        "All bands with wavelengths, means and standard deviations: `layers` in `export.json`. The last two are of",
    ]
    when = document.when_statistics(job.groups)
    lines += [f"physical values, not of stored ones: over the clear pixels of the whole dataset's train split{when}."]
    lines += ["", "## Reading it", "", writer.card().strip(), ""]
    if writer.notes:
        lines += ["## What to know", "", *(f"- {note}" for note in writer.notes), ""]
    if legends := _legends(job, writer):
        lines += ["## Classes", "", *(_legend_line(name, classes) for name, classes in legends.items())]
        lines += ["", "Other values are no class. Colours stand in `export.json`.", ""]
    lines += ["## Sources and licences", "", *(_licence_line(source) for source in sources), ""]
    return "\n".join(lines)


def _legends(job: ExportJob, writer: Exporter) -> dict[str, list[dict[str, Any]]]:
    """Label -> its classes with the value that stands for each: the fused label's position, a product's own code."""
    known = job.dataset.document.legends
    wanted = {"label": "label"} if "label" in writer.members and job.dataset.has_label else {}
    if "labels" in writer.members:
        wanted |= {f"label_{source}": source for source in job.dataset.label_sources()}
    return {
        name: [
            {
                "value": position if name == "label" else int(entry.get("code", position)),
                "name": str(entry.get("name", "")),
                "colour": str(entry.get("colour", "")),
            }
            for position, entry in enumerate(known[legend].get("classes", []))
        ]
        for name, legend in wanted.items()
    }


def _legend_line(name: str, classes: Collection[dict[str, Any]]) -> str:
    listed = ", ".join(f"{entry['value']} {_plain(entry['name'])}" for entry in classes)
    return f"- `{name}`: {listed or 'no classes are known'}"


def _licences(sources: Collection[SourceTable]) -> str:
    return "\n".join(["# Licences", "", *(_licence_line(source) for source in sources), ""])


def _licence_line(source: SourceTable) -> str:
    terms = [
        *(["share alike"] if source.share_alike else []),
        *(["not for commercial use"] if source.non_commercial else []),
        *([] if source.redistributable else ["may not be given on"]),
    ]
    more = f" ({', '.join(terms)})" if terms else ""
    return f"- `{source.layer}` ({source.collection}): {source.licence}{more}. {_plain(source.attribution)}"


def _plain(text: str) -> str:
    """Words of others on one line of Markdown."""
    return " ".join(text.split()).replace("<", "&lt;")
