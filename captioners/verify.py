"""Every sentence of a model is recomputed from the facts: what it may not say, and what does not fit them.

Rules (names stand in a record's ``checks``): ``no_fact``, ``unknown_fact``, ``class`` (a class the chip does not
hold, a thing that no fact names), ``absence`` (denies what is there, or what cannot be known), ``number`` (in
`figures`), ``place`` (in `located`), ``comparison`` (in `orders`, `multiples` and `contrasts`), ``relation`` (in
`contact` and `across`), ``shape``, ``size``, ``season``, ``trend``, ``terrain`` (in `claims`), quantities in words (in
`extents`, `scarce`, `amounts`, `whole`, `spread`, `ranks`), single patches (`patches`, `pieces`), dates and heights
(`levels`), map features (`mapped`), what no fact tells (`untold`), comparing words that no rule has judged (`unread`),
``word`` (words that no rule knows, by `vocabulary`), ``visibility``, ``leak``, ``hedge``, ``name``, ``echo``,
``subjective``, ``form``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from captioners import attributed, denials
from captioners.across import across
from captioners.amounts import amounts
from captioners.claims import Said, claims, concepts_told
from captioners.contact import contact
from captioners.contrasts import contrasts
from captioners.extents import extents
from captioners.figures import figures, is_about
from captioners.gated import compiled
from captioners.levels import levels
from captioners.lexicon import Noun, concepts_of, nouns_of
from captioners.located import located
from captioners.mapped import mapped
from captioners.mentions import Mention, asserting, find_mentions, find_places, is_synonym, merged
from captioners.multiples import multiples
from captioners.names import names_told
from captioners.orders import orders
from captioners.patches import patches
from captioners.pieces import pieces
from captioners.ranks import ranks
from captioners.reading import ClassReading, Reading
from captioners.scarce import scarce
from captioners.spread import spread
from captioners.style import MAX_CHARACTERS, Violation, style_violations
from captioners.things import told_words, unknown_things
from captioners.unread import unread
from captioners.untold import untold
from captioners.vocabulary import strange_words, words_in
from captioners.whole import whole

_TERMS = compiled(r"\b(?:(?:water|vegetation|built-up) index|sea level)\b", re.I)
"""Terms in which a cover's name names none."""
RULES = (
    claims, contact, orders, multiples, ranks, extents, scarce, amounts, whole, spread, contrasts, across, patches,
    pieces, levels, mapped, untold, unread,
)  # fmt: skip
"""What judges a sentence beyond its classes, figures and places, each in a module of its own; `unread` comes last."""


