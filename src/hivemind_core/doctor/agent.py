"""Checks of the assistant behind the hub. Nothing is put on its message bus but a question whether it is ready, and
one turn (`probe`), unless that is not wanted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

from hivemind_bus_client.doctor.findings import Finding, fail, ok, warn
from hivemind_bus_client.doctor.network import OPEN, knock, places

from ..agents import AGENTS
from ..agents.busclient import BusAddress
from ..config import Config, ConfigError
from ..whereabouts import running_agent
from .case import HubCase
from .probe import own_turn, turn
from .settings import unusable
from .wire import connected, read

IS_READY, READY = "mycroft.skills.is_ready", "mycroft.skills.is_ready.response"
ANSWER_S = 3.0
START = "Start OVOS, or set `agent_protocol` in server.json to where its message bus is."
WHAT = "agent"


def look(case: HubCase) -> Iterator[Finding]:
    """The assistant."""
    config = case.config
    if config is None:
        return
    running = running_agent() if case.hub_runs else ""
    config = replace(config, agent_module=running or config.agent_module)
    if config.agent_module not in AGENTS:
        yield fail(WHAT, f"There is no agent named {config.agent_module[:60]!r}.", f"Name one of: {', '.join(AGENTS)}.")
    elif config.agent_module == "builtin":
        yield ok(WHAT, "The built-in assistant answers.")
        yield from _own(case)
    else:
        yield from _bus(config, case)


def _own(case: HubCase) -> Iterator[Finding]:
    if case.probe:
        yield own_turn(case.probe)


def _bus(config: Config, case: HubCase) -> Iterator[Finding]:
    try:
        address = BusAddress.from_config(config.agent)
    except ConfigError as error:
        yield unusable(WHAT, error, START)
        return
    if _is_open(address):
        yield _asked(address, config.agent_module)
        if case.probe:
            yield _said(address, case.probe)
    elif config.agent_module == "auto":
        yield ok(WHAT, f"No OVOS message bus is at {address.url}: the built-in assistant answers until there is one.")
        yield from _own(case)
    elif config.agent_module == "embedded":
        yield from _closed(address, case)
    else:
        yield fail(WHAT, f"No message bus answers at {address.url}.", START)


def _closed(address: BusAddress, case: HubCase) -> Iterator[Finding]:
    """The bus that the hub opens itself is not there."""
    if case.hub_runs:
        yield warn(WHAT, f"The hub runs, but its own message bus at {address.url} is not open.", "Restart the hub.")
        return
    yield ok(WHAT, f"The hub opens its own message bus at {address.url} when it runs.")
    if case.probe:
        again = "Start it (`hivemind-core listen`), and run `hivemind-core doctor` again."
        yield warn("probe", "The assistant was asked nothing: the hub does not run, nor does its message bus.", again)


def _is_open(address: BusAddress) -> bool:
    try:
        return any(knock(place) == OPEN for place in places(address.host, address.port))
    except (OSError, UnicodeError):
        return False


def _said(address: BusAddress, text: str) -> Finding:
    from websockets.exceptions import WebSocketException

    try:
        return turn(address, text)
    except (OSError, WebSocketException, ValueError) as error:
        return fail("probe", f"The message bus at {address.url} closed the connection ({type(error).__name__}).", START)


def _asked(address: BusAddress, module: str) -> Finding:
    from websockets.exceptions import WebSocketException

    try:
        ready = _is_ready(address)
    except (OSError, WebSocketException, ValueError) as error:
        return fail(WHAT, f"What answers at {address.url} is no message bus ({type(error).__name__}).", START)
    if ready:
        return ok(WHAT, f"The assistant at {address.url} says that it is ready.")
    if ready is None and module == "embedded":
        return ok(
            WHAT, f"The hub's message bus at {address.url} is open. The built-in assistant answers while it is empty."
        )
    if ready is None:
        return warn(
            WHAT,
            f"The message bus at {address.url} is there, but no assistant on it says whether it is ready.",
            "See that ovos-core runs, too (`systemctl --user status ovos-core`, or its container).",
        )
    return warn(WHAT, f"The assistant at {address.url} is not ready yet.", "Wait for its skills to load.")


def _is_ready(address: BusAddress) -> bool | None:
    """Ask, and return the answer; None where there is none. Raises OSError, ValueError, WebSocketException."""
    asked = json.dumps({"type": IS_READY, "data": {}, "context": {"source": "hivemind-doctor"}})
    with connected(address) as bus:
        bus.send(asked)
        until = time.monotonic() + ANSWER_S
        while (left_s := until - time.monotonic()) > 0:
            try:
                heard = read(bus.recv(left_s))
            except TimeoutError:
                return None
            if heard.get("type") == READY:
                data = heard.get("data")
                return isinstance(data, dict) and data.get("status") is True
    return None
