"""The code in a page of docs/: its fenced blocks, and how each is run as a reader would run it.

```python      a program, run in the reader's account; a ```text block right after it is what it must print
```console     lines that begin with `$ ` are commands, the others what they must print
```json        must be JSON

In what is printed `…` stands for anything. Any other kind of block is an error: nothing in a page goes unexecuted.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .hub_process import HubProcess
from .processes import Home
from .street import BIN

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TIMEOUT_S = 90
OUTPUT = "text"


@dataclass
class Block:
    """One fenced block."""

    page: Path
    line: int
    kind: str
    text: str
    printed: str | None = None
    """What the page says it prints."""

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, each with the output that follows it."""
    text = page.read_text("utf-8")
    found: list[Block] = []
    for match in FENCE.finditer(text):
        block = Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        if block.kind == OUTPUT:
            found[-1].printed = block.text
        else:
            found.append(block)
    return found


@dataclass
class Reader:
    """Who tries out a page: an account on a device, and one on the hub's machine."""

    home: Home
    hub: HubProcess
    names: dict[str, str] = field(default_factory=dict)
    """What a page calls things -> what they are called here."""
    _has_changed_the_hub: bool = False

    def run(self, block: Block) -> None:
        """Do what a block says; AssertionError names the block and what went wrong."""
        {"python": self._python, "console": self._console, "json": self._json}[block.kind](block)

    def _here(self, text: str) -> str:
        for there, here in self.names.items():
            text = re.sub(rf"\b{re.escape(there)}\b", here, text)
        return text

    def _let_the_hub_see(self) -> None:
        if self._has_changed_the_hub:
            self.hub.take_in()  # the page promises that after a second, and programs are quicker
        self._has_changed_the_hub = False

    def _python(self, block: Block) -> None:
        self._let_the_hub_see()
        printed = self._output([sys.executable, "-c", self._here(block.text)], self.home, block.place)
        if block.printed is not None:
            _compare(printed, block.printed, block.place)

    def _console(self, block: Block) -> None:
        for line, expected in _commands(block):
            is_hubs = line.startswith("hivemind-core ")
            home = self.hub.home if is_hubs else self.home
            if not is_hubs:
                self._let_the_hub_see()
            self._has_changed_the_hub |= is_hubs
            _compare(self._output(["bash", "-c", self._here(line)], home, block.place), expected, block.place)

    @staticmethod
    def _json(block: Block) -> None:
        json.loads(block.text)

    @staticmethod
    def _output(argv: list[str], home: Home, place: str) -> str:
        env = home.environ()
        done = subprocess.run(
            argv,
            cwd=home.path,
            env={**env, "PATH": f"{BIN}:{env['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{place}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, f"{place}:\n{done.stderr}"
        return done.stdout


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    """Each command of a console block, and what it is to print."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, expected = part.partition("\n")
        yield line, expected


def _compare(printed: str, expected: str, place: str) -> None:
    pattern = ".*".join(re.escape(part) for part in expected.rstrip("\n").split("…"))
    assert re.fullmatch(pattern, printed.rstrip("\n"), re.DOTALL), (
        f"{place}: printed\n{printed}\ninstead of\n{expected}"
    )
