"""`hivemind-core` of both makes, command by command: what ours says on success is what the released one says."""

from __future__ import annotations

import json
import re

import pytest

from helpers.pair import OURS, PASSWORD, programs
from helpers.processes import Children, Home

RELEASED = "released-hub"
LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d \S+ - .* - (DEBUG|INFO|WARNING|ERROR) - ")
METADATA = '{"z": 1, "skill_blacklist": ["a.b"]}'
RIGHTS = ("escalate", "propagate", "broadcast")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("rename-client", "1", "--name", "kitchen 2"),
    *(("make-admin", "1"), ("make-admin", "key-1"), ("revoke-admin", "1"), ("revoke-admin", "1")),
    *(("allow-msg", "a", "speak", "b", "1"), ("blacklist-msg", "a", "1"), ("blacklist-msg", "a", "1")),
    *((f"{verb}-{right}", "1") for right in RIGHTS for verb in ("blacklist", "allow") for _ in range(2)),
    *((f"{verb}-skill", "c.d", "1") for verb in ("blacklist", "allow") for _ in range(2)),
    *((f"{verb}-intent", "e:f", "1") for verb in ("blacklist", "allow") for _ in range(2)),
    ("set-metadata", "1", "--metadata", '{"x": true}', "--key", "y", "--value", "né", "--unset", "z"),
    ("reset-noise-pin", "1"),
    ("derive-psk", "--password", "foo", "--node-id", "bar"),
    ("delete-client", "2", "--yes"),
)


class Commands:
    """The commands of one make in a home of their own."""

    def __init__(self, children: Children, make: str, home: Home) -> None:
        self.home = home
        self._children = children
        self._program = programs(make) / "hivemind-core"

    def __call__(self, *arguments: str) -> list[str]:
        """Run one that must succeed; its payload, without what the released one logs among it."""
        text = self._children.run(arguments[0], [self._program, *arguments], self.home)
        return [line for line in text.splitlines() if not LOG_LINE.match(line)]


@pytest.fixture
def released(children: Children) -> Commands:
    return Commands(children, RELEASED, children.home(RELEASED))


@pytest.fixture
def ours(children: Children) -> Commands:
    return Commands(children, OURS, children.home(OURS))


def add(commands: Commands, number: int, *options: str) -> list[str]:
    return commands(
        "add-client", "--name", f"node-{number}", "--access-key", f"key-{number}", "--password", PASSWORD, *options
    )


@pytest.mark.timeout(400)
def test_every_command_says_what_the_released_one_says(released: Commands, ours: Commands, children: Children) -> None:
    expected = add(released, 1, "--allow", "speak", "--metadata", METADATA)
    assert add(ours, 1, "--role", "none", "--allow", "speak", "--metadata", METADATA)[: len(expected)] == expected
    expected = add(released, 2, "--admin", "yes")
    told = add(ours, 2, "--role", "none", "--admin", "yes")
    whole = next(index for index, line in enumerate(expected) if line.startswith("Allowed Message Types: (none"))
    assert told[: whole + 1] == expected[: whole + 1]
    for command in COMMANDS:
        assert ours(*command) == released(*command), command
    for msg_type in ("speak", "nope"):
        expected_verdict, verdict = (
            json.loads("\n".join(of("policy", "test", "key-1", msg_type))) for of in (released, ours)
        )
        assert expected_verdict.keys() <= verdict.keys()
        assert [verdict[key] for key in ("denied", "code")] == [expected_verdict[key] for key in ("denied", "code")]
    rows = released("export-clients")
    assert ours("export-clients", "--show-secrets") == [row for row in rows if "revoked" not in row]
    assert Commands(children, RELEASED, ours.home)("export-clients") == rows
