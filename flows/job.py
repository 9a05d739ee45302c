"""What every unit of a run needs, and which fragments are its own: light to import, for whoever only looks."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, fields
from functools import cached_property, lru_cache
from pathlib import Path

from chips.inputs import FUSE, recipe_parts
from chips.plan import LayerPlan
from flows.compare import Touched
from flows.fragments import FORMAT, key_of, read_json
from flows.steps import FIRST_PASS, STEPS, versions
from schemas.chip import ChipSpec, Tile
from schemas.recipe import Recipe
from schemas.scene import Opener
from shards.storage import Storage

_OF_CHIPS = tuple(name for name in ChipSpec.__slots__ if name != "footprint_wkb")
"""What of a chip decides its fragment: its row holds all of it, read from files that the recipe only names. Its outline
follows from its bounds."""


@dataclass(frozen=True)
class Job:
    """What every unit of a run needs. A process takes it apart once, however many units bring it."""

    recipe: Recipe
    """The recipe."""
    layers: tuple[LayerPlan, ...]
    """Modality groups."""
    opener: Opener
    """How hrefs are opened."""
    storage: Storage
    """Root of the dataset."""
    work: Path
    """Local folder, seen by all workers, for what is not finished."""
    folder: Path
    """Where this run's fragments lie."""
    cache: Path
    """Where whole files (OSM extracts) are kept, as `fetched` divides it."""
    variables: Mapping[str, str]
    """Values of ``${TERRAWEFT_...}``."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Label source -> hash of the file that it names."""
    reading: str = ""
    """Names the run that last did again what was done already: no fragment and no fetched file of before it counts."""

    def __reduce__(self) -> tuple[Callable[[bytes], Job], tuple[bytes]]:
        return _unpacked, (self._packed,)

    @cached_property
    def _packed(self) -> bytes:
        """Its fields, pickled: a recipe with a long list of cells takes longer to take apart than a tile to read."""
        return pickle.dumps(tuple(getattr(self, one.name) for one in fields(self)))

    @cached_property
    def parts(self) -> dict[str, str]:
        """`chips.inputs.recipe_parts`, made once."""
        return recipe_parts(self.recipe, STEPS, self.files)

    @property
    def fetched(self) -> Path:
        """Where whole files are kept for this run: when it is done again, an address may hold another file."""
        return self.cache / key_of(self.reading) if self.reading else self.cache

    @cached_property
    def recipe_hash(self) -> str:
        """`Recipe.hash`, made once."""
        return self.recipe.hash()

    @cached_property
    def _key(self) -> str:
        """What decides the first pass of every tile alike."""
        layers = [astuple(layer) for layer in self.layers]
        steps = versions((*FIRST_PASS, "fuse") if FUSE in self.parts else FIRST_PASS)  # it counts for the fusion
        return key_of(FORMAT, self.recipe_hash, layers, steps, dict(self.files), self.reading)

    def first_folder(self, tile: Tile, touched: Mapping[str, Touched] | None = None) -> Path:
        """Final path of a tile's fragments of the first pass.

        Args:
            tile: the tile.
            touched: what is to be done, about which of its chips; None: all of all.
        """
        items = {name: [item.content_hash for item in found] for name, found in tile.items.items()}
        chips = [[getattr(chip, name) for name in _OF_CHIPS] for chip in tile.chips]
        taken = [chip.key(chip_id) for chip_id, chip in sorted((touched or {}).items())]
        return self.folder / "first" / f"{tile.tile_id}-{key_of(self._key, chips, items, *taken)}"

    def second_folder(self, first: Path, models: Mapping[str, str]) -> Path:
        """Final path of a tile's fragments of the second pass."""
        tile_id = first.name.partition("-")[0]
        kept = read_json(first / "tile.json")["kept"]  # a tile in which chips failed has one name, whichever they are
        return self.folder / "second" / f"{tile_id}-{key_of(first.name, kept, dict(models), STEPS)}"


@lru_cache(maxsize=2)
def _unpacked(packed: bytes) -> Job:
    return Job(*pickle.loads(packed))
