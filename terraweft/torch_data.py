"""A training stream: `ChipStream`, a torch `IterableDataset` over the shards of one version.

Axis order of pixels is (T, C, H, W) for one sample and (N, T, C, H, W) for a batch.

    stream = ChipStream("build/demo/dataset", StreamOptions(split="train", modalities=("s2",), normalise=True))
    loader = ChipLoader(stream, batch_size=8, num_workers=2)    # terraweft.torch_loader
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import DatasetError, MissingExtraError
from shards.filters import ChipFilter, DateChoice
from shards.reader import Dataset
from shards.sample_reader import SampleReader
from shards.sample_request import SampleRequest
from terraweft.reading import open_dataset
from terraweft.torch_order import Share, of_rank, part, shuffled

try:
    import torch
    from torch.utils.data import IterableDataset, get_worker_info
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError.of("torch", "train") from error


Uneven = Literal["keep", "drop", "repeat"]
"""What becomes of samples that ranks cannot share evenly."""


@dataclass(frozen=True)
class StreamOptions:
    """What a stream yields, and in which order.

    Raises:
        DatasetError: a negative seed, or another word than those of `uneven`.
    """

    split: str | None = "train"
    """One split; all where None."""
    where: ChipFilter | None = None
    """Further conditions on chips; shards without such a chip are never opened."""
    version: str | None = None
    """Name of a version; the current one where None."""
    modalities: tuple[str, ...] | None = None
    """Modalities or groups; the others are not even read. All where None."""
    bands: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Group -> bands in the order wanted; the others are not read."""
    dates: DateChoice | None = None
    """Which dates; the others are not read."""
    labels: bool = True
    """Whether to yield the fused label and its confidence."""
    sources: tuple[str, ...] = ()
    """Label sources to yield as ``label_<source>``, at their own codes."""
    texts: bool = False
    """Whether to yield texts, as a list of strings."""
    text_records: bool = False
    """Whether to yield texts as records, with their facts, spans and checks."""
    text_kinds: tuple[str, ...] = ()
    """Kinds of text; all where empty."""
    osm: bool = False
    """Whether to yield OSM features, as GeoJSON in pixel coordinates."""
    meta: tuple[str, ...] = ()
    """Columns of chips.parquet to yield as the dictionary ``meta``."""
    physical: bool = True
    """float32 physical values with 0 where there is no data; else as stored, the fused label too."""
    normalise: bool = False
    """(x - mean) / std per band, with the statistics of the train split; no data becomes 0, the mean. Bands without
    a clear pixel there are 0."""
    pad: bool = True
    """Pad dates and pixels to the group's largest, so that samples can be stacked."""
    shuffle: bool = True
    """Another order each epoch: shards, and samples within them."""
    seed: int = 0
    """Of the order, and of random dates."""
    rank: int | None = None
    """This process, of `world_size`; what torch.distributed says where None, else 0."""
    world_size: int | None = None
    """Processes that share the epoch; what torch.distributed says where None, else 1."""
    uneven: Uneven = "keep"
    """Where ranks cannot have the same number of samples: they differ by one, the last few of the epoch are left out,
    or its first few come twice."""

    def __post_init__(self) -> None:
        if self.uneven not in get_args(Uneven):
            raise DatasetError(f"uneven={self.uneven!r}", mend=f"one of: {', '.join(get_args(Uneven))}")
        if self.seed < 0:
            raise DatasetError(f"seed {self.seed}", mend="0 or more")