class Verifier:
    """Checks sentences about one chip.

    Args:
        reading: the chip's facts.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        features = [concepts_of(one.noun) for one in reading.features]
        self.mapped = frozenset().union(*features) if features else frozenset()
        self.names = names_told(reading)
        present = [
            (noun.text, f"class:{c.code}") for c in reading.classes for noun in (*nouns_of(c.noun), Noun(c.noun))
        ]
        skipped = {"clouds"} if any(f.kind == "cloud" for f in reading.sheet.facts) else set()
        absent = [(n, f"class:{code}") for code, n in reading.absent if n not in skipped and not is_synonym(n)]
        self.nouns = frozenset((*absent, *present))
        self.told = told_words(reading)
        self.own_words = words_in([self.told, *(noun for _, noun in reading.absent)])
        self._classes_of: dict[str, list[ClassReading]] = {}
        gsd = reading.by_id.get("ground.gsd")
        self.gsd_m = 10.0 if gsd is None else float(gsd.value)

    def sentence(self, text: str, fact_ids: Sequence[str], before: Sequence[str] = ()) -> list[Violation]:
        """Everything that is wrong with one sentence; empty where it holds.

        Args:
            text: the sentence.
            fact_ids: the facts that it cites.
            before: the sentences of its text that stand before it.
        """
        if len(text) > MAX_CHARACTERS:  # the rules' patterns are made for sentences
            return [Violation("form", "is not one finished sentence")]
        known = [self.reading.by_id[fact_id] for fact_id in fact_ids if fact_id in self.reading.by_id]
        found = [
            Violation("unknown_fact", f"no fact has the id {i!r}") for i in fact_ids if i not in self.reading.by_id
        ]
        if not known:
            found.append(Violation("no_fact", "names no fact that it rests on"))
        plain = self.names.sub(lambda match: " " * len(match.group(0)), text)  # a name is a name, whatever it says
        everything = tuple(find_mentions(plain, self.nouns))
        plain, wrong = denials.judged(Said(plain, everything, tuple(known), self.reading, self.classes_of), self.mapped)
        found += [Violation(rule, detail) for rule, detail in wrong]
        found += style_violations(text, plain, self.gsd_m, self.nouns)
        plain = _TERMS.sub(lambda match: "x" * len(match.group(0)), plain)
        mentions = merged(find_mentions(plain, self.nouns), plain)
        there = tuple(m for m in mentions if not m.negated)
        earlier = [m for each in before for m in find_mentions(each[:MAX_CHARACTERS], self.nouns) if not m.negated]
        named = Said(plain, there, tuple(known), self.reading, self.classes_of, tuple(earlier), self.nouns)
        told = concepts_told(known, self.nouns)
        of_label = {
            m.concept for m in mentions if any(f.kind in attributed.OF_LABEL and is_about(named, f, m) for f in known)
        }
        found += self._classes(plain, mentions, told)
        found += [Violation(rule, detail) for rules in (figures, located) for rule, detail in rules(named)]
        said = replace(named, mentions=tuple(m for m in there if m.concept not in told or m.concept in of_label))
        found += [Violation(rule, detail) for rules in RULES for rule, detail in rules(said)]
        found += [
            Violation("class", f"mentions {word!r}, which no fact names")
            for word in unknown_things(asserting(plain, mentions), self.told)
        ]
        found += [
            Violation("word", f"says {word!r}: no fact tells that, or no rule knows the word")
            for word in strange_words(named.text, self.own_words)
        ]
        return found

    def _classes(self, text: str, mentions: Sequence[Mention], told: frozenset[str]) -> Iterable[Violation]:
        """Classes that are not there, and absences that are not so.

        Args:
            text: the sentence.
            mentions: covers that it names.
            told: concepts that cited map features bring with them.
        """
        places = find_places(text)
        for one in mentions:
            there = bool(self.classes_of(one.concept)) or one.concept in self.mapped or one.concept in told
            local = denials.is_local(self.reading, self.classes_of, one, mentions, places, text)
            if one.negated and there and not local:
                yield Violation("absence", f"denies {one.concept}, which is there")
            elif one.negated and not self.reading.is_complete:
                yield Violation("absence", f"denies {one.concept}, but part of the ground has no class")
            elif not one.negated and not there:
                yield Violation("class", f"mentions {one.concept}, which is not there")

    def named(self, text: str) -> tuple[int, int]:
        """(how many of the classes over 5 % of the chip a text names, how many there are)."""
        large = [one for one in self.reading.classes if one.share > 5.0]
        told = {c.code for m in find_mentions(text, self.nouns) if not m.negated for c in self.classes_of(m.concept)}
        return sum(one.code in told for one in large), len(large)

    def mentions(self, text: str) -> int:
        """How many covers a text names as being there."""
        return sum(not m.negated for m in find_mentions(text[:MAX_CHARACTERS], self.nouns))

    def classes_of(self, concept: str) -> list[ClassReading]:
        """Classes that a mention may mean: the very class, or all that bring the concept with them."""
        found = self._classes_of.get(concept)
        if found is None:
            code = concept.removeprefix("class:")
            is_class = code != concept
            found = [
                c for c in self.reading.classes if (c.code == int(code) if is_class else concept in concepts_of(c.noun))
            ]
            self._classes_of[concept] = found
        return found


def as_checks(violations: Iterable[Violation]) -> dict[str, Any]:
    """Rule -> number of violations."""
    counts: dict[str, Any] = {}
    for one in violations:
        counts[one.rule] = counts.get(one.rule, 0) + 1
    return dict(sorted(counts.items()))
