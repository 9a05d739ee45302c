"""Reading from a real S3 server: what it is asked for, by its own log."""

from __future__ import annotations

import logging
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch

from schemas.errors import DatasetError
from shards.check import check_dataset
from shards.filters import ChipFilter
from shards.object_storage import ObjectStorage
from shards.reader import Dataset, open_dataset
from shards.storage import StoreOptions, open_storage
from shards.version import publish
from terraweft import ChipLoader, ChipStream, StreamOptions
from tests.s3_server import CREDENTIALS, s3_server
from tests.unit.shards import made_up

BUCKET = "terraweft-reading"


class Log(logging.Handler):
    """What a server was asked for: method, path, status."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, int]] = []

    def emit(self, record: logging.LogRecord) -> None:
        found = re.search(r'"(\w+) /([^ ]*) HTTP[^"]*" (\d+)', re.sub(r"\x1b\[[0-9;]*m", "", record.getMessage()))
        if found is not None:
            self.requests.append((found[1], found[2], int(found[3])))

    def taken(self) -> list[tuple[str, str, int]]:
        """The requests since the last call."""
        found, self.requests = self.requests, []
        return found


@pytest.fixture(scope="module")
def on_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dataset, Log]]:
    """A dataset of ten chips in a bucket, and the server's log."""
    log, logger = Log(), logging.getLogger("werkzeug")
    scratch = tmp_path_factory.mktemp("s3")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with s3_server(BUCKET) as url:
            logger.setLevel(logging.INFO)
            logger.addHandler(log)
            options = StoreOptions(endpoint_url=url, region="us-east-1")
            storage = open_storage(f"s3://{BUCKET}/dataset", options)
            draft = made_up.draft(scratch, [made_up.sample(n) for n in range(10)], storage=storage)
            publish(storage, draft, scratch=scratch / "staging")
            yield open_dataset(f"s3://{BUCKET}/dataset", options=options), log
            logger.removeHandler(log)


def test_a_sample_by_id_is_one_range_of_one_shard(on_s3: tuple[Dataset, Log]) -> None:
    dataset, log = on_s3
    _ = dataset.places  # the table, once
    log.taken()
    for number in (3, 7):
        sample = dataset.sample(made_up.chip_id(number))
        np.testing.assert_array_equal(sample.layers["s2_10m"].data, made_up.sample(number).layers["s2_10m"].data)
        ((method, path, status),) = log.taken()
        assert (method, status) == ("GET", 206)
        assert path == f"{BUCKET}/dataset/{dataset.places.path_of(dataset.places.number(sample.chip_id) or 0)}"


@pytest.mark.parametrize("how", ["loader", "iterate"])
def test_many_samples_of_a_store_are_on_their_way_at_once(
    on_s3: tuple[Dataset, Log], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 30 ms two threads read a quarter of what webdataset does."""
    dataset, _ = on_s3
    at_once, first, read = Barrier(8), iter(range(8)), ObjectStorage.read_range
    loader = ChipLoader(ChipStream(dataset, StreamOptions(split=None)), batch_size=5)
    alone = [sample.row for sample in map(dataset.sample, dataset.chip_ids())]

    def slow(self: ObjectStorage, path: str, start: int, length: int) -> bytes:
        if next(first, None) is not None:
            at_once.wait(2)
        return read(self, path, start, length)

    monkeypatch.setattr(ObjectStorage, "read_range", slow)
    if how == "iterate":
        assert [sample.row for sample in dataset.iterate()] == alone
        return
    assert sum(len(batch["chip_id"]) for batch in loader) == 10


def test_a_stream_asks_once_for_each_sample_and_equals_the_local_one(
    on_s3: tuple[Dataset, Log], published: Path
) -> None:
    dataset, log = on_s3
    options = StreamOptions(seed=2, texts=True, sources=("worldcover",))
    stream = ChipStream(dataset, options)
    log.taken()
    remote = list(ChipLoader(stream, 2))
    assert [(method, status) for method, _, status in log.taken()] == [("GET", 206)] * 6
    local = list(ChipLoader(ChipStream(published, options), 2))
    assert [batch["chip_id"] for batch in remote] == [batch["chip_id"] for batch in local]
    for ours, theirs in zip(remote, local, strict=True):
        for name, value in theirs.items():
            assert torch.equal(ours[name], value) if isinstance(value, torch.Tensor) else ours[name] == value


def test_an_epoch_on_s3_goes_on_where_it_stopped_and_filters_open_no_other_shard(on_s3: tuple[Dataset, Log]) -> None:
    dataset, log = on_s3
    stopped = ChipLoader(ChipStream(dataset, StreamOptions(seed=2)), 2)
    first = next(iter(stopped))
    goes_on = ChipLoader(ChipStream(dataset, StreamOptions(seed=2)), 2)
    goes_on.load_state_dict(stopped.state_dict())
    seen = [*first["chip_id"], *(chip for batch in goes_on for chip in batch["chip_id"])]
    assert sorted(seen) == sorted(dataset.chip_ids("train"))
    log.taken()
    found = list(dataset.iterate(where=ChipFilter(splits=("val",))))
    assert len(found) == 2
    assert all("/shards/val/" in path for _, path, _ in log.taken())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_check_goes_through_a_shard_in_large_pieces(on_s3: tuple[Dataset, Log]) -> None:
    dataset, log = on_s3
    log.taken()
    report = check_dataset(dataset.storage)
    assert (report.problems, report.chips) == ([], 10)
    asked = Counter(path for method, path, _ in log.taken() if method == "GET" and path.endswith(".tar"))
    assert set(asked.values()) == {2}  # for its hash and for its samples
    assert len(asked) == len(dataset.document.shards)


def test_a_forked_process_is_refused_and_does_not_wait_for_ever(on_s3: tuple[Dataset, Log]) -> None:
    dataset, _ = on_s3
    _ = dataset.places
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(5)
        try:
            dataset.sample(made_up.chip_id(3))
        except DatasetError as error:
            os._exit(7 if "forkserver" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_workers_that_read_from_a_store_are_not_forked(on_s3: tuple[Dataset, Log], published: Path) -> None:
    stream = ChipStream(on_s3[0], StreamOptions())
    assert ChipLoader(stream, num_workers=2).multiprocessing_context.get_start_method() == "forkserver"
    chosen = ChipLoader(stream, num_workers=2, multiprocessing_context="spawn")
    assert chosen.multiprocessing_context.get_start_method() == "spawn"
    assert ChipLoader(ChipStream(published), num_workers=2).multiprocessing_context is None
    assert ChipLoader(stream).multiprocessing_context is None
