from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from schemas.errors import IntegrityError
from shards.layout import canonical_json, plain
from shards.npy import decode_npy, encode_npy
from shards.samples import decode_sample, meta_of, row_of, sample_members, to_physical
from tests.unit.shards import made_up

DTYPES = st.sampled_from(["uint8", "uint16", "int16", "float32", ">u2", "int32"])
MODALITIES = {"s2_10m": "s2", "s2_20m": "s2", "s1": "s1"}


def members_of(sample: Any) -> dict[str, bytes]:
    return {suffix: head + bytes(body) for suffix, (head, body) in sample_members(sample)}


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_npy_reads_back_and_numpy_reads_the_same(array: Any) -> None:
    head, body = encode_npy(array)
    content = head + bytes(body)
    found = decode_npy(content)
    assert found.shape == array.shape
    assert found.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(found, array)
    np.testing.assert_array_equal(np.load(io.BytesIO(content), allow_pickle=False), array)


def test_npy_of_a_view_is_the_npy_of_its_copy() -> None:
    array = np.arange(24, dtype=np.uint16).reshape(4, 6).T[::2]
    assert b"".join(map(bytes, encode_npy(array))) == b"".join(map(bytes, encode_npy(array.copy())))


def test_pickled_arrays_are_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(IntegrityError, match="not accepted"):
        decode_npy(stream.getvalue())
    with pytest.raises(ValueError, match="no place"):
        encode_npy(np.array(["a"], dtype=object))


@pytest.mark.parametrize("shape", [(10**12, 1), (3, 5), (3, 3)])
def test_an_npy_that_promises_another_size_is_refused(shape: tuple[int, int]) -> None:
    head, body = encode_npy(np.zeros((3, 4), np.uint8))
    wrong = head.replace(b"(3, 4)", str(shape).encode())
    with pytest.raises(IntegrityError, match=r"follow|header"):
        decode_npy(wrong + bytes(body))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 70000, b"PK\x03\x04"])
def test_what_is_no_npy_is_refused(content: bytes) -> None:
    with pytest.raises(IntegrityError):
        decode_npy(content)


@pytest.mark.parametrize("number", range(4))
def test_a_sample_reads_back_from_its_members(number: int) -> None:
    sample = made_up.sample(number)
    found = decode_sample(sample.chip_id, members_of(sample), MODALITIES)
    assert list(found.layers) == list(sample.layers)
    for group, layer in sample.layers.items():
        other = found.layers[group]
        for name in ("data", "valid", "time_utc", "scale", "offset"):
            np.testing.assert_array_equal(getattr(other, name), getattr(layer, name), strict=True)
        assert other.georef == layer.georef
    np.testing.assert_array_equal(found.labels["worldcover"], sample.labels["worldcover"])
    assert found.label is not None
    assert found.label.dtype == np.uint8
    assert found.texts == tuple(json.loads(canonical_json(list(sample.texts))))
    assert members_of(found) == members_of(sample)


def test_members_stand_in_the_contracts_order() -> None:
    assert list(members_of(made_up.sample(1))) == [
        "s2_10m.npy",
        "s2_10m_valid.npy",
        "s2_20m.npy",
        "s2_20m_valid.npy",
        "s1.npy",
        "s1_valid.npy",
        "label_worldcover.npy",
        "label.npy",
        "confidence.npy",
        "osm.json",
        "target_roads.npy",
        "target_streets.json",
        "texts.json",
        "meta.json",
    ]


def test_meta_holds_nothing_that_only_the_shard_knows() -> None:
    sample = made_up.sample(1)
    late = replace(sample, row={**sample.row, "shard": "x", "sample_sha256": "y", "zarr_index": 3, "shard_index": 1})
    assert members_of(late) == members_of(sample)
    assert row_of(meta_of(sample))["geometry_wkb"] == sample.row["geometry_wkb"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chip_id": "a.b"}, "chip id"),
        ({"chip_id": "../x"}, "chip id"),
        ({"chip_id": "x" * 61}, "chip id"),
    ],
)
def test_ids_that_a_shard_cannot_hold_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        members_of(replace(made_up.sample(0), **change))


