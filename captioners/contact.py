"""Which covers are said to touch, and which to lie within another."""

from __future__ import annotations

import re
from collections.abc import Iterable

from captioners.claims import Claim, Said
from captioners.gated import compiled
from captioners.listed import listed_after
from captioners.mentions import Mention
from captioners.quantities import find_numbers
from captioners.reading import Reading


def contact(said: Said) -> Iterable[Claim]:
    """Everything that the rules of this module object to."""
    for rule in (_border, _borders_only, _meeting, _longest, _border_length, _enclosure):
        yield from rule(said)


_BESIDE = compiled(
    r"\b(?:borders?(?: on)?|bordering(?: on)?|(?:bordered|lined|fringed|skirted|edged|framed|bounded|rimmed)"
    r"(?: \w+ly)? (?:by|with)|adjacent to|next to|beside|adjoins?|adjoining|abuts?|meets?|"
    r"flanked by|alongside|neighbou?ring|touch(?:es|ing)?|shares? a (?:boundary|border) with|"
    r"(?:lin|fring|flank|skirt|hug)(?:e?s|ing|e)? (?:(?:both|the|all) )?(?:(?:banks?|shores?|sides?|edges?) of )?"
    r"(?:the(?= ))?|on (?:both|either|all) sides? of|"
    r"(?:along|at|on) the (?:edge|margin|bank|shore)s? of)\s",
    re.I,
)


_ALONG = compiled(r"\b(?:along|reach(?:es|ing)?(?: (?:down|up|out))?(?: to)?) (?:the )?", re.I)
_JOINS = compiled(r"\band\b|,", re.I)
_LIST_ENDS = compiled(r"\s*(?:[.;]|$)")


def _border(said: Said) -> Iterable[Claim]:
    """``A borders on B``: they share an edge."""
    for match in _ALONG.finditer(said.text):
        one, other = said.before(match.start()), said.after(match.end())
        if one and match.group(0).lower().startswith("reach") and _JOINS.search(said.text, one.end, match.start()):
            continue  # "A surrounds B and reaches C"
        if (
            one
            and other
            and other.start == match.end()
            and one.concept != other.concept
            and _are_apart(said, one, other)
        ):
            yield "relation", f"{match.group(0).strip()!r}, but they do not touch"
    for match in _BESIDE.finditer(said.text):
        one, other = said.before(match.start()), said.after(match.end() - 1)
        if one is None or other is None or other.start > match.end() + 30 or one.concept == other.concept:
            continue
        if re.search(r"[;.]", said.text[one.end : match.start()]):
            continue
        others = listed_after(said, other.start)
        is_list = _LIST_ENDS.match(said.text, others[-1].end) or " both " in said.text[match.start() : other.start]
        if any(_are_apart(said, one, each) for each in (others if is_list else [other])):
            yield "relation", f"{match.group(0).strip()!r}, but they do not touch"


_TOUCHES = r"(?:borders?(?: on)?|adjoins?|abuts?|meets?|touch(?:es)?|is bordered by|are bordered by)"
_ONLY_ON = compiled(rf"\s+(?:only )?{_TOUCHES} (?:only|solely|exclusively|nothing but)(?: on)? (?:the )?", re.I)
_EVERY_OTHER = r"(?:every|each|all(?: of)?(?: the)?)(?: \w+)? other (?:land )?(?:cover|class)(?:es|s)?(?: types?)?"
_ON_ALL = compiled(rf"\s+{_TOUCHES} {_EVERY_OTHER}\b", re.I)
_ALL_ON = compiled(rf"\b{_EVERY_OTHER} {_TOUCHES} (?:the )?$", re.I)


def _borders_only(said: Said) -> Iterable[Claim]:
    """``A borders only on B and C``, ``A borders every other cover``, ``all other covers border on A``."""
    for one in said.mentions:
        own = {c.code for c in said.classes_of(one.concept)}
        around = {code for pair in said.reading.borders if pair & own for code in pair} - own
        after = said.after(one.end)
        only = _ONLY_ON.fullmatch(said.text, one.end, after.start) if after is not None else None
        every = _ON_ALL.match(said.text, one.end) or _ALL_ON.search(said.text[: one.start])
        if own and after is not None and only:
            told = {c.code for m in listed_after(said, after.start) for c in said.classes_of(m.concept)}
            if not around <= told:
                yield "relation", f"{only.group(0).strip()!r}, but it meets others too"
        if own and every and around != {c.code for c in said.reading.classes} - own:
            yield "relation", f"{every.group(0).strip()!r}, but one of them it does not meet"


_MEET = compiled(
    r"\b(?:meet|touch|adjoin|abut|share an? (?:\w+ )?(?:boundary|border|edge)|"
    r"side by side|(?:next|adjacent) to (?:each other|one another)|beside (?:each other|one another))\b",
    re.I,
)


def _meeting(said: Said) -> Iterable[Claim]:
    """``A and B meet``: they share an edge."""
    for match in _MEET.finditer(said.text):
        before = [m for m in said.mentions if m.end <= match.start()][-2:]
        after = said.after(match.end())
        if len(before) < 2 or (after is not None and after.start <= match.end() + 30):
            continue
        if _are_apart(said, *before):
            yield "relation", f"{match.group(0)!r}, but they do not touch"


_LONGEST = compiled(
    r"(?P<its>\b(?:its|their) )?\blongest (?:common |shared )?(?:boundary|border|edge)(?P<own> of (?:the )?)?"
    r"|\bmore of the edge(?P<most> of (?:the )?)|\b(?:boundary|border)[\w ]* longer than\b",
    re.I,
)


