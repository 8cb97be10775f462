"""The satellite: one client that carries what all browsers say, and brings back what the hub says."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from hivemind_bus_client.exceptions import NotConnected
from hivemind_bus_client.log_lines import refusal_fields
from hivemind_bus_client.message import Message
from hivemind_bus_client.refusals import HiveMindRefused

from .chat import Chat, LinkState
from .incoming import TOPICS, read
from .names import clean_line
from .sentences import MAX_FIELD, say
from .settings import PLATFORM

log = logging.getLogger(__name__)

COMMAND = "`hivemind-client"
RETRY_S = 1.0
"""After which a message that could not be sent is tried again while the link seems up."""


class Hive:
    """The chatroom's link to its hub: `start` it, or `use` a client that somebody else connects."""

    def __init__(self, chat: Chat, make_client: Callable[[], Any] | None = None, app: str | None = None) -> None:
        """Make the client when it starts; ``app`` names the identity that a cure is to change."""
        self._chat = chat
        self._app = app
        self._make_client = make_client
        self._client: Any = None
        self._owned = False
        self._problem = ""
        self._stopping = threading.Event()
        self._sender = threading.Thread(target=self._send_all, name="chatroom-sender", daemon=True)

    @property
    def client(self) -> Any:
        """The client in use; None before there is one."""
        return self._client

    def start(self) -> None:
        """Begin to connect, and go on until the hub refuses for good. Raises what making the client raises."""
        if self._make_client is None:
            raise ValueError("this hive was given no client to make")
        client = self._make_client()
        self._owned = True
        self._listen(client)
        client.run_in_thread()

    def use(self, client: Any) -> None:
        """Take a client that somebody else connects: anything with ``on_mycroft`` and ``emit_mycroft`` or ``emit``."""
        self._listen(client)
        event = getattr(client, "connected_event", None)
        if event is None or event.is_set():
            self._opened()

    def stop(self, timeout_s: float = 3.0) -> None:
        """End the link, if it is ours. `Chat.stop` comes first: it lets the sender go."""
        self._stopping.set()
        if self._client is not None and self._owned:
            self._client.close(timeout_s)
        if self._sender.is_alive():
            self._sender.join(timeout_s)

    def _listen(self, client: Any) -> None:
        self._client = client
        for topic in TOPICS:
            client.on_mycroft(topic, self._heard)
        on = getattr(client, "on", None)
        if on is not None:
            for name, handler in self._events().items():
                on(name, handler)
        if not self._sender.is_alive():
            self._sender.start()

    def _events(self) -> dict[str, Callable[..., None]]:
        return {
            "open": self._opened,
            "close": self._closed,
            "reconnecting": self._lost,
            "error": self._lost,
            "auth_rejected": self._refused,
        }

    # --- the link ------------------------------------------------------------------------------------------------

    def _opened(self, *_: Any) -> None:
        log.info("connected to the hub")
        self._problem = ""
        self._chat.set_link(LinkState("connected"))

    def _lost(self, *_: Any) -> None:
        if not getattr(self._client, "connected", False):
            self._closed()

    def _closed(self, *_: Any) -> None:
        if self._stopping.is_set() or self._chat.link.is_refused:
            return
        down = say("hub_down")
        problem = clean_line(getattr(self._client, "problem", ""), MAX_FIELD) or down.text
        if problem != self._problem:  # for whoever runs this: visitors need not know where the hub is
            log.warning("no link to the hub: %s", problem)
        self._problem = problem
        self._chat.set_link(LinkState("down", down.text, down.cure))
        if getattr(self._client, "connected", False):  # it came back meanwhile, and may have said so already
            self._opened()

    def _refused(self, reason: Any = "") -> None:
        refusal = getattr(reason, "refusal", None)
        told = (refusal.sentence, refusal.cure) if refusal is not None else (str(reason), "")
        text, cure = (clean_line(each, MAX_FIELD) for each in told)
        if self._app is not None:
            cure = cure.replace(COMMAND, f"{COMMAND} --app {self._app}")
        if not self._chat.link.is_refused:
            code = refusal.code if refusal is not None else "refused"
            fields = refusal_fields(code, "the chatroom", cure)
            log.error("the hub refuses this chatroom for good: %s %s [%s]", text, cure, code, extra=fields)
            self._chat.set_link(LinkState("refused", text, f"{cure} Then start the chatroom again.".strip()))

    # --- messages ------------------------------------------------------------------------------------------------

    def _heard(self, message: Any) -> None:
        body = getattr(message, "payload", message)  # the client hands out the OVOS message itself
        found = read(getattr(body, "msg_type", None), getattr(body, "data", None), getattr(body, "context", None))
        self._chat.hear(found)

    def _send_all(self) -> None:
        while (outgoing := self._chat.next_outgoing()) is not None:
            emit = getattr(self._client, "emit_mycroft", None) or self._client.emit
            try:
                emit(Message(*outgoing.as_bus_message(PLATFORM)))
            except HiveMindRefused as error:
                self._chat.not_sent(outgoing)
                self._refused(error)
            except NotConnected:
                self._chat.not_sent(outgoing)
                self._lost()
                self._stopping.wait(RETRY_S)
            except Exception as error:  # whatever an injected client raises concerns one message
                log.exception("a message could not be sent")
                self._chat.refuse(outgoing, str(error))
            else:
                self._chat.sent(outgoing)
