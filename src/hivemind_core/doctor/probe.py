"""One turn with the assistant, put onto its message bus as the hub puts what satellites say, where it is asked for.

It has a session of its own and comes from nobody's device, so no loudspeaker plays the answer.
"""

from __future__ import annotations

import json
import time
from typing import Any
from uuid import uuid4

from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn

from ..agents.busclient import BusAddress
from .wire import connected, read

UTTERANCE, SPEAK = "recognizer_loop:utterance", "speak"
HANDLED, UNMATCHED = "ovos.utterance.handled", "complete_intent_failure"
SOURCE = "hivemind-doctor"
ANSWER_S = 20.0
MOST_SHOWN = 200
WHAT = "probe"
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
                return ok(WHAT, f'"{text}" was answered "{_words(message)}" ({time.monotonic() - began:.1f} s).')
            heard.add(kind)
            if kind == HANDLED:
                break
    if heard & {HANDLED, UNMATCHED}:
        why = "has no skill for it" if UNMATCHED in heard else "says nothing"
        return warn(WHAT, f'The assistant took "{text}", but {why}.', f"Ask something else with --probe. {LOOK}")
    return fail(WHAT, f'Nothing came back for "{text}" within {answer_s:g} s.', LOOK)


def _is_ours(message: dict[str, Any], session_id: str) -> bool:
    context = message.get("context")
    session = context.get("session") if isinstance(context, dict) else None
    is_answer = isinstance(context, dict) and context.get("source") != SOURCE
    return is_answer and isinstance(session, dict) and session.get("session_id") == session_id


def _words(message: dict[str, Any]) -> str:
    data = message.get("data")
    said = str(data.get("utterance") or "") if isinstance(data, dict) else ""
    return said if len(said) <= MOST_SHOWN else f"{said[:MOST_SHOWN]}…"
