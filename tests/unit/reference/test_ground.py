"""Parts of chips show the same ground in every group, whatever the pixels: pictures here show their own easting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from reference.bands import GroupTable
from reference.data import ABSTAIN, Batch, Layer, stack
from reference.evaluate import confusions
from reference.lessons import Altered, Course, cropped, label_step_m, loader, part_of
from reference.model import patch_size_m
from reference.spoilt import Exchanged
from reference.study import Parts, dividing
from reference.train import Training, fit
from tests.unit.reference.lesson_chips import CLASSES, EDGE_M, MadeChips, tables


class Eastings:
    """Chips whose pictures say how far east (first band) and south (second) a pixel's centre lies."""

    classes = CLASSES

    def __init__(self, edge_m: float, steps_m: dict[str, float], label_m: float = 10.0) -> None:
        made = tables()["s1"]
        self.edge_m, self.label_m = edge_m, label_m
        self.groups: dict[str, GroupTable] = {
            name: replace(made, name=name, modality=name, gsd_m=step_m, step_m=step_m)
            for name, step_m in steps_m.items()
        }

    def __getitem__(self, chip_id: str) -> Batch:
        layers = {}
        for name, table in self.groups.items():
            side = round(self.edge_m / table.step_m)
            centres = (torch.arange(side) + 0.5) * table.step_m
            values = torch.stack([centres.expand(side, side), centres[:, None].expand(side, side)])[None, None]
            layers[name] = Layer(values, torch.ones(1, 1, side, side, dtype=torch.bool), torch.ones(1, 1))
        side = round(self.edge_m / self.label_m)
        label = torch.arange(side).expand(side, side)[None] % len(CLASSES)
        return Batch((chip_id,), layers, label, torch.ones(1, side, side))


def off_m(part: Batch, begin_xy_m: tuple[float, float], size_m: float) -> dict[str, float]:
    """Group -> metres by which a usable pixel shows other ground than where it stands, at most."""
    found = {}
    for name, layer in part.layers.items():
        h, w = layer.valid.shape[-2:]
        east, south = (
            begin_xy_m[0] + (torch.arange(w) + 0.5) * size_m / w,
            begin_xy_m[1] + (torch.arange(h) + 0.5) * size_m / h,
        )
        wanted = torch.stack([east.expand(h, w), south[:, None].expand(h, w)])
        seen = layer.valid[0, 0]
        found[name] = float(((layer.values[0, 0] - wanted).abs() * seen).max())
    return found


@pytest.mark.parametrize(
    ("steps_m", "wanted_m"),
    [
        ({"s2": 10.0, "l8": 30.0}, {"s2": 10.0, "l8": 10.0}),
        ({"s2": 10.0, "l8": 15.0}, {"s2": 10.0, "l8": 10.0}),
        ({"l8": 30.0}, {"l8": 10.0}),
        ({"s2": 10.0, "s2_20m": 20.0}, {"s2": 10.0, "s2_20m": 20.0}),
        ({"s2": 10.0, "odd": 37.0}, {"s2": 10.0, "odd": 10.0}),
        ({"s2": 10.0, "weather": 640.0}, {"s2": 10.0, "weather": 160.0}),
    ],
)
def test_parts_of_a_chip_show_the_ground_of_their_label(steps_m: dict[str, float], wanted_m: dict[str, float]) -> None:
    parts = Parts(Eastings(640.0, steps_m), edge_m=640.0, edge_px=64)
    assert {name: table.step_m for name, table in parts.groups.items()} == wanted_m
    for number in range(16):
        part = parts[f"a~{number}"]
        row, column = divmod(number, 4)
        assert part.label.shape == (1, 16, 16)
        assert int(part.label[0, 0, 0]) == 16 * column % len(CLASSES)
        for name, metres in off_m(part, (160.0 * column, 160.0 * row), 160.0).items():
            assert part.layers[name].valid.shape[-2:] == (round(160.0 / wanted_m[name]),) * 2
            assert metres <= steps_m[name] / 2 + 1e-3  # a pixel that is repeated stands for its half on either side
            seen = part.layers[name].valid
            assert seen.float().mean() > 0.9 or steps_m[name] * round(640.0 / steps_m[name]) < 640.0


