"""Makes the client that is this satellite: from what was given, else from the identity file."""

from __future__ import annotations

from dataclasses import dataclass, field

from hivemind_bus_client.address import is_http
from hivemind_bus_client.client import HiveMessageBusClient
from hivemind_bus_client.exceptions import HiveMindException
from hivemind_bus_client.identity import NodeIdentity

from .settings import DEFAULT_ROOM, PLATFORM

THIS_MACHINE = "ws://127.0.0.1"


class CredentialsError(Exception):
    """It is not known which hub to join and as whom, or that cannot be used; the text says what to do."""


@dataclass(frozen=True)
class Hub:
    """Which hub, and as whom; what is left out is taken from the identity file."""

    key: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    host: str | None = None
    """A name or an address; ``ws://``, ``wss://``, ``http://`` or ``https://`` may go before it."""
    port: int | None = None
    app: str | None = None
    """The identity of this application, instead of the shared one."""
    site_id: str = DEFAULT_ROOM
    """Where the satellite says it stands; the identity's own does not count."""


def make_client(hub: Hub) -> HiveMessageBusClient:
    """Return a client that is not connected yet.

    Its keys lie beside the identity file, whoever gave the credentials, so that the hub knows it again. Raises
    CredentialsError.
    """
    try:
        return _made(hub)
    except (OSError, ValueError, HiveMindException) as error:
        raise CredentialsError(f"{error}") from None


def _made(hub: Hub) -> HiveMessageBusClient:
    identity = NodeIdentity() if hub.app is None else NodeIdentity(app_name=hub.app, shared_fallback=False)
    missing = _missing(hub, identity)
    if missing:
        raise CredentialsError(_cure(missing, hub.app))
    host = _host(hub, identity)
    client = _class_for(host)(
        key=hub.key or None,
        password=hub.password or None,
        host=host,
        port=hub.port,
        useragent=PLATFORM,
        identity=identity,
        emit_timeout=0,
    )
    client.site_id = hub.site_id
    return client


def _host(hub: Hub, identity: NodeIdentity) -> str | None:
    """Where the hub is: on this machine, if only the credentials are known."""
    return hub.host or identity.default_master or (THIS_MACHINE if hub.key else None)


def _missing(hub: Hub, identity: NodeIdentity) -> str:
    known = {
        "access key": hub.key or identity.access_key,
        "password": hub.password or identity.password,
        "hub": _host(hub, identity),
    }
    return ", ".join(name for name, value in known.items() if not value)


def _cure(missing: str, app: str | None) -> str:
    command = "hivemind-client set-identity" if app is None else f"hivemind-client --app {app} set-identity"
    return (
        f"This chatroom has no identity yet (missing: {missing}). On the hub run `hivemind-core add-client`, then here"
        f" `{command} --key ACCESS-KEY --password PASSWORD --host HUB`, which it prints; or give --key, --password and"
        " --hub-host."
    )


def _class_for(host: object) -> type[HiveMessageBusClient]:
    """What speaks with a host that is written like this."""
    if not isinstance(host, str) or not is_http(host):
        return HiveMessageBusClient
    from hivemind_bus_client.http_client import HiveMindHTTPClient

    return HiveMindHTTPClient
