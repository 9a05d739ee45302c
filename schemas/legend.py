"""Legends (``legend_<name>.yaml``: codes, names, colours) and crosswalks (``crosswalk_<from>__<to>.yaml``)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from schemas.errors import DatasetError, RecipeError
from schemas.shipped import shipped_table

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
    members: tuple[Code, ...] = ()
    """Codes of the finer legend (`Legend.groups`) that it gathers."""


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
    groups: str = ""
    """Name of a finer legend whose codes its classes gather: what has a crosswalk there needs none here."""

    @model_validator(mode="after")
    def _each_code_once(self) -> Legend:
        codes = [*self.nodata, *(entry.code for entry in self.classes)]
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice:
            raise ValueError(f"code {twice[0]} stands twice in legend {self.name}")
        members = [code for entry in self.classes for code in entry.members]
        twice = sorted({code for code in members if members.count(code) > 1})
        if twice:
            raise ValueError(f"member {twice[0]} stands in two classes of legend {self.name}")
        if bool(self.groups) != all(entry.members for entry in self.classes) or (members and not self.groups):
            raise ValueError(f"legend {self.name}: give groups and the members of every class, or neither")
        return self

    def positions(self, unknown: int) -> NDArray[np.uint8]:
        """(65536,) uint8 index of every code, ``unknown`` of codes that no class has.

        Raises:
            RecipeError: more classes than there are indices below ``unknown``.
        """
        self.require_indices(unknown)
        index = np.full(1 << 16, unknown, dtype=np.uint8)
        index[[entry.code for entry in self.classes]] = np.arange(len(self.classes), dtype=np.uint8)
        return index

    def require_indices(self, unknown: int = 255, where: str = "") -> None:
        """See `positions`; ``where`` is a place in the recipe."""
        if len(self.classes) > unknown:
            raise RecipeError(
                f"legend {self.name} has {len(self.classes)} classes, an index of 8 bits tells {unknown} apart",
                where=where,
                mend="take a legend that groups them",
            )

    def index_of(self, code: int) -> int:
        """Index of a code.

        Raises:
            KeyError: no class has it.
        """
        for index, entry in enumerate(self.classes):
            if entry.code == code:
                return index
        raise KeyError(code)


def stored_legend(legends: Mapping[str, object], name: str) -> Legend:
    """A legend as ``dataset.json`` holds it.

    Raises:
        DatasetError: it is none.
    """
    try:
        return Legend.model_validate(legends[name])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, ("dataset.json: legends", name, *first["loc"])))
        raise DatasetError(
            first["msg"], where=where, mend="another version may be whole: terraweft versions"
        ) from error


class Crosswalk(BaseModel):
    """Which target classes each code of a source admits (one to many), and which codes are declared unmapped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """Legend of the codes."""
    target: str
    """Legend of the indices' codes."""
    version: str
    """Version of this table; part of the fusion's inputs."""
    maps: dict[Code, tuple[Code, ...]]
    """Source code -> codes of the target legend it admits, the likeliest first."""
    unmapped: tuple[Code, ...] = ()
    """Source codes that say nothing about the target, on purpose."""
    note: str = ""
    """Where the judgement comes from."""

    @model_validator(mode="after")
    def _each_code_says_one_thing(self) -> Crosswalk:
        for code, admitted in self.maps.items():
            if not admitted:
                raise ValueError(f"maps: code {code} admits no class: name it under unmapped")
            if len(set(admitted)) < len(admitted):
                raise ValueError(f"maps: code {code} admits a class twice: {list(admitted)}")
            if code in self.unmapped:
                raise ValueError(f"maps: code {code} stands under unmapped too")
        return self


def known_tables(prefix: str) -> list[str]:
    """Names of the tables that start with ``legend_`` or ``crosswalk_``."""
    names = [entry.name for entry in resources.files("schemas").iterdir()]
    return sorted(
        n.removeprefix(prefix).removesuffix(".yaml") for n in names if n.startswith(prefix) and n.endswith(".yaml")
    )