def test_parts_whose_pixels_fit_are_cut_out_as_they_are() -> None:
    made = MadeChips(1)
    parts = Parts(made, edge_m=EDGE_M, edge_px=32)
    assert parts.groups == made.groups
    whole, part = made["chip_0"], parts["chip_0~6"]
    assert torch.equal(part.layers["s2_20m"].values, whole.layers["s2_20m"].values[..., 4:8, 8:12])
    assert torch.equal(part.label, whole.label[..., 8:16, 16:24])


def test_a_group_far_from_any_common_pixel_is_shown_about_as_fine_as_the_finest() -> None:
    odd = Eastings(640.0, {"a": 36.7}).groups
    step_m = dividing(odd, 160.0)["a"].step_m
    assert 160.0 / step_m == pytest.approx(round(160.0 / step_m))
    assert 36.7 / 4 - 1 < step_m <= 36.7 / 2


@pytest.mark.parametrize(("edge_m", "coarse_m"), [(1000.0, 30.0), (640.0, 30.0), (640.0, 15.0), (960.0, 15.0)])
def test_crops_are_of_one_shape_and_of_one_ground(edge_m: float, coarse_m: float) -> None:
    chips = Eastings(edge_m, {"l8": coarse_m, "s2": 10.0})
    cell_m = patch_size_m(chips.groups, edge_m, 8)
    shapes = set()
    for seed in range(40):
        part = cropped(chips["a"], chips.groups, 480.0, cell_m, np.random.default_rng(seed), 10.0)
        shapes.add((*(layer.valid.shape for layer in part.layers.values()), part.label.shape))
        layer = part.layers["s2"]
        begin = tuple(float(layer.values[0, 0, band, 0, 0]) - 5.0 for band in (0, 1))
        off = off_m(part, (begin[0], begin[1]), 10.0 * layer.valid.shape[-1])
        assert off["s2"] < 1e-3
        assert off["l8"] <= coarse_m / 2 + 5.0
    assert len(shapes) == 1


class Without:
    """Chips of which some have no picture."""

    def __init__(self, chips: MadeChips, bare: set[str]) -> None:
        self.chips, self.bare = chips, bare
        self.groups, self.classes = chips.groups, chips.classes

    def __getitem__(self, chip_id: str) -> Batch:
        chip = self.chips[chip_id]
        return replace(chip, layers={}) if chip_id in self.bare else chip


def test_a_chip_without_pictures_is_cut_like_the_others() -> None:
    made = MadeChips(3)
    chips = Without(made, {"chip_1"})
    ways = [
        cropped(source["chip_1"], made.groups, 160.0, 40.0, np.random.default_rng(3), 10.0) for source in (chips, made)
    ]
    assert torch.equal(ways[0].label, ways[1].label)
    assert ways[0].layers == {}
    course = Course(batch_size=3, steps=2, crop_m=160.0, cell_m=40.0, label_m=10.0)
    assert len(list(loader(chips, made.ids, course))) == 2


@pytest.mark.parametrize("bare", [{"chip_1"}, {"chip_0", "chip_1", "chip_2"}])
def test_training_goes_on_where_chips_have_no_picture(bare: set[str]) -> None:
    made = MadeChips(3)
    options = Training(steps=3, batch_size=3, crop_m=160.0, text_steps=0, accelerator="cpu")
    done = fit(Without(made, bare), made.ids, EDGE_M, options)
    assert done.steps == 3
    assert np.isfinite(done.losses).all()


