from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from reference.bands import GroupTable, group_table
from reference.data import ABSTAIN, Batch, Layer, select, stack
from reference.losses import contrast, segmentation_loss
from reference.model import SIZES, ReferenceModel, dropped, patch_size_m
from reference.vocabulary import learn_vocabulary
from schemas.dataset import BandTable
from tests.unit.reference.lesson_chips import CLASSES, EDGE_M, MadeChips, layer_table, tables


@pytest.fixture(scope="module")
def chips() -> MadeChips:
    return MadeChips(3)


@pytest.fixture(scope="module")
def model(chips: MadeChips) -> ReferenceModel:
    return made(chips.groups, [c for i in chips.ids for c in chips[i].captions])


@pytest.fixture
def batch(chips: MadeChips) -> Batch:
    return stack([chips[chip_id] for chip_id in chips.ids])


def made(groups: dict[str, GroupTable], captions: list[str] | None = None) -> ReferenceModel:
    torch.manual_seed(5)
    patch_m = patch_size_m(groups, EDGE_M, 8)
    return ReferenceModel(groups, len(CLASSES), SIZES["tiny"], patch_m, learn_vocabulary(captions or ["a"])).eval()


def scores(model: ReferenceModel, batch: Batch) -> torch.Tensor:
    with torch.no_grad():
        return model(batch).scores


def test_classes_come_on_the_labels_grid_and_vectors_have_length_one(model: ReferenceModel, batch: Batch) -> None:
    with torch.no_grad():
        out = model(batch)
    assert out.scores.shape == (3, len(CLASSES), *batch.label.shape[-2:])
    assert torch.allclose(out.image.norm(dim=1), torch.ones(3))


def test_order_of_modalities_changes_nothing(model: ReferenceModel, batch: Batch) -> None:
    turned = replace(batch, layers=dict(reversed(batch.layers.items())))
    assert torch.equal(scores(model, batch), scores(model, turned))


def test_a_model_of_the_same_weights_with_its_groups_in_another_order_says_the_same(chips: MadeChips) -> None:
    batch = stack([chips[chip_id] for chip_id in chips.ids])
    one, other = made(chips.groups), made(dict(reversed(chips.groups.items())))
    state, places = one.state_dict(), list(chips.groups)
    order = [places.index(name) for name in other.tables]
    for name in ("pixels.context.group", "pixels.token_context.group"):
        state[name] = state[name][order]
    other.load_state_dict(state)
    assert torch.allclose(scores(one, batch), scores(other, batch), atol=1e-5)


@pytest.mark.parametrize("name", ["half", "type", "values", "to", "training"])
def test_a_modality_may_have_a_name_that_pytorch_has_for_itself(chips: MadeChips, batch: Batch, name: str) -> None:
    def named(group: str) -> str:
        return name if group == "dem" else group

    tables = {named(group): replace(table, name=named(group)) for group, table in chips.groups.items()}
    layers = {named(group): layer for group, layer in batch.layers.items()}
    said = scores(made(tables), replace(batch, layers=layers))
    assert torch.equal(said, scores(made(dict(chips.groups)), batch))


def test_an_absent_modality_and_one_that_saw_nothing_are_the_same(model: ReferenceModel, batch: Batch) -> None:
    without = select(batch, ("s2", "dem"), model.tables)
    radar = batch.layers["s1"]
    blind = replace(batch, layers={**batch.layers, "s1": replace(radar, valid=torch.zeros_like(radar.valid))})
    assert torch.equal(scores(model, without), scores(model, blind))


def test_a_padded_date_changes_nothing(model: ReferenceModel, batch: Batch) -> None:
    layers = {name: padded(layer) for name, layer in batch.layers.items()}
    assert torch.equal(scores(model, batch), scores(model, replace(batch, layers=layers)))


def padded(layer: Layer) -> Layer:
    """One more date, of nonsense that is not valid."""
    values = torch.cat([layer.values, torch.full_like(layer.values[:, :1], 7.0)], 1)
    valid = torch.cat([layer.valid, torch.zeros_like(layer.valid[:, :1])], 1)
    return Layer(values, valid, torch.cat([layer.day, torch.full_like(layer.day[:, :1], 9999.0)], 1))


