"""server.json as people get it wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hivemind_core.config import HTTP_MODULE as HTTP
from hivemind_core.config import WEBSOCKET_MODULE as WEBSOCKET
from hivemind_core.config import ConfigError, default_path
from hivemind_core.doctor.case import HubCase
from hivemind_core.doctor.settings import look, unusable


def found(document: Any = None, *, text: str = "", mode: int = 0o600) -> tuple[HubCase, list[tuple[str, str, str]]]:
    """Write the file, and what there is to say of it."""
    if document is not None or text:
        path = default_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or json.dumps(document), "utf-8")
        path.chmod(mode)
    case = HubCase()
    return case, [(each.verdict, each.reason, each.cure) for each in look(case)]


def test_without_a_file_the_defaults_count() -> None:
    case, ((verdict, reason, cure),) = found()
    assert (verdict, cure, "defaults" in reason) == ("ok", "", True)
    assert case.config is not None


@pytest.mark.parametrize("text", ['{"a', "[]", '{"log_level": "LOUD"}', '{"upstream": {"enabled": true, "key": 5}}'])
def test_a_file_that_cannot_be_used(text: str) -> None:
    case, ((verdict, reason, cure),) = found(text=text)
    assert (verdict, bool(cure), case.config) == ("FAIL", True, None)
    assert str(default_path()) in reason
    assert default_path().read_text("utf-8") == text


def test_a_file_that_was_named_and_is_not_there(tmp_path: Path) -> None:
    case = HubCase(tmp_path / "mine.json")
    (told,) = look(case)
    assert (told.verdict, case.config) == ("FAIL", None)


def test_a_key_that_nothing_reads() -> None:
    _, (_, (verdict, reason, cure)) = found({"presnce": {}})
    assert (verdict, bool(cure)) == ("warn", True)
    assert "`presnce`" in reason
    assert "`presence`" in reason


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({"min_password_bits": 0}, "easy to guess"),
        ({"runtime_password_strength_check": False}, "easy to guess"),
        ({"min_protocol_version": 0}, "Protocol v0"),
        ({"max_connections_per_address": 0}, "any number of connections"),
        ({"limits": {"client_messages_per_s": 0, "client_bytes_per_s": 0}}, "as much as it likes"),
        ({"network_protocol": {HTTP: {"host": "127.0.0.1", "allowed_origins": "*"}, WEBSOCKET: {}}}, "Any web page"),
        ({"admin": {"port": 1, "host": "0.0.0.0", "token": "a-token-of-some-length"}}, "in the clear"),
        ({"agent_protocol": {"module": "embedded", "embedded": {"host": "0.0.0.0"}}}, "open to the whole network"),
        ({"policy": {"chain": [{"module": "x", "optional": True}]}}, "optional policy"),
    ],
)
def test_what_is_risky(document: dict[str, Any], part: str) -> None:
    _, (_, (verdict, reason, cure)) = found(document)
    assert (verdict, part in reason, bool(cure)) == ("warn", True, True)


def test_no_transport_is_a_failure() -> None:
    _, told = found({"network_protocol": {}})
    assert [verdict for verdict, _, _ in told] == ["ok", "FAIL"]


@pytest.mark.parametrize(("password", "verdicts"), [("", ["ok"]), ("secret-of-above", ["ok", "warn"])])
def test_a_file_with_secrets_is_for_its_owner(password: str, verdicts: list[str]) -> None:
    document = {"upstream": {"enabled": True, "host": "above", "key": "k", "password": password}}
    _, told = found(document, mode=0o644)
    assert [verdict for verdict, _, _ in told] == verdicts
    assert "secret-of-above" not in str(told)


@pytest.mark.parametrize(
    ("text", "reason", "cure"),
    [
        ("It is broken. Run: mend it", "It is broken.", "Run: mend it"),
        (
            "Error 111. Connection refused. See whether it runs.",
            "Error 111. Connection refused.",
            "See whether it runs.",
        ),
        ("Nothing is known.", "Nothing is known.", "Look."),
    ],
)
def test_what_the_hub_says_is_parted_from_what_to_do(text: str, reason: str, cure: str) -> None:
    told = unusable("x", ConfigError(text), "Look.")
    assert (told.reason, told.cure) == (reason, cure)
