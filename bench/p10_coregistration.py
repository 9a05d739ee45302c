"""P10: co-registration against shifts that are known, side by side with AROSICS, scikit-image and OpenCV.

    python bench/p10_coregistration.py            writes bench/results/p10.json and docs/coregistration_*.png
    python bench/p10_coregistration.py --quick    a quarter of the pairs; writes nothing
    python bench/p10_coregistration.py --figures  the pictures alone

Errors are in pixels of the coarser native grid. Sandbox: places drawn with a shift of 0.1 to 3 pixels, each sensor's
noise, another season, against an unshifted Sentinel-2 date. Real: how much the estimate changes when the moving picture
is shifted further by resampling. Speed: the same pairs of one band, every method in five rounds in
turn with ours, in each of which it goes over them five times, as it would go over the chips of a tile; of each pair the
median of all.
The peers live in build/peers/registration (bench/peers/registration.sh).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.coregistration_cases import Case, featureless, moved, real_pair, sandbox_cases, wervik  # noqa: E402
from bench.record import record  # noqa: E402
from chips.scene_shift import Acquisitions, Observation, combine  # noqa: E402
from chips.shift import Estimate, Image, Kind, Reference, estimate_shift  # noqa: E402
from flows.forking import WORKER_ENVIRONMENT  # noqa: E402
from schemas.recipe import Register  # noqa: E402

RELIABLE = Register(mode="measure").min_reliability
FOLDER = ROOT / "build" / "bench" / "p10"
PEER = ROOT / "build" / "peers" / "registration" / "bin" / "python"
METHODS = (
    "AROSICS",
    "scikit-image phase_cross_correlation",
    "scikit-image phase_cross_correlation, masked",
    "OpenCV phaseCorrelate",
    "OpenCV findTransformECC",
)
TARGETS = {"sentinel-2": 0.1, "landsat": 0.3, "enmap": 0.3, "sentinel-1": 1.0}
ROUNDS, PASSES = 5, 5
PLACES = 12
"""Places of the sandbox; a multiple of so many cases is one more date of each."""


def kind_of(case: Case) -> Kind:
    """How a pair is matched."""
    return "optical-sar" if case.kind.startswith("sentinel-1") else "optical"


def errors_of(cases: Sequence[Case]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Error of every pair in pixels (NaN without an answer), and its reliability."""
    errors, reliabilities = [], []
    for case in cases:
        found = estimate_shift(case.moving, case.reference, kind=kind_of(case))
        errors.append(np.nan if found is None else _error(case, found.dx_m, found.dy_m))
        reliabilities.append(0.0 if found is None else found.reliability)
    return np.array(errors), np.array(reliabilities)


def _error(case: Case, dx_m: float, dy_m: float) -> float:
    return float(np.hypot(dx_m - case.dx_m, dy_m - case.dy_m) / case.pixel_m)


def describe(name: str, errors: np.ndarray[Any, Any], reliable: np.ndarray[Any, Any], target: float) -> dict[str, Any]:
    """One row: errors of the reliable estimates."""
    kept = errors[reliable]
    row = {
        "what": name,
        "pairs": int(errors.size),
        "reliable": int(reliable.sum()),
        "median_px": _round(np.median(kept)) if kept.size else None,
        "p90_px": _round(np.quantile(kept, 0.9)) if kept.size else None,
        "worst_px": _round(kept.max()) if kept.size else None,
        "target_px": target,
    }
    return row | {"holds": bool(kept.size >= errors.size / 3 and np.median(kept) <= target)}


def sandbox_rows(repeats: int) -> tuple[list[dict[str, Any]], dict[str, list[Case]], dict[str, Any]]:
    """Sandbox accuracy per sensor, the cases, and the curve of error against distance."""
    rows, cases, curves = [], {}, {}
    for sensor, target in TARGETS.items():
        cases[sensor] = sandbox_cases(FOLDER / "world", sensor, repeats)
        errors, reliability = errors_of(cases[sensor])
        reliable = reliability >= RELIABLE
        rows.append(describe(f"sandbox: {sensor} on sentinel-2", errors, reliable, target))
        sizes = np.array([np.hypot(c.dx_m, c.dy_m) / c.pixel_m for c in cases[sensor]])
        curves[f"{sensor} on sentinel-2"] = curve(sizes[reliable], errors[reliable], np.linspace(0.1, 3.0, 6))
        rows.append(scene_row(sensor, cases[sensor], target))
    return rows, cases, curves


