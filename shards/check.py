"""`check_dataset`: every file, hash, count and promise of a dataset that can be seen from disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import icechunk
import pyarrow.parquet as pq
import shapely

from schemas.dataset import DatasetDocument, ShardRecord
from schemas.errors import DatasetError, IntegrityError
from schemas.sample import Sample
from shards import layout
from shards.check_samples import Problem, check_segment
from shards.check_statistics import StatisticsCheck
from shards.check_tables import chips_faults, outcome_faults, rows_differ, text_faults
from shards.check_zarr import ZarrCheck
from shards.document import content_hash_of, read_document, seal_of, unwanted_in
from shards.places import COLUMNS
from shards.pointer import list_versions, no_dataset, read_pointer, unfinished_versions
from shards.storage import Storage, StoreOptions, open_storage
from shards.tar_reader import ShardFiles, scan
from shards.version_tables import check_rows
from shards.zarr_store import tags

PLACED = [*COLUMNS, "sample_sha256", "zarr_index"]
"""Columns that say where a sample lies and what its bytes are."""


DAMAGE = (
    OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    IntegrityError, shapely.errors.ShapelyError, icechunk.IcechunkError,
)  # fmt: skip
"""What libraries raise over content that is not what it should be."""

LIMIT = 200
"""Problems that are kept; what comes after is counted."""


@dataclass
class CheckReport:
    """What `check_dataset` found."""

    version: str = ""
    """The version that was read sample by sample."""
    problems: list[Problem] = field(default_factory=list)
    """What is not as it must be."""
    notes: list[str] = field(default_factory=list)
    """What is no fault: leftovers, what could not be checked."""
    files: int = 0
    """Files whose hash was computed."""
    bytes: int = 0
    """Their bytes."""
    chips: int = 0
    """Samples that were decoded."""
    dropped: int = 0
    """Problems beyond the limit."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, where: str, faults: Iterable[str]) -> None:
        """Note problems, up to the limit."""
        for what in faults:
            self.take(Problem(where, what))

    def take(self, problem: Problem) -> None:
        """Note a problem, up to the limit."""
        if len(self.problems) < LIMIT:
            self.problems.append(problem)
        else:
            self.dropped += 1

    @contextmanager
    def telling(self, where: str) -> Iterator[None]:
        """Whatever damage stops this part of the check becomes a problem; the other parts go on."""
        try:
            yield
        except DAMAGE as error:
            self.take(Problem(where, unreadable(error)))


def unreadable(error: Exception) -> str:
    """What is said of content over which a library raised: one line."""
    said = next((line.strip().removeprefix("x ") for line in str(error).splitlines() if line.strip()), "")
    return f"cannot be read: {type(error).__name__}: {said}"[:300]


def _quiet(done: int, total: int) -> None:
    """Nobody listens."""


def check_dataset(
    uri: str | Path | Storage,
    version: str | None = None,
    *,
    options: StoreOptions | None = None,
    statistics: bool = False,
    on_shard: Callable[[int, int], None] = _quiet,
) -> CheckReport:
    """Check a dataset: files and hashes of all versions, and every sample, table and Zarr chip of one.

    Args:
        uri: the dataset's root.
        version: a version instead of the current one, which one that waits for its validation is not.
        options: how an object store is reached.
        statistics: also measure mean and deviation of every band again.
        on_shard: told (shards done, all shards), for progress.

    Raises:
        DatasetError: there is no dataset to check, or no such version.
    """
    storage = open_storage(uri, options)
    pointer, versions = read_pointer(storage), list_versions(storage)
    if pointer is None and not (version and versions):  # the first of all may wait for its validation
        raise no_dataset(storage)
    current = pointer.current if pointer is not None else ""
    if version and version not in {*versions, current}:
        raise DatasetError(f"there is no version {version}", where=storage.uri, mend="see terraweft versions")
    report = CheckReport(version or current)
    documents: dict[str, DatasetDocument] = {}
    for name in sorted({*versions, *filter(None, [current])}):
        try:
            documents[name] = read_document(storage, name)
        except DatasetError as error:
            report.take(Problem(f"versions/{name}", error.what))
            continue
        with report.telling(f"versions/{name}/{layout.DOCUMENT}"):
            _check_files(storage, name, documents[name], report)
    records = {record.path: record for document in documents.values() for record in document.shards}
    for path, record in sorted(records.items()):
        with report.telling(path[:100]):
            _check_hash(storage, layout.require_shard_path(path), record.bytes, record.sha256, report)
    if report.version in documents:
        with report.telling(f"versions/{report.version}"):
            _check_content(storage, documents[report.version], report, on_shard, statistics)
    with report.telling("what belongs to no version"):
        _note_leftovers(storage, current, records, documents, report)
    if report.dropped:
        report.notes.append(f"{report.dropped} further problem(s) are not listed")
    return report


def _check_hash(storage: Storage, name: str, size: int, sha256: str, report: CheckReport) -> None:
    found = storage.size(name)
    if found is None:
        report.take(Problem(name, "is not there"))
        return
    report.files, report.bytes = report.files + 1, report.bytes + found
    if found != size:
        report.take(Problem(name, f"has {found} bytes, the manifest says {size}"))
    elif storage.sha256(name) != sha256:
        report.take(Problem(name, "its sha256 is not the manifest's"))


