"""Names that look like the assistant's."""

from __future__ import annotations

import pytest

from hivemind_chatroom.look_alikes import seen_as, unaccented_letters


@pytest.mark.parametrize(
    "name",
    [
        "HIVEMIND",
        "Hive Mind",
        "hive-mind",
        "_HiveMind_",
        "HiveMind.",
        "🤖 HiveMind",
        "НiveМind",
        "Hivеmіnd",
        "ΗιvεΜιηd",
        "Hiνemind",
        "HiveMiпԁ",
        "ᏂiᏙeᎷind",
        "ＨｉｖｅＭｉｎｄ",
        "𝓗𝓲𝓿𝓮𝓜𝓲𝓷𝓭",
        "Ⓗⓘⓥⓔⓜⓘⓝⓓ",
        "🅷🅸🆅🅴🅼🅸🅽🅳",
        "🅗🅘🅥🅔🅜🅘🅝🅓",
        "🇭🇮🇻🇪🇲🇮🇳🇩",
        "ʜɪᴠᴇᴍɪɴᴅ",
        "ℋⅈⅴℯℳⅈnⅾ",
        "Hïvémínd",
        "H̶i̶v̶e̶M̶i̶n̶d̶",
        "H1veM1nd",
        "Hlvemlnd",
        "H!v3M|nd",
        "HIVEMlND",
        "Hıvemınd",
        "HİVEMİND",
        "Hivernind",
        "Hivemincl",
        "HivernincI",
    ],
)
def test_it_is_read_as_the_assistant(name: str) -> None:
    assert unaccented_letters(name) == unaccented_letters("HiveMind")


@pytest.mark.parametrize(
    "name", ["", "Hive", "Mind", "HiveMinder", "hivemaind", "Ivan", "alice", "山田", "🤖", "HiveMind 2"]
)
def test_it_is_somebody_else(name: str) -> None:
    assert unaccented_letters(name) != unaccented_letters("HiveMind")


def test_letters_are_seen_as_latin_ones_and_digits_stay() -> None:
    assert seen_as("аlісе 10") == "alice 10"
    assert seen_as("山田 alice") == "山田 alice"
