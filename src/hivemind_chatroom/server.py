"""The web server: waitress with a thread for each open event stream, started and ended without losing anybody.

Its loop runs in a thread of its own, so that the main thread is free for signals.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from types import FrameType
from typing import Any, Protocol

from waitress import wasyncore
from waitress.adjustments import Adjustments

from .logs import Application, requests_logged
from .shares import FairDispatcher, FairServer, Share

log = logging.getLogger(__name__)

WORKERS = 16
"""Threads for everything but event streams."""
IDLE_CONNECTIONS = 256
"""Connections that wait for their next request, or have not finished one."""
STACK_BYTES = 4 * 1024 * 1024
"""Of each thread: hundreds fit into a 32-bit address space, and JSON as deeply nested as Python takes it into one."""
SPARE_CONNECTIONS = 32
"""Open beyond all others for a moment, until the address with most has made way."""
IDLE_S = 60
LOOK_OVER_S = 5
"""How often connections are looked over."""
BODY_BYTES = 128 * 1024
"""More than the application takes: it refuses in friendlier words."""
HEADER_BYTES = 16 * 1024
WAITING_BYTES = 256 * 1024
"""Written to one reader and not yet taken by it; whoever writes more waits."""
LOOK_S = 0.05
DRAIN_S = 3.0
"""How long open requests may take to end after the chatroom was told to."""
HIVE_S = 3.0
THREADS_S = 1.0
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Room(Protocol):
    """What is served; see `chat.Chat`."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class Link(Protocol):
    """Its satellite; see `hive.Hive`."""

    def start(self) -> None: ...
    def stop(self, timeout_s: float = ...) -> None: ...


class Server:
    """Serves an application on a socket that listens, with room for this many event streams."""

    def __init__(self, app: Application, listener: socket.socket, streams: int, share: Share | None = None) -> None:
        self._map: dict[int, Any] = {}
        self._left: dict[int, Any] = {}
        self._thread = threading.Thread(target=self._run, name="chatroom-server", daemon=True)
        self._ended: Callable[[], None] = lambda: None
        self.failed = False
        """It ended by itself."""
        self._server = _server(app, listener, self._map, streams + WORKERS, share or Share())

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.effective_port)

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._server.active_channels)

    def answers(self, timeout_s: float) -> bool:
        """Tell whether its loop turns, which it has to show within ``timeout_s`` seconds."""
        if not self._thread.is_alive():
            return False
        shown = threading.Event()
        self._in_loop(shown.set)
        return shown.wait(timeout_s)

    def start(self, ended: Callable[[], None] = lambda: None) -> None:
        """Serve; ``ended`` is called should it end by itself."""
        self._ended = ended
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, and let go of those on which nothing is asked."""
        self._in_loop(self._close)

    def stop(self, timeout_s: float = DRAIN_S) -> None:
        """End, after the answers that are being given; those still open after ``timeout_s`` seconds are cut."""
        end = time.monotonic() + timeout_s
        while self.connections and self._thread.is_alive() and time.monotonic() < end:
            self.close()
            time.sleep(LOOK_S)
        if self.connections:
            log.warning("%d connections were still busy", self.connections)
        self._in_loop(self._cut)
        self._server.task_dispatcher.shutdown(timeout=THREADS_S)
        self._in_loop(self._leave)
        if self._thread.is_alive():
            self._thread.join(THREADS_S)
        if not self._thread.is_alive():  # only now: what wakes the loop is among it
            wasyncore.close_all(self._left, ignore_all=True)

    # --- in the loop's thread -------------------------------------------------------------------------------------

    def _in_loop(self, work: Callable[[], None]) -> None:
        if self._thread.is_alive():
            self._server.trigger.pull_trigger(work)
        else:
            work()

    def _close(self) -> None:
        if self._server.accepting:
            wasyncore.dispatcher.close(self._server)
        for channel in list(self._server.active_channels.values()):
            if not channel.requests and not channel.total_outbufs_len:
                channel.will_close = True

    def _leave(self) -> None:
        """Have the loop end: it goes on while it has anything to look after."""
        self._left.update(self._map)
        self._map.clear()

    def _cut(self) -> None:
        """Close what is left, which also frees threads that wait for a reader."""
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()

    def _run(self) -> None:
        try:
            self._server.run()
        except Exception:  # top of a thread
            log.exception("the web server failed")
            self.failed = True
            self._ended()


def _server(
    app: Application, listener: socket.socket, open_files: dict[int, Any], threads: int, share: Share
) -> FairServer:
    most = allowed_connections(threads + IDLE_CONNECTIONS)
    adjustments = Adjustments(
        sockets=[listener],
        threads=threads,
        connection_limit=most + SPARE_CONNECTIONS,
        channel_timeout=IDLE_S,
        cleanup_interval=LOOK_OVER_S,
        outbuf_high_watermark=WAITING_BYTES,
        max_request_body_size=BODY_BYTES,
        max_request_header_size=HEADER_BYTES,
        channel_request_lookahead=1,  # without it nobody looks whether a reader is still there
        asyncore_use_poll=hasattr(wasyncore.select, "poll"),
        log_socket_errors=False,
        clear_untrusted_proxy_headers=False,  # the application refuses them
        ident=None,
    )
    dispatcher = FairDispatcher(share)
    was = threading.stack_size(STACK_BYTES)
    try:
        dispatcher.set_thread_count(threads)
    finally:
        threading.stack_size(was)
    about = (listener.family, listener.type, listener.proto, listener.getsockname())
    made = FairServer(
        requests_logged(app),
        open_files,
        _sock=listener,
        dispatcher=dispatcher,
        adj=adjustments,
        bind_socket=False,
        sockinfo=about,
    )
    made.most, made.share = most, share
    return made


class StopSignals:
    """Waits for SIGTERM, SIGINT, SIGHUP or `set`. A second signal ends the process at once."""

    def __init__(self) -> None:
        self._told: SimpleQueue[None] = SimpleQueue()  # unlike an Event, safe to use inside a signal handler

    def install(self) -> None:
        """Listen to signals from now on; only the main thread can."""
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                signal.signal(number, self._signalled)

    def set(self) -> None:
        """Do as if a signal had come."""
        self._told.put(None)

    def wait(self) -> None:
        """Return when it is time to stop."""
        self._told.get()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        self._told.put(None)


def end_with_input(stop: StopSignals) -> None:
    """Stop when standard input ends, as it does when the process at its other end does."""

    def read() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        stop.set()

    threading.Thread(target=read, name="chatroom-input", daemon=True).start()


def serve(server: Server, chat: Room, hive: Link, stop: StopSignals, ending: Callable[[], None] = lambda: None) -> bool:
    """Serve until told to stop, then call ``ending`` and end in order; tell whether it ended because it was told to.

    Browsers are served before the hub is reached. At the end nobody new comes in, the event streams say good-bye,
    requests are answered; then the link to the hub is closed.
    """
    server.start(stop.set)
    chat.start()
    hive.start()
    stop.wait()
    log.info("shutting down")
    ending()
    server.close()
    for part in (chat.stop, lambda: server.stop(DRAIN_S), lambda: hive.stop(HIVE_S)):
        try:
            part()
        except Exception:  # what is left has to end all the same
            log.exception("shutting down")
    return not server.failed


def allowed_connections(wanted: int) -> int:
    """Return how many connections there may be, of those wanted: each is an open file of this process."""
    if sys.platform == "win32":
        return wanted
    import resource

    spare = 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + spare:
        soft = wanted + spare if hard == resource.RLIM_INFINITY else min(hard, wanted + spare)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - spare))