def _check_files(storage: Storage, version: str, document: DatasetDocument, report: CheckReport) -> None:
    """Files of a version, its names and hashes, and that no secret stands in them."""
    where = f"{layout.VERSIONS}/{version}"
    listed = {layout.DOCUMENT, *document.tables}
    for name, entry in sorted(document.tables.items()):
        if ".." in Path(name).parts or Path(name).is_absolute():
            report.take(Problem(f"{where}/{layout.DOCUMENT}", f"lists {name[:100]!r}, which lies elsewhere: refused"))
            continue
        _check_hash(storage, f"{where}/{name}", int(entry["bytes"]), str(entry["sha256"]), report)
    for path, _ in storage.list(where):
        name = path.removeprefix(f"{where}/")
        if name not in listed:
            report.take(Problem(f"{where}/{name}", "is not listed in dataset.json"))
    wanted = {*layout.TABLES, "run.parquet", "collection.json", "croissant.json", "README.md"}
    report.add(where, (f"{name} is not listed in dataset.json" for name in sorted(wanted - listed)))
    said, sha256 = seal_of(storage.read(f"{where}/{layout.DOCUMENT}"))
    if not said:
        report.notes.append(f"{where}/{layout.DOCUMENT} holds no hash of itself: what was changed in it is not seen")
    elif said != sha256:
        report.take(Problem(f"{where}/{layout.DOCUMENT}", "was changed: its sha256 is not run.document_sha256"))
    if document.version != version:
        report.take(Problem(where, f"dataset.json says version {document.version}"))
    if not version.endswith(document.content_hash[:8]):
        report.take(Problem(where, f"its name does not end with the content hash {document.content_hash[:8]}"))
    if wanted <= listed:
        expected = content_hash_of(
            {name: str(document.tables[name]["sha256"]) for name in layout.TABLES},
            {record.path: record.sha256 for record in document.shards},
            str(document.zarr.get("digest", "")),
            document.recipe_hash,
            str(document.estimates.get("sha256", "")),
        )
        if expected != document.content_hash:
            report.take(Problem(where, "content_hash does not follow from tables, shards, Zarr and recipe"))
    if "report/index.html" not in listed:
        report.notes.append(f"{where} has no report/index.html")
    with storage.local(where) as folder:
        for name, what in unwanted_in(storage, folder).items():
            report.take(Problem(f"{where}/{name}", f"holds {'; '.join(what[:3])}"))
    for source in document.sources:
        if not source.redistributable and not document.private:
            report.take(Problem(where, f"{source.layer} may not be given on, and the version is not private"))


def _check_content(
    storage: Storage,
    document: DatasetDocument,
    report: CheckReport,
    on_shard: Callable[[int, int], None],
    statistics: bool,
) -> None:
    """Tables, samples and Zarr of one version."""
    with storage.local(f"{layout.VERSIONS}/{document.version}") as folder:
        _check_tables(storage, folder, document, report, on_shard, statistics)


def _check_tables(
    storage: Storage,
    folder: Path,
    document: DatasetDocument,
    report: CheckReport,
    on_shard: Callable[[int, int], None],
    statistics: bool,
) -> None:
    where = f"{layout.VERSIONS}/{document.version}"
    if any((folder / name).exists() and not (folder / name).is_file() for name in layout.TABLES):
        return  # said already; a pipe would be waited for
    odd = {name for name in layout.TABLES if _has_too_many_rows(folder / name, document, f"{where}/{name}", report)}
    if "chips.parquet" in odd:
        return
    with report.telling(f"{where}/chips.parquet"):
        report.add(f"{where}/chips.parquet", chips_faults(folder / "chips.parquet", document))
    try:
        table = pq.read_table(folder / "chips.parquet")
        rows = table.select(PLACED).to_pylist()
    except DAMAGE:  # said already
        return
    places = {row["chip_id"]: row for row in rows}
    stored = _open_zarr(storage, document, list(places), report)
    measured = StatisticsCheck(document) if statistics else None
    report.notes += _taken_over(document) if statistics else ()
    texts: dict[str, list[Any]] = {}
    order = list(dict.fromkeys(n for layer in document.modalities for n in (layer.modality, layer.group)))
    with ShardFiles(storage) as files:
        for number, record in enumerate(document.shards):
            metas: dict[str, Mapping[str, Any]] = {}
            for sample in _shard_samples(files, record, places, document, report):
                texts[sample.chip_id], metas[sample.chip_id] = list(sample.texts), sample.row
                if measured is not None:
                    with report.telling(f"{record.path} {sample.chip_id}"):
                        measured.add(sample)
                if stored is not None:
                    index = places[sample.chip_id]["zarr_index"]
                    with report.telling(f"zarr {sample.chip_id}"):
                        report.add(f"zarr {sample.chip_id}", stored.differences(index, sample))
            if metas:
                with report.telling(record.path):
                    report.add(record.path, rows_differ(table, metas, order))
            on_shard(number + 1, len(document.shards))
    if measured is not None:
        report.add(f"{where}/{layout.DOCUMENT}", measured.faults())
    stray = sorted(set(places) - set(texts))
    if stray:
        report.take(Problem(where, f"{len(stray)} chip(s) of chips.parquet are in no shard, first {stray[0]}"))
    for name, faults in (
        ("outcomes.parquet", outcome_faults(folder / "outcomes.parquet", set(places), document)),
        ("texts.parquet", text_faults(folder / "texts.parquet", texts)),
    ):
        if name in odd:
            continue
        with report.telling(f"{where}/{name}"):
            report.add(f"{where}/{name}", faults)


