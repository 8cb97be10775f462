"""Who a client is to its hub: its credentials, where the hub is, and the conversation it takes part in."""

from __future__ import annotations

import base64
from functools import cached_property
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from .address import Address, authorization, check_useragent, is_http, known_port, parse_address
from .session import UNKNOWN_SITE, Session

DEFAULT_USERAGENT = "HiveMessageBusClientV0.0.1"


class Credentials:
    """The part of both clients that says who they are."""

    DEFAULT_USERAGENT = DEFAULT_USERAGENT
    OVER_HTTP = False
    """It speaks HTTP with the hub, not WebSocket."""
    identity: Any
    address: Address
    protocol: Any
    _access_key: str | None = None
    _password: str | None = None
    _pre_shared_key: Any = None
    _name: str | None = None
    _host: str | None = None
    _port: int | str | None = None

    @cached_property
    def session(self) -> Any:
        """The conversation this satellite takes part in."""
        return Session(str(uuid4()))

    @cached_property
    def hub_session(self) -> dict[str, Any]:
        """What the hub last sent of the state of the own session, to be sent back."""
        return {}

    def init_identity(self, site_id: str | None = None) -> None:
        """Fill in from the identity what was not given, and check it; ``site_id`` goes before the identity's."""
        identity = self.identity
        self._access_key = self._access_key or identity.access_key
        self._password = self._password or identity.password
        if not self._access_key or not (self._password or self._pre_shared_key):
            raise RuntimeError(
                "NodeIdentity not set, please pass key and password or call 'hivemind-client set-identity'"
            )
        host = self._host or identity.default_master
        if not host:
            raise RuntimeError("host not set, please pass host and port or call 'hivemind-client set-identity'")
        stored = identity.default_port if isinstance(identity.default_port, (int, str)) else None
        self.address = self._read_address(host, known_port(stored, identity.default_master, self.OVER_HTTP))
        self._host = f"{self.address.scheme}://{self.address.host}"
        self._port = self.address.port
        self.site_id = site_id or identity.site_id or UNKNOWN_SITE
        self.config = SimpleNamespace(
            host=self.address.host, port=self.address.port, ssl=self.address.secure, route="/"
        )

    def _read_address(self, host: str, default_port: int | str | None) -> Address:
        if is_http(host) and not self.OVER_HTTP:
            raise ValueError(f"host {host!r}: this client speaks WebSocket (ws://name), HiveMindHTTPClient speaks HTTP")
        return parse_address(host, self._port, default_port, http=self.OVER_HTTP)

    def __repr__(self) -> str:
        address = vars(self).get("address")
        return f"{type(self).__name__}({str(address) if address is not None else 'not set up'!r})"

    @staticmethod
    def build_url(
        key: str, host: str = "127.0.0.1", port: int = 5678, useragent: str = DEFAULT_USERAGENT, ssl: bool = True
    ) -> str:
        """Return a hub's address as released packages write it; it holds the access key.

        The clients themselves dial a form that every released hub reads (see `address.authorization`).
        """
        name = host.strip().partition("://")[2] or host.strip()
        token = base64.b64encode(f"{useragent}:{key}".encode()).decode()
        return f"{'wss' if ssl else 'ws'}://{name}:{port}?authorization={token}"

    def _dial_url(self) -> str:
        return self.address.url(authorization(self.useragent, self._access_key or ""))

    @property
    def useragent(self) -> str:
        """The name under which this satellite introduces itself."""
        return self._name or self.DEFAULT_USERAGENT

    @useragent.setter
    def useragent(self, value: str) -> None:
        self._name = check_useragent(value)

    @property
    def password(self) -> str | None:
        """The secret shared with the hub."""
        return self._password

    @password.setter
    def password(self, value: str) -> None:
        self._password = value

    @property
    def key(self) -> str | None:
        """The access key."""
        return self._access_key

    @key.setter
    def key(self, value: str) -> None:
        self._access_key = value

    @property
    def session_id(self) -> str:
        """The session of messages that name none of their own; may be assigned at any time."""
        return str(self.session.session_id)

    @session_id.setter
    def session_id(self, value: str) -> None:
        self.session.session_id = value
        self.hub_session = {}

    @property
    def site_id(self) -> str:
        """Where this satellite stands."""
        return str(self.session.site_id)

    @site_id.setter
    def site_id(self, value: str) -> None:
        self.session.site_id = value
        if self.protocol is not None:
            self.protocol.site_id = value
