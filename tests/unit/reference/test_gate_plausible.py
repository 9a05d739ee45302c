"""Gate *plausible*: what all chips of a dataset share, planted into sound ones; physics refuses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from reference.findings import Finding
from reference.gate_plausible import checks_of, plausible, seams
from reference.plausible import SIDES, Edges, Gathered, Spectrum, gather
from schemas.recipe_gates import PlausibleGate
from schemas.sample import LayerArrays, Sample
from tests.unit.reference import made_dataset

SAMPLES = [made_dataset.sample(number) for number in range(6)]
TABLES = made_dataset.layer_tables(SAMPLES)
RULE = PlausibleGate()


def dataset_of(spoil: Callable[[Sample], Sample], tables: Any = TABLES) -> Any:
    """What the gate asks of a dataset, of samples in memory."""

    def iterate(**_: Any) -> Iterator[Sample]:
        yield from map(spoil, SAMPLES)

    rows = [{"chip_id": one.chip_id, "split": one.split, "block_id": "one"} for one in SAMPLES]
    document = SimpleNamespace(modalities=tables, clear_codes=lambda modality: (1,))
    return SimpleNamespace(document=document, chips=pd.DataFrame(rows), iterate=iterate)


def spoilt(group: str, change: Callable[[LayerArrays], LayerArrays]) -> Callable[[Sample], Sample]:
    return lambda one: replace(one, layers=one.layers | {group: change(one.layers[group])})


def refused(found: Finding) -> set[str]:
    return {str(row["check"]) for row in found.table if row["said"] == "refused"}


def bands(*order: int) -> Callable[[LayerArrays], LayerArrays]:
    return lambda layer: replace(layer, data=layer.data[:, list(order)])


def decibels(layer: LayerArrays) -> LayerArrays:
    return replace(layer, data=10.0 * np.log10(np.maximum(layer.data, 1e-6)))


def test_sound_numbers_pass_and_their_controls_are_refused() -> None:
    found = plausible(dataset_of(lambda one: one), RULE)
    assert found.passed, found.said
    assert found.control_failed
    assert len(found.control_measured) >= 6


@pytest.mark.parametrize(
    ("group", "change", "check"),
    [
        ("s2", bands(0, 1, 3, 2), "max_broken_spectra"),
        ("s2", lambda layer: replace(layer, scale=layer.scale * 10), "max_reflectance"),
        ("s2", lambda layer: replace(layer, scale=layer.scale / 1000), "min_reflectance"),
        ("s1", decibels, "max_beyond_db"),
        ("s1", bands(1, 0), "max_cross_above_db"),
    ],
)
def test_what_all_chips_share_is_refused(group: str, change: Callable[[LayerArrays], LayerArrays], check: str) -> None:
    found = plausible(dataset_of(spoilt(group, change)), RULE)
    assert found.passed is False
    assert check in refused(found)


def test_power_that_is_called_decibel_is_refused() -> None:
    tables = tuple(table.model_copy(update={"unit": "dB"}) if table.group == "s1" else table for table in TABLES)
    assert "max_beyond_db" in refused(plausible(dataset_of(lambda one: one, tables), RULE))


def test_where_no_control_would_be_seen_the_gate_says_nothing() -> None:
    maps = tuple(table.model_copy(update={"unit": "class", "bands": table.bands[:1]}) for table in TABLES[:1])
    assert plausible(dataset_of(spoilt("s2", bands(0)), maps), RULE).passed is None


LEAF = np.array([0.05, 0.08, 0.06, 0.30, 0.27, 0.18])
NM = np.array([490.0, 560.0, 665.0, 842.0, 1610.0, 2200.0])


def two_sensors(means: np.ndarray[Any, Any], days: float = 1.0) -> set[str]:
    """Checks that refuse a second sensor that says this of the same leaves."""
    one, other = ([Spectrum(f"c{i}", day, NM, of) for i in range(4)] for day, of in ((0.0, LEAF), (days, means)))
    return {check.name for check in checks_of(Gathered(spectra={"a": one, "b": other}), RULE) if check.is_refused}


def test_what_nobody_saw_is_not_judged_and_that_is_said() -> None:
    """Of an optical modality under clouds the median of nothing was taken, with a warning on the terminal."""

    def clouded(layer: LayerArrays) -> LayerArrays:
        return replace(layer, valid=np.full_like(layer.valid, 2))

    found = plausible(dataset_of(spoilt("s2", clouded)), RULE)
    assert found.passed
    assert {row["of"] for row in found.table} == {"s1 VV", "s1 VH"}
    nothing = plausible(dataset_of(lambda one: spoilt("s1", clouded)(spoilt("s2", clouded)(one))), RULE)
    assert nothing.passed is None
    assert "has a clear pixel in the chips looked at" in nothing.said


def test_sensors_of_one_place_agree_on_what_they_see() -> None:
    assert two_sensors(LEAF * 1.2) == set()
    assert two_sensors(LEAF[[0, 1, 2, 3, 5, 4]]) == {"max_misnamed"}  # swir bands under each other's names
    assert two_sensors(LEAF[[1, 0, 2, 3, 4, 5]]) == {"max_misnamed"}
    assert two_sensors(LEAF / 10) == {"max_disagreement"}
    assert two_sensors(LEAF + 0.1) == {"max_disagreement"}  # the offset of a processing baseline was left out
    assert two_sensors(LEAF / 10, days=100.0) == set()  # of another season


def of_sun(stated: float, latitude: float, time: str) -> list[Any]:
    row: dict[str, Any] = {"s2.sun_elevation_deg": [stated] * 2, "bbox": dict.fromkeys(("xmin", "xmax"), 12.0)}
    row["bbox"] |= dict.fromkeys(("ymin", "ymax"), latitude)
    times = np.array([time] * 2, "datetime64[ns]")
    layers = {name: replace(layer, time_utc=times[: len(layer.time_utc)]) for name, layer in SAMPLES[0].layers.items()}
    gathered = gather(dataset_of(lambda one: replace(one, layers=layers, row=one.row | row)))
    return [check for check in checks_of(gathered, RULE) if check.name == "max_sun_off"]


def test_the_sun_tells_the_hemisphere_and_the_season() -> None:
    (right,) = of_sun(59.7, 47.84, "2021-07-20T10:10:31")  # as an item of Sentinel-2 says
    assert (right.found, right.control) == (0.0, 1.0)
    assert of_sun(59.7, -47.84, "2021-07-20T10:10:31")[0].is_refused
    assert of_sun(59.7, 47.84, "2021-01-20T10:10:31")[0].is_refused
    assert of_sun(59.7, 47.84, "2021-07-20T00:00:00") == []  # a day without its hour


def cut(picture: np.ndarray[Any, Any], turn: Callable[[Any], Any] = lambda chip: chip) -> float:
    """Seams of a picture cut into 4 x 5 chips of 8 pixels, each of them turned."""
    chips = {}
    for row in range(4):
        for column in range(5):
            chip = turn(picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8])
            lines = (chip[:2], chip[:-3:-1], chip[:, :2].T, chip[:, :-3:-1].T)
            chips[80.0 * column, -80.0 * row] = Edges(dict(zip(SIDES, lines, strict=True)))
    return seams([chips], [80.0])


def test_pictures_go_on_in_the_next_chip() -> None:
    noise = np.random.default_rng(5).normal(size=(32, 40))
    ground = ndimage.gaussian_filter(noise, 3.0)
    assert abs(cut(ground)) < 0.1
    assert cut(np.kron(ground[:16, :20], np.ones((2, 2)))) < 0.4  # each pixel of a coarser sensor twice
    for turned in (np.flipud, np.fliplr, np.transpose, lambda chip: chip[::-1, ::-1]):
        assert cut(ground, turned) > 0.7
    assert np.isnan(cut(noise))  # goes on nowhere