def _taken_over(document: DatasetDocument) -> Iterator[str]:
    """Which statistics are not measured again, since they are an earlier version's."""
    found = document.statistics_by_version([table.group for table in document.modalities])
    for version, groups in found.items():
        if version != document.version:
            what = "bands" if len(found) == 1 else ", ".join(groups)
            yield f"statistics of {what} are those of {document.name_of(version, '')}, taken over: not measured again"


def _has_too_many_rows(path: Path, document: DatasetDocument, where: str, report: CheckReport) -> bool:
    """Whether a table has more rows than it may, which is told; it is not read then."""
    try:
        check_rows(document, path.name, pq.read_metadata(path).num_rows, where)
    except DatasetError as error:
        report.take(Problem(where, error.what))
        return True
    except DAMAGE:  # told by who reads it
        return False
    return False


def _open_zarr(
    storage: Storage, document: DatasetDocument, chip_ids: list[str], report: CheckReport
) -> ZarrCheck | None:
    if not document.zarr:
        return None
    try:
        stored = ZarrCheck(storage, document)
        report.add(layout.ZARR, stored.faults(chip_ids))
    except DatasetError as error:
        report.take(Problem(layout.ZARR, error.what))
        return None
    except DAMAGE as error:
        report.take(Problem(layout.ZARR, unreadable(error)))
        return None
    return stored


def _shard_samples(
    files: ShardFiles,
    record: ShardRecord,
    places: Mapping[str, Mapping[str, Any]],
    document: DatasetDocument,
    report: CheckReport,
) -> Iterator[Sample]:
    """Samples of a shard that can be decoded; whatever is wrong with it goes to the report."""
    try:
        path = layout.require_shard_path(record.path)
        read = files.ahead(path)
        members = list(scan(read, 0, files.size(path)))
    except (IntegrityError, OSError) as error:
        report.take(Problem(record.path[:100], str(error)))
        return
    runs = [(chip_id, list(found)) for chip_id, found in groupby(members, key=lambda m: m.chip_id)]
    keys = tuple(chip_id for chip_id, _ in runs)
    if keys != record.chip_ids or list(keys) != sorted(set(keys)):
        report.take(Problem(record.path, f"holds {len(keys)} keys that are not those of the manifest, in order"))
    start = 0
    for position, (chip_id, found) in enumerate(runs):
        end = found[-1].end
        place = places.get(chip_id)
        if place is None:
            report.take(Problem(record.path, f"{chip_id} is not in chips.parquet"))
        elif (place["shard"], place["shard_index"], place["shard_offset"], place["shard_length"]) != (
            record.path,
            position,
            start,
            end - start,
        ):
            report.take(Problem(record.path, f"{chip_id} does not lie where chips.parquet says"))
        elif place["split"] != record.split:
            report.take(Problem(record.path, f"{chip_id} is of split {place['split']}"))
        else:
            sample, problems = None, list[Problem]()
            with report.telling(f"{record.path} {chip_id}"):
                sample, problems = check_segment(read(start, end - start), place, document)
            report.chips += 1
            for problem in problems:
                report.take(problem)
            if sample is not None:
                yield sample
        start = end


def _note_leftovers(
    storage: Storage,
    current: str,
    records: Mapping[str, ShardRecord],
    documents: Mapping[str, DatasetDocument],
    report: CheckReport,
) -> None:
    """What lies about and belongs to no version: no fault, but worth a word."""
    unlisted = [name for name, _ in storage.list(layout.SHARDS) if name not in records]
    if unlisted:
        first = unlisted[0]
        report.notes.append(
            f"{len(unlisted)} file(s) in shards/ belong to no version, first {first}; `terraweft gc` removes them"
        )
    for name in unfinished_versions(storage):
        report.notes.append(f"versions/{name} was never finished; `terraweft gc` removes it")
    later = [version for version in documents if version > current]
    if later and current:
        report.notes.append(f"{len(later)} version(s) are newer than the current one, last {later[-1]}")
    try:
        dangling = sorted(tags(storage) - set(documents))
    except DatasetError:
        dangling = []
    if dangling:
        report.notes.append(f"zarr/ holds {len(dangling)} tag(s) of no version, first {dangling[0]}")
    work = [size for _, size in storage.list(layout.WORK) if size]
    if work:
        size = sum(work)
        report.notes.append(f"work/ holds {len(work)} file(s), {size} bytes; it may be deleted")
