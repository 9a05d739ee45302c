"""Where, when and through what something was seen, as vectors: bands, GSD, time, place in the chip."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reference.bands import BAND_NUMBERS, WAVES

TROPICAL_YEAR_DAYS = 365.2422
TIME_NUMBERS = 5
"""Two harmonics of the season, and the years since 2000."""


class BandWeights(nn.Module):
    """Weights of a 1 x 1 convolution made from what the bands are, so that any subset of bands of any sensor fits.

    A band's weights follow from its centre wavelength and width (or polarisation): what was learned of 665 nm holds for
    every sensor that has it, and 224 EnMAP bands share what one small network knows of the spectrum.
    """

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(BAND_NUMBERS, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, numbers: Tensor) -> Tensor:
        """(C, BAND_NUMBERS) -> (C, width)."""
        weights: Tensor = self.net(numbers)  # (C, width)
        return weights * (3.0 / math.sqrt(len(numbers)))


def time_numbers(day: Tensor) -> Tensor:
    """(...) days since 2000-01-01 -> (..., TIME_NUMBERS); all 0 where there is no date."""
    angle = day * (2.0 * math.pi / TROPICAL_YEAR_DAYS)
    known = (day != 0).to(day.dtype)
    parts = [torch.sin(angle), torch.cos(angle), torch.sin(2 * angle), torch.cos(2 * angle)]
    years = (day / TROPICAL_YEAR_DAYS - 20.0) / 10.0
    return torch.stack([*parts, years], dim=-1) * known[..., None]  # (..., 5)


def gsd_numbers(gsd_m: float) -> Tensor:
    """(2 * WAVES,) of a pixel size."""
    angles = math.log2(gsd_m) * (math.pi / 16.0) * 2.0 ** torch.arange(WAVES)
    return torch.cat([torch.sin(angles), torch.cos(angles)])


class SourceContext(nn.Module):
    """One vector per picture: which group it is of, its GSD, its date."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.group = nn.Parameter(torch.randn(groups, width) * 0.02)
        self.gsd = nn.Linear(2 * WAVES, width)
        self.time = nn.Linear(TIME_NUMBERS, width)

    def forward(self, group: int, gsd: Tensor, day: Tensor) -> Tensor:
        """(N,) dates of one group -> (N, width)."""
        context: Tensor = self.group[group] + self.gsd(gsd) + self.time(time_numbers(day))
        return context


def position_waves(rows: int, columns: int, width: int, device: torch.device) -> Tensor:
    """(rows * columns, width) sine and cosine of the place on the token grid."""
    quarter = width // 4
    rates = torch.exp(-math.log(100.0) * torch.arange(quarter, device=device) / quarter)  # (quarter,)
    y = torch.arange(rows, device=device)[:, None] * rates  # (rows, quarter)
    x = torch.arange(columns, device=device)[:, None] * rates
    y, x = torch.cat([y.sin(), y.cos()], 1), torch.cat([x.sin(), x.cos()], 1)  # (rows, width / 2)
    grid = torch.cat(
        [y[:, None].expand(-1, columns, -1), x[None].expand(rows, -1, -1)], 2
    )  # (rows, columns, 4 * quarter)
    return nn.functional.pad(grid.flatten(0, 1), (0, width - 4 * quarter))
