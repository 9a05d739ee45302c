"""YAML of a person's files, safe: no anchors, no merge keys, no key twice; values, and nodes that know their lines."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

KINDS = {
    "timestamp": ("date", "write a day of the calendar, as 2021-06-30"),
    "int": ("whole number", "write digits"),
    "float": ("number", "write digits"),
    "bool": ("true or false", "write true or false"),
    "str": ("text", "write its characters themselves, in UTF-8"),
}
"""Type of a scalar in YAML -> what a message calls it, and the mend."""
OTHER_BASE = re.compile(r"[-+]?0[0-9_]+|[-+0-9_]+(:[0-9_.]+)+")
"""Numbers that YAML 1.1 reads to the base of 8 or 60: relative orbit 022 would be 18, and 12:30 be 750."""


class NoValueError(yaml.MarkedYAMLError):
    """A scalar that looks like a date or a number and is none.

    Args:
        node: the scalar.
    """

    def __init__(self, node: yaml.ScalarNode) -> None:
        tag = node.tag.rpartition(":")[2]
        kind, self.mend = KINDS.get(tag, (tag, "put it in quotes"))
        if OTHER_BASE.fullmatch(node.value):
            self.mend = "write it without leading zeros or colons, or in quotes where it is a name"
        self.node, self.line = node, node.start_mark.line + 1
        self.what = f"{node.value[:60]!r} is no {kind}"
        super().__init__(problem=self.what, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Safe, without anchors (no YAML bombs) and without duplicate keys."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node.tag.endswith((":int", ":float")) and OTHER_BASE.fullmatch(str(node.value)):
            raise NoValueError(node)  # type: ignore[arg-type]
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError, IndexError) as error:  # 2021-02-30, !!bool x, "\\ud800", !!int _
            if not isinstance(node, yaml.ScalarNode):
                raise
            raise NoValueError(node) from error

    def construct_scalar(self, node: Any) -> Any:
        value = super().construct_scalar(node)
        if isinstance(value, str):
            value.encode()  # half of a surrogate pair is no character, and no file holds it
            if "\0" in value:  # which ends a path, and no name holds it
                raise ValueError(value)
        return value

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not allowed in a recipe",
                problem_mark=event.start_mark,  # type: ignore[arg-type]
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():  # !!map [a] is none
            if key_node.tag.endswith(":merge"):
                raise yaml.MarkedYAMLError(
                    problem="merge keys are not allowed in a recipe", problem_mark=key_node.start_mark
                )
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.MarkedYAMLError(problem="a key is one word", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


LOADERS: tuple[type[_Loader], ...] = (_Loader,)
"""How to read YAML; a file that one cannot read is the next one's."""

if yaml.__with_libyaml__:
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _FastLoader(_Loader, CParser):
        """libyaml finds the words, four times as fast as Python does.

        They are put together as before: its own composer overflows the stack where a file is nested deeply.
        """

        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            for base in (Composer, SafeConstructor, Resolver):
                base.__init__(self)

        check_event, peek_event, get_event = CParser.check_event, CParser.peek_event, CParser.get_event
        dispose = CParser.dispose

    LOADERS = (_FastLoader, _Loader)


def read_yaml(text: str) -> tuple[yaml.Node | None, Any]:
    """Nodes, and the values made of them.

    Raises:
        NoValueError: a scalar is not what it looks like.
        yaml.YAMLError: it is no YAML, or has what is not allowed.
        RecursionError: it is nested too deeply.
    """
    *faster, last = LOADERS
    for kind in faster:
        try:
            return read_with(kind, text)
        except yaml.YAMLError:  # they differ in odd corners, and in what they say of a mistake
            continue
    return read_with(last, text)


def read_with(kind: type[_Loader], text: str) -> tuple[yaml.Node | None, Any]:
    """The same in one of the ways of `LOADERS`."""
    loader = kind(text)
    try:
        root = loader.get_single_node()
        try:
            return root, loader.construct_document(root) if root is not None else None
        except NoValueError as error:
            way = _way_to(error.node, root)
            error.what = f"{'.'.join(way)}: {error.what}" if way else error.what
            raise
    finally:
        loader.dispose()


def _way_to(wanted: yaml.Node, node: yaml.Node | None) -> tuple[str, ...] | None:
    """Keys and places that lead from a node to one below it."""
    if node is wanted:
        return ()
    for part, _, child in entries(node):
        below = _way_to(wanted, child)
        if below is not None:
            return (str(part), *below)
    return None


def line_of(node: yaml.Node | None, way: Sequence[str | int]) -> int:
    """1-based line of the deepest entry that exists, on a way of keys and places from a node."""
    line = node.start_mark.line + 1 if node is not None else 1
    for wanted in way:
        found = next(((begin, child) for part, begin, child in entries(node) if part == wanted), None)
        if found is None:
            break
        begin, node = found
        line = begin.start_mark.line + 1
    return line


def entries(node: yaml.Node | None) -> Iterator[tuple[str | int, yaml.Node, yaml.Node]]:
    """What a node holds: (key or place, the node with which it begins, the value's node)."""
    if isinstance(node, yaml.MappingNode):
        yield from ((key.value, key, value) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from ((place, value, value) for place, value in enumerate(node.value))
