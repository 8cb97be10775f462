"""The vault: the cluster's keys in a real Redis."""

from __future__ import annotations

import builtins
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.processes import Children
from helpers.redis_server import RedisServer
from hivemind_core import service
from hivemind_core.cluster import vault
from hivemind_core.cluster.shared_identity import SealedIdentity, read
from hivemind_core.cluster.vault import Overtaken, cluster_secret, sealed_identity
from hivemind_core.cluster_config import ClusterConfig
from hivemind_core.config import ConfigError, load_config
from hivemind_core.hub_identity import load_identity

SEALED = SealedIdentity("f" * 32, "c" * 16, b"sealed")


@pytest.fixture
def config(children: Children) -> ClusterConfig:
    server = RedisServer(children)
    return ClusterConfig(port=server.port, name="home")


def test_it_stores_in_place_of_what_it_saw_and_nothing_else(config: ClusterConfig) -> None:
    newer = replace(SEALED, sealed=b"newer")
    with vault.opened(config) as opened:
        assert opened.stored() is None
        opened.put(SEALED, None)
        first = opened.stored()
        assert first is not None
        assert read(first) == SEALED
        with pytest.raises(Overtaken):
            opened.put(newer, None)
        assert opened.stored() == first
        opened.put(newer, first)
        with pytest.raises(Overtaken):
            opened.put(SEALED, first)
        assert sealed_identity(config, opened.stored() or b"") == newer


def test_clusters_of_other_names_are_apart(config: ClusterConfig) -> None:
    with vault.opened(config) as opened:
        opened.put(SEALED, None)
    with vault.opened(replace(config, name="other")) as opened:
        assert opened.stored() is None


def test_the_secret_is_that_of_the_identity() -> None:
    identity = load_identity()
    assert cluster_secret(identity) == cluster_secret(load_identity())
    assert identity.noise_key != cluster_secret(identity) != cluster_secret(replace(identity, noise_key=bytes(32)))


def test_without_redis_py_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'hivemind-mesh\[redis\]'"), vault.opened(ClusterConfig()):
        pass


def test_the_hub_says_so_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.delitem(sys.modules, "hivemind_core.cluster.joining", raising=False)
    path = tmp_path / "server.json"
    path.write_text('{"cluster": {"url": "redis://127.0.0.1:1"}}')
    with pytest.raises(ConfigError, match=r"pip install 'hivemind-mesh\[redis\]'"):
        service.build(load_config(path))


def test_the_commands_come_without_redis_py(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def guarded(name: str, *rest: Any) -> Any:
        assert name.partition(".")[0] != "redis"
        return real(name, *rest)

    for name in [name for name in sys.modules if name.startswith(("hivemind_core.cluster", "hivemind_core.scripts"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", guarded)
    import hivemind_core.scripts

    assert "cluster" in hivemind_core.scripts.hmcore_cmds.commands
