"""Reading a published dataset: `open_dataset` gives a `Dataset` that stays with its version whatever is
published later.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.dataset import DatasetDocument, LayerTable
from schemas.errors import DatasetError
from schemas.sample import Sample
from shards.document import parse_document, read_document
from shards.layout import DOCUMENT, version_path
from shards.pointer import list_versions, read_pointer
from shards.samples import decode_sample
from shards.storage import Storage, StoreOptions, open_storage
from shards.tar_reader import ShardFiles

if TYPE_CHECKING:
    import geopandas
    import pandas
    import pyarrow
    import xarray

log = logging.getLogger(__name__)

PLACE = ("chip_id", "split", "shard", "shard_index", "shard_offset", "shard_length")
"""Columns that say where a sample lies."""


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
    pointer = read_pointer(storage)
    if version is None:
        if pointer is None:
            raise DatasetError("there is no dataset", where=storage.uri, mend="terraweft build RECIPE --out FOLDER")
        version = pointer.current
    return Dataset(storage, read_document(storage, version))


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
        self._staged = staged
        self._files = ShardFiles(storage)
        self._modality_of = {layer.group: layer.modality for layer in document.modalities}

    def __repr__(self) -> str:
        return f"<Dataset {self.name} {self.version}: {self.document.counts.get('kept')} chips>"

    def __len__(self) -> int:
        return len(self._places)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("storage", "document", "_staged", "_files", "_modality_of")
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

        return geopandas.read_parquet(self._file("chips.parquet"))

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
        frame: pandas.DataFrame = pq.read_table(self._file(f"{name}.parquet")).to_pandas()
        return frame

    def _file(self, name: str) -> io.BytesIO:
        if self._staged is not None:
            return io.BytesIO((self._staged / name).read_bytes())
        return io.BytesIO(self.storage.read(f"{self.folder}/{name}"))

    @cached_property
    def _places(self) -> pyarrow.Table:
        return pq.read_table(self._file("chips.parquet"), columns=list(PLACE))

    @cached_property
    def _place_of(self) -> dict[str, dict[str, Any]]:
        return {row["chip_id"]: row for row in self._places.to_pylist()}

    def chip_ids(self, split: str | None = None) -> list[str]:
        """Ids of all chips, or those of one split, in the order of the shards: near in the list, near on
        disk.

        Raises:
            DatasetError: there is no such split.
        """
        table = self._places
        if split is not None:
            known = sorted(set(table["split"].to_pylist()))
            if split not in known:
                raise DatasetError(f"no split {split!r}", where=self.name, mend=f"it has {', '.join(known)}")
            table = table.filter(pc.equal(table["split"], split))
        ordered = table.sort_by([("shard", "ascending"), ("shard_index", "ascending")])
        return [str(chip_id) for chip_id in ordered["chip_id"].to_pylist()]

    def sample(
        self, chip_id: str, *, modalities: Collection[str] | None = None, members: Collection[str] | None = None
    ) -> Sample:
        """One sample, by a range read.

        Args:
            chip_id: which.
            modalities: modalities or groups to read; all where None.
            members: what else to read, of ``labels``, ``label``, ``confidence``, ``osm``, ``texts``; all where None.

        Raises:
            DatasetError: no such chip or modality.
            IntegrityError: the shard does not hold what the table says.
        """
        place = self._place_of.get(chip_id)
        if place is None:
            raise DatasetError(f"no chip {chip_id!r}", where=f"{self.name} {self.version}")
        wanted = None if modalities is None and members is None else _Wanted(self, modalities, members)
        found = self._files.read(place["shard"], place["shard_offset"], place["shard_length"], chip_id, wanted)
        return decode_sample(chip_id, found, self._modality_of)

    def iterate(
        self,
        split: str | None = None,
        *,
        modalities: Collection[str] | None = None,
        members: Collection[str] | None = None,
        chip_ids: Sequence[str] | None = None,
    ) -> Iterator[Sample]:
        """Samples in the order of the shards, or of ``chip_ids``; what is not asked for is not read.

        Args:
            split: one split; all where None.
            modalities: as in `sample`.
            members: as in `sample`.
            chip_ids: these, in this order.
        """
        for chip_id in self.chip_ids(split) if chip_ids is None else chip_ids:
            yield self.sample(chip_id, modalities=modalities, members=members)

    def xarray(self, group: str, *, chunks: Any = None) -> xarray.Dataset:
        """The Zarr group of this version, lazily: ``data (chip, time, band, y, x)`` and its coordinates.

        Args:
            group: a modality group, ``label``, ``confidence`` or ``label_<source>``.
            chunks: as `xarray.open_zarr` takes it: ``{}`` for Dask arrays of one chip per chunk.

        Raises:
            DatasetError: this version has no Zarr, or no such group.
        """
        import xarray

        from shards.zarr_store import open_store

        stored = self.document.zarr
        if not stored:
            raise DatasetError("this version has no Zarr", where=self.name, mend="recipe: write.kinds holds zarr")
        if group not in stored["groups"]:
            known = ", ".join(stored["groups"])
            raise DatasetError(f"no Zarr group {group!r}", where=self.name, mend=f"it has {known}")
        store = open_store(self.storage, stored["tag"])
        opened: xarray.Dataset = xarray.open_zarr(store, group=group, consolidated=False, chunks=chunks)
        return opened

    def wanted_groups(self, modalities: Collection[str] | None) -> list[str]:
        """Modality groups that names of modalities or groups stand for, in the recipe's order.

        Raises:
            DatasetError: a name that is neither.
        """
        if modalities is None:
            return list(self.groups)
        layers = self.document.modalities
        known = {layer.group for layer in layers} | {layer.modality for layer in layers}
        for name in modalities:
            if name not in known:
                raise DatasetError(f"no modality {name!r}", where=self.name, mend=f"it has {', '.join(sorted(known))}")
        return [layer.group for layer in layers if layer.group in modalities or layer.modality in modalities]

    def close(self) -> None:
        """Close open shards; a later read opens them again."""
        self._files.close()


class _Wanted:
    """Which members of a sample are read."""

    def __init__(self, dataset: Dataset, modalities: Collection[str] | None, members: Collection[str] | None) -> None:
        known = {"labels", "label", "confidence", "osm", "texts"}
        odd = sorted(set(members or ()) - known)
        if odd:
            raise DatasetError(f"no member {odd[0]!r}", where=dataset.name, mend=f"known: {', '.join(sorted(known))}")
        groups = dataset.wanted_groups(modalities)
        self.names = {*groups, *(f"{group}_{more}" for group in groups for more in ("valid", "count")), "meta"}
        self.names |= known if members is None else set(members)

    def __call__(self, suffix: str) -> bool:
        name = suffix.rpartition(".")[0]
        return name in self.names or (name.startswith("label_") and "labels" in self.names)
