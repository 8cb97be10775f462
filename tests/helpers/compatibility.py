"""docs/compatibility.md, written from the outcomes of the matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from .matrix import (
    BINARIZED,
    CELLS,
    ENCODINGS,
    LATE,
    OURS,
    ROWS,
    TOKEN,
    VERSIONS,
    WRONG_KEY,
    WRONG_PASSWORD,
    Row,
    columns,
    note,
)

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
Outcomes = Mapping[tuple[Row, str], str]

LINES = {
    "connect": "connects, at this version",
    "answer": "utterance → answer",
    "binary up": "BINARY to the hub",
    "binary down": "BINARY to the satellite",
    BINARIZED: "binarized link",
    **{name: f"`{name}`" for name in ENCODINGS},
    LATE: "comes up before its hub",
    TOKEN: "`+` in the token",
    WRONG_KEY: "unknown access key",
    WRONG_PASSWORD: "wrong password",
    "restart": "hub killed and restarted",
}

NOTHING = "–"

HEAD = """\
# Compatibility

Which released clients and hubs meet ours, and what was tried with each pair. Every cell is a test that runs both as
processes of their own, the released one in an environment with exactly the packages of its pin list. The tests write
this page:

    .venv/bin/python -m pytest tests/interop/test_matrix.py --write-compatibility

## How to read it

| | means |
| --- | --- |
| yes | it works |
| told | it is refused for good, and the satellite says why: the access key, the password, the token |
| retries | there is no session; the satellite goes on trying and does not say why |
| no | a released peer cannot do it; the note says why, and the test sees it fail in just this way |
| – | there is nothing to try; see *What each version can* |

Each column is a satellite or a hub, or both, and the protocol version that the pair is held to.
"""

TABLES: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    ("Released satellites at our hub", lambda row: row.hub == OURS),
    ("Our satellite at released hubs", lambda row: row.satellite == OURS),
    ("Released with released, as a control", lambda row: row.control),
)

CAN = """\
## What each version can

* **v3** (Noise) is what all of ours, released client 1.2 and released hubs 4.15 and 5 speak among themselves. It has no
  text encodings: every frame is a Noise frame. A client row with a pinned Noise key speaks nothing but v3.
* **v2** (password) is the newest version of the clients before 1.0 and of hub 4.0, which announces it as v1. Our hub
  accepts it unless `min_protocol_version` in `server.json` is 3; our satellite speaks it unless it is given
  `min_protocol_version=3`. Whoever listens can try passwords on it and replay it, so move to v3 when you can.
* **v1** (RSA) is for rows without a password and **v0** for rows with a pre-shared key, both only where the floor of
  *both* sides is lowered to them. Both know `JSON-HEX` and AES-GCM only. Released hubs answer in text on a v1 link even
  if it is binarized, and on v0 nothing is agreed at all. The clients before 1.0 never finish v1, and no released client
  finishes v0. Hub 4.15 keeps pre-shared keys in its JSON store only.
* Hub 5 speaks v3 only, so the clients before 1.0 cannot reach it. Our hub serves all of them at once.
* The clients before 1.0 often miss the hub's first two messages: they need 5 seconds more to connect, and then speak
  text even to a hub with `binarize`. They never say what is wrong; look at the hub's log.
* Hub 4.0 closes without a word when it does not know the access key, and does not check the password. Our satellite
  finds out by itself. When a client comes just while that hub answers another, it may lose its bus, and answers, for
  5 seconds.
"""

VERSIONS_HEAD = """\
## Versions

| peer | its environment |
| --- | --- |"""

PINNED = """\
The clients before 1.0 and hub 4.0 need `bitstring` below 5 to start at all, and `ovos-bus-client` 1.5.0: with newer
ones these clients never reconnect. Hub 4.15 needs `hivemind-plugin-manager` 0.9.0a4.
"""


def render(outcomes: Outcomes) -> str:
    """The whole page."""
    sections = [line for title, wanted in TABLES for line in _section(title, [*filter(wanted, ROWS)], outcomes)]
    pins = [f"| {name} | `tests/interop/peers/{make}.txt` |" for make, name in VERSIONS.items()]
    return "\n".join([HEAD, *sections, CAN, VERSIONS_HEAD, *pins, "", PINNED])


def _section(title: str, rows: Sequence[Row], outcomes: Outcomes) -> Iterator[str]:
    notes: list[str] = []
    yield f"## {title}\n"
    yield f"| | {' | '.join(_label(row) for row in rows)} |"
    yield "| --- |" + " --- |" * len(rows)
    for column, text in LINES.items():
        if any(column in columns(row) for row in rows):
            yield f"| {text} | {' | '.join(_cell(row, column, outcomes, notes) for row in rows)} |"
    yield ""
    yield from (f"{number}. {note[0].upper()}{note[1:]}." for number, note in enumerate(notes, 1))
    yield from [""] * bool(notes)


def _label(row: Row) -> str:
    both = [VERSIONS.get(make, "ours") for make in (row.satellite, row.hub)]
    return f"{' → '.join(name for name in both if name != 'ours')} {row.protocol}"


def _cell(row: Row, column: str, outcomes: Outcomes, notes: list[str]) -> str:
    if column not in columns(row):
        return NOTHING
    why = note(row, column)
    if why and why not in notes:
        notes.append(why)
    return outcomes[row, column] + (f" [{notes.index(why) + 1}]" if why else "")


def write(outcomes: Outcomes) -> bool:
    """Write the page if every cell was tried; whether it was."""
    if set(outcomes) != set(CELLS):
        return False
    PAGE.write_text(render(outcomes), "utf-8")
    return True