class ChipStream(IterableDataset[dict[str, Any]]):
    """Samples of a dataset as dictionaries of tensors, each exactly once per epoch over all ranks and
    workers.

    Keys of a sample:
        ``chip_id``: str.
        ``<group>``: (T, C, H, W) float32; the stored type where `StreamOptions.physical` is False.
        ``<group>_valid``: (T, H, W) uint8, 0 where there is no data or padding.
        ``<group>_time``: (T,) int64 seconds since 1970 UTC, 0 where there is no date.
        ``<group>_present``: (T,) bool, False for padding, for steps of a series at which the chip has nothing, and
        throughout where the chip has no such modality.
        ``<group>_count``: (T, H, W) uint8 clear dates behind each pixel, of composites.
        ``label``: (H, W) int64, 255 = abstain (``ignore_index=255``); ``confidence``: (H, W) uint8.
        ``label_<source>``: (H, W) int32 codes, if asked for.
        ``texts``, ``text_records``, ``osm``, ``meta``: lists and dictionaries, if asked for.

    The order follows from seed, epoch and version alone, so a run can be repeated; call `set_epoch` before each epoch.
    It has the two methods that torchdata's ``StatefulDataLoader`` asks of a dataset;
    `terraweft.torch_loader.ChipLoader` brings them to the whole loader.

    Args:
        dataset: an open dataset, or its address.
        options: what to yield.

    Raises:
        DatasetError: no such dataset, split, modality, band, column, kind of text; a rank outside of the world; no
            statistics to normalise by.
    """

    def __init__(self, dataset: Dataset | str | Path, options: StreamOptions = StreamOptions()) -> None:
        super().__init__()
        opened = dataset if isinstance(dataset, Dataset) else open_dataset(dataset, options.version)
        self.dataset, self.options = opened, options
        self._told = in_shared_memory((1,), torch.int64)  # by which workers that live on hear of an epoch
        self.set_epoch(0)
        self._sent: Share | None = None  # to a worker, which hears nothing of torch.distributed
        self.share  # noqa: B018 - a rank outside of the world is told now
        self.groups = opened.wanted_groups(options.modalities)
        for group in options.bands:
            opened.layer(group)
        _check_kinds(options.text_kinds, opened)
        numbers = opened.select(options.where, options.split)
        self.shards = opened.places.by_shard(numbers)
        self.reader = SampleReader(opened, _request(self.groups, options))
        self._meta = opened.columns(options.meta) if options.meta else None
        self._skip = self._position = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_sent": self.share}

    @property
    def share(self) -> Share:
        """Which rank this is. `torch.distributed` is asked whenever somebody wants to know: of a stream that was made
        before the process group every process would else read the whole epoch.
        """
        return _share(self.options, self.dataset.name, self._sent)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass, also for a loader's workers that live on from pass to pass."""
        self.epoch = self._told[0] = epoch

    def __len__(self) -> int:
        return len(self.numbers())

    def numbers(self, epoch: int | None = None) -> NDArray[np.int64]:
        """Rows of chips.parquet that this rank reads, in the order of an epoch, before workers share them.

        Args:
            epoch: which; the one that `set_epoch` chose where None.
        """
        if self.options.shuffle:
            order = shuffled(self.shards, self.options.seed, self.epoch if epoch is None else epoch)
        else:
            order = np.concatenate([np.zeros(0, np.int64), *self.shards])
        return of_rank(order, self.share, self.options.uneven)

    def chip_ids(self) -> list[str]:
        """Chips of this rank in the order of this epoch, before workers share them."""
        return [str(chip) for chip in self.dataset.places.chip_ids.take(pa.array(self.numbers())).to_pylist()]

    @cached_property
    def fingerprint(self) -> str:
        """What an order follows from, besides epoch and rank: version, chips, seed."""
        chosen = np.concatenate([np.zeros(0, np.int64), *self.shards])
        said = f"{self.dataset.document.content_hash} {self.options.seed} {self.options.shuffle} {self.options.uneven}"
        return hashlib.sha256(said.encode() + chosen.tobytes()).hexdigest()[:16]

    def state_dict(self) -> dict[str, Any]:
        """How far this process, or this worker, has read."""
        return {"fingerprint": self.fingerprint, "epoch": self.epoch, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was asked, in a process or worker of the same number.

        Raises:
            DatasetError: the state of another version, selection or seed.
        """
        require_fingerprint(self, state)
        self.set_epoch(int(state["epoch"]))
        self._position = self._skip = int(state["position"])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        if worker is not None:
            self.epoch = int(self._told)
        numbers = self.numbers()
        if worker is not None:
            numbers = part(numbers, Share(worker.id, worker.num_workers))
        self._position, self._skip = self._skip, 0
        for number in numbers[self._position :]:
            self._position += 1
            yield self.sample(int(number))

    def sample(self, number: int) -> dict[str, Any]:
        """One sample as tensors.

        Args:
            number: row of chips.parquet.
        """
        fields = self.reader.fields() if self.options.pad else self.reader.fields_of(number)
        arrays = {name: np.empty(one.shape, one.dtype) for name, one in fields.items()}
        further = self.fill(number, arrays)
        return {**further, **{name: torch.from_numpy(array) for name, array in arrays.items()}}

    def fill(self, number: int, into: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        """Write a sample's arrays into ``into``; what is no array is returned.

        Args:
            number: row of chips.parquet.
            into: arrays as `SampleReader.fields` says.
        """
        read = self.reader.read(number, into, draw=(self.options.seed << 32) + self.epoch)
        found: dict[str, Any] = {"chip_id": self.dataset.places.chip_ids[number].as_py()}
        if self.options.texts or self.options.text_records:
            kinds = self.options.text_kinds
            records = [text for text in read.get("texts", ()) if not kinds or text["kind"] in kinds]
            found |= {"texts": [str(text["text"]) for text in records]} if self.options.texts else {}
            found |= {"text_records": records} if self.options.text_records else {}
        if self.options.osm:
            found["osm"] = read.get("osm", {"type": "FeatureCollection", "features": []})
        if self._meta is not None:
            found["meta"] = {name: self._meta[name][number].as_py() for name in self._meta.column_names}
        return found


def in_shared_memory(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """An uninitialised tensor that another process can be handed without a copy."""
    tensor = torch.empty(0, dtype=dtype)
    size = int(np.prod(shape)) * tensor.element_size()
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    storage: Any = torch.UntypedStorage
    return tensor.set_(storage._new_shared(max(1, size)), 0, shape, strides)


def _check_kinds(wanted: tuple[str, ...], dataset: Dataset) -> None:
    """Raise where the dataset counts its texts and has none of a kind.

    Raises:
        DatasetError: naming the kinds that it has.
    """
    counted = dataset.document.texts.get("kinds") or {}
    known = sorted({str(kind).partition("/")[0] for kind in counted})
    for kind in wanted:
        if known and kind not in known:
            raise DatasetError(f"no texts of kind {kind!r}", where=dataset.name, mend=f"it has {', '.join(known)}")


def require_fingerprint(stream: ChipStream, state: Mapping[str, Any]) -> None:
    """Refuse the state of another stream.

    Raises:
        DatasetError: it is of another version, selection or seed.
    """
    if state.get("fingerprint") != stream.fingerprint:
        raise DatasetError(
            "this state is of another version, selection, seed or order", where=stream.dataset.name,
            mend="open the version and give the options of the run that was stopped",
        )  # fmt: skip


def _request(groups: list[str], options: StreamOptions) -> SampleRequest:
    values = "normalised" if options.normalise else "physical" if options.physical else "stored"
    return SampleRequest(
        groups=tuple(groups),
        bands=dict(options.bands),
        dates=options.dates,
        values=values,  # type: ignore[arg-type]
        label=options.labels,
        sources=options.sources,
        texts=options.texts or options.text_records,
        osm=options.osm,
    )


def _share(options: StreamOptions, name: str, sent: Share | None) -> Share:
    """Which rank this is: as the options say, as torch.distributed does, or as it did where this stream comes from."""
    rank, world_size = options.rank, options.world_size
    told = sent or Share()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        told = Share(torch.distributed.get_rank(), torch.distributed.get_world_size())
    if world_size is None:
        world_size = told.of
    if rank is None:
        rank = told.number if world_size > 1 else 0
    if not 0 <= rank < world_size:
        raise DatasetError(f"rank {rank} of {world_size}", where=name)
    return Share(rank, world_size)