@pytest.mark.parametrize("nonsense", [1e9, -3.0, float("nan"), float("inf")])
def test_values_under_an_invalid_mask_never_matter(model: ReferenceModel, batch: Batch, nonsense: float) -> None:
    layers = {}
    for name, layer in batch.layers.items():
        hidden = (~layer.valid)[:, :, None].expand_as(layer.values)
        layers[name] = replace(layer, values=torch.where(hidden, nonsense, layer.values))
    assert torch.equal(scores(model, batch), scores(model, replace(batch, layers=layers)))


def test_a_chip_is_judged_alone_as_in_company(model: ReferenceModel, chips: MadeChips, batch: Batch) -> None:
    alone = torch.cat([scores(model, chips[chip_id]) for chip_id in chips.ids])
    assert torch.allclose(scores(model, batch), alone, atol=1e-5)


def test_dates_in_another_order_say_the_same(model: ReferenceModel, batch: Batch) -> None:
    layers = {n: Layer(v.values.flip(1), v.valid.flip(1), v.day.flip(1)) for n, v in batch.layers.items()}
    assert torch.allclose(scores(model, batch), scores(model, replace(batch, layers=layers)), atol=1e-5)


def test_a_subset_of_bands_needs_no_new_weights(chips: MadeChips, model: ReferenceModel, batch: Batch) -> None:
    groups = dict(chips.groups)
    groups["s2_10m"] = replace(groups["s2_10m"], numbers=groups["s2_10m"].numbers[[3, 0]])
    fewer = made(groups)
    known = {n: v for n, v in model.state_dict().items() if not n.startswith("text.")}
    missing = fewer.load_state_dict(known, strict=False)
    assert all(name.startswith("text.") for name in [*missing.missing_keys, *missing.unexpected_keys])
    layer = batch.layers["s2_10m"]
    shown = {**batch.layers, "s2_10m": replace(layer, values=layer.values[:, :, [3, 0]])}
    assert torch.isfinite(scores(fewer, replace(batch, layers=shown))).all()


@pytest.mark.parametrize(
    "bands",
    [
        [BandTable(name=name, mean=0.1, std=0.05) for name in ("red", "green", "blue")],  # no wavelength is known
        [BandTable(name=name, polarisation="VV") for name in ("summer", "winter", "spread")],
        [
            BandTable(name=name, centre_nm=865.0, fwhm_nm=20.0, mean=0.1, std=0.05)
            for name in ("nir", "nir_min", "nir_max")
        ],
    ],
)
def test_bands_that_only_their_names_tell_apart_are_not_one_sum(bands: list[BandTable]) -> None:
    groups = {"a": group_table(layer_table("a", "a", 10.0, tuple(bands), 1))}
    model, valid = made(groups), torch.ones(1, 1, 32, 32, dtype=torch.bool)
    values = torch.randn(1, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    label = torch.zeros(1, 32, 32, dtype=torch.int64)
    said = [
        scores(model, Batch(("x",), {"a": Layer(values[:, :, order], valid, torch.ones(1, 1))}, label, label.float()))
        for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2])
    ]
    assert not torch.allclose(said[0], said[1], atol=1e-5)
    assert not torch.allclose(said[0], said[2], atol=1e-5)


def test_what_nobody_saw_is_still_answered(model: ReferenceModel, batch: Batch) -> None:
    layers = {n: replace(v, valid=torch.zeros_like(v.valid)) for n, v in batch.layers.items()}
    assert torch.isfinite(scores(model, replace(batch, layers=layers))).all()


