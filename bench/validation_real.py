"""All gates on real pixels: what each finds, what it refuses, and whether it refuses its control.

    python bench/validation_real.py            Wervik and three TerraMesh patches; needs TERRAWEFT_REALDATA

Both recipes hold nothing out (one chip, three chips), so parts of chips do the learning and are asked: a quarter of
the ground, beside what was learned from. Thresholds are the recipes' own, which are the defaults; trainings are short,
for 12 and 36 parts are soon known by heart.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record
from reference.gates import gates_of, run_gates
from schemas.recipe_gates import GateTraining
from terraweft import open_dataset

NAMES = ("real-wervik", "real-terramesh")
TRAINING = GateTraining(steps=60, batch_size=8, crop_m=None)
FOLDER = Path(__file__).parents[1] / "build" / "validation_real"


def built(name: str) -> str:
    """The dataset of a recipe, built on the first call."""
    root = FOLDER / name
    if not (root / "terraweft.json").is_file():
        command = [sys.executable, "-c", "from terraweft.cli import main; main()", "build", name, "--out", str(root)]
        subprocess.run([*command, "--workers", "1"], check=True, env=dict(os.environ))
    return str(root)


def main() -> None:
    """Build, validate, record."""
    torch.set_num_threads(2)
    rows: list[dict[str, Any]] = []
    for name in NAMES:
        dataset = open_dataset(built(name))
        gates = gates_of(dataset).model_copy(update={"training": TRAINING})
        found = run_gates(dataset, gates=gates, on_gate=lambda gate, name=name: print(name, gate, flush=True))  # type: ignore[misc]
        rows += [
            {
                "dataset": name,
                "gate": one.gate,
                "passed": "does not apply" if one.passed is None else "yes" if one.passed else "**refused**",
                "control refused": "" if one.control_failed is None else "yes" if one.control_failed else "**no**",
                "found": one.said,
            }
            for one in found.findings
        ]
        rows.append(
            {"dataset": name, "split": found.split, "seconds": round(found.seconds), **_trained(found.training)}
        )
    controls = [row["control refused"] for row in rows if row.get("control refused")]
    record(
        "validation_real",
        figure=float(sum(word == "yes" for word in controls)),
        unit="controls that their gates refuse, of those that apply",
        target=float(len(controls)),
        holds=all(word == "yes" for word in controls),
        floor=None,
        rows=rows,
        packages=["torch", "lightning", "numpy"],
    )


def _trained(training: Any) -> dict[str, Any]:
    return {key: training[key] for key in ("models", "steps", "batch_size", "crop_m")}


if __name__ == "__main__":
    main()
