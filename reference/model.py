"""The reference model: any subset of modalities, dates and bands at native GSD in, classes at the label's GSD out.

    pixels of each group  -> features by wavelength, GSD, date         (stems.PixelNet)
    patches of each group -> tokens on one grid of cells, packed        (stems.GroupStem)
    tokens of a cell      -> one, by attention over what saw it         (stems.CellAttention)
    cells                 -> in the light of their surroundings         (trunk.Trunk)
    cells and pixels      -> classes; cells -> a vector beside a text's (heads, text)

Cost grows with what was really seen: absent modalities, padded dates and cloudy patches are dropped before any
matrix sees them, and the trunk's length is the number of cells, whatever the number of sensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from reference.bands import GroupTable
from reference.data import Batch, Layer
from reference.embeddings import position_waves
from reference.heads import Projection, SegmentationHead
from reference.lessons import label_step_m
from reference.stems import CellAttention, GroupStem, PixelNet, Seen, part_name
from reference.text import TextTower
from reference.trunk import Trunk
from reference.vocabulary import Vocabulary


@dataclass(frozen=True)
class Size:
    """How large a model is."""

    width: int
    """D, of a token."""
    depth: int
    """Blocks of the trunk."""
    heads: int
    """Heads of attention."""
    pixel_width: int
    """d, of a pixel's features."""
    most_cells: int
    """Cells along the edge of a chip: decides the patch."""


SIZES = {
    "tiny": Size(width=96, depth=3, heads=3, pixel_width=32, most_cells=8),
    "small": Size(width=384, depth=12, heads=6, pixel_width=48, most_cells=16),
    "base": Size(width=768, depth=12, heads=12, pixel_width=64, most_cells=16),
}
TEXT_WIDTH, TEXT_DEPTH, TEXT_HEADS, SHARED_WIDTH = 96, 2, 3, 64


@dataclass
class Output:
    """What the model says of a batch."""

    scores: Tensor
    """(B, classes, H, W)."""
    summary: Tensor
    """(B, D) mean of the cells' tokens."""
    image: Tensor
    """(B, SHARED_WIDTH) unit vectors of it."""


class ReferenceModel(nn.Module):
    """The model.

    Args:
        tables: group -> its table; the order is that of the parameters, and nothing else depends on it.
        classes: number of classes.
        size: see `SIZES`.
        patch_m: edge of a cell on the ground, see `patch_size_m`.
        vocabulary: of the text tower; None: no texts.
        label_m: pixel of the labels on the ground; None: as pictures say, and what has none is refused.
    """

    def __init__(
        self,
        tables: Mapping[str, GroupTable],
        classes: int,
        size: Size,
        patch_m: float,
        vocabulary: Vocabulary | None = None,
        label_m: float | None = None,
    ) -> None:
        super().__init__()
        self.tables, self.patch_m, self.size, self.label_m = dict(tables), patch_m, size, label_m
        self.pixels = PixelNet(len(tables), size.pixel_width, size.width)
        self.stems = nn.ModuleDict(
            {
                part_name(name): GroupStem(table, i, patch_m, size.pixel_width, size.width)
                for i, (name, table) in enumerate(tables.items())
            }
        )
        self.cells = CellAttention(size.width, size.heads)
        self.trunk = Trunk(size.width, size.depth, size.heads)
        self.head = SegmentationHead(size.width, size.pixel_width, tables, classes)
        self.project = Projection(size.width, SHARED_WIDTH)
        self.text = TextTower(vocabulary, TEXT_WIDTH, TEXT_DEPTH, TEXT_HEADS, SHARED_WIDTH) if vocabulary else None
        self.scale = nn.Parameter(torch.tensor(math.log(14.0))) if vocabulary else None

    def forward(self, batch: Batch) -> Output:
        """Scores and vectors of a batch. Values where a mask says invalid never matter."""
        size, grid = len(batch.chip_ids), self.grid(batch)
        seen: list[Seen] = []
        for name, stem in zip(self.tables, self.stems.values(), strict=True):
            part = stem(batch.layers[name], self.pixels, grid) if name in batch.layers else None
            if part is not None:
                seen.append(part)
        tokens = self.cells(seen, size * grid[0] * grid[1])  # (B * cells, D)
        tokens = tokens.unflatten(0, (size, -1)) + position_waves(*grid, self.size.width, tokens.device)
        tokens = self.trunk(tokens)  # (B, cells, D)
        scores = self.head(tokens, seen, grid, tuple(batch.label.shape[-2:]))  # (B, classes, H, W)
        summary = tokens.mean(1)
        return Output(scores, summary, self.project(summary))

    def grid(self, batch: Batch) -> tuple[int, int]:
        """Rows and columns of cells of a batch.

        Raises:
            ValueError: a batch without any layer, and a model that does not know the labels' pixel.
        """
        label_m = label_step_m(batch, self.tables) if self.label_m is None else self.label_m
        h, w = batch.label.shape[-2:]
        return max(1, round(h * label_m / self.patch_m)), max(1, round(w * label_m / self.patch_m))

    def parameter_count(self) -> int:
        """Numbers that are learned."""
        return sum(parameter.numel() for parameter in self.parameters())


