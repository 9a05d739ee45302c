"""`terraweft plan` and `terraweft refresh --dry-run`: what would be done and cost, before anything is spent."""

from __future__ import annotations

import json
import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from flows.site import require_variables, variables
from schemas.errors import UserError
from terraweft.commands import BuildOptions, open_recipe, require_dataset
from terraweft.console import calls_rows, human_bytes, human_seconds, print_notes, print_pairs
from terraweft.extras import needs
from terraweft.options import require_local

if TYPE_CHECKING:
    from chips.estimate import Beside, Estimate
    from flows.forecast import Forecast


def show_plan(recipe: Path, to: Path | None, workers: int | None, as_json: bool, out: Console) -> None:
    """`terraweft plan`: what a recipe would do and cost; the plan itself where somebody wants to keep it."""
    require_local(to)
    loaded, folder = open_recipe(recipe)
    require_variables(loaded, variables(loaded))
    with needs("build"):
        from captioners.estimate import estimate_calls
        from flows.plan_figures import as_document
        from flows.planning import make_plan
        from flows.request import default_workers
    with tempfile.TemporaryDirectory(prefix="terraweft-plan-") as scratch:
        plan = make_plan(loaded, folder, variables(loaded), to or Path(scratch))
        cost, count = plan.estimate, workers or default_workers()
        if as_json:
            told = {**as_document(plan, count), "plan": str(to) if to is not None else None}
            out.print(json.dumps(told, indent=1, ensure_ascii=False), markup=False, soft_wrap=True)
            return
        splits = ", ".join(f"{name} {number}" for name, number in plan.splits.items() if number)
        rows = {
            "chips": f"{cost.chips} ({splits})",
            "tiles": str(cost.tiles),
            "scenes": f"{cost.items} items",
            **{f"  {layer.group}": _layer_line(layer, plan.offered.get(layer.modality, 0)) for layer in plan.layers},
            "to read": imagery_row(cost),
            **beside_row(cost.beside),
            "on disk": f"about {human_bytes(cost.disk_bytes)} in {' and '.join(loaded.write.kinds)}",
            "meanwhile": f"about {human_bytes(cost.work_bytes(len(loaded.write.kinds)))} of unfinished work beside it",
            "time": reading_time(cost, count),
        }
        if loaded.captions is not None:
            calls = estimate_calls(loaded.captions, cost.chips)
            rows |= calls_rows(calls, loaded.captions.prices.currency)
        written = f"written to {to}" if to else "nothing was written"
        print_pairs(out, f"{loaded.name}: plan of recipe {loaded.hash()[:12]} ({written})", rows)
        print_notes(out, plan.notes)
    if to is not None:
        line = f"build it: {shlex.join(['terraweft', 'build', str(recipe), '--plan', str(to)])} --out FOLDER"
        out.print(line, markup=False, soft_wrap=True)


def imagery_row(cost: Estimate) -> str:
    """What is read of imagery."""
    return f"about {human_bytes(cost.read_bytes)} of whole blocks, raw, in about {cost.requests} requests"


def beside_row(beside: Beside) -> dict[str, str]:
    """What is read beside imagery, as a row; none where nothing is."""
    parts = []
    if beside.requests:
        size, requests = human_bytes(beside.read_bytes), beside.requests
        parts.append(f"about {size} of class rasters and elevation, raw, in about {requests} requests")
    if beside.files:
        size = human_bytes(beside.file_bytes) if beside.file_bytes else "of unknown size"
        parts.append(f"{beside.files} whole file(s), {size}, once a machine")
    if beside.queries:
        parts.append(f"about {beside.queries} queries of OpenStreetMap")
    return {"and beside": "; ".join(parts)} if parts else {}


def reading_time(cost: Estimate, workers: int) -> str:
    """How long imagery is read, and that the rest takes its time as well."""
    seconds = human_seconds(cost.seconds(workers))
    return f"about {seconds} of reading imagery with {workers} worker(s), by rules of thumb; all else comes on top"


def _layer_line(layer: Any, items: int) -> str:
    bands = ", ".join(layer.bands[:6]) + (f", ... ({len(layer.bands)})" if len(layer.bands) > 6 else "")
    return f"{items} items of {layer.sensor} at {layer.gsd_m:g} m: {bands}"


def show_refresh(recipe: Path, root: str, options: BuildOptions, as_json: bool, out: Console) -> None:
    """Say what the same command without ``--dry-run`` would do now."""
    require_dataset(recipe, root)
    loaded, folder = open_recipe(recipe)
    with needs("build"):
        from flows.forecast import look_ahead
        from flows.request import request_of
    request = request_of(
        loaded,
        folder,
        root,
        variables(loaded),
        workers=options.workers,
        replan=options.replan,
        refit=options.refit,
        redo=options.redo,
    )
    found = look_ahead(request)
    if found is None:
        mend = "terraweft plan says what all of it costs; the next refresh does all of it"
        raise UserError("the current version does not say what decided its chips", where=root, mend=mend)
    if as_json:
        told = {"dataset": request.storage.uri, **found.as_dict(request.workers)}
        out.print(json.dumps(told, indent=1, ensure_ascii=False), markup=False, soft_wrap=True)
        return
    title = f"{loaded.name}: refresh of {found.version} (nothing was written)"
    print_pairs(out, title, rows_of(found, request.workers))
    print_notes(out, found.notes)


def rows_of(found: Forecast, workers: int) -> dict[str, str]:
    """What is printed of it, as names and values."""
    rows = {"chips": found.chips_line()}
    if why := ", ".join(f"{name} {count}" for name, count in found.why().items()):
        rows["because of"] = why
    said = {"recipe": found.recipe, "steps": found.steps}
    rows |= {f"  {name}": f"changed in {', '.join(keys)}" for name, keys in said.items() if keys}
    rows |= {f"  {name}": f"items: {one.words()}" for name, one in found.items.items()}
    if found.is_nothing_new:
        return rows | {"to do": "nothing: the current version stays"}
    cost = found.cost
    rows["to read"] = imagery_row(cost) if cost.read_bytes else "no imagery"
    rows |= beside_row(cost.beside)
    rows["to write"] = f"{found.shards_written} of {found.shards} tars, about {human_bytes(found.shard_bytes)}"
    rows["time"] = reading_time(cost, workers)
    return rows | (calls_rows(found.calls, found.currency) if found.calls else {})
