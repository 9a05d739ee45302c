"""A sandbox world and its dataset, made on the first call and kept: what rows about the reference model learn from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sandbox.products import write_sandbox
from sandbox.serve import SandboxServer

RECIPE = Path(__file__).parents[1] / "recipes" / "sandbox.yaml"


def sandbox_dataset(
    root: Path,
    alter: Callable[[dict[str, Any]], None],
    *,
    size: str,
    seed: int,
    workers: int = 2,
    by_look: float = 0.0,
    without: str = "",
) -> Path:
    """The dataset of the sandbox's recipe over a world of its own, tars alone.

    Args:
        root: receives ``world``, ``recipe.yaml`` and ``dataset``.
        alter: what is changed about the recipe, in place.
        size: see `write_sandbox`.
        seed: of the world.
        workers: of the world's making and of the build.
        by_look: ``errors_by_look`` of `write_sandbox`.
        without: WorldCover's items whose ids hold this are taken out of the catalog; none where empty.
    """
    dataset = root / "dataset"
    if (dataset / "terraweft.json").is_file():
        return dataset
    index = write_sandbox(root / "world", size=size, seed=seed, workers=workers, errors_by_look=by_look)
    if without:
        items = index.root / "stac" / "esa-worldcover.ndjson"
        kept = [line for line in items.read_text().splitlines(True) if without not in json.loads(line)["id"]]
        items.write_text("".join(kept))
    recipe = yaml.safe_load(RECIPE.read_text())
    recipe["regions"] = [{"name": name, "bbox": list(box)} for name, box in index.regions.items()]
    recipe["write"]["kinds"] = ["webdataset"]
    alter(recipe)
    path = root / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    command = [sys.executable, "-c", "from terraweft.cli import main; main()", "build", str(path)]
    with SandboxServer(index.root) as server:
        environment = {**os.environ, "TERRAWEFT_SANDBOX_STAC": server.stac_url}
        subprocess.run([*command, "--out", str(dataset), "--workers", str(workers)], env=environment, check=True)
    return dataset


def without_coarse(recipe: dict[str, Any]) -> None:
    """Leave out what lies on a lattice of 30 or 60 m: Landsat, EnMAP, three bands of Sentinel-2."""
    for name in ("landsat", "enmap"):
        recipe["modalities"].pop(name)
    recipe["modalities"]["s2"]["bands"] = ["B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12"]
