"""What other registration libraries find for pairs of bench/p10_coregistration.py; runs in build/peers/registration.

    python bench/peers/registration.py run CASES.npz RESULTS.json PASSES METHOD...
    python bench/peers/registration.py draw FIGURES.json FOLDER

Each pair is one near-infrared band on its own grid. AROSICS takes them as they are (it equalises grids itself); the
others want equal grids and get the coarser picture on the finer grid by bilinear interpolation, as their users do, and
the time for that is not counted. Content must move by the answer, metres east and north.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from scipy import ndimage


def on_grid(pixels, geo, target_geo, shape):
    """A picture on another grid, bilinear; NaN outside."""
    (x0, y0, size), (tx, ty, tsize) = geo, target_geo
    rows = (y0 - (ty - tsize * (np.arange(shape[0]) + 0.5))) / size - 0.5
    columns = ((tx + tsize * (np.arange(shape[1]) + 0.5)) - x0) / size - 0.5
    places = np.meshgrid(rows, columns, indexing="ij")
    return ndimage.map_coordinates(pixels, places, order=1, mode="nearest")


@contextlib.contextmanager
def config_options(options, thread_local=True):
    """`gdal.config_options` as GDAL has it from 3.7 on; Debian's is older and AROSICS' helper asks for it."""
    from osgeo import gdal

    before = {key: gdal.GetConfigOption(key) for key in options}
    for key, value in options.items():
        gdal.SetConfigOption(key, value)
    try:
        yield
    finally:
        for key, value in before.items():
            gdal.SetConfigOption(key, value)


def arosics(case):
    """(dx, dy) metres of AROSICS' COREG over the whole pair, or None."""
    from arosics import COREG
    from geoarray import GeoArray
    from osgeo import gdal
    from pyproj import CRS

    if not hasattr(gdal, "config_options"):
        gdal.config_options = config_options
    wkt = CRS.from_epsg(32632).to_wkt()
    images, masks = [], []
    for name in ("reference", "moving"):
        x0, y0, size = case[f"{name}_geo"]
        transform = [x0, size, 0, y0, 0, -size]
        images.append(GeoArray(case[name].astype(np.float32), transform, wkt))
        masks.append(GeoArray(~case[f"{name}_valid"], transform, wkt))
    began = time.perf_counter()
    found = COREG(
        *images, ws=(256, 256), max_shift=12, calc_corners=False, q=True, progress=False, ignore_errors=True, CPUs=1,
        mask_baddata_ref=masks[0] if not case["reference_valid"].all() else None,
        mask_baddata_tgt=masks[1] if not case["moving_valid"].all() else None,
        footprint_poly_ref=images[0].box.mapPoly.wkt, footprint_poly_tgt=images[1].box.mapPoly.wkt,
    )  # fmt: skip
    status = found.calculate_spatial_shifts()
    seconds = time.perf_counter() - began
    if status != "success" or found.x_shift_map is None:
        return None, seconds
    return (float(found.x_shift_map), float(found.y_shift_map)), seconds


def _equal(case):
    moving, reference = case["moving"].astype(np.float64), case["reference"].astype(np.float64)
    if case["moving_geo"][2] != case["reference_geo"][2]:
        moving = on_grid(moving, case["moving_geo"], case["reference_geo"], reference.shape)
    return moving, reference, float(case["reference_geo"][2])


def phase_cross_correlation(case):
    """scikit-image alone: upsampled phase correlation, no masks."""
    from skimage.registration import phase_cross_correlation as find

    moving, reference, size = _equal(case)
    began = time.perf_counter()
    (down, right), _, _ = find(reference, moving, upsample_factor=100)
    return (right * size, -down * size), time.perf_counter() - began


def phase_cross_correlation_masked(case):
    """scikit-image with masks: whole pixels."""
    from skimage.registration import phase_cross_correlation as find

    moving, reference, size = _equal(case)
    known = case["reference_valid"]
    mask = (
        on_grid(case["moving_valid"].astype(float), case["moving_geo"], case["reference_geo"], reference.shape) > 0.99
    )
    began = time.perf_counter()
    (down, right), _, _ = find(reference, moving, reference_mask=known, moving_mask=mask, overlap_ratio=0.5)
    return (right * size, -down * size), time.perf_counter() - began


