"""A satellite of any make under remote control, and the wire on which it shows what it speaks."""

from __future__ import annotations

import json
from typing import Any

from .matrix import V0, V1, V2, V3
from .processes import Child


class Actor:
    """A satellite and the wire to its hub."""

    def __init__(self, child: Child, port: int, tap: Child | None = None) -> None:
        self.child = child
        self.port = port
        self.tap = tap

    def wire(self, event: str, sender: str = "") -> list[dict[str, Any]]:
        """What the tap noted of one kind."""
        noted = self.tap.events() if self.tap is not None else []
        return [x for x in noted if x["event"] == event and sender in ("", x.get("from"))]

    def closes(self, sender: str) -> list[tuple[int, str]]:
        """Code and reason of every close frame one side sent."""
        return [(x["code"], x["reason"]) for x in self.wire("close", sender)]

    def _shakes(self, sender: str) -> list[dict[str, Any]]:
        texts = [json.loads(x["text"]) for x in self.wire("text", sender)]
        return [text["payload"] for text in texts if text.get("msg_type") == "shake"]

    def protocol(self) -> str:
        """The protocol version of its first handshake, by what it sent in the clear."""
        signs = (("noise", V3), ("envelope", V2), ("pubkey", V1))
        shakes = self._shakes("satellite")
        return next((version for sign, version in signs for shake in shakes if sign in shake), V0)

    def sessions(self) -> set[int]:
        """The connections on which it has sent something encrypted."""
        texts = [x for x in self.wire("text", "satellite") if '"ciphertext"' in x["text"]]
        return {x["link"] for x in (*texts, *self.wire("binary", "satellite"))}

    def in_session(self) -> bool:
        """Whether it is connected and has sent something encrypted."""
        ups = [x["link"] for x in self.wire("up")]
        return bool(ups) and ups[-1] in self.sessions() - {x["link"] for x in self.wire("down")}

    def binarize(self) -> bool:
        """Whether it wants its link binarized, by what it sent in the clear."""
        return any(shake.get("binarize") for shake in self._shakes("satellite"))

    def end(self) -> None:
        """End both."""
        self.child.kill()
        if self.tap is not None:
            self.tap.kill()

    def attempts(self) -> int:
        """How often it began: a connection, or a handshake on the same one."""
        legacy = [shake for shake in self._shakes("satellite") if "noise" not in shake]
        return max(len(self.wire("up")), len(legacy))

    def agreed(self) -> tuple[str, str]:
        """Text encoding and cipher as the hub named them."""
        named = [shake for shake in self._shakes("hub") if "encoding" in shake and "cipher" in shake]
        return (named[0]["encoding"], named[0]["cipher"]) if named else ("", "")
