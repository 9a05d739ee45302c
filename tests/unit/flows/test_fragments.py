"""Fragments come back as they went in, and one that is not complete is never used."""

from __future__ import annotations

import os
import pickle
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from numpy.typing import NDArray

from flows.fragments import (
    CHIPS,
    PLACES,
    SUMMARY,
    TAKEN,
    FragmentWriter,
    NotWholeError,
    finished,
    is_whole,
    key_of,
    read_chip,
    read_facts,
    read_json,
    record_of,
    sweep,
)
from flows.packing import pack_features, pack_layers, unpack_features, unpack_layers
from schemas.errors import TerraweftError
from schemas.georef import GeoRef
from schemas.labels import Feature, FeatureTable
from schemas.sample import LayerArrays


@given(
    data=arrays_of.arrays(
        st.sampled_from([np.uint16, np.int16, np.float32]),
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.just(2), st.just(5)),
    ),
    epsg=st.sampled_from([32633, 32734]),
)
def test_layers_come_back_bit_for_bit(data: np.ndarray, epsg: int) -> None:  # type: ignore[type-arg]
    dates = data.shape[0]
    layer = LayerArrays(
        data,
        np.ones((dates, 2, 5), np.uint8),
        np.array(["2022-06-20T10:10:39.024"] * dates, "datetime64[ns]"),
        np.full(dates, 1e-4),
        np.full(dates, -0.1),
        GeoRef(epsg, 300_015.0, 5_200_005.0, 30.0, (2, 5)),
    )
    arrays, described = pack_layers({"s2_10m": layer})
    back = unpack_layers(arrays, described)["s2_10m"]
    assert back.georef == layer.georef
    assert back.data.dtype == data.dtype
    assert back.data.tobytes() == data.tobytes()
    np.testing.assert_array_equal(back.time_utc, layer.time_utc)
    np.testing.assert_array_equal(back.scale, layer.scale)
    np.testing.assert_array_equal(back.offset, layer.offset)


def test_features_come_back_to_the_last_digit() -> None:
    line = shapely.LineString([(300_000.123456789, 5_200_000.1), (300_001.0, 5_199_999.9)])
    table = FeatureTable(
        "osm", 32633, (Feature("way/1", line, {"name": "Gr\u00fcn\u2028"}, "2022-01-01"),), "2022-07-01"
    )
    packed = pack_features(table)
    assert unpack_features(packed) == table
    assert unpack_features(pack_features(None)) is None


def test_times_bytes_and_numpy_numbers_survive_json(tmp_path: Path) -> None:
    facts = {"t": datetime(2022, 6, 20, 10, 10, 39, 24_000, UTC), "b": b"\x00\xff", "n": [np.float32(0.5), np.int64(7)]}
    writer = FragmentWriter(tmp_path / "a-1")
    writer.add("chip", {"x": np.arange(6).reshape(2, 3)}, facts)
    folder = writer.commit({})
    assert read_facts(folder, "chip") == {"t": facts["t"], "b": facts["b"], "n": [0.5, 7]}
    np.testing.assert_array_equal(read_chip(folder, "chip")[1]["x"], [[0, 1, 2], [3, 4, 5]])


def test_what_has_no_form_in_a_fragment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no place in a fragment"):
        FragmentWriter(tmp_path / "a-1").add("chip", {}, {"x": object()})


def test_half_written_folder_is_neither_finished_nor_kept(tmp_path: Path) -> None:
    writer = FragmentWriter(tmp_path / "a-1")
    writer.add("chip", {"x": np.zeros(3)}, {})
    FragmentWriter(tmp_path / "b-1").commit({})
    assert [path.name for path in finished(tmp_path)] == ["b-1"]
    sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b-1"]


def test_tile_in_which_a_chip_failed_is_swept_before_the_next_run(tmp_path: Path) -> None:
    FragmentWriter(tmp_path / "a-1.failed").commit({})
    FragmentWriter(tmp_path / "b-1").commit({})
    sweep(tmp_path)
    assert [path.name for path in finished(tmp_path)] == ["b-1"]