def _load(prefix: str, name: str) -> object:
    try:
        return shipped_table("schemas", f"{prefix}{name}.yaml")
    except (OSError, ValueError):  # no such file, or no name that a file may have
        kind = prefix.rstrip("_")
        raise RecipeError(f"unknown {kind} {name!r}", mend=f"known: {', '.join(known_tables(prefix))}") from None


_OF_RECIPES: dict[str, Legend] = {}
_CROSSWALKS: dict[tuple[str, str], Crosswalk] = {}
_generation = 0


def use_legends(legends: Mapping[str, Legend], crosswalks: Iterable[Crosswalk] = ()) -> None:
    """Make a recipe's own legends and crosswalks known in this process; the last of one name holds."""
    global _generation
    own = {(crosswalk.source, crosswalk.target): crosswalk for crosswalk in crosswalks}
    if any(_OF_RECIPES.get(k) != v for k, v in legends.items()) or any(_CROSSWALKS.get(k) != v for k, v in own.items()):
        _generation += 1
    _OF_RECIPES.update(legends)
    _CROSSWALKS.update(own)


def generation() -> int:
    """Rises when a recipe's legend or crosswalk takes the place of another: part of the key of what is cached."""
    return _generation


def load_legend(name: str) -> Legend:
    """The legend of that name: a recipe's own, or a shipped one.

    Raises:
        RecipeError: unknown name; lists the known ones.
    """
    return _OF_RECIPES[name] if name in _OF_RECIPES else _shipped_legend(name)


@cache
def _shipped_legend(name: str) -> Legend:
    return Legend.model_validate(_load("legend_", name))


def load_crosswalk(source: str, target: str) -> Crosswalk:
    """The crosswalk between two legends: a recipe's own, a shipped one, or the one that follows from a finer legend
    which the target groups.

    Raises:
        RecipeError: there is none; lists the legends to which there is one.
    """
    if (source, target) in _CROSSWALKS:
        return _CROSSWALKS[source, target]
    if f"{source}__{target}" in known_tables("crosswalk_"):
        return _shipped_crosswalk(source, target)
    goal = load_legend(target)
    if source == target:
        codes: dict[int, tuple[int, ...]] = {entry.code: (entry.code,) for entry in goal.classes}
        return Crosswalk(source=source, target=target, version=goal.version, maps=codes, note="The same classes.")
    if goal.groups:
        return grouped(load_crosswalk(source, goal.groups), goal)
    raise RecipeError(
        f"there is no crosswalk from legend {source} to {target}",
        mend=f"labels.fuse.legend may be {', '.join(_targets(source))}; or give your own under crosswalks",
    )


def _targets(source: str) -> list[str]:
    """Names of the legends to which a crosswalk leads: of a recipe's own, shipped, or what groups one of these."""
    shipped = (name.split("__") for name in known_tables("crosswalk_"))
    direct = {source} | {to for at, to in (*_CROSSWALKS, *shipped) if at == source}
    known = (*_OF_RECIPES, *known_tables("legend_"))
    return sorted(direct | {name for name in known if load_legend(name).groups in direct})


@cache
def _shipped_crosswalk(source: str, target: str) -> Crosswalk:
    return Crosswalk.model_validate(_load("crosswalk_", f"{source}__{target}"))


def grouped(finer: Crosswalk, goal: Legend) -> Crosswalk:
    """A crosswalk to a legend that groups the target of another. A class comes at the place of its first member; a code
    none of whose classes is in a group says nothing.
    """
    group_of = {member: entry.code for entry in goal.classes for member in entry.members}
    maps = {
        code: tuple(dict.fromkeys(group_of[member] for member in admitted if member in group_of))
        for code, admitted in finer.maps.items()
    }
    return Crosswalk(
        source=finer.source,
        target=goal.name,
        version=f"{goal.version} of {finer.version}",
        maps={code: admitted for code, admitted in maps.items() if admitted},
        unmapped=tuple(sorted({*finer.unmapped, *(code for code, admitted in maps.items() if not admitted)})),
        note=f"Follows from {finer.source} -> {finer.target}: {finer.note}",
    )
