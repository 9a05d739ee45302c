"""Batches: `ChipLoader`, a torch `DataLoader` that reads samples straight into their slots of a batch.

Without worker processes, threads read: files and conversions leave the interpreter free, and nothing is copied between
processes. With them, each worker makes whole batches in shared memory. Either way an interrupted epoch goes on exactly
where it stopped, and Lightning saves the place in its checkpoints.
"""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import count, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DatasetError, MissingExtraError
from shards.sample_request import ABSTAIN
from shards.storage import FolderStorage
from terraweft.torch_data import ChipStream, in_shared_memory, require_fingerprint
from terraweft.torch_order import Share, Taken, batches_of, remaining

try:
    import torch
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingExtraError.of("torch", "train") from error

MAIL_BYTES = 1 << 14
"""Shared memory by which workers learn the epoch, and what was delivered of it before."""
THREADS = {True: (2, 1), False: (16, 8)}
"""Whether a dataset is a folder -> threads that read it in a process without workers, and in a worker. Those of an
object store wait for answers, some 30 ms for each sample."""
ABSTAINING: Mapping[str, int] = {"label": ABSTAIN}
"""What pads a batch where nothing else is said."""
Batch = dict[str, Any]
Empty = Callable[[tuple[int, ...], torch.dtype], torch.Tensor]


def collate(samples: Sequence[Mapping[str, Any]], fills: Mapping[str, int] = ABSTAINING) -> Batch:
    """Samples of a stream as one batch: tensors are stacked, padded to the largest; all else becomes lists.

    Padding is 0, of labels 255: validity and presence say that nothing is there.

    Args:
        samples: of one stream.
        fills: name -> what pads it, where that is not 0. `ChipLoader` pads ``label_<source>`` by its legend's no data,
            for 0 may be a class there.
    """
    found: Batch = {}
    for name in samples[0]:
        values = [sample[name] for sample in samples]
        found[name] = _stacked(values, fills.get(name, 0)) if isinstance(values[0], torch.Tensor) else values
    return found


def _stacked(tensors: list[torch.Tensor], fill: int) -> torch.Tensor:
    shape = [max(sizes) for sizes in zip(*(tensor.shape for tensor in tensors), strict=True)]
    if all(list(tensor.shape) == shape for tensor in tensors):
        return torch.stack(tensors)
    batch = torch.full((len(tensors), *shape), fill, dtype=tensors[0].dtype)
    for slot, tensor in zip(batch, tensors, strict=True):
        slot[tuple(slice(0, size) for size in tensor.shape)] = tensor
    return batch


