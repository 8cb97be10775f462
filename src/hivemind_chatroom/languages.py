"""Languages to choose from, and which tags mean the same one."""

from __future__ import annotations

from .names import Unfit, language_tag

LANGUAGES: tuple[tuple[str, str], ...] = (
    ("en", "English"),
    ("en-US", "English (US)"),
    ("en-GB", "English (UK)"),
    ("id-ID", "Bahasa Indonesia"),
    ("ca-ES", "Català"),
    ("cs-CZ", "Čeština"),
    ("da-DK", "Dansk"),
    ("de-DE", "Deutsch"),
    ("es-ES", "Español"),
    ("eu-ES", "Euskara"),
    ("fr-FR", "Français"),
    ("gl-ES", "Galego"),
    ("hr-HR", "Hrvatski"),
    ("it-IT", "Italiano"),
    ("hu-HU", "Magyar"),
    ("nl-NL", "Nederlands"),
    ("nb-NO", "Norsk bokmål"),
    ("pl-PL", "Polski"),
    ("pt-BR", "Português (Brasil)"),
    ("pt-PT", "Português (Portugal)"),
    ("ro-RO", "Română"),
    ("sl-SI", "Slovenščina"),
    ("fi-FI", "Suomi"),
    ("sv-SE", "Svenska"),
    ("tr-TR", "Türkçe"),
    ("el-GR", "Ελληνικά"),
    ("ru-RU", "Русский"),
    ("uk-UA", "Українська"),
    ("he-IL", "עברית"),
    ("ar-SA", "العربية"),
    ("fa-IR", "فارسی"),
    ("hi-IN", "हिन्दी"),
    ("ja-JP", "日本語"),
    ("ko-KR", "한국어"),
    ("zh-CN", "简体中文"),
)
"""Tag and the language's own name of it; others can be typed."""


def _parts(tag: str) -> tuple[str, str, str]:
    """Language, script and region; "" for one that is not there."""
    language, *others = language_tag(tag).split("-")
    script = next((part for part in others[:1] if len(part) == 4 and part.isalpha()), "")
    region = next((part for part in others[:2] if part.isupper() or (len(part) == 3 and part.isdigit())), "")
    return language, script, region


def same_language(sent: str, got: str) -> bool:
    """Tell whether the tag that came back names no other language than the one that was sent.

    It may be spelt differently, and have a script or a region that the other leaves open. One that is no language
    tag at all names no language.
    """
    try:
        there = _parts(got)
    except Unfit:
        return True
    try:
        here = _parts(sent)
    except Unfit:
        return False
    return all(one == other or not (one and other) for one, other in zip(here, there, strict=True))
