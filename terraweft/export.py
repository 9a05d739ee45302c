"""`terraweft export`: a version in another form."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from flows.site import store_options
from schemas.errors import UserError
from shards.export import ExportOptions, export_dataset
from shards.filters import ChipFilter, DateFilter
from shards.reader import open_dataset
from terraweft.console import Bars, human_bytes


@dataclass(frozen=True)
class Conditions:
    """Which chips, as the command line has them."""

    split: str | None = None
    """One split."""
    region: tuple[str, ...] = ()
    """Regions."""
    bbox: str | None = None
    """``west,south,east,north``."""
    min_clear_fraction: float | None = None
    """Of at least one date."""

    def as_filter(self) -> ChipFilter:
        """The conditions, less the split.

        Raises:
            UserError: a box that is none.
        """
        bbox = None
        if self.bbox is not None:
            try:
                west, south, east, north = (float(side) for side in self.bbox.split(","))
            except ValueError as error:
                what = f"{self.bbox!r} is no box"
                raise UserError(what, where="--bbox", mend="west,south,east,north in degrees") from error
            bbox = (west, south, east, north)
        dates = DateFilter(min_clear_fraction=self.min_clear_fraction)
        return ChipFilter(regions=self.region, bbox=bbox, dates=dates)


def run_export(
    dataset: str,
    version: str | None,
    to: Path,
    form: str,
    modalities: tuple[str, ...],
    conditions: Conditions,
    private: bool,
    samples_per_file: int | None,
    out: Console,
) -> None:
    """Export a dataset, and say what came of it."""
    opened = open_dataset(dataset, version, store_options(os.environ))
    options = ExportOptions(
        form=form,
        split=conditions.split,
        where=conditions.as_filter(),
        modalities=modalities or None,
        private=private,
        samples_per_file=samples_per_file,
    )
    with Bars(out) as bars:
        bars.start("export", 1)
        result = export_dataset(opened, to, options, on_sample=bars.reach)
    out.print(
        f"{result.samples} samples of {opened.name} {opened.version} in {result.files} files, "
        f"{human_bytes(result.bytes)}: {result.folder}",
        markup=False,
        soft_wrap=True,
    )
