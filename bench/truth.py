"""Reflectance that our sources read of the sandbox against the simulated ground: bias of each band, in per cent.

    python bench/truth.py

A tiny world is written under ``build/`` and served; the cases are those of `tests.integration.test_sandbox_truth`, with
all bands of each scene that are not coarser than its mask. The figure is the largest bias.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.record import record
from bench.scenes import BUILD
from sandbox.products import write_sandbox
from sandbox.serve import SandboxServer
from sandbox.spectra import bands_of
from tests.integration.test_sandbox_truth import CASES, finder, one, reflectance_error

LIMIT_PERCENT = 1.0


def main() -> None:
    """Measure and record."""
    index = write_sandbox(BUILD / "truth", size="tiny", seed=7)
    rows = []
    with SandboxServer(index.root) as server:
        scenes = finder(server.stac_url)
        for sensor, collection, text, _, offset in CASES:
            scene = one(scenes(sensor, collection), text)
            simulated = {band.name for band in bands_of("sentinel-2" if "sentinel" in sensor else "landsat")}
            finest = scene.masks[0].georef.pixel_size
            refs = [ref for ref in scene.refs if ref.georef.pixel_size <= finest]  # a mask of 20 m says nothing at 60 m
            for name in (ref.band for ref in refs if ref.band in simulated):
                error, mean, share = reflectance_error(scene, index.root, name)
                rows.append(
                    {
                        "item": scene.item_id,
                        "band": name,
                        "offset": offset,
                        "reflectance": round(mean, 5),
                        "bias_percent": round(100 * error / mean, 3),
                        "clear_share": round(share, 3),
                    }
                )
    worst = max(abs(float(row["bias_percent"])) for row in rows)
    record(
        "truth",
        figure=worst,
        unit="percent of reflectance, largest bias of a band",
        target=LIMIT_PERCENT,
        holds=worst < LIMIT_PERCENT,
        floor=None,
        rows=rows,
        packages=["numpy", "rasterio"],
    )


if __name__ == "__main__":
    main()
