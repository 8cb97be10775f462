"""What can be the name of a person or a room, a language, a message: read from what somebody typed."""

from __future__ import annotations

import re
import unicodedata

from .look_alikes import seen_as, unaccented_letters
from .settings import BOT

MAX_USER_NAME = 40
MAX_ROOM_NAME = 64
MAX_LANGUAGE_TAG = 35
"""As RFC 5646 (4.4.1) advises."""

_REFUSED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
"""Control, format (zero width, direction), lone surrogates, private use, unassigned."""
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Letters and marks of other categories that show as nothing."""
_BARE = frozenset({"Mn", "Me", "Mc", "Zs"})
"""Nothing to see, or nothing on its own."""
_VARIANTS = {0xFE0E: None, 0xFE0F: None}
"""Ask for a plain or a coloured sign; which is not a difference between names."""
_TAG = re.compile(
    r"[a-z]{2,3}(?:-[a-z0-9]{2,8})*(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*(?:-x(?:-[a-z0-9]{1,8})+)?",
    re.IGNORECASE | re.ASCII,
)


class Unfit(ValueError):
    """What was typed cannot be that; says why, and what to do about it."""

    def __init__(self, code: str, message: str, cure: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.message} {self.cure}"


def _check_characters(name: str, what: str) -> None:
    for character in name:
        if character in "/\\":
            raise Unfit("name_characters", f"A {what} cannot contain / or \\.", "Leave it out.")
        if character in _BLANK or unicodedata.category(character) in _REFUSED:
            raise Unfit(
                "name_characters",
                f"This {what} contains a character that cannot be seen (U+{ord(character):04X}).",
                "Type it with letters, digits and ordinary signs.",
            )


def _name(raw: str, what: str, limit: int) -> str:
    too_long = Unfit("name_too_long", f"A {what} has at most {limit} characters.", "Choose a shorter one.")
    if len(raw) > 16 * limit:
        raise too_long
    name = unicodedata.normalize("NFC", " ".join(raw.split()))
    if not name:
        raise Unfit("name_empty", f"The {what} is empty.", "Type at least one character.")
    if len(name) > limit:
        raise too_long
    _check_characters(name, what)
    if name in (".", ".."):
        raise Unfit("name_dots", f"A {what} cannot consist of dots only.", "Choose another one.")
    if all(unicodedata.category(character) in _BARE for character in name):
        raise Unfit("name_empty", f"There is nothing to see in this {what}.", "Type at least one letter.")
    return name


def user_name(raw: str) -> str:
    """Return the name of a person as it is shown: composed (NFC), blanks collapsed. Raises Unfit; a blank one too."""
    name = _name(raw, "name", MAX_USER_NAME)
    if unaccented_letters(name) == _BOT_LETTERS:
        raise Unfit("name_reserved", "This name belongs to the assistant.", "Choose another one.")
    return name


def room_name(raw: str) -> str:
    """Return the name of a room as it is shown. Raises Unfit."""
    return _name(raw, "room name", MAX_ROOM_NAME)


def name_key(name: str) -> str:
    """Return what two names have in common that people would take for the same one."""
    key = name
    for _ in range(2):  # folding may compose anew, and the other way round: once more settles it
        key = unicodedata.normalize("NFKC", key).casefold()
    key = seen_as(unicodedata.normalize("NFKC", key)).translate(_VARIANTS)
    return " ".join(unicodedata.normalize("NFKC", key).split())


def language_tag(raw: str) -> str:
    """Return a language tag in its usual spelling, such as ``en-US`` for ``EN_us``. Raises Unfit."""
    tag = raw[: MAX_LANGUAGE_TAG * 2].strip().replace("_", "-")
    if len(tag) > MAX_LANGUAGE_TAG or not _TAG.fullmatch(tag):
        raise Unfit("language_unknown", "This is not a language code.", "Use one such as en, de-DE or pt-BR.")
    first, *others = tag.lower().split("-")
    parts, plain = [first], True
    for part in others:
        plain = plain and len(part) > 1  # nothing is capital behind a single letter (RFC 5646, 2.1.1)
        parts.append(_CASES.get(len(part), str.lower)(part) if plain else part)
    return "-".join(parts)


_CASES = {2: str.upper, 4: str.title}
"""How regions and scripts are written."""


def _is_text(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs")


def clean_text(raw: str) -> str:
    r"""Return text with ``\n`` between its lines, without outer blanks, control characters and lone surrogates."""
    lines = raw.replace("\r\n", "\n").replace("\r", "\n")
    if not lines.isprintable():
        lines = "".join(filter(_is_text, lines))
    return lines.strip()


def clean_line(raw: str, limit: int) -> str:
    """Return text from elsewhere as one line of at most so many characters that can all be seen."""
    line = " ".join("".join(c if c.isprintable() else " " for c in raw[: 4 * limit]).split())
    return line[:limit].rstrip()


def message_text(raw: str, limit: int) -> str:
    """Return a message as it is sent and shown. Raises Unfit if it is blank or has more characters than the limit."""
    text = clean_text(raw)
    if all(character.isspace() or unicodedata.category(character) == "Cf" for character in text):
        raise Unfit("empty", "The message is empty.", "Type something first.")
    if len(text) > limit:
        raise Unfit(
            "too_long",
            f"The message has {len(text)} characters; {limit} are allowed.",
            "Shorten it, or send it in parts.",
        )
    return text


_BOT_LETTERS = unaccented_letters(BOT)
