"""Transports: how frames get to the hub. The interface, and the table of the transports there are.

To add one: a module here with a class of the shape of `Transport`, and a line in service.py.
"""

from __future__ import annotations

from typing import Protocol


class BindError(Exception):
    """The transport could not listen at its address; the text says where and why."""


class Transport(Protocol):
    """One way in. It asks the hub to `identify`, `connect`s, hands frames to `receive` and says `closed`."""

    @property
    def address(self) -> str:
        """Where it listens, for people."""

    @property
    def port(self) -> int:
        """The port it listens on, once it does."""

    async def start(self) -> None:
        """Listen. Raises BindError."""

    async def stop(self) -> None:
        """Stop listening and let go of what is left."""
