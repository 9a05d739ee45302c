"""The command line: `terraweft demo | plan | index | explain | build | check | show | report | train | validate | ...`.

Errors of the user print one line and end with exit code 2; an interrupt leaves a run that can be resumed (130).
"""

from __future__ import annotations

import io
import logging
import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.collector import collect_seldom
from schemas.errors import UserError
from terraweft.cli_arguments import DatasetArgument, RecipeArgument, VersionOption, WorkersOption
from terraweft.cli_export import add_export
from terraweft.cli_operate import add_commands
from terraweft.cli_texts import add_texts
from terraweft.cli_versions import add_versions
from terraweft.endings import Commands, Visible, guarded, open_closed, out

app = typer.Typer(
    name="terraweft",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _above_zero(value: float | None) -> float | None:
    if value is not None and not 0.0 < value < math.inf:
        raise typer.BadParameter(f"{value:g} is not above 0")
    return value


def _say_version(wanted: bool) -> None:
    if wanted:
        from terraweft import __version__

        out.print(f"terraweft {__version__}", markup=False)
        raise typer.Exit


@app.callback()
def terraweft(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version and leave.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """A region and a recipe become a versioned, validated, training-ready dataset."""


@app.command()
def demo(
    to: Annotated[Path, typer.Option("--out", help="Folder for the world and the dataset.")] = Path("build/demo"),
    size: Annotated[str, typer.Option(help="tiny, demo, or the north's WxH in km, e.g. 40x40.")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed of the simulated world.")] = 7,
    workers: WorkersOption = None,
) -> None:
    """Build a dataset from the simulated world: every hop real, no network, no key."""
    from terraweft.commands import run_demo

    run_demo(to, size, seed, workers, out)


@app.command()
def plan(
    recipe: RecipeArgument,
    to: Annotated[Path | None, typer.Option("--out", help="Keep the plan in this folder, for build --plan.")] = None,
    workers: WorkersOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of a table.")] = False,
) -> None:
    """Say what a recipe would do and cost. Reads no pixel; writes the plan's tables where --out says."""
    from terraweft.ahead import show_plan

    show_plan(recipe, to, workers, as_json, out)


@app.command()
def index(
    source: Annotated[
        str,
        typer.Argument(
            help="A recipe, or a catalog: URL of a STAC API, catalog.json, a folder, another index.",
            show_default=False,
        ),
    ],
    to: Annotated[Path, typer.Option("--out", help="The .parquet file to write.", show_default=False)],
    collection: Annotated[
        list[str] | None, typer.Option("--collection", help="Of a catalog: a collection; may be given again.")
    ] = None,
    bbox: Annotated[str | None, typer.Option("--bbox", help="Of a catalog: west,south,east,north.")] = None,
) -> None:
    """Write the items of a recipe's catalogs over its regions, or of one catalog, as stac-geoparquet."""
    from terraweft.commands import write_index

    write_index(source, to, tuple(collection or ()), bbox, out)


@app.command()
def explain(
    item: Annotated[
        str, typer.Argument(help="A STAC item: a file, a URL, - for standard input, or an id.", show_default=False)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON instead of tables.")] = False,
    catalog: Annotated[
        str | None, typer.Option(help="STAC API, static catalog or file of items that holds the id.")
    ] = None,
    collection: Annotated[str | None, typer.Option(help="Collection of the id.")] = None,
) -> None:
    """Say what would be done with a STAC item, and why. Opens no raster."""
    from terraweft.explain import run_explain

    run_explain(item, catalog, collection, as_json, out)


@app.command()
def build(
    recipe: RecipeArgument,
    to: Annotated[str, typer.Option("--out", help="Root of the dataset: folder or s3:// address.", show_default=False)],
    workers: WorkersOption = None,
    dask: Annotated[str | None, typer.Option("--dask", help="Address of a Dask scheduler to use.")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Shrink the recipe to a smoke test.")] = False,
    stored: Annotated[Path | None, typer.Option("--plan", help="Build this plan, as plan --out wrote it.")] = None,
    part: Annotated[str | None, typer.Option("--part", help="A share of the plan's tiles, 2/8.")] = None,
    replan: Annotated[
        bool, typer.Option("--replan", help="Ask the catalogs again, though a stopped build left a plan.")
    ] = False,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Read everything, though the dataset has a version to start from.")
    ] = False,
    estimates: Annotated[
        str | None, typer.Option("--estimates", help="Take fusion and statistics from DATASET or DATASET@VERSION.")
    ] = None,
) -> None:
    """Build a dataset, resume a build that was stopped, or refresh a dataset that is there."""
    from terraweft.commands import BuildOptions, run_build

    options = BuildOptions(workers, dask, stored, part, replan, afresh=afresh, estimates=estimates)
    run_build(recipe, to, options, tiny, out)


@app.command()
def refresh(
    recipe: RecipeArgument,
    to: Annotated[str, typer.Option("--out", help="Root of the dataset: folder or s3:// address.", show_default=False)],
    workers: WorkersOption = None,
    dask: Annotated[str | None, typer.Option("--dask", help="Address of a Dask scheduler to use.")] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Estimate fusion, shifts of scenes and statistics anew.")
    ] = False,
    redo: Annotated[
        list[str] | None,
        typer.Option("--redo", help="A modality, labels, captions, ...: do it again. May be given again."),
    ] = None,
    replan: Annotated[
        bool, typer.Option("--replan", help="Ask the catalogs again, though a stopped build left a plan.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what it would do and cost. Reads no pixel, writes nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --dry-run: as JSON, chip by chip.")] = False,
) -> None:
    """Make the next version of a dataset: what changed since the current one, and nothing else."""
    from terraweft.commands import BuildOptions, run_refresh

    options = BuildOptions(workers, dask, None, None, replan, refit, tuple(redo or ()))
    if dry_run:
        from terraweft.ahead import show_refresh

        show_refresh(recipe, to, options, as_json, out)
        return
    if as_json:
        raise UserError("says what a refresh would do", where="--json", mend="give --dry-run too")
    run_refresh(recipe, to, options, out)


@app.command()
def check(dataset: DatasetArgument, version: VersionOption = None) -> None:
    """Check every file, hash, count and promise of a dataset. Exit 1 where something is wrong."""
    from terraweft.commands import run_check

    if not run_check(dataset, version, out):
        raise typer.Exit(1)


@app.command()
def show(
    dataset: DatasetArgument,
    chip: Annotated[str | None, typer.Argument(help="Chip id; without one, the dataset.")] = None,
    version: VersionOption = None,
    png: Annotated[Path | None, typer.Option("--png", help="Write the chip's pictures here instead.")] = None,
) -> None:
    """Show what is in a dataset, or one chip with its pictures and texts."""
    from terraweft.show import show_chip, show_dataset

    if chip is None:
        if png is not None:
            raise UserError("is of one chip's pictures, and no chip is named", "--png", "terraweft show DATASET CHIP")
        show_dataset(dataset, version, out)
    else:
        show_chip(dataset, chip, version, png, out)


@app.command()
def report(
    dataset: DatasetArgument,
    version: VersionOption = None,
    to: Annotated[Path | None, typer.Option("--out", help="File to write; below work/ by default.")] = None,
) -> None:
    """Render the HTML report of a version anew, and say where it is. Published versions bring their own."""
    from terraweft.commands import write_report

    write_report(dataset, version, to, out)


@app.command()
def train(
    dataset: DatasetArgument,
    to: Annotated[Path, typer.Option("--out", help="Folder for weights, metrics and checkpoints.")] = Path("trained"),
    version: VersionOption = None,
    size: Annotated[str, typer.Option(help="Of the reference model: tiny, small or base.")] = "tiny",
    steps: Annotated[int, typer.Option(min=1, help="Steps of the optimiser.")] = 400,
    batch_size: Annotated[int, typer.Option(min=1, help="Chips per step and device.")] = 8,
    crop_m: Annotated[
        float | None, typer.Option(help="Edge of the part of a chip that a step shows.", callback=_above_zero)
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="At its highest.", callback=_above_zero)] = 3e-3,
    modality: Annotated[list[str] | None, typer.Option(help="Learn from this one only; may be given again.")] = None,
    label: Annotated[str | None, typer.Option(help="Label product to learn; the fused label by default.")] = None,
    text_steps: Annotated[int, typer.Option(min=0, help="Steps for captions, after the others; 0: none.")] = 300,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of everything random.")] = 0,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read ahead.")] = 0,
    devices: Annotated[int, typer.Option(min=1, help="GPUs, or processes on a CPU.")] = 1,
    accelerator: Annotated[str, typer.Option(help="cpu, cuda, or auto.")] = "auto",
    precision: Annotated[str, typer.Option(help="bf16, fp32, or auto: bf16 on a GPU.")] = "auto",
    compiled: Annotated[
        bool | None, typer.Option("--compile/--no-compile", help="Compile the trunk; by default on a GPU alone.")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=0, help="Steps between checkpoints; 0: none.")] = 100,
    validate_every: Annotated[int, typer.Option(min=0, help="Steps between scores on val; 0: none.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
) -> None:
    """Train the reference model on the train split. Needs the extra `train`."""
    from terraweft.learning import TrainRequest, run_train

    settings = {
        "size": size, "steps": steps, "batch_size": batch_size, "crop_m": crop_m, "learning_rate": learning_rate,
        "text_steps": text_steps, "seed": seed, "workers": workers, "devices": devices, "accelerator": accelerator,
        "precision": precision, "compile": compiled, "checkpoint_every": checkpoint_every,
        "validate_every": validate_every,
    }  # fmt: skip
    run_train(TrainRequest(dataset, to, version, tuple(modality or ()), label, resume), settings, out)


@app.command()
def validate(
    dataset: DatasetArgument,
    version: VersionOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="The short form: statistics, plausible, learnable.")] = False,
    gate: Annotated[list[str] | None, typer.Option(help="Only this gate; may be given again.")] = None,
    truth: Annotated[
        list[Path] | None, typer.Option(help="A reference map (GeoTIFF of the legend's codes) to score against.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Label product to learn; the fused label by default.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Thresholds of this recipe (gates) instead of those of the version's own.")
    ] = None,
) -> None:
    """Let the reference model judge whether a dataset teaches. Exit 1 where a gate fails. Needs the extra `train`.

    Writes validations/<version>/<time>.json and a report beside the version. A version that waits for its validation
    (publish.after_validation) becomes the current one when all gates pass.
    """
    from terraweft.commands import open_recipe
    from terraweft.learning import ValidateRequest, run_validate

    thresholds = open_recipe(recipe)[0].gates if recipe is not None else None
    request = ValidateRequest(dataset, version, quick, tuple(gate or ()), tuple(truth or ()), label, thresholds)
    if not run_validate(request, out):
        raise typer.Exit(1)


