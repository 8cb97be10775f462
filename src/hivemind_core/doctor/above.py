"""Checks of the hub above, where this one joins one: what it needs for that, whether it can be reached, and whether it
lets this hub in. It is logged in there for a moment, with this hub's access key, password and device key; nothing is
pinned or kept here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from hivemind_bus_client.doctor.door import look as look_behind
from hivemind_bus_client.doctor.findings import FAIL, Finding, fail, ok, warn
from hivemind_bus_client.doctor.network import reachable, resolved
from hivemind_bus_client.doctor.session import LASTS_S, USERAGENT, ReadingKeyring
from hivemind_bus_client.driver import Driver, HandshakeTimedOut, Hooks
from hivemind_bus_client.exceptions import HiveMindException
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.keyring import Keys
from hivemind_bus_client.link import Opened
from hivemind_bus_client.refusals import HiveMindRefused, Refusal
from hivemind_bus_client.session import UNKNOWN_SITE, Session

from ..config import Config
from ..hub_identity import identity_path
from ..own_address import Listener, is_own
from ..upstream import settings_of
from ..upstream_config import UpstreamConfig
from ..upstream_texts import cure
from .case import HubCase
from .ports import fronts

LOGIN_S = 20.0
WHAT = "upstream"
BOTH = "Put in what `hivemind-core add-client` prints there."
_SILENT = logging.getLogger(f"{__name__}.driver")
_SILENT.setLevel(logging.CRITICAL + 1)  # what stands in the way becomes a finding


class _Unannounced(ReadingKeyring):
    """Tells the hub above no public key, by which it would send here what is meant for the hub that runs."""

    def load(self, rsa: bool = False) -> Keys:
        return replace(super().load(rsa), public_pem=None)


def look(case: HubCase) -> Iterator[Finding]:
    """From the settings to a login."""
    config = case.config
    if config is None or not config.upstream.enabled:
        return
    above = config.upstream
    if above.missing:
        yield fail(WHAT, f"{above.missing} has no value.", BOTH)
    found, told = resolved(WHAT, above.address.host, above.address.port)
    told += reachable(WHAT, found) if found else []
    yield from told
    if any(finding.verdict == FAIL for finding in told):
        return
    behind = list(look_behind(WHAT, above.address, case.wall))
    yield from behind
    if not above.missing and not any(finding.verdict == FAIL for finding in behind):
        yield _login(config)


def _login(config: Config) -> Finding:
    above, path = config.upstream, identity_path()
    listeners = [Listener(front.host, front.port) for front in fronts(config)]
    if asyncio.run(is_own(above.address, listeners)):
        return fail(WHAT, f"The hub above at {above.address} is this hub itself.", "Correct `upstream` in server.json.")
    identity = NodeIdentity(identity_file=path) if path.exists() else None
    if identity is None or not Path(identity.noise_key).exists():
        reason = "It was not tried to log in there: this hub has no identity yet; it is made on its first start."
        return warn(WHAT, reason, "Start this hub (`hivemind-core listen`), and run `hivemind-core doctor` again.")
    try:
        opened = asyncio.run(_joined(above, identity))
    except HiveMindRefused as error:
        return _refused(error.refusal, above, path)
    except HandshakeTimedOut as error:
        if error.refusal is not None:
            return _refused(error.refusal, above, path)
        return fail(WHAT, f"The hub above did not let this hub in within {LOGIN_S:g} s.", "See its log.")
    except (HiveMindException, OSError, ValueError) as error:
        return fail(WHAT, f"It could not be tried to log in there: {error}", "See the log of this hub.")
    return ok(WHAT, f"The hub above lets this hub in (protocol v{opened.version}{_pinned(identity, above)}).")


def _pinned(identity: NodeIdentity, above: UpstreamConfig) -> str:
    return ", with the key that is pinned for it" if identity.get_pinned_noise_key(above.address.pin_id) else ""


def _refused(refusal: Refusal, above: UpstreamConfig, identity: Path) -> Finding:
    to_do = cure(refusal, server=above.address.pin_id, identity=str(identity))
    return fail(WHAT, f"The hub above does not let this hub in: {refusal.sentence}", to_do, refusal.code)


async def _joined(above: UpstreamConfig, identity: NodeIdentity) -> Opened:
    """Log in, see that it lasts, and leave. Raises HiveMindRefused, HandshakeTimedOut, OSError, HiveMindException."""
    agreed: list[Opened] = []
    ended = asyncio.Event()

    def hello() -> dict[str, Any]:
        session = Session(str(uuid4()), UNKNOWN_SITE)
        return {"session": session.serialize(), "site_id": session.site_id}

    def changed(event: str, args: tuple[Any, ...]) -> None:
        if event in ("close", "auth_rejected"):
            ended.set()

    keyring = _Unannounced(identity, above.address.pin_id, above.key, above.password)
    hooks = Hooks(hello, lambda message, size: None, changed, agreed.append)
    driver = Driver(replace(settings_of(above), useragent=USERAGENT), keyring, hooks, _SILENT)
    driver.start()
    try:
        await driver.settled(LOGIN_S)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), LASTS_S)
        await driver.settled(LOGIN_S)
    finally:
        await driver.close()
    return agreed[-1]