def scene_row(sensor: str, cases: Sequence[Case], target: float) -> dict[str, Any]:
    """Error of the shift combined over the places of a scene, each place's own shift taken out beforehand."""
    observations = []
    pair = Acquisitions("m", "a", "r", "b")
    for number, case in enumerate(cases):
        found = estimate_shift(case.moving, case.reference, kind=kind_of(case))
        if found is not None and found.reliability >= RELIABLE:
            dx, dy = found.dx_m - case.dx_m, found.dy_m - case.dy_m
            observations.append(Observation(pair, f"{number:04d}", dx, dy, found.sigma_m, found.pixel_m))
    if not observations:
        return {"what": f"scene: {sensor} on sentinel-2", "chips": 0, "holds": None}
    scene = combine(observations, min_chips=5)
    pixel = cases[0].pixel_m
    error = float(np.hypot(scene.dx_m, scene.dy_m) / pixel)
    return {
        "what": f"scene: {sensor} on sentinel-2",
        "chips": scene.chips,
        "inliers": scene.inliers,
        "agrees": scene.agrees,
        "error_px": _round(error),
        "standard_error_px": _round(scene.sigma_m / pixel),
        "target_px": target,
        "holds": error <= target,
    }


def curve(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Median and 90th percentile in bins, and the points."""
    found: dict[str, Any] = {"x": [], "median": [], "p90": [], "points": np.round(np.stack([x, y], 1), 4).tolist()}
    for low, high in pairwise(edges):
        inside = y[(x >= low) & (x <= high)]
        if inside.size >= 3:
            found["x"].append(round(float((low + high) / 2), 3))
            found["median"].append(_round(np.median(inside)))
            found["p90"].append(_round(np.quantile(inside, 0.9)))
    return found


def sweep(name: str, values: Sequence[float]) -> dict[str, Any]:
    """Error against noise or cloud cover, for same-sensor, cross-optical and radar pairs."""
    curves = {}
    for sensor in ("sentinel-2", "landsat", "sentinel-1"):
        line: dict[str, Any] = {"x": [], "median": [], "p90": [], "reliable": []}
        for value in values:
            errors, reliability = errors_of(sandbox_cases(FOLDER / "world", sensor, 1, **{name: value}))
            kept = errors[reliability >= RELIABLE]
            line["reliable"].append(round(float((reliability >= RELIABLE).mean()), 3))
            if kept.size >= 3:
                line["x"].append(value)
                line["median"].append(_round(np.median(kept)))
                line["p90"].append(_round(np.quantile(kept, 0.9)))
        curves[f"{sensor} on sentinel-2"] = line
    return curves


def real_rows(folder: Path, windows: int) -> list[dict[str, Any]]:
    """Change of the estimate under an injected shift, on real pictures."""
    rng = np.random.default_rng(10)
    errors, reliable = [], []
    for wide, fixed, georef in real_pair(folder, windows):
        dy, dx = _shift(rng, 3.0)
        reference = _one(fixed[16:-16, 16:-16], georef)
        before = estimate_shift(_one(wide[16:-16, 16:-16], georef), reference)
        after = estimate_shift(_one(moved(wide[None], dy, dx)[0][16:-16, 16:-16], georef), reference)
        errors.append(_change(before, after, -10 * dx, 10 * dy) / 10)
        reliable.append(_both(before, after))
    rows = [describe("real: Sentinel-2 pair of 2016, change", np.array(errors), np.array(reliable), 0.1)]
    triple = wervik(folder)
    for sensor, pixel, target in (("landsat", 30.0, 0.3), ("sentinel-1", 20.0, 1.0)):
        errors, reliable = [], []
        kind: Kind = "optical-sar" if sensor == "sentinel-1" else "optical"
        image, size = triple[sensor], triple[sensor].georef.pixel_size
        for _ in range(40):
            dy, dx = (step * pixel / size for step in _shift(rng, 1.5 if sensor == "landsat" else 2.0))
            rim = int(np.ceil(3 * pixel / size))
            valid = np.zeros(image.valid.shape, np.bool_)
            valid[rim:-rim, rim:-rim] = True
            before = estimate_shift(replace(image, valid=valid), triple["sentinel-2"], kind=kind)
            shown = replace(image, pixels=moved(image.pixels, dy, dx), valid=valid)
            after = estimate_shift(shown, triple["sentinel-2"], kind=kind)
            errors.append(_change(before, after, -size * dx, size * dy) / pixel)
            reliable.append(_both(before, after))
        row = describe(
            f"real: Wervik same day, {sensor} on sentinel-2, change", np.array(errors), np.array(reliable), target
        )
        rows.append(
            row | ({} if row["reliable"] else {"holds": None, "note": "none is reliable: reported, not proven"})
        )
    return rows


def _shift(rng: np.random.Generator, largest: float) -> tuple[float, float]:
    size, angle = rng.uniform(0.1, largest), rng.uniform(0, 2 * np.pi)
    return float(size * np.sin(angle)), float(size * np.cos(angle))


def _one(pixels: np.ndarray[Any, Any], georef: Any) -> Image:
    return Image(pixels[None].astype(np.float32), pixels > 0, georef, 10.0)


def _change(before: Estimate | None, after: Estimate | None, dx_m: float, dy_m: float) -> float:
    if before is None or after is None:
        return float("nan")
    return float(np.hypot(after.dx_m - before.dx_m - dx_m, after.dy_m - before.dy_m - dy_m))


def _both(before: Estimate | None, after: Estimate | None) -> bool:
    return before is not None and after is not None and min(before.reliability, after.reliability) >= RELIABLE


def false_accepts(count: int) -> dict[str, Any]:
    """Pairs with nothing in common that were called reliable."""
    accepted = 0
    for number, (one, other) in enumerate(featureless(count)):
        found = estimate_shift(one, other, kind="optical-sar" if number % 4 == 3 else "optical")
        accepted += found is not None and found.reliability >= RELIABLE
    return {"what": "featureless chips called reliable", "pairs": count, "accepted": accepted, "holds": accepted == 0}


def peers(cases: dict[str, list[Case]], rounds: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Error and time per pair of every method on the same one-band pairs, ours in turn with theirs."""
    chosen = [c for sensor in ("sentinel-2", "landsat") for i, c in enumerate(cases[sensor]) if i % PLACES < 3]
    arrays: dict[str, Any] = {"count": len(chosen)}
    singles: list[Case] = []
    for number, case in enumerate(chosen):
        pair = (
            replace(case.moving, pixels=case.moving.pixels[1:]),
            replace(case.reference, pixels=case.reference.pixels[1:]),
        )
        singles.append(replace(case, moving=pair[0], reference=pair[1]))
        for name, image in (("moving", pair[0]), ("reference", pair[1])):
            arrays[f"{number}/{name}"] = image.pixels[0]
            arrays[f"{number}/{name}_valid"] = image.valid
            arrays[f"{number}/{name}_geo"] = np.array([image.georef.x0, image.georef.y0, image.georef.pixel_size])
    np.savez(FOLDER / "pairs.npz", **arrays)
    answers: dict[str, list[list[dict[str, float]]]] = {name: [] for name in ("terraweft", *METHODS)}
    versions: dict[str, str] = {}
    for _ in range(rounds):
        answers["terraweft"] += [_in_chips(singles) for _ in range(PASSES)]
        command = [str(PEER), str(ROOT / "bench/peers/registration.py"), "run"]
        results = FOLDER / "peers.json"
        files = [str(FOLDER / "pairs.npz"), str(results), str(PASSES)]
        subprocess.run([*command, *files, *METHODS], check=True, env=_alone())
        theirs = json.loads(results.read_text())
        versions = theirs["versions"]
        for name in METHODS:
            answers[name] += theirs["results"][name]
    rows = []
    for sensor in ("sentinel-2", "landsat"):
        members = [i for i, case in enumerate(singles) if case.kind.startswith(sensor)]
        per_pass = {
            name: [sum(one[i]["s"] for i in members) / len(members) for one in all_passes]
            for name, all_passes in answers.items()
        }
        per_pair = {
            name: float(np.mean([np.median([one[i]["s"] for one in all_passes]) for i in members]))
            for name, all_passes in answers.items()
        }
        for name, all_passes in answers.items():
            pairs = [(singles[i], all_passes[-1][i]) for i in members]
            errors = [_error(case, a["dx_m"], a["dy_m"]) for case, a in pairs if "dx_m" in a]
            rows.append(
                {
                    "what": f"peer: {name}, {sensor} on sentinel-2",
                    "pairs": len(members),
                    "answered": len(errors),
                    "median_px": _round(np.median(errors)) if errors else None,
                    "p90_px": _round(np.quantile(errors, 0.9)) if errors else None,
                    "ms_per_pair": _round(1000 * per_pair[name]),
                    "cpu_ms_per_pair": _round(1000 * np.mean([one[i]["cpu_s"] for one in all_passes for i in members])),
                    "ms_rounds": [
                        _round(1000 * np.median(per_pass[name][first : first + PASSES]))
                        for first in range(0, len(all_passes), PASSES)
                    ],
                    "times_ours": _round(per_pair[name] / per_pair["terraweft"]),
                }
            )
    return rows, versions


def _in_chips(singles: Sequence[Case]) -> list[dict[str, float]]:
    """One pass: the dates of a place share its reference, as in a chip, and the first one pays for it."""
    known: dict[tuple[float, float], Reference] = {}
    answers = []
    estimate_shift(singles[0].moving, singles[0].reference)  # first-time costs are left out for the peers too
    for case in singles:
        began, cpu_began = time.perf_counter(), time.process_time()
        where = (case.reference.georef.x0, case.reference.georef.y0)
        if where not in known:
            known[where] = Reference(case.reference)
        found = estimate_shift(case.moving, known[where])
        spent = {"s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu_began}
        answers.append(spent if found is None else {"dx_m": found.dx_m, "dy_m": found.dy_m, **spent})
    return answers


def _alone() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": ""}


def as_in_a_worker() -> None:
    """Begin anew with the environment that Dask's workers have, as the peers will: one thread, memory that is kept."""
    wanted = {name: str(value) for name, value in WORKER_ENVIRONMENT.items()}
    if not wanted.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def _round(value: Any) -> float:
    return round(float(value), 4)


def main(arguments: list[str]) -> int:
    """Measure, print, and write."""
    quick = "--quick" in arguments
    if "--figures" in arguments:
        subprocess.run([str(ROOT / "bench/peers/registration.sh")], check=True)
        draw(sandbox_rows(2)[2])
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(ROOT / "bench/peers/registration.sh")], check=True)
    rows, cases, distance = sandbox_rows(1 if quick else 4)
    rows.append(false_accepts(100 if quick else 500))
    realdata = os.environ.get("TERRAWEFT_REALDATA")
    if realdata:
        rows += real_rows(Path(realdata), 12 if quick else 40)
    for row in rows:
        print(json.dumps(row), flush=True)
    against, versions = peers(cases, 1 if quick else ROUNDS)
    best = {r["what"]: r for r in against}
    ratios = [best[f"peer: AROSICS, {s} on sentinel-2"]["times_ours"] for s in ("sentinel-2", "landsat")]
    better = all(
        best[f"peer: terraweft, {s} on sentinel-2"]["median_px"]
        <= (best[f"peer: AROSICS, {s} on sentinel-2"]["median_px"] or 99)
        for s in ("sentinel-2", "landsat")
    )
    rows += against
    holds = min(ratios) >= 20 and better and all(row.get("holds") is not False for row in rows)
    for row in against:
        print(json.dumps(row))
    print(f"P10: {min(ratios):.1f} times as fast per chip as AROSICS; holds: {holds}")
    if quick:
        return 0
    record(
        "p10",
        figure=min(ratios),
        unit="x faster per chip than AROSICS, at equal or better error",
        target=20,
        holds=bool(holds),
        floor=None,
        rows=rows,
        packages=("numpy", "scipy", "rasterio"),
        further={"peer_versions": versions},
    )
    draw(distance)
    return 0


