"""Two real Links, tied by a wire that is a list, with a clock that stands still."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from hivemind_bus_client.exchange import ENCODINGS
from hivemind_bus_client.link import ClientTerms, Event, HubTerms, KeyNeeded, Link, Opened, Received, Refused, hub_offer
from hivemind_bus_client.message import HiveMessage
from hivemind_bus_client.noise import public_key

PASSWORD = "walnut lantern orbit cipher"
NODE_ID = "the hub's node id"
HUB_KEY = bytes(range(32))
CLIENT_KEY = bytes(range(1, 33))
HUB_PUBLIC = public_key(HUB_KEY)
CLIENT_PUBLIC = public_key(CLIENT_KEY)
HELLO = {"pubkey": NODE_ID, "peer": "someone", "node_id": NODE_ID}
CLIENT_HELLO = {"pubkey": None, "session": {"session_id": "s"}, "site_id": "kitchen"}

Frame = bytes | str


def quick_psk(password: str, node_id: str) -> bytes:
    """Stand in for argon2id where its cost is not what is tested."""
    return hashlib.sha256(f"{password}\0{node_id}".encode()).digest()


def offer(*, binarize: bool = False, pinned: bool = False, **changes: Any) -> dict[str, Any]:
    """The offer of a hub, with keys replaced."""
    made = hub_offer(binarize=binarize, encodings=ENCODINGS, ciphers=("AES-GCM",), pinned=pinned)
    return {**made, **changes}


def hub_terms(*, binarize: bool = False, pinned: bytes | None = None, **changes: Any) -> HubTerms:
    """What a hub starts from that knows (or not) the client's key."""
    terms = HubTerms(HELLO, offer(binarize=binarize, pinned=pinned is not None), HUB_KEY, pinned_key=pinned)
    return replace(terms, **changes)


def client_terms(**changes: Any) -> ClientTerms:
    """What a satellite starts from."""
    return replace(ClientTerms(CLIENT_KEY, CLIENT_HELLO), **changes)


@dataclass
class End:
    """One side: the link and what came of it."""

    link: Link
    password: str | None = PASSWORD
    """None leaves `KeyNeeded` unanswered."""
    events: list[Event] = field(default_factory=list)

    def take(self, events: list[Event], now: float) -> None:
        """Keep events, and derive the key where one is asked for."""
        self.events.extend(events)
        for event in events:
            if isinstance(event, KeyNeeded) and self.password is not None:
                self.take(self.link.key_derived(quick_psk(self.password, event.node_id), now), now)

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def messages(self) -> list[HiveMessage]:
        return [event.message for event in self.of(Received)]

    @property
    def opened(self) -> Opened:
        (event,) = (event for event in self.events if isinstance(event, Opened))
        return event

    @property
    def refused(self) -> Refused | None:
        return next(iter(self.of(Refused)), None)


class LinkPair:
    """A hub's link and a satellite's. `run` carries frames until both are silent."""

    def __init__(
        self,
        hub: HubTerms | None = None,
        client: ClientTerms | None = None,
        *,
        hub_password: str | None = PASSWORD,
        client_password: str | None = PASSWORD,
    ) -> None:
        self.now = 100.0
        self.hub = End(Link.hub(hub or hub_terms(), self.now), hub_password)
        self.client = End(Link.client(client or client_terms(), self.now), client_password)
        self.wire: list[tuple[str, Frame]] = []
        """Every frame that was carried: who sent it, and what."""
        self.change: Callable[[str, Frame], list[Frame]] = lambda sender, frame: [frame]
        """What the wire makes of a frame."""

    def run(self) -> LinkPair:
        """Carry frames until nobody has any."""
        while self._carry("hub", self.hub, self.client) | self._carry("client", self.client, self.hub):
            pass
        return self

    def _carry(self, name: str, sender: End, receiver: End) -> bool:
        frames = sender.link.frames_to_send()
        for frame in frames:
            self.wire.append((name, frame))
            for changed in self.change(name, frame):
                receiver.take(receiver.link.receive(changed, self.now), self.now)
        return bool(frames)

    def send(self, sender: End, message: HiveMessage) -> None:
        """Send a message and carry what comes of it."""
        sender.link.send(message)
        self.run()

    def frames(self, name: str) -> list[Frame]:
        """What one side put on the wire."""
        return [frame for sender, frame in self.wire if sender == name]


def open_pair(hub: HubTerms | None = None, client: ClientTerms | None = None) -> LinkPair:
    """A pair whose session is up."""
    pair = LinkPair(hub, client).run()
    assert pair.hub.link.is_open
    assert pair.client.link.is_open
    return pair
