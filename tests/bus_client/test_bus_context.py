import pytest

from hivemind_bus_client.bus_context import OTHERS_KEPT, OtherSessions, Speaker, localise, session_state, stamp
from hivemind_bus_client.message import Message

ME = Speaker("agent", "mine", "kitchen")


def test_what_is_missing_is_filled_in():
    sent = stamp(Message("x", {"a": 1}), ME, {}, 0)
    assert sent.context == {
        "source": "agent",
        "platform": "agent",
        "destination": "HiveMind",
        "session": {"session_id": "mine", "site_id": "kitchen"},
    }
    assert (sent.msg_type, sent.data) == ("x", {"a": 1})


def test_what_is_there_stays():
    """A chat room sends for many users, each with a session of his own."""
    given = {
        "source": "s",
        "platform": "p",
        "destination": ["d"],
        "session": {"session_id": "user", "lang": "pt"},
        "k": 1,
    }
    sent = stamp(Message("x", {}, given), ME, {"active_handlers": ["mine"]}, 0)
    assert sent.context == {**given, "session": {"session_id": "user", "lang": "pt", "site_id": "kitchen"}}


def test_the_callers_message_is_not_changed():
    session: dict = {"lang": "pt"}
    message = Message("x", {}, {"session": session})
    stamp(message, ME, {}, 0)
    assert message.context == {"session": {"lang": "pt"}}


def test_the_hubs_last_state_goes_back_with_a_message_that_brings_none():
    state = {"active_handlers": ["a"], "response_mode": {"expires_at": 100}}
    assert stamp(Message("x"), ME, state, 99).context["session"]["response_mode"] == {"expires_at": 100}
    late = stamp(Message("x", {}, {"session": {}}), ME, state, 100).context["session"]
    assert late == {"active_handlers": ["a"], "session_id": "mine", "site_id": "kitchen"}
    assert state["response_mode"] == {"expires_at": 100}
    assert stamp(Message("x"), ME, {"response_mode": "odd"}, 0).context["session"]["response_mode"] == "odd"


def test_the_state_goes_beside_what_the_message_says_of_its_session():
    state = {"active_handlers": ["a"], "utterance_states": {"b": "response"}}
    sent = stamp(Message("x", {}, {"session": {"lang": "pt", "active_handlers": []}}), ME, state, 0)
    assert sent.context["session"] == {
        "active_handlers": [],
        "utterance_states": {"b": "response"},
        "lang": "pt",
        "session_id": "mine",
        "site_id": "kitchen",
    }


def test_older_ovos_gets_the_context_of_intents_back():
    intents = {"timeout": 120, "frame_stack": [[{"entities": []}, 1.5]]}
    assert session_state({"session": {"session_id": "mine", "context": intents}}, "mine") == {"context": intents}
    for nothing in ({"frame_stack": []}, "odd", None):
        assert session_state({"session": {"session_id": "mine", "context": nothing}}, "mine") == {}


def test_the_state_of_other_sessions_is_kept_for_each_and_bounded():
    others = OtherSessions()
    for number in range(OTHERS_KEPT + 1):
        others.note({"session": {"session_id": str(number), "active_handlers": [number], "lang": "en"}})
    others.note({"session": {"session_id": "1", "active_handlers": [-1]}})
    others.note({"session": {"session_id": "another", "lang": "en"}})
    for nothing in ({}, {"session": "1"}, {"session": {"session_id": 5}}):
        others.note(nothing)
    assert others.state("0") == others.state("2") == others.state("unheard of") == others.state("another") == {}
    assert others.state("1") == {"active_handlers": [-1]}
    assert others.state("3") == {"active_handlers": [3]}


def test_a_session_that_is_no_object_is_refused():
    with pytest.raises(ValueError, match="session"):
        stamp(Message("x", {}, {"session": "mine"}), ME, {}, 0)


def test_only_the_own_sessions_state_is_kept():
    session = {"session_id": "mine", "lang": "en", "active_handlers": ["a"], "intent_context": None}
    assert session_state({"session": session}, "mine") == {"active_handlers": ["a"]}
    assert session_state({"session": session}, "other") is None
    assert session_state({"session": "mine"}, "mine") is None
    assert session_state({}, "mine") is None


def test_a_received_message_is_made_local():
    """docs/protocol.md 3.3"""
    context = {
        "source": "hive",
        "destination": "agent::1::sat::mine",
        "hivemind_verified_source_peer": "PEM",
        "session": {"session_id": "mine", "site_id": "elsewhere", "lang": "en"},
        "k": 1,
    }
    message = Message("speak", {"utterance": "hi"}, context)
    local = localise(message, ME)
    assert local.context == {
        "source": "agent::1::sat::mine",
        "session": {"session_id": "mine", "site_id": "kitchen", "lang": "en"},
        "k": 1,
    }
    assert message.context["source"] == "hive"
    assert message.context["session"]["site_id"] == "elsewhere"


def test_another_sessions_place_stays():
    session = {"session_id": "user", "site_id": "elsewhere"}
    assert localise(Message("x", {}, {"session": session}), ME).context == {"session": session}
