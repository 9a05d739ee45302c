"""Legends (``legend_<name>.yaml``: codes, names, colours) and crosswalks (``crosswalk_<from>__<to>.yaml``)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.errors import RecipeError

Code = Annotated[int, Field(ge=0, le=65_535)]
"""Value of a class in a raster."""


class LegendClass(BaseModel):
    """One class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Code
    """Value in the product's raster."""
    name: str
    """Official name."""
    colour: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
    """Official colour, ``#rrggbb``."""
    noun: str = ""
    """How a sentence names it (``cropland``); the lower-cased name where empty."""


class Legend(BaseModel):
    """Classes of a product, or the target of a fusion.

    The index of a class is its position: fused layers store indices, product layers store codes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """worldcover, corine-44, worldcover-11, ..."""
    title: str
    """For people."""
    version: str
    """Version of this table."""
    nodata: Annotated[tuple[Code, ...], Field(min_length=1)]
    """Codes that mean no data or outside."""
    classes: Annotated[tuple[LegendClass, ...], Field(min_length=1)]
    """In index order."""
    source: str
    """Document it was checked against."""

    @model_validator(mode="after")
    def _each_code_once(self) -> Legend:
        codes = [*self.nodata, *(entry.code for entry in self.classes)]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise ValueError(f"code {twice[0]} stands twice in legend {self.name}")
        return self

    def index_of(self, code: int) -> int:
        """Index of a code.

        Raises:
            KeyError: no class has it.
        """
        for index, entry in enumerate(self.classes):
            if entry.code == code:
                return index
        raise KeyError(code)


class Crosswalk(BaseModel):
    """Which target classes each code of a source admits (one to many), and which codes are declared unmapped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """Legend of the codes."""
    target: str
    """Legend of the indices' codes."""
    version: str
    """Version of this table; part of the fusion's inputs."""
    maps: dict[int, tuple[int, ...]]
    """Source code -> codes of the target legend it admits, the likeliest first."""
    unmapped: tuple[int, ...] = ()
    """Source codes that say nothing about the target, on purpose."""
    note: str = ""
    """Where the judgement comes from."""


def known_tables(prefix: str) -> list[str]:
    """Names of the tables that start with ``legend_`` or ``crosswalk_``."""
    names = [entry.name for entry in resources.files("schemas").iterdir()]
    return sorted(
        n.removeprefix(prefix).removesuffix(".yaml") for n in names if n.startswith(prefix) and n.endswith(".yaml")
    )


def _load(prefix: str, name: str) -> object:
    entry = resources.files("schemas") / f"{prefix}{name}.yaml"
    if not entry.is_file():
        kind = prefix.rstrip("_")
        raise RecipeError(f"unknown {kind} {name!r}", mend=f"known: {', '.join(known_tables(prefix))}")
    return yaml.safe_load(entry.read_text(encoding="utf-8"))


_OF_RECIPES: dict[str, Legend] = {}


def use_legends(legends: Mapping[str, Legend]) -> None:
    """Make a recipe's own legends known under their names in this process; the last of one name holds."""
    _OF_RECIPES.update(legends)


def load_legend(name: str) -> Legend:
    """The legend of that name: a recipe's own, or a shipped one.

    Raises:
        RecipeError: unknown name; lists the known ones.
    """
    return _OF_RECIPES[name] if name in _OF_RECIPES else _shipped_legend(name)


@cache
def _shipped_legend(name: str) -> Legend:
    return Legend.model_validate(_load("legend_", name))


@cache
def load_crosswalk(source: str, target: str) -> Crosswalk:
    """The crosswalk between two legends.

    Raises:
        RecipeError: there is none; lists the known ones.
    """
    return Crosswalk.model_validate(_load("crosswalk_", f"{source}__{target}"))
