"""The identity of a satellite and the address in it, as people get them wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.processes import free_port
from helpers.strangers import LOCAL, hangs_up, http, stranger
from hivemind_bus_client.doctor import credentials
from hivemind_bus_client.doctor.credentials import is_weak
from hivemind_bus_client.doctor.findings import Finding
from hivemind_bus_client.doctor.visit import Visit
from hivemind_bus_client.identity import NodeIdentity
from hivemind_bus_client.options import Target

KEY, PASSWORD = "0123456789abcdef", "fedcba9876543210x"
GOOD = {"access_key": KEY, "password": PASSWORD, "default_master": f"ws://{LOCAL}", "default_port": 5678}
Checked = Callable[[Visit], Iterator[Finding]]


def visit(path: Path, *, text: str | None = None, mode: int = 0o600, **target: Any) -> Visit:
    """A visit of somebody whose identity file holds this text."""
    if text is not None:
        path.write_text(text, "utf-8")
        path.chmod(mode)
    given = {"key": "", "password": "", "host": "", "port": None, "siteid": "", "timeout": 5.0, **target}
    return Visit(Target(**given), path, lambda: NodeIdentity(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "_identity.json"


def told(check: Checked, examined: Visit) -> list[tuple[str, str]]:
    found = list(check(examined))
    for finding in found:
        assert bool(finding.cure) == (finding.verdict != "ok"), finding
        assert PASSWORD not in finding.reason + finding.cure
    return [(finding.verdict, finding.reason) for finding in found]


def test_all_is_well(path: Path) -> None:
    examined = visit(path, text=json.dumps(GOOD))
    assert [verdict for verdict, _ in told(credentials.identity, examined)] == ["ok"]
    assert (examined.key, examined.password) == (KEY, PASSWORD)
    assert PASSWORD not in repr(examined)


def test_without_a_file(path: Path) -> None:
    assert told(credentials.identity, visit(path)) == [("FAIL", f"There is no identity file {path}.")]
    by_hand = told(credentials.identity, visit(path, key=KEY, password=PASSWORD))
    assert [verdict for verdict, _ in by_hand] == ["ok"]
    assert not path.exists()


@pytest.mark.parametrize("text", ["", '{"access_key": ', "[]", "null"])
def test_a_file_that_is_no_json_object(path: Path, text: str) -> None:
    examined = visit(path, text=text)
    ((verdict, reason),) = told(credentials.identity, examined)
    assert (verdict, str(path) in reason) == ("FAIL", True)
    assert examined.identity is None
    assert told(credentials.keys, examined) == []
    assert path.read_text("utf-8") == text


def test_a_file_that_others_can_read(path: Path) -> None:
    assert told(credentials.identity, visit(path, text=json.dumps(GOOD), mode=0o644)) == [
        ("warn", f"Others can get at {path} (mode 644).")
    ]


@pytest.mark.parametrize(
    ("changed", "verdict", "part"),
    [
        ({"access_key": None}, "FAIL", "no access key."),
        ({"password": ""}, "FAIL", "no password."),
        ({"password": None, "access_key": None}, "FAIL", "no access key and no password."),
        ({"password": "PASSWORD"}, "FAIL", "The password is the word of the instructions"),
        ({"access_key": "KEY"}, "FAIL", "The access key is the word of the instructions"),
        ({"access_key": f"{KEY} "}, "warn", "The access key begins or ends with a blank."),
        ({"password": "hivemind"}, "warn", "The password is easy to guess"),
        ({"password": KEY}, "warn", "The password is easy to guess"),
    ],
)
def test_secrets_that_cannot_be_right(path: Path, changed: dict[str, Any], verdict: str, part: str) -> None:
    found = told(credentials.identity, visit(path, text=json.dumps({**GOOD, **changed})))
    assert [kind for kind, _ in found] == ["ok", verdict]
    assert part in found[-1][1]


def test_a_value_of_the_wrong_kind(path: Path) -> None:
    [(verdict, text)] = told(credentials.identity, visit(path, text=json.dumps({**GOOD, "access_key": 5})))
    assert verdict == "FAIL"
    assert "access_key" in text


@pytest.mark.parametrize("password", ["password", "aaaaaaaaaaaaaaaaaaaaaaaa", "1234567890123", "short1", "12345678"])
def test_weak_passwords(password: str) -> None:
    assert is_weak(password)


@pytest.mark.parametrize("password", [PASSWORD, "correct horse battery staple", "4f6c2a90d1e84b7730aa55cc19f0be21"])
def test_strong_passwords(password: str) -> None:
    assert not is_weak(password)


def read(examined: Visit) -> Visit:
    list(credentials.identity(examined))
    return examined


def test_the_keys_of_a_device(path: Path) -> None:
    examined = read(visit(path, text=json.dumps({**GOOD, "name": "kitchen"})))
    noise = path.parent / "kitchen_noise.key"
    ((verdict, reason),) = told(credentials.keys, examined)
    assert (verdict, "no key yet" in reason, noise.exists()) == ("ok", True, False)
    noise.write_text("ab" * 32)
    noise.chmod(0o644)
    assert [verdict for verdict, _ in told(credentials.keys, examined)] == ["warn", "ok"]
    noise.chmod(0o600)
    noise.write_text("not a key")
    assert told(credentials.keys, examined) == [("FAIL", f"{noise} holds no key.")]


def test_a_pin_that_is_no_key(path: Path) -> None:
    pins = {"one:5678": "ab" * 32, "two:5678": "abc"}
    examined = read(visit(path, text=json.dumps({**GOOD, "pinned_noise_keys": pins})))
    assert told(credentials.keys, examined)[-1] == ("FAIL", "What is pinned for two:5678 is no key.")


@pytest.mark.parametrize(
    ("stored", "given", "expected"),
    [
        ({}, {}, f"ws://{LOCAL}:5678"),
        ({"default_port": "5700"}, {}, f"ws://{LOCAL}:5700"),
        ({}, {"port": 5701}, f"ws://{LOCAL}:5701"),
        ({}, {"host": "wss://other"}, "wss://other:5678"),
        ({}, {"host": "http://other"}, "http://other:5679"),
    ],
)
def test_the_address_that_is_dialled(path: Path, stored: Any, given: Any, expected: str) -> None:
    examined = read(visit(path, text=json.dumps({**GOOD, **stored}), **given))
    assert told(credentials.address, examined) == [("ok", f"The hub is to be at {expected}.")]
    assert str(examined.address) == expected


@pytest.mark.parametrize(
    ("host", "part"),
    [("", "not known where"), ("ftp://hub", "write it as"), ("ws://hub/path", "only a name"), ("ws://:1", "host name")],
)
def test_an_address_that_cannot_be_dialled(path: Path, host: str, part: str) -> None:
    examined = read(visit(path, text=json.dumps({**GOOD, "default_master": host})))
    ((verdict, reason),) = told(credentials.address, examined)
    assert (verdict, part in reason, examined.address) == ("FAIL", True, None)


def test_what_cannot_be_reached_is_not_dialled_again(path: Path) -> None:
    examined = read(visit(path, text=json.dumps({**GOOD, "default_port": free_port()})))
    list(credentials.address(examined))
    assert [verdict for verdict, _ in told(credentials.network, examined)] == ["FAIL"]
    assert examined.address is None
    assert [*told(credentials.network, examined), *told(credentials.door, examined)] == []


def test_what_is_no_server_for_websockets_is_not_dialled_again(path: Path) -> None:
    for manner, is_left in ((hangs_up, False), (http(), True)):
        with stranger(manner) as port:
            examined = read(visit(path, text=json.dumps({**GOOD, "default_port": port})))
            list(credentials.address(examined))
            assert [verdict for verdict, _ in told(credentials.network, examined)] == ["ok"]
            assert [verdict for verdict, _ in told(credentials.door, examined)] == ["ok" if is_left else "FAIL"]
            assert (examined.address is not None) is is_left
