from __future__ import annotations

import ipaddress
import re
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hivemind_chatroom import scripts, sockets
from hivemind_chatroom.credentials import Hub
from hivemind_chatroom.scripts import Options, main
from hivemind_chatroom.settings import Settings
from hivemind_chatroom.version import __version__


class Started:
    """Stands in for the chatroom: notes what it was started with."""

    def __init__(self) -> None:
        self.options: list[Options] = []

    def run(self, options: Options) -> bool:
        self.options.append(options)
        return True


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    made = Started()
    monkeypatch.setattr(scripts, "run", made.run)
    return made


def call(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environ)


def options(started: Started, *arguments: str, **environ: str) -> Options:
    result = call(*arguments, **environ)
    assert result.exit_code == 0, result.output
    return started.options[-1]


def test_the_released_defaults(started: Started, own_home: Path) -> None:
    found = options(started)
    assert (found.host, found.port, found.log_level) == ("0.0.0.0", 8985, "DEBUG")
    assert found.log_path == str(own_home / "state" / "hivemind")
    assert found.hub == Hub(site_id="flask")
    assert found.settings == Settings()


def test_every_option(started: Started, tmp_path: Path) -> None:
    file = tmp_path / "rooms.db"
    given = f"""
        --port 80 --host 127.0.0.1 --log-level warning --log-path stdout --key k --password p --hub-host ws://hub
        --hub-port 7 --app room --site-id hall --room-password sesame --open --allowed-host Chat.Example.org.
        --allowed-host b.example --trusted-proxy 10.0.0.1 --trusted-proxy 10.1.0.0/16 --prefix /chat/ --title T
        --private --embeds --history {file} --max-length 10 --rate 5 --max-users 6 --max-rooms 7 --streams 8
        --answer-timeout 1.5
    """.split()
    found = options(started, *given)
    assert (found.host, found.port, found.log_level, found.log_path) == ("127.0.0.1", 80, "WARNING", "stdout")
    assert found.hub == Hub("k", "p", "ws://hub", 7, "room", "hall")
    settings, limits = found.settings, found.settings.limits
    assert (settings.title, settings.site_id, settings.prefix) == ("T", "hall", "/chat")
    assert settings.always_private
    assert settings.embeds
    assert settings.history == file
    assert settings.access.room_password == "sesame"
    assert settings.access.open
    assert settings.access.allowed_hosts == ("chat.example.org", "b.example")
    assert settings.access.trusted_proxies == tuple(map(ipaddress.ip_network, ("10.0.0.1", "10.1.0.0/16")))
    assert (limits.message_length, limits.messages_a_minute, limits.users, limits.rooms, limits.streams) == (
        10,
        5,
        6,
        7,
        8,
    )
    assert settings.times.answer == 1.5


def test_every_option_has_a_variable(started: Started) -> None:
    values = {"port": "7", "hub_port": "8", "log_level": "ERROR", "trusted_proxy": "10.0.0.1,10.1.0.0/16 10.2.0.1"}
    values["log_format"] = "json"
    switches = {"open", "private", "embeds", "until_eof"}
    numbers = {"max_length", "rate", "max_users", "max_rooms", "streams", "answer_timeout"}
    for parameter in main.params:
        name = str(parameter.name)
        if name in ("version", "help"):
            continue
        value = values.get(name) or ("1" if name in switches else "9" if name in numbers else "/x")
        value = {"allowed_host": "x.example", "site_id": "hall"}.get(name, value)
        before = options(started)
        after = options(started, **{f"HIVEMIND_CHATROOM_{name.upper()}": value})
        assert after != before, name


def test_the_variables_of_released_satellites(started: Started) -> None:
    environ = {"SAT_KEY": "k", "SAT_PASSWORD": "p", "SAT_HOST": "hub", "SAT_PORT": "7"}
    assert options(started, **environ).hub == Hub("k", "p", "hub", 7)
    assert options(started, **environ, HIVEMIND_CHATROOM_KEY="own").hub.key == "own"
    assert options(started, "--key", "given", **environ).hub.key == "given"


def test_several_values_in_one_variable(started: Started) -> None:
    found = options(started, HIVEMIND_CHATROOM_ALLOWED_HOST="a.example, b.example c.example")
    assert found.settings.access.allowed_hosts == ("a.example", "b.example", "c.example")


def test_an_empty_variable_is_not_set(started: Started) -> None:
    names = ("PORT", "KEY", "HISTORY", "OPEN", "ROOM_PASSWORD", "TRUSTED_PROXY", "LOG_PATH")
    assert options(started, **{f"HIVEMIND_CHATROOM_{name}": "" for name in names}) == options(started)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), None),
        (("--history",), "state/hivemind/chatroom/history.db"),
        (("--history", "--embeds"), "state/hivemind/chatroom/history.db"),
        (("--history", "~/rooms.db"), "rooms.db"),
    ],
)
def test_the_history_is_where_it_was_asked_for(
    started: Started, own_home: Path, arguments: tuple[str, ...], expected: str | None
) -> None:
    found = options(started, *arguments).settings.history
    assert found == (None if expected is None else own_home / expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--log-level", "LOUD"),
        ("--port", "x"),
        ("--port", "65536"),
        ("--hub-port", "0"),
        ("--trusted-proxy", "proxy.example"),
        ("--trusted-proxy", "10.0.0.0/99"),
        ("--allowed-host", "http://chat.example"),
        ("--prefix", "chat"),
        ("--prefix", "/a b"),
        ("--prefix", "/a//b"),
        ("--room-password", " "),
        ("--max-length", "0"),
        ("--rate", "-1"),
        ("--streams", "100000"),
        ("--answer-timeout", "0"),
        ("--history", "~nobody at all/rooms.db"),
        ("surplus",),
        ("--no-such-option",),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(started: Started, arguments: tuple[str, ...]) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert "Traceback" not in result.output
    assert started.options == []


def test_help_and_version(started: Started) -> None:
    text = call("--help").output
    assert call("-h").output == text
    for option in ("--port", "--host", "--log-level", "--log-path"):
        assert option in text
    assert "--until-eof" not in text
    assert __version__ in call("--version").output
    assert started.options == []


def test_it_ends_badly_when_it_was_not_told_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "run", lambda options: False)
    assert call().exit_code == 1


