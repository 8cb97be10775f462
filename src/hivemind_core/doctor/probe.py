"""One turn with the assistant, put onto its message bus as the hub puts what satellites say.

It has a session of its own and comes from nobody's device, so no loudspeaker plays the answer. It does not go through
the hub: that takes a client, and one that is made for it would stay in the database as a tombstone, while one that is
there would be pinned to a device key that is not its device's.
"""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn
from hivemind_bus_client.message import Message

from ..agents.builtin import Assistant
from ..agents.busclient import BusAddress
from .wire import connected, read

UTTERANCE, SPEAK = "recognizer_loop:utterance", "speak"
HANDLED, UNMATCHED = "ovos.utterance.handled", "complete_intent_failure"
SOURCE = "hivemind-doctor"
ANSWER_S = 20.0
MOST_SHOWN = 80
WHAT = "probe"
WAY_LEFT_OUT = (
    "Not tried: the way of a device through the hub, with its access key, password and rights; `hivemind-client doctor`"
    " on the device does that."
)
LOOK = "See the log of the assistant (`journalctl --user -u ovos-core`, or that of its container)."


def turn(address: BusAddress, text: str, answer_s: float = ANSWER_S) -> Finding:
    """Say something to the assistant, and tell what it answers. Raises OSError, ValueError, WebSocketException."""
    session_id = f"{SOURCE}-{uuid4()}"
    context = {"source": SOURCE, "destination": "skills", "session": {"session_id": session_id, "lang": "en-US"}}
    asked = {"type": UTTERANCE, "data": {"utterances": [text], "lang": "en-US"}, "context": context}
    began, heard = time.monotonic(), set()
    with connected(address) as bus:
        bus.send(json.dumps(asked))
        while (left_s := began + answer_s - time.monotonic()) > 0:
            try:
                message = read(bus.recv(left_s))
            except TimeoutError:
                break
            if not _is_ours(message, session_id):
                continue
            kind = message.get("type")
            if kind == SPEAK:
                took_s = time.monotonic() - began
                said = f'"{text}" was answered "{_words(message)}" on the message bus ({took_s:.1f} s).'
                return ok(WHAT, f"{said} {WAY_LEFT_OUT}")
            heard.add(kind)
            if kind == HANDLED:
                break
    if heard & {HANDLED, UNMATCHED}:
        why = "has no skill for it" if UNMATCHED in heard else "says nothing"
        return warn(WHAT, f'The assistant took "{text}", but {why}.', f"Ask something else with --probe. {LOOK}")
    return fail(WHAT, f'Nothing came back for "{text}" within {answer_s:g} s.', LOOK)


def own_turn(text: str) -> Finding:
    """Ask a built-in assistant of our own: that of the hub has no bus, and nobody but the hub can ask it."""
    answers = Assistant(list).answers_to(Message(UTTERANCE, {"utterances": [text], "lang": "en-US"}))
    said = next((_words({"data": answer.data}) for answer in answers if answer.msg_type == SPEAK), "")
    reason = f'"{text}" was answered "{said}" by a built-in assistant in this process, as there is no message bus.'
    return ok(WHAT, f"{reason} {WAY_LEFT_OUT}")


def _is_ours(message: dict[str, Any], session_id: str) -> bool:
    context = message.get("context")
    session = context.get("session") if isinstance(context, dict) else None
    is_answer = isinstance(context, dict) and context.get("source") != SOURCE
    return is_answer and isinstance(session, dict) and session.get("session_id") == session_id


def _words(message: dict[str, Any]) -> str:
    data = message.get("data")
    said = str(data.get("utterance") or "") if isinstance(data, dict) else ""
    return said if len(said) <= MOST_SHOWN else f"{said[:MOST_SHOWN]}…"
