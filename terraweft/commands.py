"""What the commands do: they read the environment, call one flow or room, and print what came out."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.site import (
    api_key,
    find_recipe,
    require_publishable,
    require_server,
    require_variables,
    store_options,
    variables,
    work_folder,
)
from schemas.errors import DatasetError, MissingExtraError, UserError
from schemas.recipe import Recipe, Region
from shards.storage import open_storage
from terraweft.console import (
    Bars,
    account,
    human_bytes,
    print_notes,
    print_pairs,
    texts_line,
)
from terraweft.endings import recipe_file
from terraweft.extras import needs, require_train
from terraweft.interrupts import listen
from terraweft.options import box_of, place_of, require_local

if TYPE_CHECKING:
    from flows.request import BuildRequest, BuildResult
    from sandbox.products import SandboxIndex
    from shards.reader import Dataset

SANDBOX_VARIABLE = "TERRAWEFT_SANDBOX_STAC"
"""Name under which recipes find the sandbox's catalog."""


@dataclass(frozen=True)
class BuildOptions:
    """How a build is to be run."""

    workers: int | None = None
    """Worker processes."""
    dask: str | None = None
    """Address of a scheduler."""
    plan: Path | None = None
    """A plan that was made before."""
    part: str | None = None
    """Its share, ``2/8``."""
    replan: bool = False
    """Whether catalogs are asked again where a stopped run left a plan."""
    refit: bool = False
    """Whether parameters are estimated anew."""
    redo: tuple[str, ...] = ()
    """Components to do again."""
    afresh: bool = False
    """Whether everything is read, whatever the dataset holds."""
    estimates: str | None = None
    """A dataset, or one of its versions, whose parameters are taken over."""


def open_recipe(given: Path) -> tuple[Recipe, Path]:
    """As `flows.site.find_recipe`; what is found to be wrong with it later is told with its line (`endings`)."""
    loaded, folder = find_recipe(given)
    recipe_file.set(given if given.is_file() else folder / f"{given.name}.yaml")
    return loaded, folder


def run_build(recipe: Path, root: str, options: BuildOptions, tiny: bool, out: Console) -> None:
    """`terraweft build`."""
    if options.part is not None and options.plan is None:
        raise UserError("--part is a share of a stored plan", where="--part", mend="give --plan FOLDER too")
    loaded, folder = open_recipe(recipe)
    result = _build(loaded.tiny() if tiny else loaded, folder, root, variables(loaded), options, out)
    report_build(result, out)
    if result.waits:
        from terraweft.learning import ValidateRequest, run_validate

        if not run_validate(ValidateRequest(root, version=result.version, thresholds=loaded.gates), out):
            sys.exit(1)
    if os.environ.get("TERRAWEFT_METRICS"):
        from flows.metrics import write_figures

        write_figures(result, loaded.name, "", os.environ)


def run_refresh(recipe: Path, root: str, options: BuildOptions, out: Console) -> None:
    """`terraweft refresh`: as `build`, of a dataset that is there."""
    require_dataset(recipe, root)
    run_build(recipe, root, options, False, out)


def require_dataset(recipe: Path, root: str) -> None:
    """See that there is a version to start from.

    Raises:
        UserError: there is none.
    """
    from shards.pointer import read_pointer

    if read_pointer(open_storage(root, store_options(os.environ))) is None:
        mend = shlex.join(["terraweft", "build", str(recipe), "--out", root])
        raise UserError("there is no dataset to refresh", where=root, mend=mend)


def _build(
    recipe: Recipe,
    folder: Path,
    root: str,
    known: dict[str, str],
    options: BuildOptions,
    out: Console,
) -> BuildResult:
    """Look what is to be done; run the build flow against the configured Prefect API, or a private one."""
    key = api_key(recipe, os.environ)
    storage = open_storage(root, store_options(os.environ))  # an address that holds no dataset is told first
    require_variables(recipe, known)
    require_server(recipe, known)
    require_publishable(recipe)
    if recipe.publish.after_validation:
        require_train()
    with needs("build"), contextlib.ExitStack() as stack:
        from flows.forking import get_ready
        from flows.prefect_api import prefect_api, private_home
        from shards.pointer import read_pointer

        api = prefect_api(os.environ, private_home(os.environ), wanted="flows.build")
        is_first = read_pointer(storage) is None
        if is_first:  # there will be something to do: server and workers start while everything is imported
            if options.dask is None:
                get_ready()
            stack.enter_context(api)
        from flows.looking import after_looking, nothing_new
        from flows.plan_store import WHOLE, Part
        from flows.request import request_of

        given = options.estimates
        request = request_of(
            recipe,
            folder,
            root,
            known,
            workers=options.workers,
            dask_address=options.dask,
            plan=options.plan.resolve() if options.plan is not None else None,
            part=Part.parse(options.part) if options.part is not None else WHOLE,
            replan=options.replan,
            refit=options.refit,
            redo=options.redo,
            afresh=options.afresh,
            estimates=estimates_of(given) if given is not None else None,
        )
        found = nothing_new(request)
        if found is not None:
            return found
        if not is_first:
            if options.dask is None:
                get_ready()
            stack.enter_context(api)
        return _watched(after_looking(request), key, out)