def test_gradients_reach_every_parameter(chips: MadeChips) -> None:
    model = made(chips.groups, [c for i in chips.ids for c in chips[i].captions]).train()
    batch = stack([chips[chip_id] for chip_id in chips.ids])
    for layer in batch.layers.values():
        layer.valid[0, :, : layer.valid.shape[2] // 2] = False  # cells and pixels that nobody saw
    out = model(batch)
    assert model.text is not None
    assert model.scale is not None
    texts = model.text(batch.captions)
    loss = segmentation_loss(out.scores, batch.label, batch.confidence, torch.ones(len(CLASSES)))
    (loss + contrast(out.image, texts, batch.captions, model.scale)).backward()  # type: ignore[no-untyped-call]
    still = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert not still


def test_the_loss_is_silent_where_the_label_abstains(batch: Batch) -> None:
    torch.manual_seed(0)
    guess = torch.randn(3, len(CLASSES), *batch.label.shape[-2:])
    other = guess.clone()
    hidden = (batch.label == ABSTAIN)[:, None].expand_as(guess)
    other[hidden] = 50.0
    weights = torch.tensor([1.0, 2.0, 0.5])
    first = segmentation_loss(guess, batch.label, batch.confidence, weights)
    assert torch.equal(first, segmentation_loss(other, batch.label, batch.confidence, weights))
    nothing = segmentation_loss(guess.requires_grad_(), torch.full_like(batch.label, ABSTAIN), None, None)
    nothing.backward()  # type: ignore[no-untyped-call]
    assert float(nothing.detach()) == 0.0
    assert guess.grad is not None
    assert float(guess.grad.abs().sum()) == 0.0


def test_unsure_labels_count_less() -> None:
    guess = torch.tensor([[[[4.0, -4.0]], [[-4.0, 4.0]]]])  # (1, 2, 1, 2): says 0 and 1
    label = torch.tensor([[[0, 0]]])  # the second is wrong
    sure = segmentation_loss(guess, label, torch.tensor([[[1.0, 1.0]]]), None)
    unsure = segmentation_loss(guess, label, torch.tensor([[[1.0, 0.1]]]), None)
    assert unsure < sure


def test_dropout_keeps_at_least_one_modality_and_one_date_of_each_chip(batch: Batch, chips: MadeChips) -> None:
    for seed in range(20):
        chance = torch.Generator().manual_seed(seed)
        kept = dropped(batch, chips.groups, chance, modality=0.9, date=0.9)
        assert kept.layers
        for layer in kept.layers.values():
            assert layer.valid.flatten(1).any(1).all()
        if "s2_10m" in kept.layers:  # both groups of a modality lose the same dates
            seen = [kept.layers[n].valid.flatten(2).any(2) for n in ("s2_10m", "s2_20m")]
            assert torch.equal(*seen)
    assert set(dropped(batch, chips.groups, torch.Generator(), 0.0, 0.0).layers) == set(batch.layers)


def test_processes_leave_out_the_same_modalities_though_the_chips_of_one_lack_some(
    batch: Batch, chips: MadeChips
) -> None:
    for seed in range(60):
        for lacking in ("s1", "dem", "s2"):
            rest = select(batch, {"s1", "dem", "s2"} - {lacking}, chips.groups)
            ways = [
                dropped(shown, chips.groups, torch.Generator().manual_seed(seed), 0.4, 0.4, rank=rank, world_size=2)
                for rank, shown in enumerate((batch, rest))
            ]
            all_kept, kept = ({chips.groups[name].modality for name in way.layers} for way in ways)
            assert kept == all_kept - {lacking} or all_kept == {lacking}
            assert kept


def test_what_is_left_out_follows_from_the_seed_as_it_always_did(batch: Batch, chips: MadeChips) -> None:
    chance = torch.Generator().manual_seed(8)
    luck = torch.rand(3, generator=chance).tolist()  # of s2, s1, dem
    first = torch.rand((1, 3, 3), generator=chance)[0] >= 0.4  # of the first that stays
    kept = dropped(batch, chips.groups, torch.Generator().manual_seed(8), 0.4, 0.4)
    assert list(kept.layers) == [
        n for n, t in chips.groups.items() if luck[("s2", "s1", "dem").index(t.modality)] >= 0.4
    ]
    assert luck[0] >= 0.4
    seen = kept.layers["s2_10m"].valid.flatten(2).any(2)
    assert torch.equal(seen | (~first.any(1))[:, None], first | (~first.any(1))[:, None])


def test_a_batch_without_any_picture_is_answered_on_the_labels_grid(chips: MadeChips, batch: Batch) -> None:
    bare = select(batch, (), chips.groups)
    assert dropped(bare, chips.groups, torch.Generator(), 0.5, 0.5) is bare
    torch.manual_seed(5)
    patch_m = patch_size_m(chips.groups, EDGE_M, 8)
    model = ReferenceModel(chips.groups, len(CLASSES), SIZES["tiny"], patch_m, label_m=10.0).eval()
    blind = replace(batch, layers={n: replace(v, valid=torch.zeros_like(v.valid)) for n, v in batch.layers.items()})
    assert model.grid(bare) == model.grid(batch) == (8, 8)
    assert torch.equal(scores(model, bare), scores(model, blind))


def test_a_cell_is_a_common_multiple_of_all_pixels() -> None:
    groups = tables()
    assert patch_size_m(groups, EDGE_M, 8) == 40.0
    assert patch_size_m(groups, EDGE_M, 4) == 80.0
    odd = {**groups, "s3": replace(groups["dem"], step_m=37.0)}
    assert patch_size_m(odd, EDGE_M, 4) == EDGE_M / 4
