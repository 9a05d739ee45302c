"""The form of ChatEarthNet's first text: regions in a fixed order, five size words, no figures, a theme at the end.

Facts as published (repository zhu-xlab/ChatEarthNet, generate_description_chatgpt3_5_text.py): classes under 20 pixels
are dropped; the three largest classes of each quadrant and of the middle half are told by falling area, each with one
of five size words and one of five nouns. There the noun was drawn at random; here it follows from the chip's id.
"""

from __future__ import annotations

from collections.abc import Iterator

from captioners.grounding import shape_yx
from captioners.number_words import listing
from captioners.parts import region_shares, theme_sentence
from captioners.phrasing import Sentence, capital
from captioners.reading import ClassReading
from captioners.records import Chip, Told

MIN_PIXELS = 20
"""Classes with fewer pixels are not told."""
SIZE_WORDS = ((10.0, "extra small"), (20.0, "small"), (50.0, "medium"), (80.0, "large"), (100.1, "extra large"))
"""Percent of a region's labelled ground below which a class has the word: 0-9, 10-19, 20-49, 50-79, 80-100."""
SIZE_NOUNS = ("fraction", "part", "portion", "amount", "quantity")
BANNED = (
    "possibly", "likely", "perhaps", "context", "segmentation", "appear", "appears", "change", "transition", "dynamic",
)  # fmt: skip
"""Words the published prompt forbids."""
REGIONS = {
    "nw": ("the top left", "the north-west"),
    "ne": ("the top right", "the north-east"),
    "sw": ("the bottom left", "the south-west"),
    "se": ("the bottom right", "the south-east"),
    "middle": ("the middle", "the centre"),
}
"""Region -> how it is called, in the order in which it is told."""
_ROWS = (
    "In {region} there is {parts}.",
    "{Region} holds {parts}.",
    "{Region} is made up of {parts}.",
    "In {region}, one finds {parts}.",
)
_ABOUT = (
    "one paragraph without any figure: the main cover and where it lies; then top left, top right, bottom left, bottom "
    "right and middle in this order, in each the covers by falling area with a size word (extra small, small, medium, "
    "large, extra large) and a noun (fraction, part, portion, amount, quantity); last a sentence on the theme; never "
    f"the words {', '.join(BANNED)}"
)


def size_word(percent: float) -> str:
    """Size word for the percent of a region that a class covers."""
    return next(word for limit, word in SIZE_WORDS if percent < limit)


def told_classes(chip: Chip) -> list[ClassReading]:
    """Classes of at least 20 pixels, by falling share."""
    rows, columns = shape_yx(chip)
    pixels = rows * columns * chip.reading.labelled / 100.0
    return [one for one in chip.reading.classes if round(one.share / 100.0 * pixels) >= MIN_PIXELS]


def texts(chip: Chip) -> Iterator[Told]:
    """One paragraph; none where no class is known."""
    classes = told_classes(chip)
    if not classes:
        return
    writer, choice = chip.writer, chip.choice
    opening = _opening(chip, classes[0])
    sentences = [opening]
    codes = {one.code for one in classes}
    for region in REGIONS:
        rows = [row for row in region_shares(chip, region) if row[1].code in codes][:3]
        if not rows:
            continue
        parts = [
            f"{_sized(chip, region, share, one)} of {writer.named(one, f'chatearthnet/{region}').bare}"
            for share, one, _ in rows
        ]
        words = choice.one(f"chatearthnet/{region}/words", REGIONS[region])
        words = words if chip.reading.is_complete else f"the mapped ground of {words}"
        row = choice.one(f"chatearthnet/{region}/row", _ROWS)
        text = row.format(region=words, Region=capital(words), parts=listing(parts))
        sentences.append(Sentence(text, tuple(fact_id for _, _, fact_id in rows)))
    last = theme_sentence(chip)
    sentences += [last] if last else []
    yield Told("caption", "chatearthnet", tuple(sentences), about=_ABOUT)


def _opening(chip: Chip, one: ClassReading) -> Sentence:
    """The main cover, and where most of it lies if a word fits."""
    named = chip.writer.named(one, "chatearthnet/opening")
    places = chip.writer.class_values([one], "chatearthnet/opening").get("pa", "")
    main = "The main land cover" + ("" if chip.reading.is_complete else " of the mapped ground") + " is"
    facts: tuple[str, ...] = (one.share_id, "dominant")
    if places:
        text = f"{main} {named.full}, most of it {places}."
        facts += (f"place.{one.code}", f"place.{one.code}.fraction")
    else:
        text = f"{main} {named.full}."
    return Sentence(text, facts)


def _sized(chip: Chip, region: str, percent: float, one: ClassReading) -> str:
    """``a medium portion``."""
    word = size_word(percent)
    noun = chip.choice.one(f"chatearthnet/{region}/{one.code}", SIZE_NOUNS)
    return f"{'an' if word.startswith('e') else 'a'} {word} {noun}"
