"""Reading a recipe from YAML: every mistake becomes one line with the line number and the mend."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from schemas.errors import RecipeError
from schemas.recipe import Recipe
from schemas.strict_yaml import KINDS, NoValueError, line_of, read_yaml

Checked = TypeVar("Checked", bound=BaseModel)
SHAPES = (
    {"tuple_type": "Input should be a list, as [a, b]"}
    | {"string_type": "Input should be text: what looks like a number, a day, yes or no stands in quotes"}
    | dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "Input should be keys with values")
    | dict.fromkeys(("date_from_datetime_parsing", "date_from_datetime_inexact"), KINDS["timestamp"][1])
)
"""Kind of Pydantic's error -> what is wanted, in YAML's terms."""
NUMBERS = {2: "two", 3: "three", 4: "four"}
MAX_BYTES = 1_000_000
"""A recipe larger than this is refused unread."""


@dataclass(frozen=True)
class Kind(Generic[Checked]):
    """A kind of file that a person writes."""

    model: type[Checked]
    """What it becomes."""
    what: str
    """What a message calls it."""
    page: str
    """Where its keys are explained."""


RECIPE = Kind(Recipe, "recipe", "docs/recipes.md")
"""The recipe."""


def load_recipe(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        RecipeError: one line: file and line, what is wrong, the mend.
    """
    return parse_recipe(read_limited(path, "recipe"), path.name, path.parent)


def read_limited(path: Path, what: str) -> bytes:
    """The bytes of a file that a person wrote.

    Raises:
        RecipeError: there is none, or it is larger than `MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise RecipeError(f"there is no such {what}", where=str(path), mend="check the path") from error
    except (IsADirectoryError, PermissionError) as error:
        raise RecipeError("this is no readable file", where=str(path), mend="give the path of a .yaml file") from error
    if len(raw) > MAX_BYTES:
        size = max(len(raw), path.stat().st_size)  # of a pipe 0
        raise RecipeError(
            f"a {what} of {size:,} bytes is refused", where=path.name, mend=f"keep it under {MAX_BYTES:,}"
        )
    return raw


def parse_recipe(raw: bytes, name: str, folder: Path | None = None) -> Recipe:
    """The recipe in some bytes; ``name`` stands in messages, paths of sensor tables and legends begin in ``folder``.

    Raises:
        RecipeError: as `load_recipe`.
    """
    root, data = _mapping(raw, name, RECIPE.what)
    for section, kind in (("sensors", "table of a sensor"), ("legends", "legend"), ("crosswalks", "crosswalk")):
        tables = data.get(section)
        if not isinstance(tables, dict):
            continue
        for key, path in tables.items():
            if isinstance(path, str):
                tables[key] = _table(path, folder or Path(), f"{name}: {section}.{key}", kind)
    return _checked(RECIPE, root, data, name)


def place_of_key(path: Path, key: str) -> str:
    """``name:line`` of a dotted key in a recipe's file, or of what of its way stands there; empty where nothing does.

    Args:
        path: the file.
        key: ``catalogs.one.href``, ``sample.0.file``; in the list of regions an entry goes by its name, too.
    """
    try:
        root, data = read_yaml(read_limited(path, RECIPE.what).decode("utf-8"))
    except (RecipeError, NoValueError, yaml.YAMLError, UnicodeDecodeError, RecursionError, OSError):
        return ""  # it was read before, and is another now
    way = _named(key, ())
    if not isinstance(data, dict) or way[0] not in Recipe.model_fields or way[0] not in data:
        return ""
    if way[0] == "regions" and isinstance(data["regions"], list):
        names = [entry.get("name") if isinstance(entry, dict) else None for entry in data["regions"]]
        way = tuple(names.index(part) if part in names else part for part in way)
    return f"{path.name}:{line_of(root, way)}"


def load_checked(path: Path, kind: Kind[Checked]) -> Checked:
    """A YAML file as a model, with a recipe's care: no anchors, no unknown keys, one line for every mistake.

    Raises:
        RecipeError: as `load_recipe`.
    """
    root, data = _mapping(read_limited(path, kind.what), path.name, kind.what)
    return _checked(kind, root, data, path.name)


def _mapping(raw: bytes, name: str, what: str) -> tuple[yaml.Node | None, dict[Any, Any]]:
    """The nodes and the values of some YAML."""
    try:
        text = raw.decode("utf-8")
        root, data = read_yaml(text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise RecipeError("not UTF-8 text", where=f"{name}:{line}", mend="save it as UTF-8") from error
    except RecursionError as error:
        raise RecipeError("nested too deeply", where=name, mend="flatten it") from error
    except NoValueError as error:
        raise RecipeError(error.what, where=f"{name}:{error.line}", mend=error.mend) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RecipeError(f"not valid YAML: {error.problem}", where=f"{name}:{line}", mend="mend the syntax") from error
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        what = f"not valid YAML: character U+{error.character:04X} is not allowed"
        raise RecipeError(what, where=f"{name}:{line}", mend="take it out, or write it as an escape") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"not valid YAML: {error}", where=name, mend="mend the syntax") from error
    if not isinstance(data, dict):
        raise RecipeError(f"a {what} is a mapping of keys to values", where=f"{name}:1", mend="begin with 'format: 1'")
    return root, data


def _checked(kind: Kind[Checked], root: yaml.Node | None, data: dict[Any, Any], name: str) -> Checked:
    try:
        return kind.model.model_validate(data)
    except ValidationError as error:
        raise _as_recipe_error(error, root, name, kind) from error


def _table(path: str, folder: Path, where: str, kind: str) -> dict[str, Any]:
    """The table of a sensor, or the legend, in a file.

    Raises:
        RecipeError: there is no such file, or it is none.
    """
    file = folder / path
    try:
        if file.stat().st_size > MAX_BYTES:
            raise RecipeError(f"{path} is refused: a {kind} is smaller than {MAX_BYTES:,} bytes", where=where)
        _, table = read_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{file}: {error.strerror}", where=where, mend="give a path beside the recipe") from error
    except NoValueError as error:
        raise RecipeError(f"{path}:{error.line}: {error.what}", where=where, mend=error.mend) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise RecipeError(f"{path} is not valid YAML", where=where, mend="mend the syntax") from error
    if not isinstance(table, dict):
        raise RecipeError(f"{path} is no {kind}", where=where, mend="see docs/recipes.md")
    return table


def _as_recipe_error(error: ValidationError, root: yaml.Node | None, name: str, kind: Kind[Any]) -> RecipeError:
    model, see = kind.model, f"see {kind.page}"
    found = error.errors(include_url=False)
    if other := next((one for one in found if one["loc"] == ("format",) and one["type"] == "literal_error"), None):
        # Of a later format all else may be unknown: it is said first, and alone.
        return RecipeError(
            f"format {other['input']!r} is unknown",
            where=f"{name}:{line_of(root, ('format',))}",
            mend=f"this software reads format {other['ctx']['expected']}",
        )
    first = next((one for one in found if one["type"] == "extra_forbidden"), found[0])  # a misspelt key is a cause
    loc, _ = _reached(model, first["loc"])
    field = ".".join(str(part) for part in loc) or kind.what
    message = SHAPES.get(first["type"], first["msg"].removeprefix("Value error, "))
    where = f"{name}:{line_of(root, _named(message, loc))}"
    if first["type"] == "extra_forbidden":
        known = sorted(f.alias or n for m in _reached(model, first["loc"][:-1])[1] for n, f in m.model_fields.items())
        near = difflib.get_close_matches(str(loc[-1]), known, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return RecipeError(f"unknown key {field!r}", where=where, mend=mend)
    if (wanted := _numbers_wanted(first, found)) is not None:
        field = field.removesuffix(f".{loc[-1]}") if first["type"] == "missing" else field
        return RecipeError(f"{field} needs {NUMBERS.get(wanted, wanted)} numbers", where=where, mend=see)
    if first["type"] == "missing":
        return RecipeError(f"{field!r} is missing", where=where, mend=f"add {str(loc[-1])!r}")
    got = first.get("input")
    is_shown = isinstance(got, (str, int, float, bool)) and loc[:1] != ("credentials",)  # it may be a pasted secret
    shown = f", got {got!r}" if is_shown else ""
    others = f"and {error.error_count() - 1} more" if error.error_count() > 1 else ""
    return RecipeError(f"{field}: {message}{shown}", where=where, mend=others or see)


def _named(message: str, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The way to the key that a message begins with: from the top, or from where the error was found.

    >>> _named("modalities.s2.fallbacks[0].catalog is 'pcc', but ...", ())
    ('modalities', 's2', 'fallbacks', 0, 'catalog')
    """
    words = re.findall(r"[^.\[\]:]+", message.split(" ", 1)[0])
    parts = tuple(int(word) if word.isdecimal() else word for word in words)
    return parts if parts[: len(loc)] == loc else loc + parts


