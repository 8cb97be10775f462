"""``hivemind-core policy``: the chain as the hub runs it, and a dry run of one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.hub_commands import add, hub_command, said, stored
from hivemind_bus_client.message import Message
from hivemind_core import plugins
from hivemind_core.clients import Client
from hivemind_core.config import default_path
from hivemind_core.policy import ALLOW, Verdict


@pytest.fixture(autouse=True)
def no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Making RSA keys takes long, and is tested elsewhere."""
    monkeypatch.setattr("hivemind_core.hub_identity.load_identity", lambda: None)


class NightPolicy:
    """Somebody's own: children say nothing at night, and every message is marked."""

    def review(self, message: Message, client: Client) -> Verdict:
        if client.metadata.get("child"):
            return Verdict.deny("night", "Sleep well.", until=7)
        return Verdict(mutations=(self.mark,))

    def review_binary(self, data: bytes, client: Client) -> Verdict:
        return ALLOW

    def mark(self, message: Message) -> None:
        message.context["session"]["marked"] = True


class Point:
    name = "night-policy"

    def load(self) -> Any:
        return NightPolicy


def chain(*modules: str | dict[str, Any]) -> Path:
    """Configure a chain."""
    items = [module if isinstance(module, dict) else {"module": module} for module in modules]
    path = default_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"policy": {"chain": items}}))
    return path


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [Point()] if group == "hivemind.policy" else [])


def listed(*arguments: str) -> list[tuple[int, str, str]]:
    rows = json.loads(hub_command("policy", "list", "--json", *arguments).out)
    return [(row["position"], row["plugin"], row["source"]) for row in rows]


BUILT_IN = [(0, "MessageTypeACLPolicy", "builtin"), (1, "DefaultSessionPolicy", "builtin")]


# list


def test_the_chain_is_listed() -> None:
    text = said("policy", "list")
    assert text.splitlines()[0].strip() == "Policy Chain"
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [
        ["0", "MessageTypeACLPolicy", "builtin"],
        ["1", "DefaultSessionPolicy", "builtin"],
        ["2", "OVOSAgentPolicy", "config"],
    ]
    for heading in ("Position", "Plugin", "Source"):
        assert heading in text


@pytest.mark.usefixtures("installed")
def test_programs_are_told_more() -> None:
    chain({"module": "night-policy", "optional": True})
    assert json.loads(said("policy", "list", "--json"))[2] == {
        "position": 2,
        "plugin": "NightPolicy",
        "module": "night-policy",
        "source": "config",
        "optional": True,
    }


def test_a_chain_that_cannot_be_built_is_listed_as_it_acts() -> None:
    chain("hivemind-ovos-agent-policy", "not-there")
    ran = hub_command("policy", "list")
    assert ran.code == 1
    assert "MessageTypeACLPolicy" in ran.out
    assert ran.err == f"Error: {ran.error}\n"
    assert ran.error.startswith(
        "The policy not-there cannot be used, so the hub refuses every message: there is no policy named 'not-there';"
    )
    assert "`policy.chain` of server.json" in ran.error
    assert listed() == [*BUILT_IN, (2, "DenyAllPolicy", "fallback")]


def test_an_optional_policy_that_is_missing_is_noted() -> None:
    chain({"module": "not-there", "optional": True})
    ran = hub_command("policy", "list", "--json")
    assert ran.code == 0
    assert ran.err.startswith("NOTE: the policy not-there cannot be used, and it is passed over: there is no policy")
    assert listed() == BUILT_IN


def test_nothing_is_read_but_the_configuration() -> None:
    said("policy", "list")
    assert not default_path().parent.exists()


# test


def tried(*arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(said("policy", "test", *arguments))
    return document


def test_an_allowed_message_shows_what_is_changed_on_its_way() -> None:
    metadata = {"skill_blacklist": ["skill.a", "skill.b"], "intent_blacklist": ["i:j"]}
    row = add("key", allowed_types=("speak",), metadata=metadata)
    assert tried("key", "speak") == {
        "denied": False,
        "code": "",
        "reason": "",
        "data": {},
        "mutations": ["AddBlacklistedSkill", "AddBlacklistedSkill", "AddBlacklistedIntent"],
        "session": {"blacklisted_skills": ["skill.a", "skill.b"], "blacklisted_intents": ["i:j"]},
    }
    assert stored(1) == row


def test_a_denied_message_says_why_and_what_to_do() -> None:
    add("key", allowed_types=("speak",), metadata={"skill_blacklist": ["a"]})
    denied = tried("key", "mycroft.stop")
    assert (denied["denied"], denied["code"], denied["mutations"]) == (True, "acl_disallowed_type", [])
    assert denied["data"] == {"msg_type": "mycroft.stop"}
    assert "`hivemind-core allow-msg mycroft.stop 1`" in denied["reason"]


@pytest.mark.usefixtures("installed")
def test_policies_of_others_see_the_client() -> None:
    chain("night-policy")
    add("child", allowed_types=("speak",), metadata={"child": True})
    add("adult", allowed_types=("speak",))
    denied = tried("child", "speak")
    assert (denied["code"], denied["reason"], denied["data"]) == ("night", "Sleep well.", {"until": 7})
    allowed = tried("adult", "speak")
    assert (allowed["denied"], allowed["mutations"]) == (False, ["NightPolicy.mark"])
    assert allowed["session"] == {"marked": True}


def test_an_administrator_is_bound_by_the_list_too() -> None:
    add("key", is_admin=True)
    assert tried("1", "speak")["code"] == "acl_disallowed_type"


def test_a_chain_that_cannot_be_built_denies() -> None:
    chain("not-there")
    add("key", allowed_types=("speak",))
    ran = hub_command("policy", "test", "key", "speak")
    assert (ran.code, json.loads(ran.out)["code"]) == (0, "policy_chain_unavailable")
    assert ran.err.startswith("NOTE: the policy not-there cannot be used, and the hub refuses every message:")
    assert "Traceback" not in ran.err


def test_an_unknown_key_is_an_error() -> None:
    ran = hub_command("policy", "test", "nope", "speak")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error == "no client found for api_key='nope'. See `hivemind-core list-clients`."


@pytest.mark.parametrize("arguments", [[], ["key"], ["key", ""], ["key", "a b"], ["key", "a", "b"]])
def test_wrong_arguments_are_usage_errors(arguments: list[str]) -> None:
    add("key")
    ran = hub_command("policy", "test", *arguments)
    assert (ran.code, ran.out) == (2, "")
