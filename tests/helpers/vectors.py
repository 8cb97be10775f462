"""The wire vectors in tests/vectors, their cases by name, and where we differ from them on purpose."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "vectors"

DOORS = {"from_wire": "client_door(from_wire)", "deserialize": "intercom_inner_door(deserialize)"}
"""The two entrances of envelope.json that are ours too, by the name of our function."""
NEWEST = "1.2.12a1"
"""The released client whose behaviour counts as theirs where envelope.json has two."""


@dataclass(frozen=True)
class Deviation:
    """One place where we differ on purpose."""

    file: str
    case: str
    theirs: Any
    ours: Any
    why: str


@cache
def load(file: str) -> Any:
    """Return the content of a vector file, named without its ending."""
    return json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))


@cache
def deviations() -> tuple[Deviation, ...]:
    """Return all deviations."""
    return tuple(Deviation(**fields) for fields in load("deviations"))


def _name(item: dict[str, Any], index: int) -> str:
    name = item.get("name") or item.get("case") or item.get("note") or str(index)
    return f"{item['stage']}/{name}" if "stage" in item else str(name)


def cases(file: str, group: str = "cases") -> dict[str, dict[str, Any]]:
    """Return one list of a file by case name: ``group/name``, or where they happen at a stage ``stage/name``."""
    named: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(load(file)[group]):
        name = _name(item, index)
        key = name if "stage" in item else f"{group}/{name}"
        named[f"{key} {index}" if key in named else key] = item
    return named


def _envelope_outcomes() -> dict[str, Any]:
    found = {name: case[NEWEST] for name, case in cases("envelope", "serialize").items()}
    for name, case in cases("envelope", "parse").items():
        found.update({f"{name}/{ours}": case[NEWEST][theirs] for ours, theirs in DOORS.items()})
    return found


def _decode_outcomes() -> dict[str, Any]:
    return {
        name: {"raises": case["raises"]} if "raises" in case else case["decoded"]
        for name, case in cases("bitstring", "decode").items()
    }


@cache
def outcomes(file: str) -> dict[str, Any]:
    """Return what the released software does in every case of a file that deviations may name."""
    if file == "envelope":
        return _envelope_outcomes()
    if file == "bitstring":
        return _decode_outcomes()
    key = {"hub_behaviour_core5.3.10a1": "hub", "client_behaviour_1.2.12a1": "client"}[file]
    return {name: case[key] for name, case in cases(file).items()}


def expected(file: str, case: str) -> Any:
    """Return what we do in a case: what they do, unless a deviation says otherwise."""
    for deviation in deviations():
        if (deviation.file, deviation.case) == (file, case):
            return deviation.ours
    return outcomes(file)[case]
