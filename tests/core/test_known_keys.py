"""Keys that nothing reads, and what was probably meant."""

from __future__ import annotations

from typing import Any

import pytest

from hivemind_core.config import DEFAULTS, HTTP_DEFAULTS, WEBSOCKET_DEFAULTS
from hivemind_core.known_keys import remarks, unknown_keys

WEBSOCKET = "hivemind-websocket-plugin"
HTTP = "hivemind-http-plugin"


def test_every_default_is_known() -> None:
    assert unknown_keys(DEFAULTS) == []
    assert unknown_keys({"network_protocol": {WEBSOCKET: {**WEBSOCKET_DEFAULTS, "cert_dir": "x"}}}) == []
    http = {**HTTP_DEFAULTS, "cert_dir": "x", "session_backend": "memory", "replica_id": None}
    assert unknown_keys({"network_protocol": {HTTP: http}}) == []
    assert list(remarks({"network_protocol": {HTTP: http}})) == []
    assert list(remarks(DEFAULTS)) == []


@pytest.mark.parametrize(
    ("document", "key", "meant"),
    [
        ({"binarise": True}, "binarise", "binarize"),
        ({"network_protocol": {WEBSOCKET: {"prot": 1}}}, f"network_protocol.{WEBSOCKET}.prot", "port"),
        (
            {"network_protocol": {"hivemind-websoket-plugin": {}}},
            "network_protocol.hivemind-websoket-plugin",
            WEBSOCKET,
        ),
        ({"policy": {"chain": [{}, {"module": "x", "optinal": 1}]}}, "policy.chain[1].optinal", "optional"),
        ({"agent_protocol": {"hivemind-ovos-agent-plugin": {"prot": 1}}}, None, "port"),
        ({"binary_protocol": {"module": "files", "files": {"foldr": 1}}}, "binary_protocol.files.foldr", "folder"),
        ({"agent_protocol": {"hivemind-ovs-agent-plugin": {}}}, None, "hivemind-ovos-agent-plugin"),
    ],
)
def test_a_misspelt_one_is_told(document: dict[str, Any], key: str | None, meant: str) -> None:
    ((path, suggested),) = unknown_keys(document)
    assert key in (None, path)
    assert suggested is not None
    assert suggested.rpartition(".")[2] == meant
    assert suggested.rpartition(".")[0] == path.rpartition(".")[0]


def test_one_in_the_wrong_place_is_shown_its_own() -> None:
    assert unknown_keys({"port": 1}) == [("port", f"network_protocol.{WEBSOCKET}.port")]
    assert unknown_keys({"xyzzy": 1}) == [("xyzzy", None)]
    assert list(remarks({"port": 1, "xyzzy": 1})) == [
        f"nothing reads the key `port`; it is ignored. Did you mean `network_protocol.{WEBSOCKET}.port`?",
        "nothing reads the key `xyzzy`; it is ignored.",
    ]


@pytest.mark.parametrize(
    "document",
    [
        {"network_protocol": {"module": "x", "hivemind-mqtt-plugin": {"qos": 1}}},
        {"agent_protocol": {"module": "my-agent", "my-agent": {"anything": 1}}},
        {"binary_protocol": {"module": "x", "x": {"wakeword": "hey"}}},
        {"utterance_transformers": {"x": {"order": []}}},
        {"policy": {"chain": [{"module": "x", "config": {"anything": 1}}, 3]}},
        {"_comment": "mine", "// note": 1, "#": 2},
        {"network_protocol": None, "policy": 3, "database": []},
    ],
)
def test_what_is_somebody_elses_is_left_alone(document: dict[str, Any]) -> None:
    assert unknown_keys(document) == []


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"network_protocol": {"hivemind-mqtt-plugin": {}}}, "network_protocol.hivemind-mqtt-plugin"),
        ({"network_protocol": {HTTP: {"session_backend": "redis"}}}, f"network_protocol.{HTTP}.session_backend"),
        ({"network_protocol": {HTTP: {"replica_id": "one"}}}, f"network_protocol.{HTTP}.replica_id"),
        ({"dialog_transformers": {"x": {}}}, "dialog_transformers"),
    ],
)
def test_what_is_not_served_is_said(document: dict[str, Any], key: str) -> None:
    (sentence,) = remarks(document)
    assert sentence.startswith(f"`{key}` has no effect: ")
