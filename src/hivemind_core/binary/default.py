"""The handler of a hub that has none: everything is answered with a denial, so that no satellite waits in vain."""

from __future__ import annotations

from . import BinaryHandler


class DefaultHandler(BinaryHandler):
    """Takes nothing, and says why."""

    def __init__(self, code: str = "no_binary_handler", detail: str = "") -> None:
        super().__init__()
        self.code = code
        """Row of refusals.DENIALS."""
        self.detail = detail
