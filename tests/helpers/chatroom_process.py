"""The chatroom as a process of its own, and a hub with an assistant on its own bus for it to talk to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from .bus_peer import BusPeer
from .hub_process import HOST, HubProcess
from .processes import Child, Children, free_port, wait_until
from .visitor import Visitor

BIN = Path(sys.executable).parent
KEY, PASSWORD = "access-key-of-the-chatroom", "orbital-walnut-cipher-93-lantern"
WAIT_S = 60.0


class ChatroomProcess:
    """One installation of the chatroom: its home and port. It may be started and ended many times."""

    def __init__(self, children: Children, hub_port: int, *options: str | Path, name: str = "chatroom") -> None:
        self.children = children
        self.hub_port = hub_port
        self.options = options
        self.home = children.home(name)
        self.port = free_port()
        self.name = name
        self.child: Child | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self, *options: str | Path, key: str = KEY, password: str = PASSWORD, linked: bool = True) -> Child:
        """Start it and wait until it serves and, if it is to be `linked`, until the hub has let it in."""
        hub = ["--hub-host", f"ws://{HOST}", "--hub-port", str(self.hub_port), "--key", key, "--password", password]
        return self.spawn(*hub, *self.options, *options, linked=linked)

    def spawn(self, *options: str | Path, env: Mapping[str, str] | None = None, linked: bool = True) -> Child:
        """The same with the hub and the credentials as the options, the environment or the identity file say."""
        argv: list[str | Path] = [BIN / "hivemind-flask-chatroom", "--port", str(self.port), *options]
        child = self.child = self.children.spawn(self.name, argv, self.home, env)
        child.wait_port(self.port)
        wait_until(lambda: self.get("/healthz")[0] == 200, WAIT_S, f"its /healthz\n{child.tail()}")
        if linked:
            wait_until(lambda: self.get("/readyz")[0] == 200, WAIT_S, f"its way into the hub\n{child.tail()}")
        return child

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an address; 0 when nothing answers."""
        connection = HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, HTTPException):
            return 0, None
        finally:
            connection.close()

    def log(self) -> str:
        """Everything it wrote: what it printed, and its log file."""
        assert self.child is not None
        files = sorted(self.home.state.rglob("*.log"))
        return self.child.output() + "".join(file.read_text("utf-8", "replace") for file in files)

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        assert self.child is not None
        return self.child.stop()


class Scene:
    """A hub that serves its own message bus, a service on that bus, and a chatroom."""

    def __init__(self, children: Children, *options: str | Path) -> None:
        self.children = children
        self.hub = HubProcess(children, BIN / "hivemind-core", free_port())
        bus = {"host": HOST, "port": self.hub.bus_port}
        self.hub.configure({"agent_protocol": {"module": "embedded", "embedded": bus}})
        self.hub.add_client(KEY, PASSWORD, name="chatroom")
        self.hub.start()
        self.bus = BusPeer(self.hub.bus_port)
        self.room = ChatroomProcess(children, self.hub.port, *options)
        self._cookies: dict[str, dict[str, str]] = {}

    def open(self, *options: str | Path) -> Scene:
        """Start the chatroom."""
        self.bus.joined()
        self.room.start(*options)
        return self

    def another(self, *options: str | Path, name: str) -> ChatroomProcess:
        """A second chatroom at the same hub, with a key of its own."""
        self.hub.add_client(name, PASSWORD, name=name)
        made = ChatroomProcess(self.children, self.hub.port, *options, name=name)
        made.start(key=name)
        return made

    def address(self) -> str:
        """Where on the bus the chatroom is, as everything it says is marked."""
        return str(self.bus.utterances()[-1]["context"]["source"])

    def announce(self, msg_type: str, data: Any, **context: Any) -> None:
        """Send the chatroom something that nobody asked for."""
        self.bus.emit(msg_type, data, {"source": "skills", "destination": self.address(), **context})

    def close(self) -> None:
        self.bus.close()

    def visitor(self, name: str, room: str = "flask", lang: str = "en") -> Visitor:
        """A person who has opened the page; who has the same name has the same browser."""
        made = Visitor(self.room.port, name, room, lang, cookies=self._cookies.setdefault(name, {}))
        entered = made.enter()
        assert entered.status == 200, (entered.status, entered.text)
        return made


@contextmanager
def opened_scene(folder: Path, *options: str | Path) -> Iterator[Scene]:
    """Everything of a module's tests, until they are over."""
    with Children(folder) as children:
        scene = None
        try:
            scene = Scene(children, *options).open()
            yield scene
        except AssertionError:
            print(children.report())
            raise
        finally:
            if scene is not None:
                scene.close()
