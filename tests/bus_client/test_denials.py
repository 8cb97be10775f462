import pytest

from hivemind_bus_client.denials import cure, read_denial, sentence, told

PEER = "agent::7::kitchen::uuid"


def test_the_cure_names_message_and_client():
    denial = read_denial(
        {"denied_type": "mycroft.stop", "code": "acl_disallowed_type", "reason": "mycroft.stop not in allowed_types"},
        {"source": PEER},
    )
    assert str(denial) == (
        "the hub denied mycroft.stop: mycroft.stop not in allowed_types. "
        "On the hub run `hivemind-core allow-msg mycroft.stop 7`."
    )


def test_the_client_is_found_before_the_context_was_localised_too():
    assert (
        "allow-msg x 7" in read_denial({"denied_type": "x", "code": "acl_disallowed_type"}, {"destination": PEER}).cure
    )
    assert "allow-msg x ID" in read_denial({"denied_type": "x", "code": "acl_disallowed_type"}, {}).cure


def test_what_the_hub_sent_cannot_become_another_command():
    denial = read_denial({"denied_type": "x; reboot", "code": "acl_disallowed_type"}, {})
    assert "allow-msg 'x; reboot' ID" in denial.cure


def test_a_cure_that_the_hub_names_itself_is_not_repeated():
    reason = "not allowed. On the hub run `hivemind-core allow-msg x 7`."
    denial = read_denial({"denied_type": "x", "code": "acl_disallowed_type", "reason": reason}, {"source": PEER})
    assert str(denial) == f"the hub denied x: {reason}"


@pytest.mark.parametrize("data", [{}, {"code": "new_policy", "reason": None}, {"code": 5, "denied_type": ["x"]}])
def test_any_denial_can_be_told(data):
    assert str(read_denial(data, {})).startswith("the hub denied")


def test_the_hub_says_what_its_client_reads():
    told_by_hub = told("acl_disallowed_type", "mycroft.stop", client=7)
    assert told_by_hub == (
        "The hub does not let this client send 'mycroft.stop'. On the hub run `hivemind-core allow-msg mycroft.stop 7`."
    )
    data = {"denied_type": "mycroft.stop", "code": "acl_disallowed_type", "reason": told_by_hub}
    assert str(read_denial(data, {"source": PEER})) == f"the hub denied mycroft.stop: {told_by_hub}"


def test_a_detail_stands_in_the_sentence():
    assert sentence("malformed_payload", "bus", "type is not text") == (
        "The payload of a 'bus' message has the wrong shape: type is not text."
    )


def test_binary_data_is_allowed_by_allowing_speech():
    assert "allow-msg recognizer_loop:utterance 7" in cure("acl_disallowed_type", "binary", 7)


def test_a_long_type_is_not_said_back_whole():
    assert len(told("acl_disallowed_type", "x" * 10_000)) < 700


def test_an_unknown_code_has_no_cure():
    assert cure("night", "speak") == ""