def _longest(said: Said) -> Iterable[Claim]:
    """``the longest boundary runs between A and B``, ``the longest boundary of A is that with B``, ``A has its
    longest boundary with B``.
    """
    lengths = said.reading.borders
    for match in _LONGEST.finditer(said.text):
        if len(said.mentions) != 2 or not lengths:
            continue
        said.judge(match)
        for than in re.finditer(r"\bthan anything else\b", said.text):
            said.judge(than)
        one, other = ({c.code for c in said.classes_of(m.concept)} for m in said.mentions)
        of_one = (match.group("own") or match.group("most")) and said.mentions[0].start == match.end()
        of_one = of_one or (match.group("its") and said.mentions[0].end <= match.start())
        rivals = [length for pair, length in lengths.items() if not of_one or pair & one]
        own = [length for pair, length in lengths.items() if pair & one and pair & other]
        if max(own, default=0.0) < max(rivals, default=0.0):
            yield "relation", f"{match.group(0).strip()!r} is another"


_ALONG_BORDER = compiled(
    r"\b(?:borders?|boundary|meets?|touch(?:es)?|adjoins?|abuts?|shares? an? (?:\w+ )?edge)\b", re.I
)


def _border_length(said: Said) -> Iterable[Claim]:
    """``A borders B for two kilometres``."""
    pair = said.mentions
    numbers = [n for n in find_numbers(said.text) if n.kind == "length"]
    if len(pair) != 2 or len(numbers) != 1 or not _ALONG_BORDER.search(said.text):
        return
    a, b = ({c.code for c in said.classes_of(m.concept)} for m in pair)
    lengths = [length for codes, length in said.reading.borders.items() if codes & a and codes & b]
    if lengths and not any(numbers[0].allows(length) for length in (*lengths, sum(lengths))):
        yield "number", f"{numbers[0].text!r} is not how long they touch"


def _are_apart(said: Said, one: Mention, other: Mention) -> bool:
    """Whether both covers are there, and no fact says that they share an edge."""
    are_there = all(said.classes_of(m.concept) for m in (one, other))
    return are_there and not share_edge(said, one, other)


def share_edge(said: Said, one: Mention, other: Mention) -> bool:
    """Whether a fact says that two covers share an edge."""
    a, b = ({c.code for c in said.classes_of(m.concept)} for m in (one, other))
    return any(frozenset((x, y)) in said.reading.borders for x in a for y in b)


_AROUND = compiled(
    r"\b(?:(?:surrounded|enclosed|encircled|ringed|hemmed in)(?: \w+ly)?"
    r"(?: (?:on|from) (?:all|every|each|all four) sides?)?"
    r" by|in the midst of)\s",
    re.I,
)
_SURROUNDS = compiled(
    r"\b(?:surrounds?|encloses?|encircles?|rings?|(?<!the )surrounding|enclosing|encircling|wraps? around|"
    r"(?:belt|ring|band|girdle|collar|frame|fringe|margin|strip)s? (?:all )?around)\s"
    r"(?!.*\bon (?:(?!all|every|each)\w+ )?sides?\b)",
    re.I,
)


_AMID = compiled(
    r"\b(?:amid(?:st)?|(?:lies?|stands?|grows?|sits?|occurs?|(?:is|are) (?:found|located|set)) in|"
    r"(?:lies?|lying|sits?|set|embedded|nested|found|is|are) within)\s(?:the )?",
    re.I,
)


_NAMES_GROUND = compiled(
    r"\s(?:north|south|east|west|middle|centre|center|upper|lower|left|right|top|bottom|part|half|quarter|scene|landscape|"
    r"area|land|ground|region)",
    re.I,
)


def _enclosure(said: Said) -> Iterable[Claim]:
    """``A is surrounded by B``, ``B surrounds A``."""
    for match in _AROUND.finditer(said.text):
        one, other = said.before(match.start()), said.after(match.end() - 1)
        if one is not None and other is not None and not _is_enclosed(said, one, other):
            yield "relation", f"{match.group(0).strip()!r} is not borne out"
    for match in _AMID.finditer(said.text):
        one, other = said.before(match.start()), said.after(match.end())
        if other is not None and _NAMES_GROUND.match(said.text, other.end):
            continue  # "trees stand in the grassy south"
        if one is not None and other is not None and other.start == match.end() and not _is_enclosed(said, one, other):
            yield "relation", f"{match.group(0).strip()!r} is not borne out"
    for match in _SURROUNDS.finditer(said.text):
        other, one = said.before(match.start()), said.after(match.end() - 1)
        if one is None or other is None or one.start > match.end() + 30:
            continue
        if not _is_enclosed(said, one, other):
            yield "relation", f"{match.group(0).strip()!r} is not borne out"


def _is_enclosed(said: Said, one: Mention, other: Mention) -> bool:
    """Whether a fact says that the first cover lies within the second."""
    others = said.classes_of(other.concept)
    nouns = {c.noun for c in others}
    classes = said.classes_of(one.concept)
    facts = [said.reading.by_id.get(f"enclosed.{a.code}") for a in classes]
    if any(fact is not None and fact.value in nouns for fact in facts):
        return True
    return any(_meets_only(said.reading, a.code, {b.code for b in others}) for a in classes)


def _meets_only(reading: Reading, code: int, others: set[int]) -> bool:
    """Whether a class that has no relations of its own borders on some others alone, away from the scene's edges."""
    known = [f for f in reading.by_id if f.startswith((f"relation.{code}.", f"bearing.{code}.", f"enclosed.{code}"))]
    edges = [f for f in reading.by_id if f.startswith((f"object.{code}.", f"patches.{code}.")) and f.endswith(".edges")]
    met = {other for pair in reading.borders if code in pair for other in pair - {code}}
    return not known and not edges and bool(met) and met <= others