def estimates_of(given: str) -> dict[str, Any]:
    """The estimated parameters of a dataset's version, ``DATASET`` or ``DATASET@VERSION``, as
    `BuildRequest.estimates` takes them.

    Raises:
        DatasetError: there is no such version, or it holds none.
    """
    import json

    from shards.layout import ESTIMATES
    from shards.pointer import read_pointer
    from shards.reader import open_dataset

    options = store_options(os.environ)
    address, _, version = given.rpartition("@")
    is_address = read_pointer(open_storage(given, options)) is not None  # a folder's name may hold an @
    if is_address or not address or read_pointer(open_storage(address, options)) is None:
        address, version = given, ""
    opened = open_dataset(address, version or None, options)
    if not opened.document.estimates:
        raise DatasetError("this version holds no estimated parameters", where=given, mend="build it anew")
    stored = json.loads(opened.storage.read(f"{opened.folder}/{ESTIMATES}"))
    return {**stored, "where": opened.document.estimates_for_another()}


def _watched(request: BuildRequest, key: str | None, out: Console) -> BuildResult:
    """The flow with a progress bar, and with signals that end it in order."""
    from flows.build import build
    from flows.captioning import api_key as key_slot
    from flows.held import holding
    from flows.progress import watcher

    listen()
    with Bars(out) as bars, holding(watcher, bars), holding(key_slot, key):
        return build(request)


def report_build(result: BuildResult, out: Console) -> None:
    """The closing account: planned = kept + rejected + failed, and where everything is."""
    out.print(account(result.counts), markup=False)
    print_notes(out, result.notes)
    if result.changes:
        out.print(result.changes, markup=False, soft_wrap=True)
    root = result.storage.uri
    word = "waits for validation:" if result.waits else "published" if result.published else "unchanged"
    if result.paid:
        out.print(f"texts: {texts_line(result.paid)}", markup=False, soft_wrap=True)
    reused = f", {result.tiles_reused} of them from an earlier run" if result.tiles_reused else ""
    tiles = result.tiles_done + result.tiles_reused
    named = ["--version", result.version] if result.waits else []
    print_pairs(
        out,
        f"{word} {result.version} in {result.seconds:.0f} s ({tiles} tiles{reused})",
        {
            "dataset": root,
            "report": f"{root}/versions/{result.version}/report/index.html",
            "card": f"{root}/versions/{result.version}/README.md",
            "look": shlex.join(["terraweft", "show", root, *named]),
            "check": shlex.join(["terraweft", "check", root, *named]),
        },
    )


def run_demo(to: Path, size: str, seed: int, workers: int | None, out: Console) -> None:
    """`terraweft demo`: world, build, check, and the short form of validation where the extra `train` is there."""
    require_local(to)
    with needs("build"):
        from sandbox.products import write_sandbox
        from sandbox.serve import SandboxServer
    listen()
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
        result = _build(recipe, folder, str(dataset), known, BuildOptions(workers), out)
    report_build(result, out)
    sound = run_check(str(dataset), None, out)
    try:
        require_train()
    except MissingExtraError as error:
        out.print(f"note: not validated: {error.line()}", style="yellow", markup=False, soft_wrap=True)
    else:
        from terraweft.learning import ValidateRequest, run_validate

        sound = run_validate(ValidateRequest(str(dataset), short=True), out) and sound
    if not sound:
        sys.exit(1)


@dataclass(frozen=True)
class SandboxOptions:
    """What else is wanted of a sandbox."""

    serve: bool = False
    """Serve it until interrupted."""
    ndjson: str | None = None
    """Write its items for pypgstac, with files at this address."""
    recipe: Path | None = None
    """Write the recipe that fits it here."""
    at: str | None = None
    """Longitude and latitude of the world, with a comma between."""


