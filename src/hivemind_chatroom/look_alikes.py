"""Letters that people take for one another: those of other alphabets, digits, ornaments."""

from __future__ import annotations

import unicodedata

_LETTERS = {
    "a": "аαɑ",
    "b": "вьβ",
    "c": "сϲᴄ",
    "d": "ԁɗđⅾ",
    "e": "еєεҽɛ",
    "g": "ɡԍ",
    "h": "һнћհħ",
    "i": "іιıɩӏ",
    "j": "јϳ",
    "k": "кκ",
    "l": "ӏłʟ",
    "m": "мⅿɱ",
    "n": "ոɴƞ",
    "o": "оοօσ",
    "p": "рρ",
    "q": "ԛգ",
    "r": "гᴦ",
    "s": "ѕꜱ",
    "t": "тτ",
    "u": "υսʋ",
    "v": "ѵν",
    "w": "ԝωա",
    "x": "хχ",
    "y": "уүγ",
    "z": "ᴢʐ",
}
"""Letter -> small letters of other alphabets that look like it."""

_CAPITALS = {
    "d": "ꓓᎠᗪ",
    "e": "ΕЕꓰᎬⲈ",
    "h": "ΗНꓧᎻᏂⲎ",
    "i": "ΙІӀꓲᎥⲒ",
    "m": "ΜМꓟᎷⲘ",
    "n": "ΝИꓠⲚ",
    "v": "ѴꓦᏙ",
}
"""Letter -> capitals that look like it although their small letters may look like another one."""

_ORNAMENTS = {
    "d": "ᴅɖᏧԀ",
    "e": "3ᴇ℮є",
    "h": "ʜɦ",
    "i": "1lɪɨ!|¡ǀ",
    "m": "ᴍ",
    "n": "ηπпᴨ",
    "o": "0",
    "v": "ᴠ∨",
}
"""Letter -> what else is read as it by those who look for it."""

_EMBLEMS = (0x1F150, 0x1F170, 0x1F1E6)
"""Where the alphabets begin that are white on black, in discs and squares, and those of the flags."""


def _table(*rows: dict[str, str]) -> dict[int, str]:
    return {ord(other): letter for row in rows for letter, others in row.items() for other in others}


_SEEN_AS = _table(_LETTERS)
_READ_AS = (
    _table(_LETTERS, _ORNAMENTS, _CAPITALS)
    | {start + number: chr(ord("a") + number) for start in _EMBLEMS for number in range(26)}
    | {ord("I"): "i", ord("L"): "i"}
)
_PAIRS = {"rn": "m", "cl": "d", "ci": "d"}
"""Two letters that look like one; an l is an i by then."""


def seen_as(text: str) -> str:
    """Return small letters of other alphabets as the Latin ones they look like; everything else stays."""
    return text.translate(_SEEN_AS)


def _unaccented(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.category(c).startswith("M"))


def unaccented_letters(name: str) -> str:
    """Return nothing but the letters as which a name can be read: no accents, blanks, signs, capitals, alphabets."""
    plain = _unaccented(_unaccented(name).translate(_READ_AS)).casefold().translate(_READ_AS)
    letters = "".join(c for c in plain if c.isalnum())
    for pair, letter in _PAIRS.items():
        letters = letters.replace(pair, letter)
    return letters
