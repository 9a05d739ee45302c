"""The last stage of a build: the run's fragments become a draft, and the draft becomes a version."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from captioners.statistics import text_statistics
from flows.contents import Finished, gather
from flows.estimates import STALE_SHARE
from flows.fragments import read_json
from flows.job import Job
from flows.looking import Look
from flows.published_items import write_published_items
from flows.reduce import Estimated
from flows.reporting import write_html
from flows.software import SOFTWARE, versions_of
from flows.steps import STEPS
from flows.version_facts import fused_facts, fused_licences, layer_tables, source_tables, split_facts
from labelers.fuse import FusionModel
from labelers.trust import LEAST_AT_ALL
from schemas.chip import Outcome
from schemas.dataset import PARTS
from schemas.legend import load_crosswalk, load_legend
from shards.draft import Draft
from shards.lock import Held
from shards.outcome_tables import run_table
from shards.stored_tables import text_records
from shards.tar import WrittenShard
from shards.version import publish
from shards.zarr_write import Spread
from sources.openers import public_name, unsigned


@dataclass(frozen=True)
class Published:
    """What a publish ended in."""

    version: str
    """Current version."""
    published: bool
    """False where nothing had changed."""
    counts: Mapping[str, Any]
    """planned, kept, rejected by reason, failed by class."""
    notes: tuple[str, ...] = ()
    """What a person should know."""
    waits: bool = False
    """Whether the version is not the current one before it passes the gates."""


TOLD_SHARE = 0.005
"""Share of the labelled pixels from which on it is told that no map of its own speaks there."""


def publish_run(
    found: Look,
    finished: Finished,
    shards: Sequence[WrittenShard],
    run: Mapping[str, Any],
    held: Held,
    spread: Spread | None = None,
) -> Published:
    """Make the version of a run, verified, and the current one.

    Args:
        found: what was looked at.
        finished: what the passes made.
        shards: all of the version's.
        run: what differs from run to run.
        held: the dataset's lock.
        spread: who writes Zarr's shards; this process where absent.
    """
    job, plan, estimated = found.job, found.plan, finished.estimated
    recipe = job.recipe
    contents = gather(found, finished)
    chips, outcomes = contents.chips, contents.outcomes
    legends, crosswalk = _legends(job)
    stored = replace(estimated.stored, buckets=dict(finished.buckets))
    draft = Draft(
        name=recipe.name,
        created=datetime.now(UTC),
        recipe=recipe.model_dump(mode="json", by_alias=True),
        recipe_hash=recipe.hash(),
        code_version=code_version(),
        layers=tuple(layer_tables(job, plan, estimated, chips)),
        chips=chips,
        outcomes=outcomes,
        shards=list(shards),
        sources=tuple(source_tables(plan, chips)),
        texts=contents.texts,
        run_rows=run_table(chain(_run_rows(finished.first), _paid_rows(run))),
        title=recipe.title,
        description=recipe.description,
        limits=tuple(_limits(job, outcomes)),
        steps=STEPS,
        software=versions_of(SOFTWARE),
        legends=legends,
        crosswalk=crosswalk,
        fusion=_fusion(job, estimated, chips),
        registration={"scene_shifts": list(estimated.findings.scene_shifts)},
        near_duplicates=estimated.findings.twins,
        splits={"buckets": dict(finished.buckets), **split_facts(job, chips)},
        text_summary=text_statistics(text_records(contents.texts)) if len(contents.texts) else {},
        run={**_run_summary(run), "host": platform.platform(terse=True), "python": platform.python_version()},
        private=recipe.publish.private,
        zarr_shard_chips=recipe.write.zarr_shard_chips if "zarr" in recipe.write.kinds else None,
        zarr_codec=recipe.write.zarr_codec,
        items=lambda path: write_published_items(plan.items, path),
        report=lambda folder: write_html(job.storage, folder),
        estimates=stored.to_dict(),
        estimated=estimated_where(found, frozenset(chips["chip_id"].to_pylist())),
        touched=found.outlook.why(),
        parent=found.current,
    )
    waits = recipe.publish.after_validation
    scratch = job.work / "versions"
    result = publish(job.storage, draft, scratch=scratch, held=held, current=not waits, spread=spread)
    notes = (*_stale(found, draft.estimated), *_unheard(draft.fusion))
    if not result.published:
        notes = ("nothing had changed: the current version stays", *notes)
    return Published(result.version, result.published, draft.counts(), notes, waits and result.published)


def estimated_where(found: Look, kept: frozenset[str]) -> dict[str, Any]:
    """In which version the parameters were estimated, over how many chips, and how many that could move them were
    touched since: of a chip that several refreshes touched each counts, but never more than there are chips.

    Where all of them are new, ``version`` is empty: this one. ``bands`` has the modality groups whose statistics are
    another version's, ``parts`` what else is; ``datasets`` the names of other datasets whose versions these are.

    Args:
        found: what was looked at.
        kept: chips of the version.
    """
    known, frozen = found.known, found.outlook.frozen
    before = frozenset(found.before.places) if found.before is not None else kept
    modality_of = {layer.group: layer.modality for layer in found.job.layers}
    version = known.get("version", "")
    of_bands, of_parts = known.get("bands") or {}, known.get("parts") or {}
    bands = {group: of_bands.get(group, version) if group in frozen.bands_parts else "" for group in modality_of}
    parts = {name: of_parts.get(name, version) if holds else "" for name, holds in _held(found).items()}
    told = {*bands.values(), *parts.values()}
    where: dict[str, Any] = {"version": "", "chips": len(kept), "touched_since": 0}
    if version in told - {""}:
        touched = known["touched_since"] + found.outlook.moving_estimates(modality_of, before, kept)
        most = max(known["touched_since"], len(before | kept))
        where = {"version": version, "chips": known["chips"], "touched_since": min(touched, most)}
    return {
        **where,
        "bands": {group: of for group, of in bands.items() if of != where["version"]},
        "parts": {name: of for name, of in parts.items() if of != where["version"]},
        "datasets": {of: name for of, name in (known.get("datasets") or {}).items() if of in told},
    }


def _held(found: Look) -> dict[str, bool]:
    """What a run estimates beside statistics of bands -> whether it is taken over."""
    recipe, frozen = found.job.recipe, found.outlook.frozen
    there = {
        "fusion": recipe.labels is not None and recipe.labels.fuse is not None,
        "shifts": recipe.register_shifts.mode != "off",
        "twins": recipe.screen.near_duplicates != "off",
    }
    held = {"fusion": frozen.fusion_part, "shifts": frozen.shifts_part, "twins": frozen.twins_part}
    return {name: bool(held[name]) for name, is_there in there.items() if is_there}


def _stale(found: Look, estimated: Mapping[str, Any]) -> tuple[str, ...]:
    if estimated["touched_since"] <= STALE_SHARE * estimated["chips"]:
        return ()
    apart = estimated["bands"]
    named = [PARTS[name] for name, holds in _held(found).items() if holds and name not in estimated["parts"]]
    groups = [layer.group for layer in found.job.layers if layer.group not in apart]
    if groups:
        named.append(f"statistics of {', '.join(groups)}" if apart else "band statistics")
    return (
        f"estimated in {estimated['version']} over {estimated['chips']} chips: {', '.join(named)}; "
        f"{estimated['touched_since']} were touched since: --refit estimates them anew",
    )


def _unheard(fusion: Mapping[str, Any]) -> tuple[str, ...]:
    """What a person should know of the label sources: which ones the fused label does not rest on."""
    trust, weights = fusion.get("trust") or {}, fusion.get("weights") or {}
    notes = [
        f"label source {name} agrees with no other beyond chance and has no part in the fused label: "
        "look at its legend and its place"
        for name in weights
        if weights[name] == 0
    ]
    own = [voter["source"] for voter in fusion.get("sources", ()) if not voter["is_context"] and weights]
    heard = [name for name in own if weights[name] > 0]
    if len(heard) > 1 and max(trust[name] for name in heard) < LEAST_AT_ALL:
        notes.append(
            f"of {', '.join(heard)} none agrees with another beyond chance: where two of them speak the fused label "
            "mostly abstains; look at their legends and places"
        )
    if heard and fusion.get("alone", 0.0) >= TOLD_SHARE:
        notes.append(
            f"at {fusion['alone']:.0%} of the labelled pixels {' or '.join(heard)} says nothing: what the other label "
            "sources say stands there, as often right as is supposed of them"
        )
    return tuple(notes)


def code_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("terraweft")
    except PackageNotFoundError:
        return "unknown"


def _fusion(job: Job, estimated: Estimated, chips: pa.Table) -> dict[str, Any]:
    """How labels were fused, under which licences that stands, and what every layer holds by split."""
    model = FusionModel.from_dict(estimated.fusion).summary() if estimated.fusion is not None else {}
    counted = fused_facts(job, chips)
    licences = fused_licences(chips)
    return model | ({"statistics": counted} if counted else {}) | ({"licences": licences} if licences else {})


def _legends(job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    labels = job.recipe.labels
    if labels is None:
        return {}, {}
    names = {name: source.legend_name() for name, source in labels.sources.items()}
    legends = {name: load_legend(legend).model_dump(mode="json") for name, legend in names.items()}
    if labels.fuse is None:
        return legends, {}
    target = labels.fuse.legend
    crosswalk = {name: load_crosswalk(legend, target).model_dump(mode="json") for name, legend in names.items()}
    return legends | {"label": load_legend(target).model_dump(mode="json")}, crosswalk


def _run_rows(first: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """One row per planned chip and step of this run: reads by chip, and its share of the tile's time."""
    for folder in first.values():
        tile = read_json(folder / "tile.json")
        outcomes = tile["outcomes"]
        for outcome in outcomes:
            reads = [read for read in tile["reads"] if outcome["chip_id"] in read["chips"]]
            urls = {url for read in reads for url in read["urls"]}
            yield {
                "chip_id": outcome["chip_id"],
                "step": "first pass",
                "attempts": max(outcome["attempts"], *(1 + read.get("retries", 0) for read in reads), 1),
                "urls": [_failed_at(outcome["url"])] if outcome["url"] else sorted(urls),
                "seconds": round(tile["seconds"] / max(1, len(outcomes)), 4),
                "bytes": sum(read["bytes"] // len(read["chips"]) for read in reads),
                "tokens": 0,
                "cost": 0.0,
            }


def _failed_at(url: str) -> str:
    """Where a read failed: the whole unsigned address of a server, wherever it is, so that somebody can look there."""
    return unsigned(url) if url.startswith(("http://", "https://")) else public_name(url)


def _run_summary(run: Mapping[str, Any]) -> dict[str, Any]:
    """The run's section of ``dataset.json``: what stands per chip in run.parquet is left out."""
    texts = {name: value for name, value in run.get("texts", {}).items() if name != "chips"}
    return {**run, "texts": texts}


def _paid_rows(run: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row per chip whose texts a model was paid for: their costs sum to what the ledger says of this run.

    A row without a chip stands for the probe of the server.
    """
    for chip_id, spent in run.get("texts", {}).get("chips", {}).items():
        yield {
            "chip_id": chip_id,
            "step": "caption",
            "attempts": spent["calls"],
            "urls": [],
            "seconds": 0.0,
            "bytes": 0,
            "tokens": spent["tokens_in"] + spent["tokens_out"],
            "cost": spent["cost"],
        }


def _limits(job: Job, outcomes: Sequence[Outcome]) -> Iterator[str]:
    failed = sum(1 for outcome in outcomes if outcome.state == "failed")
    if failed:
        yield f"{failed} planned chip(s) failed to be read; outcomes.parquet says which and why."
    if job.recipe.labels is not None:
        yield (
            "Labels are weak: made from products and maps with known errors, some of them where the products agree; "
            "nobody looked at these pictures or visited the ground."
        )
    if job.recipe.captions is not None and job.recipe.captions.backend == "template":
        yield "Captions are written from the labels by rules; they are as true as the labels."
