"""A real connection to the hub, and a real turn through its assistant. No pin, password or identity is changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..client import HiveMessageBusClient
from ..denials import DENIED, Denial, read_denial
from ..driver import HandshakeTimedOut
from ..exceptions import HiveMindException
from ..keyring import Keyring, Keys
from ..message import Message
from ..options import UTTERANCE, Target
from ..refusals import HiveMindRefused, Refusal
from .findings import Finding, fail, ok, warn
from .visit import Visit

HANDLED = "ovos.utterance.handled"
UNMATCHED = "complete_intent_failure"
USERAGENT = "hivemind-doctor"
MOST_SHOWN = 80
ASK_HUB = "Run `hivemind-core doctor` on the hub, which looks at its assistant."
LASTS_S = 0.7
"""How long a connection must stand to count."""
SPEECH_S = 0.5
"""How long after a turn has ended its words may still come."""


class ReadingKeyring(Keyring):
    """Reads what a satellite keeps about its hub, and writes none of it.

    The satellite's own key is made where it has none yet, as on any first connection: the hub remembers it.
    """

    def load(self, rsa: bool = False) -> Keys:
        path = Path(self._identity.noise_key)
        if not path.exists() or rsa:
            return super().load(rsa)
        try:
            static = bytes.fromhex(path.read_text("ascii").strip())
        except ValueError:
            return super().load(rsa)  # which says what is wrong
        return Keys(static, self._pin(), self._identity.public_key)

    def accepted(self, hub_key: bytes) -> None:
        """The hub's key is not pinned."""

    def rejected(self) -> None:
        """A derived key stays in the cache; this attempt does without it."""
        self._in_use = None


def session(visit: Visit) -> Iterator[Finding]:
    """Whether the hub accepts this device; then, on the same connection, the probe."""
    if visit.address is None or visit.identity is None or not (visit.key and visit.password):
        return
    client = _client(visit)
    pinned = visit.identity.get_pinned_noise_key(client.address.pin_id)
    try:
        _connect(client, visit.target)
    except HiveMindRefused as error:
        yield _refused(error.refusal)
    except HandshakeTimedOut as error:
        yield _refused(error.refusal) if error.refusal else _too_slow(visit.target.timeout)
    except (HiveMindException, OSError, RuntimeError, ValueError, ImportError) as error:
        yield fail("session", f"No connection could be made: {error}")
    else:
        yield ok("session", f"The hub accepts this device ({_agreed(client)}).")
        yield _pin(pinned, client.address.pin_id)
        if visit.probe:
            yield from turn(client, visit.probe, visit.target.timeout)
    finally:
        client.close()


def _client(visit: Visit) -> HiveMessageBusClient:
    kind: type[HiveMessageBusClient] = HiveMessageBusClient
    if visit.address is not None and visit.address.http:
        from ..http_client import HiveMindHTTPClient

        kind = HiveMindHTTPClient
    target = visit.target
    client = kind(
        key=visit.key,
        password=visit.password,
        host=target.host or None,
        port=target.port,
        identity=visit.identity,
        useragent=USERAGENT,
    )
    client.keyring_type = ReadingKeyring
    return client


def _connect(client: HiveMessageBusClient, target: Target) -> None:
    """Connect, and see that it lasts: a hub may refuse a device's key a moment after it has answered a ping.

    Raises as `connect` does, and NotConnected.
    """
    ended = threading.Event()
    for event in ("auth_rejected", "close"):
        client.on(event, lambda *_: ended.set())
    client.connect(site_id=target.siteid or None, timeout=target.timeout)
    ended.wait(LASTS_S)
    client.flush(target.timeout)


def _refused(refusal: Refusal) -> Finding:
    return fail("session", refusal.sentence, refusal.cure, refusal.code)


def _too_slow(timeout_s: float) -> Finding:
    return fail(
        "session", f"The hub did not accept this device within {timeout_s:g} s.", "Give it more with --timeout."
    )


def _agreed(client: HiveMessageBusClient) -> str:
    noise = client.noise_transport
    return f"protocol v3, {noise.pattern}" if noise is not None else "a protocol older than v3: update the hub"


def _pin(pinned: str | None, server: str) -> Finding:
    if pinned:
        return ok("session", f"The hub has the key that was pinned for {server}.")
    return ok("session", f"No key is pinned for {server} yet; the next connection of the device does it, not this one.")


class _Turn:
    """What comes back for one utterance."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.denial: Denial | None = None
        self.unmatched = False
        self.over = threading.Event()
        self.spoke = threading.Event()

    def spoken(self, message: Any) -> None:
        self.words.append(str(message.data.get("utterance") or ""))
        self.spoke.set()
        self.over.set()

    def denied(self, message: Any) -> None:
        denial = read_denial(message.data, message.context)
        if denial.denied_type in ("", UTTERANCE):
            self.denial = denial
            self.over.set()

    def missed(self, message: Any) -> None:
        self.unmatched = True

    def handled(self, message: Any) -> None:
        self.over.set()


@contextmanager
def _listening(client: HiveMessageBusClient) -> Iterator[_Turn]:
    heard = _Turn()
    told = {"speak": heard.spoken, DENIED: heard.denied, UNMATCHED: heard.missed, HANDLED: heard.handled}
    for topic, handler in told.items():
        client.on_mycroft(topic, handler)
    yield heard
    for topic, handler in told.items():
        client.remove(topic, handler)


def turn(client: HiveMessageBusClient, text: str, timeout_s: float) -> Iterator[Finding]:
    """Say something to the assistant, as a person would, and tell what comes back."""
    asked = Message(UTTERANCE, {"utterances": [text]}, {"destination": "skills"})
    began = time.monotonic()
    with _listening(client) as heard:
        client.emit_mycroft(asked)
        in_time = heard.over.wait(timeout_s)
        took_s = time.monotonic() - began
        if in_time and heard.denial is None:
            heard.spoke.wait(SPEECH_S)
    yield _outcome(heard, text, in_time, timeout_s if not in_time else took_s, client.problem)


def _parted(denial: Denial) -> tuple[str, str]:
    """Return the reason of a denial and what to do about it, which our hubs say in one."""
    if denial.cure:
        return denial.reason or denial.code, denial.cure
    why, _, cure = denial.reason.partition(". ")
    return why or denial.code, f"{cure.rstrip('.')}." if cure else ""


def _outcome(heard: _Turn, text: str, in_time: bool, seconds: float, problem: str) -> Finding:
    denial = heard.denial
    if denial is not None:
        why, cure = _parted(denial)
        return fail("probe", f"The hub denied {denial.denied_type or 'what was asked'}: {why}.", cure, denial.code)
    if heard.words:
        said = heard.words[0]
        shown = said if len(said) <= MOST_SHOWN else f"{said[:MOST_SHOWN]}…"
        return ok("probe", f'"{text}" was answered "{shown}" ({seconds:.1f} s).')
    if problem:
        return fail("probe", f"The connection ended before an answer came. {problem}")
    if in_time:
        why = "has no skill for it" if heard.unmatched else "says nothing"
        return warn("probe", f'The assistant took "{text}", but {why}.', f"Ask something else with --probe. {ASK_HUB}")
    return fail("probe", f'Nothing came back for "{text}" within {seconds:g} s.', ASK_HUB)
