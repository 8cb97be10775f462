"""Deposits in the Redis of a cluster: left at one hub, collected at another. Calls block, and come from one thread.

Each request is a script in Redis (storage/schema/mailbox.lua), so that limits hold however many hubs write at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any
from uuid import uuid4

from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as NoAnswer

from . import mailbox
from .cluster import redis_errors
from .cluster.vault import redis_client
from .cluster_config import ClusterConfig
from .mailbox import Deposit, Kept, Refused, Released
from .mailbox_config import Limits
from .storage import StorageError

TIMEOUT_S = 2.0
"""Of connecting, and of each answer."""
REST_S = 1.0
"""How long a Redis that could not be reached is not asked again, so that what waits is answered soon."""
KEYS = ("totals", "messages", "about", "ends", "order", "boxes", "senders", "sender_bytes", "imported")
SCRIPT = (files(__package__) / "storage" / "schema" / "mailbox.lua").read_text("utf-8")


class RedisMailboxStore:
    """One cluster's deposits. Every call may raise StorageError; times are Unix time, in seconds.

    What failed has done nothing, unless it is only the answer that was lost: a message may be kept all the same.
    """

    is_shared = True

    def __init__(self, config: ClusterConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """Redis is asked with the first request. Raises ConfigError without redis-py."""
        self.name = f"in Redis at {config.url}"
        self._config = config
        self._clock = clock
        self._keys = [config.key("mailbox", name) for name in KEYS]
        self._redis = redis_client("redis", config, TIMEOUT_S)
        self._away: tuple[float, str] | None = None
        """Until when Redis is not asked, and why."""

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Tell what fails as the failure of the mailbox it is."""
        if self._away is not None and self._clock() < self._away[0]:
            raise StorageError(f"Could not {doing} the mailbox: {self._away[1]}")
        try:
            yield
            self._away = None
        except (RedisError, OSError) as error:
            why = redis_errors.sentence(error, self._config)
            if isinstance(error, (NoConnection, NoAnswer, OSError)):
                self._away = self._clock() + REST_S, why
            raise StorageError(f"Could not {doing} the mailbox: {why}") from error
        except UnicodeError as error:
            raise StorageError(f"Could not {doing} the mailbox {self.name}: {error}.") from error

    def _ask(self, request: str, now: float, *words: str | bytes | float) -> Any:
        """Run a request of the script, as often as it takes to remove what has expired."""
        done: Any = b"again"
        while done == b"again":
            done = self._redis.eval(SCRIPT, len(self._keys), *self._keys, request, repr(now), *words)
        return done

    # requests

    def deposit(self, sender: str, deposit: Deposit, limits: Limits, now: float) -> str | Refused:
        """Keep a message and return its id, unless that would be over a limit."""
        deposit_id = str(uuid4())
        one = (deposit.box, sender, deposit.size, deposit_id, repr(now + deposit.ttl_s), deposit.payload)
        bounds = [word for bound in mailbox.bounds(deposit, limits) for word in bound]
        with self._errors("write"):
            done = self._ask("deposit", now, *one, *bounds).decode()
        return deposit_id if done == "ok" else Refused(done)

    def collect(self, box: str, now: float) -> list[Kept]:
        """Return the oldest messages that wait in a box, as many as one reply holds. Nothing is written."""
        with self._errors("read"):
            found = [text.decode() for text in self._ask("collect", now, box, mailbox.MAX_COLLECTED_BYTES)]
        return [Kept(*pair) for pair in zip(found[::2], found[1::2], strict=True)]

    def ack(self, box: str, deposit_ids: frozenset[str], now: float) -> int:
        """Remove messages of a box, and return how many there were."""
        ids = [one.encode("utf-8", "surrogatepass") for one in deposit_ids]
        with self._errors("write"):
            return int(self._ask("ack", now, box, *ids))

    # what a released hub kept

    def has_imported(self, source: str) -> bool:
        """Tell whether a file was taken over, by any hub."""
        with self._errors("read"):
            return bool(self._redis.sismember(self._keys[KEYS.index("imported")], source))

    def take_over(self, source: str, messages: list[Released]) -> None:
        """Keep what was in a file, and note that it was taken over."""
        words: list[str | float] = []
        for one in messages:
            words += [one.box, "", mailbox.size_of(one.payload), one.deposit_id, repr(one.expires_at), one.payload]
        with self._errors("write"):
            self._ask("take_over", 0.0, source, *words)

    def close(self) -> None:
        """Let go of the connection."""
        self._redis.close()