def _numbers_wanted(first: Mapping[str, Any], found: Sequence[Mapping[str, Any]]) -> int | None:
    """How many numbers a box or the like has, where the first error says that some are missing or too many."""
    *way, last = first["loc"] or ("",)
    if first["type"] == "missing" and isinstance(last, int):
        beside = [one["loc"][-1] for one in found if one["type"] == "missing" and [*one["loc"][:-1]] == way]
        return 1 + max(int(place) for place in beside)
    if first["type"] == "too_long" and first["ctx"]["field_type"] == "Tuple":
        return int(first["ctx"]["max_length"])
    return None


def _reached(top: type[BaseModel], loc: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], list[Any]]:
    """A location as the file has it, and what types the value there may have.

    Pydantic's locations also hold the kinds by which models of one place are told apart: these are left out.
    """
    way: list[str | int] = []
    options: list[Any] = [top]
    for part in loc:
        models = [option for option in options if _is_model(option)]
        if len(models) > 1:  # the part is a kind; what no model names is a plug-in's, which stands last
            kinds = {m: get_args(m.model_fields["kind"].annotation) for m in models if "kind" in m.model_fields}
            options = [m for m, kind in kinds.items() if part in kind] or models[-1:]
            continue
        way.append(part)
        options = [inner for option in options for inner in _below(option, part)]
    return tuple(way), options


def _below(annotation: Any, part: str | int) -> list[Any]:
    """Types of what a value of some type holds under a key or at a place."""
    if _is_model(annotation):
        fields = {(f.alias or n): f.annotation for n, f in annotation.model_fields.items()}
        return _options(fields.get(str(part)))
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is dict:
        return _options(args[-1])
    return _options(args[0]) if origin is tuple else []


def _options(annotation: Any) -> list[Any]:
    """The types that an annotation joins."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _options(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [option for part in get_args(annotation) for option in _options(part)]
    return [] if annotation in (None, NoneType) else [annotation]


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