def run_sandbox(to: Path, size: str, seed: int, options: SandboxOptions, out: Console) -> None:
    """`terraweft sandbox`."""
    require_local(to)
    require_local(options.recipe, "--recipe")
    with needs("build"):
        from sandbox.products import write_sandbox
        from sandbox.serve import SandboxServer, write_ndjson
    with out.status(f"simulating the world ({size}, seed {seed})"):
        index = write_sandbox(to, size=size, seed=seed, at=None if options.at is None else place_of(options.at))
    out.print(f"world in {to}: {index.item_count} items, {human_bytes(index.bytes)}", markup=False)
    if options.ndjson is not None:
        folder = write_ndjson(to, options.ndjson.rstrip("/"))
        out.print(f"collections and items for pypgstac in {folder}", markup=False, soft_wrap=True)
    if options.recipe is not None:
        options.recipe.write_text(_fitting_recipe(index, size), encoding="utf-8")
        out.print(f"its recipe: {options.recipe}", markup=False, soft_wrap=True)
    if not options.serve:
        return
    listen()
    with SandboxServer(to) as server:
        out.print(f"export {SANDBOX_VARIABLE}={server.stac_url}", markup=False)
        out.print("serving until interrupted (Ctrl-C)", style="dim")
        threading.Event().wait()


def _fitting_recipe(world: SandboxIndex, size: str) -> str:
    """The sandbox's recipe over a world's own regions and products; chips of half the edge where the world is tiny."""
    import yaml

    loaded, _ = find_recipe(Path("sandbox"))
    data = loaded.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    data["regions"] = [{"name": name, "bbox": list(box)} for name, box in world.regions.items()]
    if len(world.regions) == 1:  # one that was put elsewhere
        data.pop("description")
    sources = data["labels"]["sources"]
    data["labels"]["sources"] = {n: s for n, s in sources.items() if s["collection"] in world.collections}
    if size == "tiny":
        data["grid"] |= {"chip_m": 480.0, "tile_chips": 2}
        data["split"] = data.get("split", {}) | {"block_m": 960.0}
    return str(yaml.safe_dump(data, sort_keys=False))


def write_index(source: str, to: Path, collections: tuple[str, ...], bbox: str | None, out: Console) -> None:
    """`terraweft index`: items of a recipe's catalogs over its regions, or of one catalog, as stac-geoparquet.

    Raises:
        UserError: an address instead of a file, a box that is none, or options of a catalog beside a recipe.
    """
    require_local(to)
    if bbox is not None:
        box_of(bbox)
    with needs("build"):
        from flows.indexing import index_catalog, index_recipe
    if source.startswith(("http://", "https://")) or source.endswith((".json", ".parquet")) or Path(source).is_dir():
        to.parent.mkdir(parents=True, exist_ok=True)
        count, notes = index_catalog(source, to, collections, bbox)
    else:
        if collections or bbox is not None:
            option = "--collection" if collections else "--bbox"
            mend = "leave it out: the recipe names its collections and regions; or give the catalog itself"
            raise UserError(f"goes with a catalog, and {source} is a recipe", where=option, mend=mend)
        loaded, folder = open_recipe(Path(source))
        require_variables(loaded, variables(loaded))
        to.parent.mkdir(parents=True, exist_ok=True)
        count, notes = index_recipe(loaded, folder, variables(loaded), to)
    print_notes(out, notes)
    out.print(f"{count} items in {to} ({human_bytes(to.stat().st_size)})", markup=False, soft_wrap=True)


def run_check(dataset: str, version: str | None, out: Console) -> bool:
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
        found = check_dataset(dataset, version, options=store_options(os.environ), statistics=True, on_shard=reach)
    for note in found.notes:
        out.print(f"note: {note}", style="yellow", markup=False, soft_wrap=True)
    for problem in found.problems:
        out.print(f"problem: {problem}", style="red", markup=False, soft_wrap=True)
    verdict = f"{len(found.problems)} problem(s)" if found.problems else "nothing wrong"
    out.print(f"checked {found.files} files, {human_bytes(found.bytes)}, {found.chips} chips: {verdict}", markup=False)
    return not found.problems


def write_report(dataset: str, version: str | None, to: Path | None, out: Console) -> None:
    """`terraweft report`: beside the published version, which stays as it is."""
    from shards.reader import open_dataset

    require_local(to)
    opened = open_dataset(dataset, version, store_options(os.environ))
    path = to or work_folder(opened.storage, os.environ) / "reports" / f"{opened.version}.html"
    write_report_page(opened, path)
    out.print(str(path), markup=False, soft_wrap=True)


def write_report_page(opened: Dataset, path: Path) -> None:
    """Render a report with the newest validation into a file; the dataset is closed."""
    with needs("build"):
        from flows.reporting import report_inputs
        from reports.html import render_report
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_report(report_inputs(opened)), encoding="utf-8")
