from __future__ import annotations

import pytest

from hivemind_core.agents import AGENTS, Agent, create_agent
from hivemind_core.config import ConfigError


@pytest.mark.parametrize("module", AGENTS)
def test_every_known_name_makes_an_agent(module: str) -> None:
    agent: Agent = create_agent(module, {"host": "127.0.0.1", "port": 8181}, lambda: ["kitchen"])
    assert agent.name in AGENTS
    assert agent.name == {"ovos": "hivemind-ovos-agent-plugin"}.get(module, module)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        create_agent("hal9000", {})
    assert "hal9000" in str(caught.value)
    for name in AGENTS:
        assert name in str(caught.value)


@pytest.mark.parametrize("module", ["auto", "embedded", "ovos"])
def test_settings_that_cannot_be_are_a_config_error(module: str) -> None:
    with pytest.raises(ConfigError, match="port"):
        create_agent(module, {"port": "http"})