def test_of_two_workers_the_first_to_finish_stays(tmp_path: Path) -> None:
    final = tmp_path / "a-1"
    late = FragmentWriter(final)
    FragmentWriter(final).commit({"who": "first"})
    assert late.commit({"who": "late"}) == final
    assert read_json(final / "tile.json") == {"who": "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["a-1"]


def test_workers_of_one_process_number_do_not_touch_each_others_folder(tmp_path: Path) -> None:
    final = tmp_path / "a-1"
    first, second = FragmentWriter(final), FragmentWriter(final)
    for number in range(3):
        first.add(f"c{number}", {"x": np.full(3000, number)}, {})
    second.add("c0", {"x": np.full(3000, 7)}, {})
    assert first.commit({}) == second.commit({}) == final
    for number in range(3):
        np.testing.assert_array_equal(read_chip(final, f"c{number}")[1]["x"], np.full(3000, number))
    assert [path.name for path in tmp_path.iterdir()] == ["a-1"]


def test_folder_that_appears_before_the_rename_stays(tmp_path: Path) -> None:
    final = tmp_path / "a-1"

    class AppearsMeanwhile:
        """A summary over whose writing another worker finishes the tile."""

        def isoformat(self) -> str:
            FragmentWriter(final).commit({"who": "first"})
            return "2022-06-20T10:10:39"

    late = FragmentWriter(final)
    late.add("chip", {"x": np.zeros(3)}, {})
    late.commit({"who": "late", "t": AppearsMeanwhile()})
    assert read_json(final / SUMMARY) == {"who": "first"}
    assert [path.name for path in tmp_path.iterdir()] == ["a-1"]


def test_folder_that_cannot_be_renamed_is_an_error(tmp_path: Path) -> None:
    writer = FragmentWriter(tmp_path / "a-1")
    (tmp_path / "a-1").write_text("a file in its place")
    with pytest.raises(NotADirectoryError):
        writer.commit({})


def test_every_file_is_on_the_disk_before_the_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: dict[str, int] = {}
    to_disk = os.fsync

    def noted(file: int) -> None:
        to_disk(file)
        assert not (tmp_path / "a-1").exists()
        synced[os.readlink(f"/proc/self/fd/{file}")] = os.fstat(file).st_size

    monkeypatch.setattr(os, "fsync", noted)
    writer = FragmentWriter(tmp_path / "a-1")
    for number in range(3):
        writer.add(str(number), {"x": np.full(3000, number)}, {})
    temporary = str(writer.temporary)
    folder = writer.commit({"kept": {}})
    wanted = {f"{temporary}/{path.name}": path.stat().st_size for path in folder.iterdir()}
    assert {path: size for path, size in synced.items() if path != temporary} == wanted
    assert list(synced)[-1] == temporary, "the folder lists its files last"


def test_file_is_closed_with_its_writer(tmp_path: Path) -> None:
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = opened()
    for number in range(3):
        writer = FragmentWriter(tmp_path / f"a-{number}")
        writer.add("chip", {"x": np.zeros(3)}, {})
    writer.commit({})
    del writer
    assert opened() == before


def test_leftovers_of_a_killed_worker_do_not_enter_the_next_fragment(tmp_path: Path) -> None:
    FragmentWriter(tmp_path / "a-1").add("old", {"x": np.zeros(3)}, {})
    writer = FragmentWriter(tmp_path / "a-1")
    writer.add("new", {"x": np.zeros(3)}, {})
    folder = writer.commit({})
    with pytest.raises(OSError, match="holds no old"):
        read_facts(folder, "old")
    assert record_of(folder, "new").length == (folder / CHIPS).stat().st_size


def test_keys_tell_inputs_apart_and_not_their_order() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of(["a", "b"]) != key_of(["b", "a"])
    assert key_of("ab", "c") != key_of("a", "bc")


ARRAYS = arrays_of.arrays(
    st.sampled_from(["u1", "<u2", "<i8", "<f4", "<f8", "<U3", "?"]),
    arrays_of.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
)


CONTENTS = st.dictionaries(st.text(max_size=8), ARRAYS, max_size=4)


@given(st.lists(CONTENTS, max_size=4))
def test_arrays_come_back_as_they_were(chips: list[dict[str, NDArray[Any]]]) -> None:
    with TemporaryDirectory() as parent:
        writer = FragmentWriter(Path(parent) / "a-1")
        for number, arrays in enumerate(chips):
            writer.add(str(number), arrays, {"n": len(arrays)})
        folder = writer.commit({})
        for number, arrays in reversed(list(enumerate(chips))):
            facts, found = read_chip(folder, str(number))
            assert facts == read_facts(folder, str(number)) == {"n": len(arrays)}
            assert list(found) == list(arrays)
            for name, array in arrays.items():
                assert found[name].dtype == array.dtype
                np.testing.assert_array_equal(found[name], array)


def test_views_are_stored_as_they_look_and_changes_stay_in_memory(tmp_path: Path) -> None:
    turned = np.arange(6, dtype=np.uint16).reshape(2, 3).T
    writer = FragmentWriter(tmp_path / "a-1")
    writer.add("chip", {"x": turned}, {})
    first = writer.read("chip")[1]["x"]
    np.testing.assert_array_equal(first, turned)
    first[:] = 9
    np.testing.assert_array_equal(writer.read("chip")[1]["x"], turned)


def test_chips_of_another_folder_are_linked_and_not_copied(tmp_path: Path) -> None:
    first = FragmentWriter(tmp_path / "a-1")
    for number in range(3):
        first.add(f"c{number}", {"x": np.full(3, number)}, {"n": number})
    before = first.commit({})
    again = FragmentWriter(tmp_path / "a-2")
    again.add("c1", {"x": np.full(3, 9)}, {"n": 9})
    again.take_over(before, ["c0", "c2"])
    assert again.read("c2")[0] == {"n": 2}
    after = again.commit({})
    assert [read_facts(after, f"c{number}")["n"] for number in range(3)] == [0, 9, 2]
    np.testing.assert_array_equal(read_chip(after, "c2")[1]["x"], [2, 2, 2])
    assert Path(record_of(after, "c0").path).samefile(record_of(before, "c0").path)


def test_a_folder_that_was_made_again_under_its_name_is_read_anew(tmp_path: Path) -> None:
    for n in (1, 20):
        writer = FragmentWriter(tmp_path / "a-1.failed")
        writer.add("chip", {"x": np.ones(n)}, {"n": n})
        assert read_facts(writer.commit({}), "chip") == {"n": n}
        sweep(tmp_path)


@pytest.mark.parametrize("left", [0, 4, 20, 100, 18_000, -1])
def test_fragment_that_was_cut_off_is_no_fragment(tmp_path: Path, left: int) -> None:
    writer = FragmentWriter(tmp_path / "a-1")
    writer.add("chip", {"x": np.ones((3, 40)), "y": np.ones((5, 7))}, {"text": "z" * 20_000})
    folder = writer.commit({})
    path = folder / CHIPS
    path.write_bytes(path.read_bytes()[:left] if left >= 0 else path.read_bytes()[:-64])
    with pytest.raises(NotWholeError, match="no whole fragment"):
        read_chip(folder, "chip")
    if 0 <= left < 20_000:
        with pytest.raises(NotWholeError, match="no whole fragment"):
            read_facts(folder, "chip")


@pytest.mark.parametrize("name", [CHIPS, TAKEN, PLACES, SUMMARY, "texts.json"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "lost"])
def test_damaged_folder_is_swept_and_the_others_stay(tmp_path: Path, name: str, damage: str) -> None:
    first = FragmentWriter(tmp_path / "first" / "a-1")
    for number in range(3):
        first.add(f"c{number}", {"x": np.full(3000, number)}, {})
    before = first.commit({})
    again = FragmentWriter(tmp_path / "again" / "a-1")
    again.add("c1", {"x": np.full(3000, 9)}, {})
    again.take_over(before, ["c0", "c2"])
    folder = again.commit({"kept": {}})
    (folder / "texts.json").write_text('{"c0": []}')
    FragmentWriter(folder.with_name("b-1")).commit({})
    sweep(folder.parent)
    assert [path.name for path in finished(folder.parent)] == ["a-1", "b-1"]
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage != "lost":
        path.write_bytes(b"" if damage == "emptied" else content[: len(content) // 2])
    stays = name == "texts.json" and damage == "lost"  # nobody wrote them yet
    assert is_whole(folder) == stays
    sweep(folder.parent)
    assert [path.name for path in finished(folder.parent)] == (["a-1", "b-1"] if stays else ["b-1"])


def _one_chip(folder: Path) -> Path:
    writer = FragmentWriter(folder)
    writer.add("chip", {"x": np.ones(9000)}, {"text": "z" * 5_000})
    return writer.commit({})


@pytest.mark.parametrize("zeros", [(0, 8), (8, 16), (8, 9), (16, 17), (16, 4096), (0, 70_000), (4096, 5000)])
def test_damaged_head_names_its_file(tmp_path: Path, zeros: tuple[int, int]) -> None:
    folder = _one_chip(tmp_path / "a-1")
    path, (start, stop) = folder / CHIPS, zeros
    content = bytearray(path.read_bytes())
    content[start:stop] = (b"\xff" if zeros == (8, 9) else b"\0") * (stop - start)
    path.write_bytes(content)
    for read in (read_chip, read_facts):
        with pytest.raises(NotWholeError, match=f"{path} is no whole fragment") as caught:
            read(folder, "chip")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_damaged_list_of_chips_names_its_file(tmp_path: Path) -> None:
    folder = _one_chip(tmp_path / "a-1")
    (folder / PLACES).write_bytes(bytes(40))
    with pytest.raises(NotWholeError, match=PLACES):
        record_of(folder, "chip")


@pytest.mark.parametrize("content", [b'{"kept": {"c0"', b"\xff\xfe{}", b""])
def test_damaged_summary_is_one_line_that_names_its_file(tmp_path: Path, content: bytes) -> None:
    path = _one_chip(tmp_path / "a-1") / SUMMARY
    path.write_bytes(content)
    with pytest.raises(TerraweftError, match=f"{path} is no whole fragment"):
        read_json(path)


def test_arrays_of_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no place in a fragment"):
        FragmentWriter(tmp_path / "a-1").add("chip", {"x": np.array([object()])}, {})
