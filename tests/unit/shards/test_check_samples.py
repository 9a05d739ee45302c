"""Each promise of a sample's bytes, broken alone."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from schemas.dataset import DatasetDocument
from schemas.sample import LayerArrays, Sample
from shards.check_samples import check_segment, missing_of
from shards.reader import open_dataset
from shards.tar import header_of, segment_parts
from tests.unit.shards import made_up


@pytest.fixture
def document(published: Path) -> DatasetDocument:
    return open_dataset(published).document


def faults(content: bytes, document: DatasetDocument) -> list[str]:
    sha256 = hashlib.sha256(content).hexdigest()
    place = {"chip_id": made_up.chip_id(2), "shard": "a.tar", "sample_sha256": sha256}
    return [problem.what for problem in check_segment(content, place, document)[1]]


def segment(sample: Sample) -> bytes:
    return b"".join(bytes(part) for part in segment_parts(sample))


def with_layer(**changed: object) -> Sample:
    sample = made_up.sample(2)
    layer = replace(sample.layers["s2_10m"], **changed)  # type: ignore[arg-type]
    return replace(sample, layers={**sample.layers, "s2_10m": layer})


def test_a_sample_as_it_is_written_has_no_fault(document: DatasetDocument) -> None:
    assert faults(segment(made_up.sample(2)), document) == []


def test_a_sample_that_cannot_be_decoded_and_one_of_another_hash_are_told(document: DatasetDocument) -> None:
    content = segment(made_up.sample(2))
    place = {"chip_id": made_up.chip_id(2), "shard": "a.tar", "sample_sha256": "0" * 64}
    sample, (told,) = check_segment(content, place, document)
    assert sample is not None
    assert told.what == "the bytes are not those of sample_sha256"
    start = content.index(b"\x93NUMPY")
    sample, (first, second) = check_segment(content[:start] + b"X" + content[start + 1 :], place, document)
    assert sample is None
    assert str(first) == f"a.tar {made_up.chip_id(2)}: the bytes are not those of sample_sha256"
    assert second.what.startswith("IntegrityError: ")


def test_a_member_too_many_is_told(document: DatasetDocument) -> None:
    more = header_of(f"{made_up.chip_id(2)}.zebra.json", 2) + b"{}".ljust(512, b"\0")
    (told,) = faults(segment(made_up.sample(2)) + more, document)
    assert told.startswith("members [")
    assert "'zebra.json']" in told


def test_a_pixel_without_data_is_one_that_the_mask_calls_no_data_or_defective(document: DatasetDocument) -> None:
    layer = made_up.sample(2).layers["s2_10m"]
    data = layer.data.copy()
    data[1, :, 10, 11] = 0
    for validity, told in ((0, 0), (7, 0), (1, 1), (6, 1)):
        valid = layer.valid.copy()
        valid[1, 10, 11] = validity
        assert len(faults(segment(with_layer(data=data, valid=valid)), document)) == told


def test_more_dates_than_the_document_says_are_told(document: DatasetDocument) -> None:
    tables = tuple(table.model_copy(update={"max_dates": 2}) for table in document.modalities)
    told = faults(segment(made_up.sample(2)), document.model_copy(update={"modalities": tables}))
    assert told == [f"{group}: 3 dates, dataset.json says at most 2" for group in ("s2_10m", "s2_20m")]


@pytest.mark.parametrize(("validity", "count", "told"), [(1, 0, 1), (6, 0, 1), (2, 0, 0), (1, 1, 0)])
def test_a_pixel_of_a_composite_is_clear_where_a_date_saw_it(
    document: DatasetDocument, validity: int, count: int, told: int
) -> None:
    tables = [t.model_copy(update={"composite": "median"} if t.group == "s2_10m" else {}) for t in document.modalities]
    layer = made_up.sample(2).layers["s2_10m"]
    counts, valid = np.ones(layer.valid.shape, np.uint8), layer.valid.copy()
    counts[1, 10, 11], valid[1, 10, 11] = count, validity
    sample = with_layer(valid=valid, count=counts)
    found = faults(segment(sample), document.model_copy(update={"modalities": tuple(tables)}))
    assert found == ["s2_10m: pixels are clear that no date of the composite saw clearly"] * told


def test_of_a_sensor_without_a_profile_a_pixel_has_no_data_where_all_bands_have_none() -> None:
    layer: LayerArrays = made_up.sample(2).layers["s2_10m"]
    data = layer.data.copy()
    data[1, 0, 10, 11] = 0
    data[1, :, 10, 12] = 0
    table = made_up.LAYERS[0].model_copy(update={"sensor": "of-our-own"})
    assert missing_of(replace(layer, data=data), table)[1, 10, 11:13].tolist() == [False, True]