def test_a_labels_pixel_follows_from_the_edge_where_pictures_agree() -> None:
    chips = Eastings(1000.0, {"l8": 30.0})  # 33 pixels are 990 m
    assert label_step_m(chips["a"], chips.groups, 1000.0) == 10.0
    assert label_step_m(chips["a"], chips.groups) == pytest.approx(9.9)
    assert label_step_m(chips["a"], chips.groups, 2000.0) == pytest.approx(9.9)  # a smaller chip than the largest
    bare = replace(chips["a"], layers={})
    assert label_step_m(bare, chips.groups, 1000.0) == 10.0
    with pytest.raises(ValueError, match="how large"):
        label_step_m(bare, chips.groups)


def test_stacked_parts_hold_chips_without_a_group() -> None:
    parts = Parts(Without(MadeChips(2), {"chip_1"}), edge_m=EDGE_M, edge_px=32)
    batch = stack([parts["chip_0~5"], parts["chip_1~5"]])
    assert not batch.layers["s1"].valid[1].any()
    assert batch.label.shape == (2, 8, 8)


class Smaller(Altered):
    """Chips of which some are cut to their upper left 240 m, as in a list of cells of two sizes."""

    def __init__(self, chips: MadeChips, small: set[str]) -> None:
        super().__init__(chips)
        self.small = small

    def __getitem__(self, chip_id: str) -> Batch:
        chip = self.chips[chip_id]
        return part_of(chip, self.groups, 10.0, (0, 0), (24, 24)) if chip_id in self.small else chip


def test_chips_of_two_sizes_stack_over_the_ground_of_the_larger() -> None:
    chips = Smaller(MadeChips(2), {"chip_1"})
    large = replace(chips["chip_0"], layers={n: v for n, v in chips["chip_0"].layers.items() if n != "dem"})
    batch = stack([large, chips["chip_1"]])
    assert batch.label.shape == batch.confidence.shape == (2, 32, 32)
    assert (batch.label[1, 24:] == ABSTAIN).all()
    assert (batch.label[1, :, 24:] == ABSTAIN).all()
    assert torch.equal(batch.label[1, :24, :24], chips["chip_1"].label[0])
    dem = batch.layers["dem"]  # of the small chip alone, yet over the ground of both
    assert dem.valid.shape[-2:] == (8, 8)
    assert not dem.valid[1, :, 6:].any()
    assert not batch.layers["s2_20m"].valid[1, :, :, 12:].any()
    assert torch.equal(dem.valid[1, :, :6, :6], chips["chip_1"].layers["dem"].valid[0])


def test_chips_of_several_sizes_are_learned_from_and_each_is_judged_as_if_alone() -> None:
    chips = Smaller(MadeChips(5), {"chip_1", "chip_3", "chip_4"})
    names = list(chips.chips.ids)
    done = fit(chips, names, EDGE_M, Training(steps=2, batch_size=3, accelerator="cpu", text_steps=1))
    together = confusions(done.model, chips, names)
    assert together.sum((1, 2)).tolist() == [32 * 32 - 4, 24 * 24 - 4, 32 * 32 - 4, 24 * 24 - 4, 24 * 24 - 4]
    assert (together == np.concatenate([confusions(done.model, chips, [name]) for name in names])).all()


def test_labels_of_a_chip_of_another_size_are_no_labels_of_ones_own() -> None:
    chips = Smaller(MadeChips(2), {"chip_1"})
    partner = {"chip_0": "chip_1", "chip_1": "chip_0"}
    spoilt = Exchanged(chips, partner, labels=True)
    assert torch.equal(spoilt["chip_1"].label, chips["chip_0"].label[:, :24, :24])
    assert torch.equal(spoilt["chip_0"].label[:, :24, :24], chips["chip_1"].label)
    assert spoilt["chip_0"].label.shape == (1, 32, 32)
    pictures = Exchanged(chips, partner, modality="s1")["chip_1"].layers["s1"]
    assert torch.equal(pictures.values, chips["chip_0"].layers["s1"].values[..., :24, :24])
