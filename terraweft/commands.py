"""What the commands do: they read the environment, call one flow or room, and print what came out."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from schemas.errors import MissingExtraError
from schemas.recipe import Recipe, Region
from shards.storage import open_storage
from terraweft.console import Bars, account, human_bytes, print_notes, print_pairs
from terraweft.site import (
    api_key,
    find_recipe,
    ledger_path,
    require_variables,
    store_options,
    variables,
    work_folder,
)

if TYPE_CHECKING:
    from flows.build import BuildRequest, BuildResult

SANDBOX_VARIABLE = "TERRAWEFT_SANDBOX_STAC"
"""Name under which recipes find the sandbox's catalog."""


@contextlib.contextmanager
def needs_build() -> Iterator[None]:
    """Turn a missing library of the ``build`` extra into one line.

    Raises:
        MissingExtraError: naming the library and the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(str(error.name), "build") from error


def run_build(recipe: Path, root: str, workers: int | None, dask: str | None, tiny: bool, out: Console) -> None:
    """`terraweft build`."""
    loaded, folder = find_recipe(recipe)
    report_build(_build(loaded.tiny() if tiny else loaded, folder, root, variables(loaded), workers, dask, out), out)


def _build(
    recipe: Recipe,
    folder: Path,
    root: str,
    known: dict[str, str],
    workers: int | None,
    dask: str | None,
    out: Console,
) -> BuildResult:
    """Run the build flow against the configured Prefect API, or a private one."""
    from flows.prefect_api import prefect_api, private_home

    key = api_key(recipe, os.environ)
    storage = open_storage(root, store_options(os.environ))
    require_variables(recipe, known)
    with needs_build(), prefect_api(os.environ, private_home(os.environ)):
        from flows.build import BuildRequest
        from flows.cluster import default_workers
        from flows.vault import MachineVault
        from sources.credentials import require_credentials

        require_credentials(recipe, MachineVault())
        request = BuildRequest(
            recipe=recipe,
            recipe_folder=folder,
            storage=storage,
            work=work_folder(storage, os.environ),
            variables=known,
            workers=workers or default_workers(),
            dask_address=dask,
            ledger=ledger_path(recipe, os.environ),
        )
        return _watched(request, key, out)


def _watched(request: BuildRequest, key: str | None, out: Console) -> BuildResult:
    """The flow with a progress bar, and with SIGTERM meaning what Ctrl-C means."""
    from flows.build import build
    from flows.captioning import api_key as key_slot
    from flows.progress import watcher

    def interrupted(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, interrupted)
    with Bars(out) as bars:
        watcher.set(bars)
        key_slot.set(key)
        return build(request)


def report_build(result: BuildResult, out: Console) -> None:
    """The closing account: planned = kept + rejected + failed, and where everything is."""
    out.print(account(result.counts), markup=False)
    print_notes(out, result.notes)
    root = result.storage.uri
    word = "published" if result.published else "unchanged"
    reused = f", {result.tiles_reused} of them from an earlier run" if result.tiles_reused else ""
    tiles = result.tiles_done + result.tiles_reused
    print_pairs(
        out,
        f"{word} {result.version} in {result.seconds:.0f} s ({tiles} tiles{reused})",
        {
            "dataset": root,
            "report": f"{root}/versions/{result.version}/report/index.html",
            "card": f"{root}/versions/{result.version}/README.md",
            "look": f"terraweft show {root}",
            "check": f"terraweft check {root}",
        },
    )


def run_demo(to: Path, size: str, seed: int, workers: int | None, out: Console) -> None:
    """`terraweft demo`: world, build, check."""
    with needs_build():
        from sandbox.products import write_sandbox
        from sandbox.serve import SandboxServer
    began = time.monotonic()
    world, dataset = to / "world", to / "dataset"
    with out.status(f"simulating the world ({size}, seed {seed})"):
        index = write_sandbox(world, size=size, seed=seed, workers=workers or 2)
    out.print(
        f"world: {index.item_count} items, {human_bytes(index.bytes)}, {time.monotonic() - began:.0f} s", markup=False
    )
    recipe, folder = find_recipe(Path("sandbox"))
    regions = tuple(Region(name=name, bbox=box) for name, box in index.regions.items())
    recipe = recipe.model_copy(update={"regions": regions})
    with SandboxServer(world) as server:
        known = {**variables(recipe), SANDBOX_VARIABLE: server.stac_url}
        result = _build(recipe, folder, str(dataset), known, workers, None, out)
    report_build(result, out)
    if not run_check(str(dataset), out):
        sys.exit(1)


def run_sandbox(to: Path, size: str, seed: int, serve: bool, out: Console) -> None:
    """`terraweft sandbox`."""
    with needs_build():
        from sandbox.products import write_sandbox
        from sandbox.serve import SandboxServer
    with out.status(f"simulating the world ({size}, seed {seed})"):
        index = write_sandbox(to, size=size, seed=seed)
    out.print(f"world in {to}: {index.item_count} items, {human_bytes(index.bytes)}", markup=False)
    if not serve:
        return
    with SandboxServer(to) as server:
        out.print(f"export {SANDBOX_VARIABLE}={server.stac_url}", markup=False)
        out.print("serving until interrupted (Ctrl-C)", style="dim")
        threading.Event().wait()


def show_plan(recipe: Path, out: Console) -> None:
    """`terraweft plan`: a dry run."""
    loaded, folder = find_recipe(recipe)
    with needs_build():
        from captioners.estimate import estimate_calls
        from flows.planning import make_plan
    plan = make_plan(loaded, folder, variables(loaded))
    cost = plan.estimate()
    splits = {name: sum(1 for chip in plan.chips if chip.split == name) for name in ("train", "val", "test")}
    rows = {
        "chips": f"{cost.chips} ({', '.join(f'{name} {number}' for name, number in splits.items() if number)})",
        "tiles": str(cost.tiles),
        "scenes": f"{cost.items} items",
        **{f"  {layer.group}": _layer_line(layer, len(plan.items.get(layer.modality, ()))) for layer in plan.layers},
        "to read": f"at most {human_bytes(cost.read_bytes)} raw in about {cost.requests} requests",
        "on disk": f"at most {human_bytes(cost.disk_bytes)} in {' and '.join(loaded.write.kinds)}",
    }
    if loaded.captions is not None:
        calls = estimate_calls(loaded.captions, cost.chips)
        rows["LLM calls"] = _span(calls["calls"])
        rows["tokens"] = f"{_span(calls['tokens_in'])} in, {_span(calls['tokens_out'])} out"
        rows["price"] = f"{_span(calls['cost'])} (limit {calls['max_cost']:g})" if calls["calls"][1] else "0"
    print_pairs(out, f"{loaded.name}: plan of recipe {loaded.hash()[:12]} (nothing was written)", rows)
    print_notes(out, plan.notes)


def _layer_line(layer: Any, items: int) -> str:
    bands = ", ".join(layer.bands[:6]) + (f", ... ({len(layer.bands)})" if len(layer.bands) > 6 else "")
    return f"{items} items of {layer.sensor} at {layer.gsd_m:g} m: {bands}"


def _span(ends: list[float]) -> str:
    """``0``, or ``100 to 200``."""
    low, high = ends
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def run_check(dataset: str, out: Console) -> bool:
    """`terraweft check`: True where nothing is wrong."""
    from shards.check import check_dataset

    started = False

    def reach(done: int, total: int) -> None:
        nonlocal started
        if not started:
            bars.start("check", total)
            started = True
        bars.reach(done, total)

    with Bars(out) as bars:
        found = check_dataset(dataset, options=store_options(os.environ), statistics=True, on_shard=reach)
    for note in found.notes:
        out.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    for problem in found.problems:
        out.print(f"problem: {problem}", style="red", markup=False, soft_wrap=True)
    verdict = f"{len(found.problems)} problem(s)" if found.problems else "nothing wrong"
    out.print(f"checked {found.files} files, {human_bytes(found.bytes)}, {found.chips} chips: {verdict}", markup=False)
    return not found.problems


def write_report(dataset: str, version: str | None, to: Path | None, out: Console) -> None:
    """`terraweft report`: beside the published version, which stays as it is."""
    with needs_build():
        from flows.reporting import report_inputs
        from reports.html import render_report
    from shards.reader import open_dataset

    opened = open_dataset(dataset, version, store_options(os.environ))
    path = to or work_folder(opened.storage, os.environ) / "reports" / f"{opened.version}.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_report(report_inputs(opened)), encoding="utf-8")
    out.print(str(path), markup=False, soft_wrap=True)
