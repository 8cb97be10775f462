"""W35: no message is written out for a log line that nobody wants."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import hivemind_bus_client
import hivemind_chatroom
import hivemind_core
from helpers.link_hub import eventually
from helpers.live_hub import LiveHub, flush
from helpers.target import PASSWORD
from hivemind_bus_client import codec
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message

PACKAGES = (hivemind_bus_client, hivemind_core, hivemind_chatroom)
SOURCES = [path for package in PACKAGES for path in sorted(Path(package.__file__ or "").parent.rglob("*.py"))]
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
SELDOM = {"warning", "error", "exception", "critical"}
"""Levels that hardly anybody turns off: what their lines say is written in any case."""
CHEAP = {"len", "join", "partition", "get_extra_info", "refusal_fields"}
"""What may be called for a line that is perhaps not written; the size of a message does not matter to it."""
RARE = "live_config.py"
"""Speaks of settings, once for each change of server.json."""
WRITE_OUT = {"serialize", "dumps", "dumps_bytes", "as_dict", "as_json"}


def test_w35_no_line_of_a_log_is_made_that_is_not_written() -> None:
    """Their arguments are handed to `logging`, which formats what is written and nothing else."""
    found = [f"{path}:{line}" for path in SOURCES if path.name != RARE for line in wasteful(path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        'log.debug(f"got {message}")',
        'log.info(f"got {message}")',
        'log.debug("%s", message.serialize())',
        'LOG.info("%s", str(message))',
        'log.debug("got " + text)',
        'logging.getLogger("x").debug("%s", [repr(one) for one in messages])',
        'log.warning("a message: %s", codec.dumps(message.as_dict))',
        'self._log.log(level, f"got {message}")',
    ],
)
def test_w35_a_line_that_costs_is_found(line: str) -> None:
    assert list(wasteful(line)) == [1]


def wasteful(source: str) -> Iterator[int]:
    """Yield the lines on which something is made for a log before anybody asks whether it is wanted."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr not in LEVELS:
            continue
        if "log" not in ast.unparse(call.func.value).lower():
            continue
        parts = [
            part for argument in [*call.args, *(one.value for one in call.keywords)] for part in ast.walk(argument)
        ]
        if any(_writes_out(part) for part in parts) or (call.func.attr not in SELDOM and any(map(_costs, parts))):
            yield call.lineno


def _writes_out(part: ast.AST) -> bool:
    return isinstance(part, ast.Attribute) and part.attr in WRITE_OUT


def _costs(part: ast.AST) -> bool:
    if isinstance(part, ast.Call):
        name = part.func.attr if isinstance(part.func, ast.Attribute) else ast.unparse(part.func)
        return name not in CHEAP
    return isinstance(part, (ast.JoinedStr, ast.BinOp))


async def test_w35_a_message_is_written_out_once_on_its_way_out_and_never_on_its_way_in(tmp_path: Path) -> None:
    """Whoever would write it out besides, for a log or for anything else."""
    async with LiveHub(tmp_path) as hub:
        hub.add("kitchen", PASSWORD)
        socket, link = await hub.session("kitchen", PASSWORD)
        await eventually(lambda: hub.hub.peers)
        [peer] = hub.hub.peers
        utterance = Message("recognizer_loop:utterance", {"utterances": ["what costs this"]})
        link.send(HiveMessage(HiveMessageType.BUS, utterance))
        with Written() as on_its_way_in:
            await flush(socket, link)
            await eventually(lambda: hub.agent.utterances)
        answer = Message("speak", {"utterance": "so much"}, {"destination": peer.peer_id})
        with Written() as on_its_way_out:
            hub.hub.deliver(answer)
        assert (on_its_way_in.count, on_its_way_out.count) == (0, 1)


class Written:
    """How often JSON was written meanwhile, by anybody in this thread."""

    def __enter__(self) -> Written:
        self.count = 0
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event != "call" or frame.f_code.co_filename != codec.__file__ or frame.f_back is None:
            return
        writes = "dumps" in frame.f_code.co_name or frame.f_code.co_name == "spaced"
        self.count += writes and frame.f_back.f_code.co_filename != codec.__file__
