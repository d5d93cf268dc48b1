"""Fonts that have the letters of names: that of matplotlib lacks most scripts."""

from collections.abc import Iterable

# Of more characters a label would take the place of the picture.
MAX_LENGTH = 24
# Fonts of no letters: boxes for all characters, and symbols of private use.
_NO_LETTERS = (".", "Last", "STIXNonUnicode")
_REGULAR = (400, "400", "normal", "regular", "book")


def families_for(texts: Iterable[str]) -> list[str] | None:
    """Families of fonts that together have all characters of texts.

    Args:
        texts: What is to be drawn.

    Returns:
        Names for `fontfamily`, that of matplotlib's own font first; None where no fonts
        that are installed have all characters, which would be drawn as boxes.
    """
    from matplotlib import font_manager

    own = font_manager.FontProperties().get_name()
    families = [own]
    missing = {ord(c) for text in texts for c in text if not c.isspace()}
    missing -= _characters(font_manager.findfont(own))
    if not missing:
        return families
    others = {
        entry.name: entry.fname
        for entry in font_manager.fontManager.ttflist
        if entry.style == "normal"
        and entry.weight in _REGULAR
        and not entry.name.startswith(_NO_LETTERS)
    }
    found = {name: missing & _characters(file) for name, file in others.items()}
    while missing:
        # Of those that have as many, the first by name: the same each time.
        best = max(sorted(found), key=lambda name: len(found[name] & missing))
        if not found[best] & missing:
            return None
        families.append(best)
        missing -= found[best]
    return families


def _characters(file: str) -> set[int]:
    """The characters that a font has, none where it cannot be drawn at any size."""
    from matplotlib import font_manager

    try:
        font = font_manager.get_font(file)
    # Of colours, or damaged.
    except (OSError, RuntimeError):
        return set()
    return set(font.get_charmap()) if font.scalable else set()
