"""Every cell of the matrix in helpers/matrix.py: each pair of peers, and what is tried with it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator

import pytest

from helpers import pair
from helpers.actor import Actor
from helpers.matrix import (
    BINARIZED,
    CELLS,
    ENCODINGS,
    HUB_40,
    LATE,
    NO,
    OURS,
    ROWS,
    SILENT,
    TOKEN,
    TOLD,
    V1,
    V3,
    WRONG_KEY,
    WRONG_PASSWORD,
    YES,
    Row,
    expected,
)
from helpers.pair import SLOW_S, sent
from helpers.processes import Children, wait_until
from helpers.released import OLDEST_CLIENTS
from helpers.stage import Stage

SIZE = 20_000
WHOLE = hashlib.sha256((bytes(range(256)) * (SIZE // 256 + 1))[:SIZE]).hexdigest()
FILE = {"kind": "FILE", "name": "door bell.wav"}
LAST_CHANCE_S = 6
"""Longer than a released client's `connect` takes to begin a handshake by itself."""


class Stages:
    """The stage of one make of hub at a time."""

    def __init__(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self._factory = tmp_path_factory
        self.now: Stage | None = None

    def of(self, make: str) -> Stage:
        if self.now is None or self.now.make != make:
            self.close()
            self.now = Stage(Children(self._factory.mktemp(f"stage-{make}")), make, ROWS)
        return self.now

    def close(self) -> None:
        if self.now is not None:
            self.now.close()


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stages]:
    stages = Stages(tmp_path_factory)
    yield stages
    stages.close()


def converse(row: Row, actor: Actor, text: str) -> None:
    """Say something in a session and hear the answer."""
    stumbles = row.hub == HUB_40 or row.satellite in OLDEST_CLIENTS
    pair.converse(actor.child, text, stumbles=stumbles, ready=lambda: session_of(actor))


def session_of(actor: Actor) -> None:
    wait_until(actor.in_session, SLOW_S, f"a session\n{actor.child.tail()}")


def connect(stage: Stage, row: Row, column: str) -> str:
    actor = stage.actor(row, column)
    actor.child.expect("connected", SLOW_S)
    assert actor.protocol() == row.protocol
    return YES


def answer(stage: Stage, row: Row, column: str) -> str:
    converse(row, stage.actor(row, column), "what time is it? 今何時ですか")
    return YES


def binary_up(stage: Stage, row: Row, column: str) -> str:
    stage.actor(row, column).child.send("binary", size=SIZE, **FILE)
    hub = stage.hub(row, column).child
    assert hub is not None
    hub.expect("binary", digest=WHOLE, **FILE)
    return YES


def binary_down(stage: Stage, row: Row, column: str) -> str:
    """What came up comes back as speech."""
    actor = stage.actor(row, column)
    if expected(row, column) == NO:
        actor.child.wait_output("incorrect header check")
        return NO
    actor.child.expect("received", kind="TTS_AUDIO", digest=WHOLE, name=FILE["name"])
    converse(row, actor, "thank you")
    return YES


def restart(stage: Stage, row: Row, column: str) -> str:
    """Every satellite of this hub goes through the same restart; what the oldest say before a handshake is lost."""
    actor = stage.actor(row, column)
    links = stage.restart(row)
    if expected(row, column) == NO:
        wait_until(lambda: len(actor.wire("up")) > links, SLOW_S, f"another connection\n{actor.child.tail()}")
        time.sleep(LAST_CHANCE_S)
        return NO if max(actor.sessions()) <= links else YES
    wait_until(lambda: max(actor.sessions(), default=0) > links, SLOW_S, f"another session\n{actor.child.tail()}")
    converse(row, actor, "are you back")
    return YES


def binarized(stage: Stage, row: Row, column: str) -> str:
    """Below v3 the wire shows it; clients before 1.0 often miss the hub's offer, and talk text then."""
    actor = stage.actor(row, column)
    actor.child.expect("connected", SLOW_S)
    converse(row, actor, "are you binary")
    if row.protocol != V3:
        assert actor.binarize() or row.satellite in OLDEST_CLIENTS
        assert bool(actor.wire("binary", "satellite")) == actor.binarize()
        assert bool(actor.wire("binary", "hub")) == (actor.binarize() and (row.hub == OURS or row.protocol != V1))
    return YES


