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
from shards.reader import Dataset, open_dataset
from terraweft.console import Bars, human_bytes
from terraweft.interrupts import listen
from terraweft.options import box_of, require_local, require_share


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
            UserError: a box or a share that is none.
        """
        bbox = box_of(self.bbox) if self.bbox is not None else None
        require_share(self.min_clear_fraction, "--min-clear")
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
    """Export a dataset, and say what came of it.

    Raises:
        UserError: an address instead of a folder, a condition that makes no sense, or a region that no chip lies in.
    """
    require_local(to)
    if to == Path():
        raise UserError("no folder is named", where="--out", mend="the folder that shall appear")
    where = conditions.as_filter()
    opened = open_dataset(dataset, version, store_options(os.environ))
    _require_regions(opened, conditions.region)
    options = ExportOptions(
        form=form,
        split=conditions.split,
        where=where,
        modalities=modalities or None,
        private=private,
        samples_per_file=samples_per_file,
    )
    listen()  # a polite kill (of a scheduler, a container) takes the half of it away, as Ctrl-C does
    with Bars(out) as bars:
        bars.start("export", 1)
        result = export_dataset(opened, to, options, on_sample=bars.reach)
    missing = f"; {result.left_out} chip(s) hold nothing of this form" if result.left_out else ""
    out.print(
        f"{result.samples} samples of {opened.name} {opened.version} in {result.files} files, "
        f"{human_bytes(result.bytes)}: {result.folder}{missing}",
        markup=False,
        soft_wrap=True,
    )


def _require_regions(dataset: Dataset, wanted: tuple[str, ...]) -> None:
    """See that chips lie in the wanted regions.

    Raises:
        UserError: in one of them none does.
    """
    if not wanted:
        return
    known = sorted(set(dataset.columns(["region"])["region"].to_pylist()))
    for name in wanted:
        if name not in known:
            raise UserError(f"no chip lies in region {name!r}", where="--region", mend=f"known: {', '.join(known)}")
