"""Published findings in miniature: what weak labels and further sensors teach, measured on the truth of the sandbox.

    python bench/reproduction.py --errors by-lot                  all that is not there yet; then writes the result
    python bench/reproduction.py --errors by-look                 the same where maps err on what looks alike
    python bench/reproduction.py --seed 41 --only worldcover      one training; run without these to go on
    python bench/reproduction.py --make                           worlds and datasets only

Three findings: labels fused of several sources teach more than any of the sources (Ratner et al., 2017: Snorkel; Zhang
et al., 2021: WRENCH), labels weighted by their confidence teach more than labels taken alike (same), further sensors
help where there are clouds (Ebel et al., 2020: SEN12MS-CR and its kind).

Design, settled before any score of a series was seen. In the first series (by lot), for want of time and with a part of
the scores known, trainings on CORINE, on OSM and on eight chips of the older edition were left out, and those on eight
chips end after three worlds:

- *A replicate is a world*: five sandboxes from seeds that nothing was chosen on, each with a dataset, a fusion, a split
  and weights of its own. Within a world all models see the same chips in the same order from the same first weights, so
  a difference is paired. Its interval is Student's over the differences (95 %): it speaks for worlds of this kind,
  not for one world's chips.
- *The truth is asked, everywhere*: mean IoU over the classes of at least 0.2 % of the true pixels of all held-out
  chips; accuracy beside it. Nothing is chosen by it. Models are trained as the gates train by default
  (`schemas.recipe_gates`), which a world of another seed settled.
- *Noise is that of the field*: WorldCover's editions err at their validated rates (25.6 and 23.3 % of the pixels), in
  patches of 70 m; CORINE and OSM as their sampling makes them.
- *Many chips and few.* The simulated maps' errors do not depend on the pictures. A network averages such noise away
  when it sees enough of it (Rolnick et al., 2017: how many examples are needed grows with the noise), so the gain of
  cleaner labels ought to shrink with the number of chips. The newer
  edition is also compared with eight chips, in three worlds.
- *By look*: a second series, designed after the first, whose errors fall by lot, had not told sources apart. A real map
  is made from pictures and errs on what looks alike; so half of the variance of each edition's errors follows from the
  variant of the class, which a picture shows (season, radar), each edition in its own way, at the same validated rates
  (``errors_by_look`` of `sandbox.products.write_sandbox`). Share and seeds were chosen once, before any score. What
  radar adds does not hang on how maps err and is not asked again. After five worlds every difference to a source was
  above 0 and no interval was, so five more were added, once: the intervals of that series are Bonferroni's for two
  looks (97.5 % each), and what the further five alone say is told apart.
- *Single sources* are WorldCover's editions, which speak everywhere at the target's own classes; in the first five
  worlds of the second series also CORINE (the north alone) and OSM, mapped to these classes by the dataset's
  crosswalks, silent elsewhere.
- *Clouds*: one model of Sentinel-2 alone and one of Sentinel-2 and both orbits of Sentinel-1, both trained on fused
  labels, asked with 60 % of each optical picture hidden and scored on the hidden pixels alone; and with nothing hidden.

A finding is *shown* where the whole interval is above 0 (of the first: against every source), *contradicted* where one
is below 0, else *not shown*. Worlds, datasets and finished trainings are kept in ``build/reproduction``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.paired import SURE, difference, verdict
from bench.record import record, spread
from bench.taught_worlds import BY_LOOK, CLOUD_SHARE, FEW, LESSONS, NEWEST, OPTICAL, PARTIAL, Series, World
from schemas.recipe_gates import GateTraining

FEW_WORLDS = 3
"""Worlds of the first series that learn from few chips, too."""
SERIES: Mapping[str, Series] = {
    "by-lot": Series((41, 42, 43, 44, 45), 0.0, FEW_WORLDS, True, "reproduction"),
    "by-look": Series(tuple(range(51, 61)), BY_LOOK, 0, False, "reproduction_by_look", first_look=5),
}


def report(series: Series, worlds: Sequence[World]) -> None:
    """Rows with their spread over worlds, and what is shown."""
    scores = {name: [world.scores(name) for world in worlds if world.learns(name)] for name in series.lessons}
    themselves = [world.labels() for world in worlds]

    def of(name: str, sky: str = "clear", score: str = "mean_iou") -> list[float]:
        return [run[sky][score] for run in scores[name]]

    rows: list[dict[str, Any]] = []
    for name in series.lessons:
        lesson = LESSONS[name]
        source = "fused" if lesson.target == "label" else lesson.target
        rows.append(
            {
                "learned from": name,
                "worlds": len(scores[name]),
                "chips": round(statistics.fmean(run["chips"] for run in scores[name]), 1),
                "mean IoU": spread(of(name)),
                "accuracy": spread(of(name, score="accuracy")),
                "mean IoU of the labels": spread([one[source]["mean_iou"] for one in themselves]),
                "accuracy of the labels": spread([one[source]["accuracy"] for one in themselves]),
                "labelled": spread([one[source]["says"] for one in themselves]),
            }
        )
    few = f", {FEW} chips"
    single = f"fused, {OPTICAL} alone"
    first = series.first_look
    sure = 1.0 - (1.0 - SURE) / (2 if first else 1)
    weighted = "by confidence over all alike"
    compared = {f"fused over {name}": ("fused", name) for name in series.sources}
    compared[weighted] = ("fused", "fused, all alike")
    found = {
        name: difference(name, of(one)[: len(of(other))], of(other), sure) for name, (one, other) in compared.items()
    }
    claims = {
        "fused labels teach more than each source": [found[f"fused over {name}"] for name in series.sources],
        "weighting by confidence helps": [found[weighted]],
    }
    parts = {f"the first {first}": slice(first), f"the further {len(worlds) - first}": slice(first, None)}
    apart = [
        difference(f"{name}, {which}", of(one)[part], of(other)[part])
        for which, part in (parts if first else {}).items()
        for name, (one, other) in compared.items()
        if other not in PARTIAL
    ]
    asked = list(claims)
    if series.radar:
        hidden = difference("s2 and s1 over s2, hidden pixels", of("fused", "clouds"), of(single, "clouds"))
        asked.append("radar helps where clouds are")
        claims[asked[-1]] = [hidden]
        nothing_hidden = difference("s2 and s1 over s2, nothing hidden", of("fused"), of(single))
        claims["radar helps where the sky is clear"] = [nothing_hidden]
    if series.few_worlds:
        rare = difference(f"fused over {NEWEST}{few}", of(f"fused{few}"), of(NEWEST + few))
        claims[f"the same with {FEW} chips"] = [rare]
    rows += [row for differences in claims.values() for row in differences] + apart
    rows += [{"finding": name, "verdict": verdict(differences)} for name, differences in claims.items()]
    wrong = [world.wrong() for world in worlds]
    counted = {"in pixels": [one for one, _ in wrong], "in confidence": [other for _, other in wrong]}
    rows += [
        {"fused labels to learn from": f"wrong, {how}", "share": spread(shares)} for how, shares in counted.items()
    ]
    least = min(claims[asked[0]], key=lambda row: float(row["mean"]))
    record(
        series.record,
        figure=float(least["mean"]),
        unit=f"points of mean IoU on the truth, the least gain of fused labels ({least['difference in points']})",
        target=0.0,
        holds=all(verdict(claims[name]) == "shown" for name in asked),
        floor=None,
        rows=rows,
        packages=["torch", "lightning", "numpy"],
        further={
            "worlds": len(worlds),
            "seeds": " ".join(str(world.seed) for world in worlds),
            "interval": sure,
            "steps": GateTraining().steps,
            "held_out_chips": " ".join(str(len(world.split[1])) for world in worlds),
            "cloud_share": CLOUD_SHARE,
            "errors_by_look": series.by_look,
        },
    )


def main() -> None:
    """Make, train, ask; record when everything is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--errors", choices=list(SERIES), default="by-look", help="how maps err")
    parser.add_argument("--seed", type=int, action="append", help="these worlds only; may be given again")
    parser.add_argument("--only", action="append", choices=list(LESSONS), help="these trainings only")
    parser.add_argument("--make", action="store_true", help="worlds and datasets only")
    given = parser.parse_args()
    torch.set_num_threads(1)
    series = SERIES[given.errors]
    worlds = [World(seed, series) for seed in given.seed or series.seeds]
    for world in worlds:
        _ = world.root
        for name in () if given.make else given.only or series.lessons:
            if world.learns(name):
                world.scores(name)
    if not (given.seed or given.only or given.make):
        report(series, worlds)


if __name__ == "__main__":
    main()
