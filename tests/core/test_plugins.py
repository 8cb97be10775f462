from __future__ import annotations

from typing import Any

import pytest

from hivemind_bus_client.message import Message
from hivemind_core import plugins
from hivemind_core.clients import Client
from hivemind_core.policy import ALLOW, Verdict

CLIENT = Client(1, "k", allowed_types=("hello",))


class Mine:
    def __init__(self, word: str = "x") -> None:
        self.word = word

    def review(self, message: Message, client: Client) -> Verdict:
        return ALLOW if message.data.get("word") == self.word else Verdict.deny("mine", "wrong word")

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW


class Point:
    name = "my-policy"

    def load(self) -> Any:
        return Mine


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [Point()] if group == "hivemind.policy" else [])


def said(**data: Any) -> Message:
    return Message("hello", data, {"session": {"session_id": "s"}})


def test_the_default_chain() -> None:
    chain = plugins.build_policies([{"module": "hivemind-ovos-agent-policy"}])
    assert chain.names == ["MessageTypeACLPolicy", "DefaultSessionPolicy", "hivemind-ovos-agent-policy"]
    assert chain.review(said(), CLIENT).allowed


@pytest.mark.usefixtures("installed")
def test_a_plugin_gets_its_configuration() -> None:
    chain = plugins.build_policies([{"module": "my-policy", "config": {"word": "please"}}])
    assert chain.review(said(word="please"), CLIENT).allowed
    assert chain.review(said(), CLIENT).code == "mine"


@pytest.mark.parametrize("item", [{"module": "not-there"}, {"module": "my-policy", "config": {"nope": 1}}])
@pytest.mark.usefixtures("installed")
def test_a_chain_that_cannot_be_built_refuses_everything(item: dict[str, Any]) -> None:
    refused = plugins.build_policies([item]).review(said(), CLIENT)
    assert refused.code == "policy_chain_unavailable"
    assert plugins.build_policies([{**item, "optional": True}]).review(said(), CLIENT).allowed


def test_the_built_in_ones_cannot_be_reordered() -> None:
    chain = plugins.build_policies([{"module": "hivemind-message-type-acl-policy", "optional": True}])
    assert chain.names == ["MessageTypeACLPolicy", "DefaultSessionPolicy"]


@pytest.mark.usefixtures("installed")
def test_what_cannot_be_used_is_told_without_a_log(caplog: pytest.LogCaptureFixture) -> None:
    chain, unusable = plugins.load_policies(
        [{"module": "a", "optional": True}, {"module": "my-policy"}, {"module": "b"}]
    )
    assert [(item.module, type(item.error), item.optional) for item in unusable] == [
        ("a", plugins.NoSuchPolicy, True),
        ("b", plugins.NoSuchPolicy, False),
    ]
    assert chain.names[-1] == plugins.FALLBACK
    assert caplog.records == []
    plugins.build_policies([{"module": "a", "optional": True}])
    plugins.build_policies([{"module": "my-policy", "config": {"nope": 1}}])
    told = [(record.levelname, record.exc_info is not None) for record in caplog.records]
    assert told == [("ERROR", False), ("ERROR", True)], "only a policy that is there can have failed"
    assert "there is no policy named 'a'; the known ones are: " in caplog.text