def draw(distance: dict[str, Any]) -> None:
    """Curves of error against distance, noise and clouds: their numbers, and pictures of them in docs/."""
    figures = {
        "coregistration_distance": {
            "title": "Error against distance, sandbox, reliable estimates",
            "x": "injected shift, pixels of the coarser grid",
            "curves": distance,
        },
        "coregistration_noise": {
            "title": "Error against further noise, sandbox, reliable estimates",
            "x": "noise added to the moving picture, in standard deviations of the clean one",
            "curves": sweep("noise", (0.0, 0.25, 0.5, 1.0, 1.5, 2.0)),
        },
        "coregistration_clouds": {
            "title": "Error against cloud cover on both dates, masked as the products do",
            "x": "share of each date under clouds",
            "curves": sweep("cloud", (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)),
        },
    }
    (ROOT / "bench/results/p10_figures.json").write_text(json.dumps(figures) + "\n")
    subprocess.run(
        [
            str(PEER),
            str(ROOT / "bench/peers/registration.py"),
            "draw",
            str(ROOT / "bench/results/p10_figures.json"),
            str(ROOT / "docs"),
        ],
        check=True,
        env=_alone(),
    )


if __name__ == "__main__":
    as_in_a_worker()
    sys.exit(main(sys.argv[1:]))
