"""Forms in which a dataset can be handed on: a registry of plug-ins, each of which takes samples one after the other.

An exporter writes below one folder and holds one file's worth of samples at most. `shards.export` decides what may be
given on, brings licences, the card and the list of files, and gives the folder its name when all of it is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from schemas.errors import DatasetError, MissingExtraError, UserError
from schemas.sample import Sample
from shards.reader import Dataset

PARTS = ("title", "notes", "members", "order", "add", "finish", "abandon", "card")
"""What a class must have to be an `Exporter`."""
ENTRY_POINTS = "terraweft.exporters"
"""Group under which other packages offer exporters, as ``module:Class``."""

EXPORTERS = {
    "chatearthnet": "shards.export_texts:ChatEarthNetExporter",
    "geotiff": "shards.export_geotiff:GeoTiffExporter",
    "hdf5": "shards.export_hdf5:Hdf5Exporter",
    "huggingface": "shards.export_huggingface:HuggingFaceExporter",
    "llava": "shards.export_pointing:LlavaExporter",
    "majortom": "shards.export_majortom:MajorTomExporter",
    "refcoco": "shards.export_pointing:RefCocoExporter",
    "rsteller": "shards.export_texts:RsTellerExporter",
    "rsvlm-qa": "shards.export_texts:RsVlmQaExporter",
    "skyscript": "shards.export_texts:SkyScriptExporter",
    "ssl4eo": "shards.export_ssl4eo:Ssl4eoExporter",
    "terramesh": "shards.export_terramesh:TerraMeshExporter",
    "texts": "shards.export_text_tables:ParquetTextsExporter",
    "zarr": "shards.export_zarr:ZarrExporter",
}
"""Name -> where it lives."""


@dataclass(frozen=True)
class ExportJob:
    """What an exporter is given before the first sample."""

    dataset: Dataset
    """The version that is exported."""
    folder: Path
    """Where it writes; empty, and not yet called by its final name."""
    groups: tuple[str, ...]
    """Modality groups that are exported."""
    chip_ids: tuple[str, ...]
    """All samples, in the order in which they will come."""
    samples_per_file: int | None = None
    """Where a form puts several samples into a file; the form's own number where None."""


class Exporter(Protocol):
    """Writes one form. One that has no use for samples per file says so: ``takes_samples_per_file = False``.
    One that leaves out chips that hold nothing of its form counts them: ``left_out``.
    """

    title: str
    """The form, for the card."""
    notes: tuple[str, ...]
    """What a reader must know of this form, a sentence each."""
    members: tuple[str, ...]
    """What it takes of a sample besides pixels: of ``labels``, ``label``, ``confidence``, ``osm``, ``texts``."""
    order: str
    """``shards``, or ``table`` for the order of chips.parquet."""

    def __init__(self, job: ExportJob) -> None:
        """Begin.

        Raises:
            DatasetError: a dataset that this form cannot hold.
        """
        ...

    def add(self, sample: Sample) -> None:
        """Write a sample, or hold it until a file is full."""
        ...

    def finish(self) -> None:
        """Write what is held, and tables over all samples."""
        ...

    def abandon(self) -> None:
        """Let go of open files: nothing will come of it."""
        ...

    def card(self) -> str:
        """What a reader of the folder types, as Markdown."""
        ...


def find_exporter(name: str) -> type[Exporter]:
    """The exporter of a form.

    Raises:
        UserError: unknown; lists the known ones. Or one whose package is missing, or that is no exporter.
    """
    targets = EXPORTERS | {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    module, _, attribute = targets.get(name, name if ":" in name else "").partition(":")
    if not attribute:
        raise UserError(f"unknown form {name!r}", where="--to", mend=f"known: {', '.join(sorted(targets))}")
    try:
        found = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name in ("h5py", "rasterio"):
            raise MissingExtraError.of(error.name, "export") from error
        raise UserError(f"the exporter {name!r} cannot be imported: {error}", where="--to") from error
    except AttributeError as error:
        raise UserError(f"{module} has no {attribute}", where="--to") from error
    missing = [part for part in PARTS if not hasattr(found, part)]
    if not isinstance(found, type) or missing:
        what = f"it has no {missing[0]}" if missing else "it is no class"
        mend = f"known: {', '.join(sorted(targets))}; or the module:Class of your own"
        raise UserError(f"{name} is no exporter: {what}", where="--to", mend=mend)
    return cast(type[Exporter], found)


def one_modality(job: ExportJob, form: str) -> str:
    """The only modality of a job, for forms that hold one.

    Raises:
        DatasetError: several.
    """
    found = dict.fromkeys(job.dataset.layer(group).modality for group in job.groups)
    if len(found) != 1:
        raise DatasetError(f"{form} holds one modality, not {len(found)}", mend=f"--modality one of {', '.join(found)}")
    return next(iter(found))


def options_of(job: ExportJob) -> dict[str, Any]:
    """What stands in ``export.json`` of a job."""
    return {"groups": list(job.groups), "samples_per_file": job.samples_per_file}
