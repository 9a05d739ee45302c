"""Whether the gate *texts* tells captions that match from captions that do not, on worlds that nothing was chosen on.

    python bench/words.py [--worlds 5]
    python bench/words.py --seed 81          one world alone; run without it to go on

A replicate is a sandbox of a seed of its own with the demo's recipe (less targets and Zarr, which no caption needs):
trained and asked as `terraweft validate --gate texts` does, once with the dataset's captions and once with captions
exchanged among the training chips. A world is counted where the gate passes and its control is refused. Worlds and
findings are kept in ``build/words``.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record, spread
from bench.worlds import sandbox_dataset
from reference.data import Chips
from reference.gate_texts import texts
from reference.study import Study
from schemas.recipe_gates import Gates
from terraweft import open_dataset

KEPT = Path(__file__).parents[1] / "build" / "words"
FIRST_SEED = 81


def dataset_of(seed: int) -> Path:
    """The dataset of a world, made on the first call."""
    return sandbox_dataset(KEPT / str(seed), lambda recipe: recipe["labels"].pop("targets"), size="demo", seed=seed)


def found_in(seed: int) -> dict[str, Any]:
    """What the gate finds in a world, now or when it was asked before."""
    path = KEPT / str(seed) / "finding.json"
    if not path.is_file():
        study = Study(Chips(open_dataset(str(dataset_of(seed)))), Gates())
        finding = texts(study)
        kept = {"passed": finding.passed, "refused": finding.control_failed, "said": finding.said}
        path.write_text(json.dumps({**kept, "measured": finding.measured, "control": finding.control_measured}))
        print(f"world {seed}: {finding.said}", flush=True)
    return dict(json.loads(path.read_text()))


def main() -> None:
    """Ask, and record when all worlds were asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--seed", type=int, action="append", help="these worlds only; may be given again")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = given.seed or [FIRST_SEED + number for number in range(given.worlds)]
    found = {seed: found_in(seed) for seed in seeds}
    if given.seed:
        return
    rows: list[dict[str, Any]] = [
        {
            "world": seed,
            "caption to picture, recall at 5": one["measured"]["text_to_picture_5"],
            "picture to caption": one["measured"]["picture_to_text_5"],
            "chance": one["measured"]["chance_5"],
            "gain": one["measured"]["gain"],
            "gain, exchanged captions": one["control"]["gain"],
        }
        for seed, one in found.items()
    ]
    told = sum(one["passed"] and one["refused"] for one in found.values())
    gains = {"gain": "measured", "gain of exchanged captions": "control"}
    record(
        "words",
        figure=told,
        unit=f"of {len(found)} worlds: captions that match pass the gate, exchanged ones are refused",
        target=len(found),
        holds=told == len(found),
        floor=None,
        rows=rows,
        packages=["torch", "lightning", "numpy"],
        further={name: spread([one[which]["gain"] for one in found.values()]) for name, which in gains.items()},
    )


if __name__ == "__main__":
    main()