# --- what keeps it from running -----------------------------------------------------------------------------------

HUB = ("--key", "k", "--password", "orbital-walnut", "--hub-host", "ws://127.0.0.1")


def fails(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    line = result.output.strip()
    assert line.startswith("Error: ")
    assert "\n" not in line
    return line


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts.logs, "start", lambda *_: None)
    monkeypatch.setattr("hivemind_chatroom.server.StopSignals.install", lambda self: None)


def test_without_an_identity(own_home: Path) -> None:
    assert "hivemind-client set-identity" in fails()
    assert list(own_home.rglob("*")) == [], "nothing is written for a chatroom that cannot run"


def test_with_a_port_that_is_taken(unlogged: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "another program listens there" in fails(*HUB, "--host", "127.0.0.1", "--port", port)


def test_with_a_secret_that_is_none(unlogged: None, own_home: Path) -> None:
    path = own_home / "state" / "hivemind" / "chatroom" / "secret"
    path.parent.mkdir(parents=True)
    path.write_text("nonsense")
    assert str(path) in fails(*HUB, "--host", "127.0.0.1", "--port", "0")


def test_with_a_history_that_is_none(unlogged: None, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_text("nonsense" * 1000)
    assert str(path) in fails(*HUB, "--host", "127.0.0.1", "--port", "0", "--history", str(path))


def test_with_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "--log-path" in fails(*HUB, "--log-path", str(tmp_path / "file"))


@pytest.mark.parametrize("package", ["flask", "waitress"])
def test_without_the_web_packages(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in (package, "hivemind_chatroom")]:
        if name.partition(".")[0] == package or name.rpartition(".")[2] in ("app", "gate", "server"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    line = fails(*HUB)
    assert re.fullmatch(rf"Error: The chatroom needs {package}\S*, .* pip install 'hivemind-mesh\[chatroom\]'", line)


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: Options) -> bool:
        raise ModuleNotFoundError("No module named 'ours'", name="ours")

    monkeypatch.setattr(scripts, "run", run)
    assert isinstance(call().exception, ModuleNotFoundError)


# --- what it says when it runs ------------------------------------------------------------------------------------


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, unlogged: None) -> list[Any]:
    """Everything is made as it is, and then not served."""
    made: list[Any] = []

    def serve(*parts: Any) -> bool:
        parts[0].stop(0)
        made.append(parts)
        return True

    monkeypatch.setattr("hivemind_chatroom.server.serve", serve)
    return made


@pytest.mark.parametrize(
    ("own", "arguments", "lines"),
    [
        (
            "192.168.1.7",
            (),
            ["The chatroom is open at http://localhost:P", "On a phone in the same network: http://192.168.1.7:P"],
        ),
        ("203.0.113.9", (), ["The chatroom is open at http://localhost:P"]),
        (
            "203.0.113.9",
            ("--room-password", "sesame"),
            ["The chatroom is open at http://localhost:P", "On a phone in the same network: http://203.0.113.9:P"],
        ),
        (
            "192.168.1.7",
            ("--open", "--prefix", "/chat"),
            [
                "The chatroom is open at http://localhost:P/chat/",
                "On a phone in the same network: http://192.168.1.7:P/chat/",
                "Warning: --open serves everybody who can reach this machine, without a password.",
            ],
        ),
        (
            "192.168.1.7",
            ("--host", "127.0.0.1", "--open"),
            ["The chatroom is open at http://localhost:P"],
        ),
    ],
)
def test_it_says_where_it_is_and_who_may_come(
    served: list[Any], monkeypatch: pytest.MonkeyPatch, own: str, arguments: tuple[str, ...], lines: list[str]
) -> None:
    monkeypatch.setattr(sockets, "own_address", lambda: own)
    result = call(*HUB, "--port", "0", "--streams", "1", *arguments)
    assert result.exit_code == 0, result.output
    assert re.sub(r":\d+", ":P", result.output).splitlines() == lines
    assert "orbital" not in result.output


def test_it_keeps_who_is_who_and_the_rooms(served: list[Any], own_home: Path) -> None:
    for _ in range(2):
        assert call(*HUB, "--host", "127.0.0.1", "--port", "0", "--streams", "1", "--history").exit_code == 0
    (one, two) = (parts[1].settings for parts in served)
    assert one.secret == two.secret
    assert len(one.secret) == 32
    assert (own_home / "state" / "hivemind" / "chatroom" / "history.db").exists()
    for parts in served:
        parts[1].stop()
