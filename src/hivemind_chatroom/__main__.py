"""``python -m hivemind_chatroom``, and the names under which programs know the released chatroom.

``app`` is the Flask application of one chatroom with default settings, which `MessageHandler.connect` joins to a hub.
Importing this module reads and writes nothing.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from .scripts import main
from .settings import PLATFORM

if TYPE_CHECKING:
    from flask import Flask

    from .chat import Chat

    app: Flask

__all__ = ["MessageHandler", "app", "main", "platform"]

platform = PLATFORM
"""The user agent."""


class MessageHandler:
    """The chatroom behind ``app``."""

    hive: Any = None
    """Its link to the hub; None before `connect`."""

    @classmethod
    def connect(cls, bus: Any = None) -> None:
        """Join a hub: by a client that somebody else connects (anything with ``on_mycroft`` and ``emit``), or, without
        one, by the identity that ``hivemind-client set-identity`` wrote. It returns before the hub has answered.

        Raises CredentialsError where there is no such identity.
        """
        from .credentials import Hub, make_client
        from .hive import Hive

        chat = _chatroom()[0]
        if cls.hive is None:
            cls.hive = Hive(chat, lambda: make_client(Hub()))
            chat.start()
        if bus is None:
            cls.hive.start()
        else:
            cls.hive.use(bus)


@cache
def _chatroom() -> tuple[Chat, Flask]:
    from .app import create_app
    from .chat import Chat
    from .settings import Settings

    chat = Chat(Settings())
    return chat, create_app(chat)


def __getattr__(name: str) -> Any:
    if name == "app":
        return _chatroom()[1]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


if __name__ == "__main__":
    main(prog_name="hivemind-flask-chatroom")