def encoding(stage: Stage, row: Row, column: str) -> str:
    actor = stage.actor(row, column)
    if expected(row, column) == NO:
        wait_until(lambda: actor.agreed()[0] == column, SLOW_S, f"an agreement\n{actor.child.tail()}")
        reader = actor.child if row.satellite != OURS else stage.hub(row, column).child
        assert reader is not None
        if reader is actor.child:
            actor.child.expect("connected", SLOW_S)
            assert sent(actor.child, "how do you spell that?")
        reader.wait_output("Invalid Z85 character")
        return NO
    assert actor.child.expect("connected", SLOW_S)["encoding"] == column
    converse(row, actor, "how do you spell that? ünïcödé")
    return YES


def late_hub(stage: Stage, row: Row, column: str) -> str:
    """Where nothing listened, a hub does later."""
    actor = stage.actor(row, column)
    complaint = stage.let_in(row)
    assert row.satellite != OURS or "Nothing answers at the hub's address" in complaint
    actor.child.expect("connected", SLOW_S)
    converse(row, actor, "here you are")
    return YES


def token(stage: Stage, row: Row, column: str) -> str:
    actor = stage.actor(row, column)
    if expected(row, column) != YES:
        return refused(actor, expected(row, column), "authorization")
    actor.child.expect("connected", SLOW_S)
    converse(row, actor, "is my token fine")
    raw = actor.wire("http", "satellite")[0]["head"].splitlines()[0]
    assert ("+" in raw) == (row.satellite != OURS)
    return YES


def wrong_key(stage: Stage, row: Row, column: str) -> str:
    actor = stage.actor(row, column)
    outcome = refused(actor, expected(row, column), "key")
    if row.hub == OURS:
        assert actor.closes("hub")[0] == (1008, "invalid api key")
    return outcome


def wrong_password(stage: Stage, row: Row, column: str) -> str:
    return refused(stage.actor(row, column), expected(row, column), "password")


def refused(actor: Actor, wanted: str, cause: str) -> str:
    """What became of a satellite that must not get in: it was told, or it goes on trying."""
    if wanted == TOLD:
        wait_until(lambda: told(actor), SLOW_S, f"a refusal\n{actor.child.tail()}")
    else:
        wait_until(lambda: actor.attempts() > 1, SLOW_S, f"a second attempt\n{actor.child.tail()}")
    assert "connected" not in [x["event"] for x in actor.child.events()]
    text = told(actor)
    if "HiveMind refused this identity" in text:
        assert cause in text
    return TOLD if text else SILENT


def told(actor: Actor) -> str:
    """What a satellite says of its refusal."""
    return next((x["text"] for x in actor.child.events() if x["event"] == "failed" and x["refused"]), "")


TRIALS: dict[str, Callable[[Stage, Row, str], str]] = {
    "connect": connect,
    "answer": answer,
    "binary up": binary_up,
    "binary down": binary_down,
    "restart": restart,
    BINARIZED: binarized,
    LATE: late_hub,
    TOKEN: token,
    WRONG_KEY: wrong_key,
    WRONG_PASSWORD: wrong_password,
    **dict.fromkeys(ENCODINGS, encoding),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("row", "column"), CELLS, ids=[f"{row.name}-{column}" for row, column in CELLS])
def test_a_cell(stages: Stages, row: Row, column: str, record_property: Callable[[str, object], None]) -> None:
    stage = stages.of(row.hub)
    try:
        outcome = TRIALS[column](stage, row, column)
    except AssertionError as failure:
        actor = stage.actors.get((row, column))
        raise AssertionError(f"{failure}\n{actor.child.tail() if actor else ''}") from failure
    finally:
        stage.done(row, column)
    record_property("outcome", outcome)
    assert outcome == expected(row, column)
