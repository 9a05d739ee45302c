"""Reading a published dataset: `open_dataset` gives a `Dataset` that stays with its version, whatever comes later."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.dataset import DatasetDocument, LayerTable
from schemas.errors import DatasetError, IntegrityError
from schemas.sample import Sample
from shards.ahead import read_ahead
from shards.document import current_document, parse_document, read_document
from shards.filters import ChipFilter, is_cut
from shards.layout import DOCUMENT, version_path
from shards.places import COLUMNS, Places
from shards.pointer import list_versions, no_dataset, read_pointer
from shards.samples import decode_sample
from shards.storage import FolderStorage, Storage, StoreOptions, open_storage
from shards.tar_reader import ShardFiles
from shards.version_tables import VersionTables
from shards.wanted import Wanted

if TYPE_CHECKING:
    import geopandas
    import pandas
    import xarray

    from shards.zarr_random import ZarrChips


AHEAD = 8
"""Samples of an object store that are asked for at once by who goes through them: each answer takes its time."""


def open_dataset(uri: str | Path | Storage, version: str | None = None, options: StoreOptions | None = None) -> Dataset:
    """A version of a dataset, by default the current one.

    Args:
        uri: the dataset's root: a folder, or ``file://``, ``s3://``, ``gs://``, ``az://``.
        version: name of a version; the one that the pointer names where None.
        options: how an object store is reached.

    Raises:
        DatasetError: no dataset there, no such version, an unknown format, or an address that is not supported.
    """
    storage = open_storage(uri, options)
    if version is not None:
        read_pointer(storage)  # of an unknown format: its versions may be, too
    document = current_document(storage) if version is None else read_document(storage, version)
    if document is None:
        raise no_dataset(storage)
    return Dataset(storage, document)


def open_staged(storage: Storage, folder: Path) -> Dataset:
    """A version that is about to be published: its shards in place, its tables in a local folder.

    Raises:
        DatasetError: ``dataset.json`` cannot be read.
    """
    path = folder / DOCUMENT
    return Dataset(storage, parse_document(path.read_bytes(), str(path)), folder)


class Dataset:
    """One version of a dataset. Cheap to make; tables and files are opened when asked for. Pickles small.

    >>> dataset = open_dataset("build/demo/dataset")          # doctest: +SKIP
    >>> sample = dataset.sample(dataset.chip_ids("train")[0])  # doctest: +SKIP
    >>> sample.layers["s2_10m"].data.shape                    # doctest: +SKIP
    (3, 4, 256, 256)
    """

    def __init__(self, storage: Storage, document: DatasetDocument, staged: Path | None = None) -> None:
        self.storage = storage
        """The dataset's root."""
        self.document = document
        """``dataset.json``."""
        self.files = ShardFiles(storage)
        """Its shards."""
        self._tables = VersionTables(storage, document, staged)
        self._modality_of = {layer.group: layer.modality for layer in document.modalities}

    def __repr__(self) -> str:
        return f"<Dataset {self.name} {self.version}: {self.document.counts.get('kept')} chips>"

    def __len__(self) -> int:
        return len(self.places)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("storage", "document", "files", "_tables", "_modality_of")
        return {name: self.__dict__[name] for name in kept}

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.document.name

    @property
    def version(self) -> str:
        """Version that this reader stays with."""
        return self.document.version

    @property
    def folder(self) -> str:
        """The version's folder, relative to the root."""
        return version_path(self.version)

    def at(self, version: str) -> Dataset:
        """Another version of the same dataset.

        Raises:
            DatasetError: there is none of that name.
        """
        return Dataset(self.storage, read_document(self.storage, version))

    def require_version(self) -> None:
        """See `VersionTables.require_version`."""
        self._tables.require_version()

    def versions(self) -> list[str]:
        """All finished versions, oldest first."""
        return list_versions(self.storage)

    @property
    def groups(self) -> tuple[str, ...]:
        """Modality groups, in the recipe's order."""
        return tuple(layer.group for layer in self.document.modalities)

    def layer(self, group: str) -> LayerTable:
        """Band table of a modality group.

        Raises:
            DatasetError: there is none of that name.
        """
        for layer in self.document.modalities:
            if layer.group == group:
                return layer
        raise DatasetError(f"no modality group {group!r}", where=self.name, mend=f"it has {', '.join(self.groups)}")

    @cached_property
    def chips(self) -> geopandas.GeoDataFrame:
        """chips.parquet: one row per kept chip, EPSG:4326 footprints."""
        import geopandas

        with self._tables.told("chips.parquet") as file:
            return geopandas.read_parquet(file)

    @cached_property
    def outcomes(self) -> pandas.DataFrame:
        """outcomes.parquet: one row per planned chip."""
        return self._table("outcomes")

    @cached_property
    def texts(self) -> pandas.DataFrame:
        """texts.parquet: one row per text."""
        return self._table("texts")

    @cached_property
    def run(self) -> pandas.DataFrame:
        """run.parquet: one row per chip and step."""
        return self._table("run")

    def _table(self, name: str) -> pandas.DataFrame:
        frame: pandas.DataFrame = self.table(name).to_pandas()
        return frame

    def table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """``outcomes``, ``texts`` or ``run`` as an Arrow table.

        Args:
            name: of the table.
            columns: those that are wanted; all where None.
        """
        return self._tables.read(name, columns)

    @property
    def column_names(self) -> list[str]:
        """Columns of chips.parquet."""
        return self._tables.chip_columns

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Columns of chips.parquet as an Arrow table, rows as they stand there; the others are not read.

        Raises:
            DatasetError: there is no such column.
        """
        return self._tables.chips(names)

    @cached_property
    def places(self) -> Places:
        """Where every sample lies."""
        return Places(self.columns(COLUMNS))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities, in the recipe's order."""
        return tuple(dict.fromkeys(layer.modality for layer in self.document.modalities))

    def select(self, where: ChipFilter | None = None, split: str | None = None) -> NDArray[np.int64]:
        """Rows of chips.parquet that pass, in the order of the shards: near in the list, near on disk.

        Args:
            where: conditions; columns that it does not look at are not read.
            split: one split; all where None.

        Raises:
            DatasetError: there is no such split, modality or class.
        """
        for name in (*(where.splits if where is not None else ()), *((split,) if split is not None else ())):
            if name not in self.places.splits:
                raise DatasetError(
                    f"no split {name!r}", where=self.name, mend=f"it has {', '.join(self.places.splits)}"
                )
        numbers = self.places.in_order(split)
        if where is None:
            return numbers
        table = self.columns(where.columns(self.column_names, self.modalities))
        if not table.num_columns:
            return numbers
        passes = where.mask(table, self.modalities, self._class_names)
        cut = np.flatnonzero(passes & is_cut(table)) if where.bbox is not None else np.zeros(0, np.int64)
        if len(cut):
            passes[cut] = where.touched(self.columns(["geometry"])["geometry"].take(pa.array(cut)))
        return numbers[passes[numbers]]

    def chip_ids(self, split: str | None = None, where: ChipFilter | None = None) -> list[str]:
        """Ids of all chips, or of those that pass, in the order of the shards.

        Args:
            split: one split; all where None.
            where: conditions.

        Raises:
            DatasetError: there is no such split, modality or class.
        """
        return [str(chip_id) for chip_id in self.places.chip_ids.take(pa.array(self.select(where, split))).to_pylist()]

    def sample(
        self, chip_id: str, *, modalities: Collection[str] | None = None, members: Collection[str] | None = None
    ) -> Sample:
        """One sample, by a range read.

        Args:
            chip_id: which.
            modalities: modalities or groups to read; all where None.
            members: what else to read, of ``labels``, ``label``, ``confidence``, ``osm``, ``targets``, ``texts``;
                all where None.

        Raises:
            DatasetError: no such chip or modality; or the version was removed since it was opened.
            IntegrityError: the shard does not hold what the table says.
        """
        number = self.places.number(chip_id)
        if number is None:
            raise DatasetError(f"no chip {chip_id!r}", where=f"{self.name} {self.version}")
        wanted = None if modalities is None and members is None else Wanted(self, modalities, members)
        _, path, offset, length = self.places.of(number)
        try:
            return decode_sample(chip_id, self.files.read(path, offset, length, chip_id, wanted), self._modality_of)
        except IntegrityError as error:
            self.require_version()
            said = str(error).removeprefix(f"{path}: ").removeprefix(f"{chip_id}: ")
            raise IntegrityError(f"{path}: {chip_id}: {said}") from error

    def iterate(
        self,
        split: str | None = None,
        *,
        modalities: Collection[str] | None = None,
        members: Collection[str] | None = None,
        chip_ids: Sequence[str] | None = None,
        where: ChipFilter | None = None,
    ) -> Iterator[Sample]:
        """Samples in the order of the shards, or of ``chip_ids``; what is not asked for is not read.

        Args:
            split: one split; all where None.
            modalities: as in `sample`.
            members: as in `sample`.
            chip_ids: these, in this order; those that are not of the split or do not pass are left out.
            where: conditions; shards without such a chip are not opened.
        """
        if chip_ids is not None and (split is not None or where is not None):
            passing = set(self.chip_ids(split, where))
            chip_ids = [chip_id for chip_id in chip_ids if chip_id in passing]
        wanted = self.chip_ids(split, where) if chip_ids is None else chip_ids
        read = partial(self.sample, modalities=modalities, members=members)
        if isinstance(self.storage, FolderStorage):
            yield from map(read, wanted)
            return
        _ = self.places  # read once, before all threads ask for it
        yield from read_ahead(read, wanted, AHEAD)

    def xarray(self, group: str, *, chunks: Any = None) -> xarray.Dataset:
        """The Zarr group of this version, lazily: ``data (chip, time, band, y, x)`` and its coordinates.

        Args:
            group: a modality group, ``label``, ``confidence`` or ``label_<source>``.
            chunks: as `xarray.open_zarr` takes it: ``{}`` for Dask arrays of one chip per chunk.

        Raises:
            DatasetError: this version has no Zarr, or no such group.
        """
        import xarray

        opened: xarray.Dataset = xarray.open_zarr(self._zarr(group), group=group, consolidated=False, chunks=chunks)
        return opened

    def zarr_chips(self, group: str, threads: int = 2) -> ZarrChips:
        """Random access to the chips of a Zarr group, many at once; by ``zarr_index``.

        Args:
            group: as in `xarray`.
            threads: that decode.

        Raises:
            DatasetError: this version has no Zarr, or no such group.
        """
        from shards.zarr_random import ZarrChips

        return ZarrChips(self._zarr(group), group, threads, self.require_version)

    def _zarr(self, group: str) -> Any:
        from shards.zarr_store import open_store

        stored = self.document.zarr
        if not stored:
            raise DatasetError("this version has no Zarr", where=self.name, mend="recipe: write.kinds holds zarr")
        if group not in stored["groups"]:
            known = ", ".join(stored["groups"])
            raise DatasetError(f"no Zarr group {group!r}", where=self.name, mend=f"it has {known}")
        try:
            return open_store(self.storage, stored["tag"])
        except DatasetError:
            self.require_version()
            raise

    def wanted_groups(self, modalities: Collection[str] | None) -> list[str]:
        """Modality groups that names of modalities or groups stand for, in the recipe's order.

        Raises:
            DatasetError: a name that is neither.
        """
        if modalities is None:
            return list(self.groups)
        if isinstance(modalities, str):
            raise DatasetError(f"modalities={modalities!r} is a text", where=self.name, mend=f"({modalities!r},)")
        layers = self.document.modalities
        known = {layer.group for layer in layers} | {layer.modality for layer in layers}
        for name in modalities:
            if name not in known:
                raise DatasetError(f"no modality {name!r}", where=self.name, mend=f"it has {', '.join(sorted(known))}")
        return [layer.group for layer in layers if layer.group in modalities or layer.modality in modalities]

    @property
    def _class_names(self) -> list[str]:
        """Classes of the fused label's legend."""
        return [str(entry["name"]) for entry in self.document.legends.get("label", {}).get("classes", ())]

    @property
    def has_label(self) -> bool:
        """Whether there is a fused label."""
        return "label" in self.document.legends

    def label_sources(self, wanted: Collection[str] | None = None) -> list[str]:
        """Label sources: all, or those wanted.

        Raises:
            DatasetError: a source that the dataset has not.
        """
        known = [name for name in self.document.legends if name != "label"]
        for name in wanted or ():
            if name not in known:
                raise DatasetError(f"no label source {name!r}", where=self.name, mend=f"it has {', '.join(known)}")
        return known if wanted is None else [name for name in known if name in wanted]

    def label_nodata(self, source: str) -> int:
        """Code of no data of a label source: its legend's, else 65535."""
        codes = self.document.legends.get(source, {}).get("nodata") or [65535]
        return int(codes[0])

    @cached_property
    def _label_shapes(self) -> NDArray[np.int64]:
        """(chips, 2) rows and columns of labels: the chip's extent in the pixel size of the first label found."""
        if not self.document.legends:
            return np.zeros((len(self.places), 2), np.int64)
        table = self.columns(["bounds_xyxy"])["bounds_xyxy"].combine_chunks()
        left, bottom, right, top = table.flatten().to_numpy().reshape(-1, 4).T
        for chip_id in self.chip_ids():
            sample = self.sample(chip_id, modalities=[], members=["label", "labels"])
            labels = [*([sample.label] if sample.label is not None else []), *sample.labels.values()]
            number = self.places.number(chip_id)
            if labels and number is not None:
                pixel_m = (right[number] - left[number]) / labels[0].shape[1]
                return np.stack([np.rint((top - bottom) / pixel_m), np.rint((right - left) / pixel_m)], 1).astype(int)
        return np.zeros((len(self.places), 2), np.int64)

    def label_shape_of(self, number: int) -> tuple[int, int]:
        """Rows and columns of a chip's labels."""
        rows, columns = self._label_shapes[number]
        return int(rows), int(columns)

    @property
    def label_shape_yx(self) -> tuple[int, int]:
        """Rows and columns of the largest label."""
        rows, columns = self._label_shapes.max(0, initial=0)
        return int(rows), int(columns)

    def close(self) -> None:
        """Close open shards; a later read opens them again."""
        self.files.close()