def patch_size_m(tables: Mapping[str, GroupTable], edge_m: float, most_cells: int) -> float:
    """Edge of a cell: a common multiple of all GSDs, so that no patch cuts a pixel, of which at most ``most_cells``
    lie along a chip. Where GSDs have no common multiple within the chip, the chip is cut into equal cells.

    >>> from types import SimpleNamespace as table
    >>> patch_size_m({"a": table(step_m=10.0), "b": table(step_m=30.0)}, 960.0, 8)
    120.0
    """
    centimetres = [round(table.step_m * 100) for table in tables.values()]
    step = math.lcm(*centimetres) / 100.0
    cells = edge_m / step
    if cells < 1 or abs(cells - round(cells)) > 1e-6:
        return edge_m / most_cells
    for count in range(min(most_cells, round(cells)), 0, -1):
        if round(cells) % count == 0:
            return edge_m / count
    return edge_m


def dropped(
    batch: Batch,
    tables: Mapping[str, GroupTable],
    generator: torch.Generator,
    modality: float,
    date: float,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> Batch:
    """Modality and date dropout: a modality goes for the whole batch, a date for one chip.

    Args:
        batch: what to take from.
        tables: which group is of which modality.
        generator: decides; on the CPU.
        modality: chance of each modality to go, alike in all processes, whichever their chips have; one that is there
            always stays.
        date: chance of each date to go; of a modality that stays, each chip keeps at least one.
        rank: of the processes that share a step, each with as many chips, which one this is: chips lose what they
            would lose in one batch of all.
        world_size: how many there are.
    """
    if not batch.layers:
        return batch
    names = list(dict.fromkeys(table.modality for table in tables.values()))
    luck = dict(zip(names, torch.rand(len(names), generator=generator).tolist(), strict=True))
    present = [name for name in names if any(tables[group].modality == name for group in batch.layers)]
    kept = {name for name in present if luck[name] >= modality} or {max(present, key=luck.__getitem__)}
    keep_dates: dict[str, Tensor] = {}
    layers = {}
    for name in (group for group in tables if group in batch.layers):  # in the same order whatever chips have
        layer, owner = batch.layers[name], tables[name].modality
        if owner not in kept:
            continue
        if owner not in keep_dates:  # groups of one modality share their dates
            size, dates = layer.day.shape
            chance = torch.rand((world_size, size, dates), generator=generator)[rank]  # (B, T)
            any_valid = layer.valid.flatten(2).any(2).to("cpu", torch.float32)
            chance = chance + (any_valid - 1.0) * 2.0  # a date without data is not the one that is kept
            keep_dates[owner] = (chance >= date) | (chance == chance.max(1, keepdim=True).values)
        keep = keep_dates[owner].to(layer.valid.device)
        layers[name] = Layer(layer.values, layer.valid & keep[:, :, None, None], layer.day)
    return replace(batch, layers=layers)
