"""What is told of a refusal: one line of the log with code, peer and cure, a figure, and a row for who asks later.

The log tells the first of a burst, and at its end how many more there were; the figures count each.
"""

from __future__ import annotations

import logging

from hivemind_bus_client import denials
from hivemind_bus_client.link import Refused
from hivemind_bus_client.log_lines import refusal_fields
from hivemind_bus_client.refusals import MAX_REASON_BYTES, REFUSALS

from .actions import Deny
from .clocks import Clocks
from .limits import Bursts, neighbourhood
from .meter import Meter
from .peers import Peer, Rejection, RejectionLog

log = logging.getLogger(__name__)


class RefusalLog:
    """See the module."""

    def __init__(self, meter: Meter, clocks: Clocks) -> None:
        self.rejections = RejectionLog()
        self._meter = meter
        self._clocks = clocks
        self._bursts = Bursts()

    def tick(self) -> None:
        """To be called about once a second: tell of the bursts that are over."""
        for what, more in self._bursts.ended(self._clocks.monotonic()):
            log.warning("refused again, %d times: %s", more, what)

    def stranger(self, remote: str, refusal: Refused) -> None:
        """Tell of a connection or a request without a peer that is turned away."""
        self._meter.refusals.count(refusal.code)
        self._note(remote, refusal, neighbourhood(remote), stranger=True)

    def satellite(self, peer: Peer, refusal: Refused) -> None:
        """Tell of a satellite whose connection ends, or whose request is refused."""
        self._meter.refusals.count(refusal.code)
        origin = f"client {peer.client.client_id} at {peer.address}"
        self._note(peer.peer_id, refusal, origin, stranger=peer.static_key is None)

    def _note(self, who: str, refusal: Refused, origin: str, *, stranger: bool) -> None:
        if not self._bursts.is_first(f"{origin}, {refusal.code}", self._clocks.monotonic()):
            return
        row = REFUSALS[refusal.code]
        fields = refusal_fields(refusal.code, who, row.cure)
        more = f": {refusal.reason:.{MAX_REASON_BYTES}}" if refusal.reason != row.wire_reason else ""
        log.warning("refused %s: %s [%s%s]", who, row, refusal.code, more, extra=fields)
        self.rejections.add(Rejection(self._clocks.wall(), who, refusal.code, refusal.reason), stranger=stranger)

    def denied(self, peer: Peer, deny: Deny) -> None:
        """Tell of a message that is denied; its sender stays."""
        self._meter.denied(deny.code)
        if not self._bursts.is_first(f"client {peer.client.client_id}, {deny.code}", self._clocks.monotonic()):
            return
        for_all, cure = (denials.cure(deny.code, deny.denied_type, whose) for whose in ("ID", peer.client.client_id))
        why = deny.reason.removesuffix(for_all).strip()
        level = logging.WARNING if deny.code.startswith("policy_") else logging.INFO
        told = (deny.denied_type, peer.peer_id, why, f" {cure}" if cure else "", deny.code)
        log.log(level, "denied %.100r of %s: %.300s%s [%s]", *told, extra=refusal_fields(deny.code, peer.peer_id, cure))
