"""Whether a metre of the chips' grids is a metre on the ground, and their north is north: what counts metres or speaks
of directions relies on it. In UTM both hold; a listed cell may lie in any projected system.
"""

from __future__ import annotations

import numpy as np
from pyproj import Proj

from chips.cell_table import CellTable
from chips.zones import to_lonlat
from schemas.errors import RecipeError

SCALE_WITHIN = 0.05
"""A metre may be so much longer or shorter; in UTM, as far beside its zone as cells may lie, it is 0.01."""
NORTH_WITHIN_DEGREES = 22.5
"""Half of an eighth of the compass: turned further, a direction has another name."""


def check_true_metres(cells: CellTable, *, texts: bool, where: str) -> None:
    """Refuse cells in whose system areas, widths and lengths are not those of the ground, or up is not north.

    Args:
        cells: the chips.
        texts: whether directions are told as well.
        where: key of the recipe.

    Raises:
        RecipeError: naming the first such cell, and what is wrong there.
    """
    x, y = cells.bounds[:, :2].T / 2 + cells.bounds[:, 2:].T / 2
    for code in np.unique(cells.epsg).tolist():
        if code // 100 in (326, 327):
            continue
        here = np.flatnonzero(cells.epsg == code)
        factors = Proj(code).get_factors(*to_lonlat(x[here], y[here], cells.epsg[here]))
        scales = np.stack([factors.meridional_scale, factors.parallel_scale])
        worst = np.take_along_axis(scales, np.abs(scales - 1.0).argmax(axis=0)[None], axis=0)[0]
        turned = (np.asarray(factors.meridian_convergence) + 180.0) % 360.0 - 180.0
        stretched = np.abs(worst - 1.0) > SCALE_WITHIN
        bad = np.flatnonzero(stretched | (np.abs(turned) > NORTH_WITHIN_DEGREES if texts else False))
        if bad.size:
            at, name = int(bad[0]), str(cells.chip_id[here[bad[0]]])
            what = "texts and map features are measured" if texts else "map features are measured"
            said = (
                f"a metre of EPSG:{code} at cell {name!r} is {1.0 / worst[at]:.2f} m on the ground, where {what}"
                if stretched[at]
                else f"north lies {abs(turned[at]):.0f} degrees beside up in EPSG:{code} at cell {name!r}: texts tell"
                " directions"
            )
            raise RecipeError(said, where=where, mend="give cells in UTM zones")