add_versions(app, out)


@app.command()
def sandbox(
    to: Annotated[Path, typer.Option("--out", help="Folder for the world.")] = Path("build/sandbox"),
    size: Annotated[str, typer.Option(help="tiny, demo, or the north's WxH in km, e.g. 40x40.")] = "demo",
    seed: Annotated[int, typer.Option(help="Seed.")] = 7,
    serve: Annotated[bool, typer.Option("--serve", help="Serve it until interrupted.")] = False,
    ndjson: Annotated[
        str | None,
        typer.Option(help="Write its items for pypgstac, with the address at which somebody serves OUT/files."),
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="Write the recipe that fits this world.")] = None,
    at: Annotated[str | None, typer.Option(help="LON,LAT of one region elsewhere, for the two.")] = None,
) -> None:
    """Make a simulated world, and serve it as a STAC API on loopback."""
    from terraweft.commands import SandboxOptions, run_sandbox

    run_sandbox(to, size, seed, SandboxOptions(serve, ndjson, recipe, at), out)


add_commands(app, out)
add_export(app, out)
add_texts(app, out)


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of the console script."""
    collect_seldom()
    open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal or a locale without some character is no reason to stop
    guarded(lambda: _log_at(os.environ.get("TERRAWEFT_LOG") or "warning"))
    guarded(_require_assertions)
    guarded(_require_folder)
    return guarded(lambda: app(arguments, prog_name="terraweft"))


def _require_folder() -> None:
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UserError("the working folder is gone", mend="cd to one that is there") from error


def _require_assertions() -> None:
    if sys.flags.optimize:  # zarr's GroupMetadata.from_dict takes a key away within an assert
        raise UserError(
            "Python runs without assertions (-O), and zarr cannot read its own groups then", mend="unset PYTHONOPTIMIZE"
        )


def _log_at(level: str) -> None:
    known = ("debug", "info", "warning", "error")
    if level.lower() not in known:
        raise UserError(f"unknown level {level!r}", where="TERRAWEFT_LOG", mend=f"one of: {', '.join(known)}")
    handler = logging.StreamHandler()
    handler.setFormatter(Visible("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