def opencv_phase(case):
    """OpenCV's phase correlation with a Hanning window."""
    import cv2

    moving, reference, size = _equal(case)
    window = cv2.createHanningWindow(reference.shape[::-1], cv2.CV_64F)
    began = time.perf_counter()
    (right, down), _ = cv2.phaseCorrelate(moving, reference, window)
    return (right * size, -down * size), time.perf_counter() - began


def opencv_ecc(case):
    """OpenCV's enhanced correlation coefficient, translation, from no shift."""
    import cv2

    moving, reference, size = _equal(case)
    scaled = [np.float32((p - p.mean()) / max(p.std(), 1e-9)) for p in (reference, moving)]
    mask = case["reference_valid"].astype(np.uint8)
    warp = np.eye(2, 3, dtype=np.float32)
    began = time.perf_counter()
    try:
        stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 60, 1e-4)
        _, warp = cv2.findTransformECC(*scaled, warp, cv2.MOTION_TRANSLATION, stop, mask, 3)
    except cv2.error:
        return None, time.perf_counter() - began
    return (-float(warp[0, 2]) * size, float(warp[1, 2]) * size), time.perf_counter() - began


METHODS = {
    "AROSICS": arosics,
    "scikit-image phase_cross_correlation": phase_cross_correlation,
    "scikit-image phase_cross_correlation, masked": phase_cross_correlation_masked,
    "OpenCV phaseCorrelate": opencv_phase,
    "OpenCV findTransformECC": opencv_ecc,
}


def timed(method, case):
    """Answer of a method for a pair, with seconds."""
    began = time.process_time()
    found, seconds = method(case)
    spent = {"s": seconds, "cpu_s": time.process_time() - began}
    return {"dx_m": found[0], "dy_m": found[1], **spent} if found else spent


def run(cases_path, results_path, passes, *names):
    """Answers of the named methods for every pair, with seconds, as often as ``passes`` says."""
    stored = np.load(cases_path)
    count = int(stored["count"])
    fields = ("moving", "moving_valid", "moving_geo", "reference", "reference_valid", "reference_geo")
    cases = [{field: stored[f"{i}/{field}"] for field in fields} for i in range(count)]
    results = {}
    for name in names:
        method = METHODS[name]
        method(cases[0])  # imports and first-time costs
        results[name] = [[timed(method, case) for case in cases] for _ in range(int(passes))]
    versions = {}
    for module in ("arosics", "cv2", "skimage", "numpy", "scipy"):
        versions[module] = str(__import__(module).__version__)
    Path(results_path).write_text(json.dumps({"results": results, "versions": versions}))


def draw(figures_path, folder):
    """Pictures of error against distance, noise and cloud cover."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figures = json.loads(Path(figures_path).read_text())
    for name, figure in figures.items():
        fig, axes = plt.subplots(figsize=(7.2, 4.2), dpi=110)
        for number, (label, curve) in enumerate(figure["curves"].items()):
            colour = f"C{number}"
            if "points" in curve:
                x, y = np.array(curve["points"]).T
                axes.plot(x, y, ".", color=colour, alpha=0.25, markersize=4)
            x, middle, upper = (np.array(curve[key]) for key in ("x", "median", "p90"))
            axes.plot(x, middle, "o-", color=colour, label=label, markersize=4)
            axes.fill_between(x, middle, upper, color=colour, alpha=0.12, linewidth=0)
        axes.set_yscale("log")
        axes.set_xlabel(figure["x"])
        axes.set_ylabel("error, pixels of the coarser grid")
        axes.set_title(figure["title"], fontsize=10)
        axes.grid(True, which="both", alpha=0.25)
        axes.legend(fontsize=8)
        fig.text(0.01, 0.01, "line: median; shade: to the 90th percentile", fontsize=7, color="grey")
        fig.tight_layout()
        fig.savefig(Path(folder) / f"{name}.png")
        plt.close(fig)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "run":
        run(*sys.argv[2:])
    else:
        draw(sys.argv[2], sys.argv[3])
