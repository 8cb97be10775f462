"""Handlers: who listens to what, and the one task or thread that calls them, in order, apart from the reader."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

LOG = logging.getLogger(__name__)

Handler = Callable[..., Any]
Call = Callable[[], Any]
Job = Callable[[], Iterable[Call]]
"""Something that happened: says, when its turn comes, which handlers to call."""

MAX_WAITING = 1_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
STOP_TIMEOUT_S = 5.0


def event_key(event: str) -> str:
    """Return the plain text of an event's name, which may be an enum member."""
    return str(event.value) if isinstance(event, Enum) else event


class Emitter:
    """Handlers by event; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handlers: dict[str, list[tuple[Handler, bool]]] = {}

    def on(self, event: str, handler: Handler) -> Handler:
        """Call the handler whenever the event happens."""
        self._add(event, handler, once=False)
        return handler

    def once(self, event: str, handler: Handler) -> Handler:
        """Call the handler the next time the event happens."""
        self._add(event, handler, once=True)
        return handler

    def _add(self, event: str, handler: Handler, once: bool) -> None:
        with self._lock:
            self._handlers.setdefault(event_key(event), []).append((handler, once))

    def remove_listener(self, event: str, handler: Handler) -> bool:
        """Call the handler no more; False if it was not registered."""
        with self._lock:
            entries = self._handlers.get(event_key(event), [])
            for entry in entries:
                if entry[0] == handler:
                    entries.remove(entry)
                    return True
        return False

    def remove_all_listeners(self, event: str | None = None) -> None:
        """Call no handler of the event any more, or of any event."""
        with self._lock:
            if event is None:
                self._handlers.clear()
            else:
                self._handlers.pop(event_key(event), None)

    def listeners(self, event: str) -> list[Handler]:
        """Return the handlers of an event."""
        with self._lock:
            return [handler for handler, _ in self._handlers.get(event_key(event), [])]

    def take(self, event: str) -> list[Handler]:
        """Return the handlers to call now that the event has happened; those for one time are removed."""
        key = event_key(event)
        with self._lock:
            entries = self._handlers.get(key)
            if not entries:
                return []
            if any(once for _, once in entries):
                self._handlers[key] = [entry for entry in entries if not entry[1]]
            return [handler for handler, _ in entries]

    def emit(self, event: str, *args: Any) -> bool:
        """Call the event's handlers here and now; False if there are none."""
        handlers = self.take(event)
        for handler in handlers:
            call_handler(handler, *args)
        return bool(handlers)


def call_handler(handler: Handler, *args: Any) -> None:
    """Call a handler whose failure concerns nobody else; a coroutine becomes a task of the running loop."""
    try:
        result = handler(*args)
        if inspect.iscoroutine(result):
            _tasks.add(task := asyncio.get_running_loop().create_task(_logged(result)))
            task.add_done_callback(_tasks.discard)
    except Exception:
        LOG.exception("a handler failed")


_tasks: set[asyncio.Task[None]] = set()


async def _logged(awaitable: Any) -> None:
    try:
        await awaitable
    except Exception:
        LOG.exception("a handler failed")


@dataclass(frozen=True)
class _Waiting:
    job: Job
    size: int
    may_drop: bool


class Backlog:
    """What waits for the handlers, bounded in number and bytes: beyond that the oldest messages are dropped.

    Events of the connection are never dropped.
    """

    def __init__(self, max_items: int = MAX_WAITING, max_bytes: int = MAX_WAITING_BYTES) -> None:
        self.dropped = 0
        """How many messages were dropped since the handlers last caught up."""
        self._limits = (max_items, max_bytes)
        self._jobs: deque[_Waiting] = deque()
        self._bytes = 0

    def put(self, job: Job, size: int = 0, may_drop: bool = True) -> None:
        """Add something that has happened, of so many bytes."""
        self._jobs.append(_Waiting(job, size, may_drop))
        self._bytes += size
        while len(self._jobs) > 1 and (len(self._jobs) > self._limits[0] or self._bytes > self._limits[1]):
            if not self._drop_oldest():
                return

    def _drop_oldest(self) -> bool:
        for index, waiting in enumerate(self._jobs):
            if waiting.may_drop:
                del self._jobs[index]
                self._bytes -= waiting.size
                self._note_drop()
                return True
        return False

    def _note_drop(self) -> None:
        if not self.dropped:
            LOG.error("the handlers are too slow: the oldest waiting messages are dropped")
        self.dropped += 1

    def pop(self) -> Job | None:
        """Remove and return what is next; None if nothing waits."""
        if not self._jobs:
            if self.dropped:
                LOG.error("%d messages were dropped unhandled", self.dropped)
                self.dropped = 0
            return None
        waiting = self._jobs.popleft()
        self._bytes -= waiting.size
        return waiting.job

    def __len__(self) -> int:
        return len(self._jobs)


def _calls(job: Job) -> Iterator[Call]:
    """The calls of a job, up to the first that cannot be made out."""
    try:
        yield from job()
    except Exception:
        LOG.exception("a message could not be handed to its handlers")


class Dispatcher(Protocol):
    """Calls handlers, one at a time, in the order in which things happened."""

    def start(self) -> None:
        """Begin; does nothing if it runs already."""

    def put(self, job: Job, size: int = 0, may_drop: bool = True) -> None:
        """Let handlers be called when their turn comes; never waits."""


class TaskDispatcher:
    """Calls handlers in a task of the running loop; coroutine handlers are awaited."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._stopping = False
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="hivemind-handlers")

    def put(self, job: Job, size: int = 0, may_drop: bool = True) -> None:
        self._backlog.put(job, size, may_drop)
        self._wake.set()

    async def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Let the handlers of what has happened so far finish, then end."""
        self._stopping = True
        self._wake.set()
        if self._task is None or self._task is asyncio.current_task():
            return
        _, late = await asyncio.wait({self._task}, timeout=timeout_s)
        for task in late:
            task.cancel()
            await asyncio.wait({task}, timeout=timeout_s)

    async def _run(self) -> None:
        while True:
            job = self._backlog.pop()
            if job is not None:
                await self._do(job)
                await asyncio.sleep(0)
            elif self._stopping:
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _do(self, job: Job) -> None:
        for call in _calls(job):
            try:
                result = call()
                if inspect.isawaitable(result):
                    await result
            except Exception:
                LOG.exception("a handler failed")


class ThreadDispatcher:
    """Calls handlers in a thread of its own; each coroutine handler is run to its end there."""

    def __init__(self) -> None:
        self._backlog = Backlog()
        self._condition = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._condition:
            self._stopping = False
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="hivemind-handlers", daemon=True)
                self._thread.start()

    def put(self, job: Job, size: int = 0, may_drop: bool = True) -> None:
        with self._condition:
            self._backlog.put(job, size, may_drop)
            self._condition.notify()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Let the handlers of what has happened so far finish, then end; from a handler: do not wait for
        that.
        """
        with self._condition:
            self._stopping = True
            self._condition.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _next(self) -> Job | None:
        with self._condition:
            while (job := self._backlog.pop()) is None and not self._stopping:
                self._condition.wait()
            return job

    def _run(self) -> None:
        while (job := self._next()) is not None:
            for call in _calls(job):
                self._do(call)

    def _do(self, call: Call) -> None:
        try:
            result = call()
            if inspect.iscoroutine(result):
                asyncio.run(result)
        except Exception:
            LOG.exception("a handler failed")
