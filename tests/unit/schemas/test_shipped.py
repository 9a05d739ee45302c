"""Names of shipped tables come from recipes: any text at all may stand there."""

from __future__ import annotations

import pytest

from schemas.errors import RecipeError
from schemas.legend import load_legend
from schemas.sensor import load_sensor


@pytest.mark.parametrize("name", ["nope", "../x", "a/b", "worldcover.yaml/x", "a\0b", "x" * 300])
def test_a_name_that_no_table_has_is_told_with_the_known_ones(name: str) -> None:
    with pytest.raises(RecipeError, match=r"^unknown legend .*known: .*worldcover"):
        load_legend(name)
    with pytest.raises(RecipeError, match=r"^unknown sensor .*known: .*sentinel-2"):
        load_sensor(name)