class ChipLoader(DataLoader[Batch]):
    """Batches of a stream.

    A full pass moves on to the next epoch's order by itself; `set_epoch` chooses another. `state_dict` says how far the
    batches have come that the caller got; batches that were read ahead do not count.

    Args:
        stream: what is read. Its epoch is this loader's.
        batch_size: samples of a batch.
        num_workers: processes that read; 0 for threads. From an object store they are started by a fork server, for its
            connections cannot be forked.
        threads: that read, of this process where there are no workers, of each worker else. `THREADS` where None.
        drop_last: leave out each worker's last batch where it is not full.
        ahead: batches that are read ahead, per worker.
        **more: of `torch.utils.data.DataLoader`: ``pin_memory``, ``persistent_workers``, ... ``collate_fn`` is
            given each batch, and what it returns is yielded: the place for a transform.

    Raises:
        DatasetError: a batch size or a number of threads that makes no sense.
    """

    def __init__(
        self,
        stream: ChipStream,
        batch_size: int = 8,
        *,
        num_workers: int = 0,
        threads: int | None = None,
        drop_last: bool = False,
        ahead: int = 2,
        **more: Any,
    ) -> None:
        is_local = isinstance(stream.dataset.storage, FolderStorage)
        if threads is None:
            threads = THREADS[is_local][num_workers > 0]
        if batch_size < 1 or threads < 1 or ahead < 1:
            raise DatasetError(f"batch_size {batch_size}, threads {threads}, ahead {ahead}", mend="at least 1 each")
        self.stream = stream
        self.samples_per_batch, self.leave_out = batch_size, drop_last
        self._batches = _Batches(stream, batch_size, drop_last, threads, ahead)
        self._transform: Callable[[Batch], Batch] | None = more.get("collate_fn")
        self._taken: list[Taken] = []
        self._resumed = False
        prefetch = ahead if num_workers else None
        if num_workers and not is_local and torch.multiprocessing.get_start_method() == "fork":
            more.setdefault("multiprocessing_context", "forkserver")
        super().__init__(self._batches, batch_size=None, num_workers=num_workers, prefetch_factor=prefetch, **more)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.stream.set_epoch(epoch)

    def __len__(self) -> int:
        """Batches of a whole epoch of this rank."""
        return self._batches_left(())

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        if not self._resumed:
            self._taken = []
        self._resumed = False
        before = tuple(self._taken)
        self._batches.post(self.stream.epoch, before)
        self._batches.pinned = self.num_workers == 0 and self.pin_memory and torch.cuda.is_available()
        due = self._batches_left(before)
        if not due:
            self._end_epoch()
            return
        here = self._batches if self._transform is None else map(self._transform, self._batches)
        source = iter(here) if self.num_workers == 0 else super().__iter__()
        for delivered, batch in enumerate(source, start=1):
            self._taken = [*before, self._entry(delivered)]
            if delivered == due:  # said now: who knows the length, such as Lightning, never asks for one more
                self._end_epoch()
            yield batch

    def _batches_left(self, taken: Sequence[Taken]) -> int:
        workers = max(1, self.num_workers)
        left = remaining(self.stream.numbers(), taken, workers, self.samples_per_batch)
        return sum(batches_of(len(mine), self.samples_per_batch, self.leave_out) for mine in left)

    def _end_epoch(self) -> None:
        self._taken = []
        self.stream.set_epoch(self.stream.epoch + 1)

    def _entry(self, batches: int) -> Taken:
        return Taken(max(1, self.num_workers), self.samples_per_batch, self.leave_out, batches)

    def state_dict(self) -> dict[str, Any]:
        """Where this rank stands in the epoch; plain values that any checkpoint can hold."""
        return {
            "fingerprint": self.stream.fingerprint,
            "epoch": self.stream.epoch,
            "rank": self.stream.share.number,
            "world_size": self.stream.share.of,
            "taken": [asdict(entry) for entry in self._taken],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next pass go on where `state_dict` was asked.

        Workers and batch size may be others than then: every sample still comes once. The same ones give the very
        batches that would have come.

        Raises:
            DatasetError: the state of another version, selection, seed or number of ranks.
        """
        require_fingerprint(self.stream, state)
        if int(state["world_size"]) != self.stream.share.of:
            raise DatasetError(
                f"this state is of {state['world_size']} ranks, not {self.stream.share.of}",
                mend="go on with as many, or begin the epoch again",
            )
        self.stream.set_epoch(int(state["epoch"]))
        self._taken = [Taken(**entry) for entry in state["taken"]]
        self._resumed = True


class _Batches(IterableDataset[Batch]):
    """The batches of one process or worker, made by threads."""

    def __init__(self, stream: ChipStream, batch_size: int, drop_last: bool, threads: int, ahead: int) -> None:
        super().__init__()
        self.stream, self.batch_size, self.drop_last = stream, batch_size, drop_last
        self.threads, self.ahead, self.pinned = threads, ahead, False
        self.memory = _Memory(ahead + 2)
        self._mail = in_shared_memory((MAIL_BYTES,), torch.uint8)

    def post(self, epoch: int, taken: Sequence[Taken]) -> None:
        """Tell this process, and workers that live already, what the next pass is."""
        content = json.dumps({"epoch": epoch, "taken": [asdict(entry) for entry in taken]}).encode()
        if len(content) > MAIL_BYTES:
            raise DatasetError("this epoch was interrupted too often", mend="begin it again")
        self._mail.zero_()
        self._mail[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)

    def __iter__(self) -> Iterator[Batch]:
        mail = json.loads(bytes(self._mail.numpy()).rstrip(b"\0"))
        taken = [Taken(**entry) for entry in mail["taken"]]
        self.stream.set_epoch(mail["epoch"])
        worker = get_worker_info()
        share = Share() if worker is None else Share(worker.id, worker.num_workers)
        mine = remaining(self.stream.numbers(), taken, share.of, self.batch_size)[share.number]
        yield from self._read(mine, in_shared_memory if worker is not None else self._plain)

    def _plain(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, pin_memory=True) if self.pinned else self.memory.take(shape, dtype)

    def _read(self, numbers: NDArray[np.int64], empty: Empty) -> Iterator[Batch]:
        """Batches in order, `ahead` of them in the making."""
        whole = batches_of(len(numbers), self.batch_size, self.drop_last)
        parts = (numbers[i * self.batch_size :][: self.batch_size] for i in islice(count(), whole))
        making: deque[_Making] = deque()
        pool = ThreadPoolExecutor(self.threads, "terraweft-read")
        try:
            for mine in parts:
                making.append(_Making(self.stream, mine, empty, pool))
                if len(making) > self.ahead:
                    yield making.popleft().finished()
            while making:
                yield making.popleft().finished()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Making:
    """A batch that threads are reading."""

    def __init__(self, stream: ChipStream, numbers: NDArray[np.int64], empty: Empty, pool: ThreadPoolExecutor) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.stream = stream
        if stream.options.pad:
            self.tensors = {
                name: empty((len(numbers), *one.shape), _TORCH[one.dtype])
                for name, one in stream.reader.fields().items()
            }
            arrays = {name: tensor.numpy() for name, tensor in self.tensors.items()}
            slots = [{name: array[i] for name, array in arrays.items()} for i in range(len(numbers))]
            self.futures: list[Future[dict[str, Any]]] = [
                pool.submit(stream.fill, int(number), slot) for number, slot in zip(numbers, slots, strict=True)
            ]
        else:
            self.futures = [pool.submit(stream.sample, int(number)) for number in numbers]

    def finished(self) -> Batch:
        """The batch, once every sample is in its place."""
        samples = [future.result() for future in self.futures]
        fills = {name: one.fill for name, one in self.stream.reader.fields().items()}
        return {**collate(samples, fills), **self.tensors}


class _Memory:
    """Memory of batches that nobody holds any more, used again: fresh pages cost as much as the copy into them.

    Args:
        kept: batches whose memory is kept at most.
    """

    def __init__(self, kept: int) -> None:
        self.kept = kept
        self._owners: dict[tuple[tuple[int, ...], torch.dtype], list[NDArray[Any]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"kept": self.kept, "_owners": {}}

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor of any content, over memory that no other tensor or array sees."""
        owners = self._owners.setdefault((shape, dtype), [])
        for owner, references in _references(owners):
            if references == _UNUSED:
                return torch.from_numpy(owner)
        owner = np.empty(shape, _NUMPY[dtype])
        if len(owners) < self.kept:
            owners.append(owner)
        return torch.from_numpy(owner)


def _references(owners: Sequence[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], int]]:
    """Each array and how many references there are to it; a tensor made of it, or a view of either, holds one."""
    for owner in owners:
        yield owner, sys.getrefcount(owner)


_UNUSED = next(_references([np.empty(0)]))[1]
"""What an array counts that only its list holds; interpreters differ in the references of a loop."""


_TORCH = {
    np.dtype(name): getattr(torch, "bool" if name == "bool" else name)
    for name in (
        "bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32",
        "float64",
    )
}  # fmt: skip
"""NumPy type -> torch type, of all that a shard may hold."""
_NUMPY = {tensor_type: numpy_type for numpy_type, tensor_type in _TORCH.items()}
