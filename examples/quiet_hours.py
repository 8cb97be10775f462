"""A policy of your own: at night the assistant hears nobody but administrators.

A package makes it known in its pyproject.toml, and the hub's server.json names it in `policy.chain`:

    [project.entry-points."hivemind.policy"]
    quiet-hours = "quiet_hours:QuietHours"

    "policy": {"chain": [{"module": "quiet-hours", "config": {"start": 22, "end": 7}}]}
"""

from datetime import datetime

from hivemind_bus_client.message import Message
from hivemind_core.clients import Client
from hivemind_core.policy import ALLOW, Verdict


class QuietHours:
    """Refuses from one hour to another."""

    def __init__(self, start: int = 22, end: int = 7) -> None:
        self._start, self._end = start, end

    def _judge(self, client: Client) -> Verdict:
        hour = datetime.now().astimezone().hour
        over_midnight = self._start > self._end
        late = hour >= self._start, hour < self._end
        quiet = any(late) if over_midnight else all(late)
        return Verdict.deny("quiet_hours", "It is quiet now.") if quiet and not client.is_admin else ALLOW

    def review(self, message: Message, client: Client) -> Verdict:
        return self._judge(client)

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return self._judge(client)
