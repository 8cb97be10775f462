"""Redis Streams in memory, for tests of what is written into them: it can lose, repeat and delay, and begin anew."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hivemind_core.cluster.channel import FRESH_S
from hivemind_core.cluster.entries import Entry, parse
from hivemind_core.cluster.sealing import Sealer
from hivemind_core.cluster.traffic import PURGE, Handed, Streams, Traffic, Write

SECRET = bytes(range(32))
STREAMS = Streams("inbox:", "log")


@dataclass
class MemoryStreams:
    """What Redis keeps: streams of (id, fields)."""

    streams: dict[str, list[tuple[int, list[bytes]]]] = field(default_factory=dict)
    last_id: int = 0

    def execute(self, command: tuple[Any, ...]) -> Any:
        return getattr(self, f"_{command[0].lower()}")(*command[1:])

    def make(self, stream: str) -> None:
        self.streams.setdefault(stream, [])

    def after(self, stream: str, last: int) -> list[tuple[int, list[bytes]]]:
        """What a reader that has come as far as `last` finds."""
        return [entry for entry in self.streams.get(stream, []) if entry[0] > last]

    def repeat(self, stream: str, index: int) -> None:
        """Somebody puts a copy of an entry at the end of its stream."""
        entries = self.streams.get(stream, [])
        if entries:
            self._append(stream, entries[index % len(entries)][1])

    def _append(self, stream: str, fields: list[bytes]) -> bytes:
        self.last_id += 1
        self.streams.setdefault(stream, []).append((self.last_id, fields))
        return b"%d-0" % self.last_id

    def _xadd(self, stream: str, *rest: Any) -> bytes | None:
        if "NOMKSTREAM" in rest and stream not in self.streams:
            return None
        fields = rest[rest.index("*") + 1 :]
        return self._append(stream, [each if isinstance(each, bytes) else str(each).encode() for each in fields])

    def _eval(self, script: str, keys: int, stream: str, sender: str) -> int:
        assert script == PURGE
        kept = [entry for entry in self.streams.get(stream, []) if entry[1][1] != sender.encode()]
        removed = len(self.streams.get(stream, [])) - len(kept)
        if stream in self.streams:
            self.streams[stream] = kept
        return removed


class Clock:
    """Time, for all at once."""

    def __init__(self) -> None:
        self.now = 1000.0

    @property
    def ms(self) -> int:
        return int(self.now * 1000)


class MemoryMember:
    """A member whose connections are calls: `write` and `read` are what its session would do."""

    def __init__(self, hub: str, redis: MemoryStreams, clock: Clock) -> None:
        self.hub = hub
        self.traffic = Traffic(hub, STREAMS, Sealer(SECRET, "test", hub))
        self.handed: list[tuple[str, bytes]] = []
        self.undelivered: list[tuple[str, bytes]] = []
        self.held: list[tuple[str, int, list[bytes]]] = []
        """Read by a member that was paused before it could hand anything over."""
        self.held_at = 0.0
        self._redis = redis
        self._clock = clock
        self._read = {self.traffic.inbox: 0, STREAMS.log: redis.last_id}
        redis.make(self.traffic.inbox)

    def put(self, hub: str, frame: bytes) -> bool:
        return self.traffic.put(hub, frame, self._clock.now)

    def write(self, acks: bool = True, carried_out: int | None = None, late: int = 0) -> int:
        """Write all that is due, and return how much; or lose the connection after so many of the commands.

        Nobody knows then what was carried out; `late` more are, before the new connection's.
        """
        writes = list(self.traffic.writes(self._clock.now, self._clock.ms, acks))
        if carried_out is None:
            for write in writes:
                write.answered(self._redis.execute(write.command), self._clock.now)
        else:
            self._lose(writes[: carried_out + late])
        return len(writes)

    def _lose(self, carried_out: list[Write]) -> None:
        for write in carried_out:
            self._redis.execute(write.command)
        self.rejoin()

    def rejoin(self) -> None:
        """Connect again."""
        self._redis.make(self.traffic.inbox)
        self._read[self.traffic.inbox] = 0
        if self._read[STREAMS.log] > self._redis.last_id:
            self._read[STREAMS.log] = 0
        self.held.clear()
        self.traffic.rejoined()

    def read(self, most: int = 1000) -> None:
        """Hand over what is there."""
        self.ask(most)
        self.go_on()

    def ask(self, most: int = 1000) -> None:
        """Read, but do not come to hand over."""
        self.held_at = self._clock.now
        found = [(stream, *entry) for stream, last in self._read.items() for entry in self._redis.after(stream, last)]
        self.held = found[:most]

    def go_on(self) -> None:
        """Hand over what was read, if that is not too long ago."""
        held, self.held = self.held, []
        for stream, number, fields in held:
            if self._clock.now - self.held_at > FRESH_S:
                return
            self._read[stream] = number
            entry = parse(fields)
            assert entry is not None
            self.take(stream, entry)

    def take(self, stream: str, entry: Entry) -> Handed:
        handed = self.traffic.received(stream, entry, self._clock.now, self._clock.ms)
        if handed.after_gap:
            self.handed.append((entry.sender, b"gap"))
        self.handed += [(entry.sender, frame) for frame in handed.frames]
        return handed

    def tick(self) -> None:
        self.undelivered += self.traffic.undelivered(self._clock.now)