@pytest.mark.parametrize("name", ["label", "meta", "label_x", "s2_valid", "S2", "a.b"])
def test_group_names_that_mean_something_else_are_refused(name: str) -> None:
    sample = made_up.sample(0)
    with pytest.raises(ValueError, match=r"group|member"):
        members_of(replace(sample, layers={name: sample.layers["s2_10m"]}))


def test_a_mask_of_another_shape_is_refused() -> None:
    sample = made_up.sample(1)
    layer = sample.layers["s2_10m"]
    for wrong in (replace(layer, valid=layer.valid[:, :, 1:]), replace(layer, valid=layer.valid.astype(np.int8))):
        with pytest.raises(ValueError, match="uint8"):
            members_of(replace(sample, layers={"s2_10m": wrong}))


def test_physical_values_are_scaled_and_missing_ones_are_not_numbers() -> None:
    layer = made_up.sample(1).layers["s2_10m"]
    physical = to_physical(layer)
    assert physical.dtype == np.float32
    assert np.isnan(physical[0, :, :2, :5]).all()
    np.testing.assert_allclose(physical[0, 1, 5, 7], layer.data[0, 1, 5, 7] * 0.0001 - 0.1, rtol=1e-6)
    assert np.isfinite(physical[1:]).all()


def test_a_band_that_alone_has_no_data_is_not_a_number() -> None:
    layer = made_up.sample(1).layers["s2_10m"]
    data = layer.data.copy()
    data[1, 0, 9, 8] = 0
    physical = to_physical(replace(layer, data=data), 0.0)
    assert np.isnan(physical[1, 0, 9, 8])
    assert np.isfinite(physical[1, 1, 9, 8])


def test_canonical_json_has_one_form() -> None:
    value = {"b": np.float32(0.5), "a": [np.int16(3), float("nan"), np.datetime64("2026-01-02T03:04:05", "s")], "c": ()}
    assert canonical_json(value) == b'{"a":[3,null,"2026-01-02T03:04:05Z"],"b":0.5,"c":[]}'
    with pytest.raises(TypeError, match="no place"):
        plain({"a": object()})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("s2_10m.transform", [10.0, 0.1, 5e5, 0.0, -10.0, 5.6e6], "north-up"),
        ("s2_10m.transform", None, "6 numbers"),
        ("s2_10m.shape_yx", [36, 24], "do not fit"),
        ("s2.datetimes", ["2026-01-01T00:00:00Z"] * 7, "7 values"),
        ("s2.scale", None, "no values"),
    ],
)
def test_a_row_that_does_not_fit_its_pixels_is_refused(key: str, value: Any, message: str) -> None:
    sample = made_up.sample(1)
    members = members_of(replace(sample, row={**sample.row, key: value}))
    with pytest.raises(IntegrityError, match=message):
        decode_sample(sample.chip_id, members, MODALITIES)


def test_targets_come_back() -> None:
    sample = made_up.sample(1)
    back = decode_sample(sample.chip_id, members_of(sample), MODALITIES)
    np.testing.assert_array_equal(back.targets["roads"], sample.targets["roads"])
    assert back.target_documents == sample.target_documents


def test_a_sample_at_the_end_of_a_notebook_cell_is_one_line() -> None:
    sample = made_up.sample(1)
    assert repr(sample) == (
        "<Sample u31_0001 train: s2_10m (2, 2, 24, 36), s2_20m (2, 1, 12, 18), s1 (1, 2, 25, 37), label (24, 36), "
        "labels worldcover, targets roads streets, 2 texts>"
    )
    assert re.fullmatch(r"<LayerArrays \(1, 2, 25, 37\) float32: \d{4}-\d\d-\d\d>", repr(sample.layers["s1"]))
