"""Questions and answers: every question ends, every answer reaches whom it is for and nobody else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from helpers.chatroom_core import NOON, SECRET, Clock, converse, handled, settings, spoken, unmatched
from hivemind_chatroom.conversation import ASKED_AT_ONCE, SAID_AT_ONCE, Change, Conversation, Outgoing, Speaks
from hivemind_chatroom.incoming import Cancelled, Denied, Ignored, Incoming, Played, Spoken
from hivemind_chatroom.messages import ChatMessage, Kind, Media, Role, State
from hivemind_chatroom.people import Person
from hivemind_chatroom.rooms import IDLE_S
from hivemind_chatroom.sentences import say
from hivemind_chatroom.turns import BUSY_S, REMEMBERED, Turn

FIRST = 1000
ANSWER_S, WAITING_S = 45.0, 300.0
UTTERANCE = "recognizer_loop:utterance"


class Talk:
    """A conversation with its clock, and what changed so far."""

    def __init__(self, **given: Any) -> None:
        self.clock = Clock()
        self.conversation = Conversation(settings(**given), SECRET, FIRST)
        self.changes: list[Change] = []

    def ask(self, name: str, text: str = "question", **given: Any) -> int:
        return converse(self.conversation, self.clock, name, text, **given).id

    def send(self) -> Outgoing:
        outgoing = self.conversation.next_outgoing()
        assert outgoing is not None
        self.changes += self.conversation.sent(outgoing, self.clock.moment)
        return outgoing

    def asked(self, name: str, text: str = "question", **given: Any) -> int:
        number = self.ask(name, text, **given)
        self.send()
        return number

    def hear(self, incoming: Incoming) -> list[ChatMessage]:
        changes = list(self.conversation.hear(incoming, self.clock.moment))
        self.changes += changes
        return [change for change in changes if isinstance(change, ChatMessage) and change.role is not Role.USER]

    def later(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.changes += self.conversation.due(self.clock.moment)

    def person(self, name: str) -> Person:
        return self.conversation.people.claim(f"browser of {name}", name, self.clock.now)

    def line(self, number: int) -> ChatMessage:
        found = self.conversation.rooms.get(number)
        assert found is not None
        return found

    def state(self, number: int) -> State:
        return self.line(number).state

    def seen(self, name: str, room: str | None = None) -> list[str]:
        found = self.conversation.rooms.since(room, 0, f"browser of {name}", 1000)
        return [message.text for message in found]


def denied(turn: int | None = None, person: Person | None = None, denied_type: str = UTTERANCE) -> Denied:
    session_id = person.session_id if person is not None else ""
    return Denied(denied_type, "acl", "not allowed", "Allow it.", turn=turn, session_id=session_id)


# --- asking ------------------------------------------------------------------------------------------------------


def test_an_accepted_question_is_there_at_once() -> None:
    talk = Talk()
    line = talk.line(talk.ask("alice", "what time is it", lang="de", room="kitchen"))
    assert (line.text, line.room, line.lang, line.state) == ("what time is it", "kitchen", "de", State.SENDING)
    assert (line.username, line.role, line.time, line.reply_to) == ("alice", Role.USER, NOON + 1000, None)
    assert line.user_id == talk.person("alice").user_id


def test_the_reason_why_it_waits_is_noted_until_it_is_sent() -> None:
    talk = Talk()
    number = talk.ask("alice")
    talk.conversation.rooms.change(number, note="waits")
    talk.send()
    assert (talk.state(number), talk.line(number).note) == (State.SENT, "")


def test_questions_go_out_in_order_each_once() -> None:
    talk = Talk()
    numbers = [talk.ask(name) for name in ("alice", "bob", "alice")]
    assert [talk.send().turn.id for _ in numbers] == numbers
    assert talk.conversation.next_outgoing() is None


def test_what_goes_out_says_whose_it_is() -> None:
    talk = Talk()
    number = talk.ask("alice", "hi", lang="de", room="kitchen", private=True)
    kind, data, context = talk.send().as_bus_message("agent/1")
    assert (kind, data) == (UTTERANCE, {"utterances": ["hi"], "lang": "de"})
    session = {"session_id": talk.person("alice").session_id, "site_id": "kitchen", "lang": "de"}
    assert context == {
        "source": "agent/1",
        "platform": "agent/1",
        "destination": "skills",
        "user": "alice",
        "session": session,
        "chatroom_turn": number,
    }


def test_the_session_does_not_show_in_a_log() -> None:
    talk = Talk()
    talk.ask("alice", "a private matter")
    outgoing = talk.send()
    assert talk.person("alice").session_id not in repr(outgoing)
    assert "private matter" not in repr(outgoing)


def test_what_could_not_be_sent_is_the_next_again() -> None:
    talk = Talk()
    first, second = talk.ask("alice"), talk.ask("bob")
    outgoing = talk.conversation.next_outgoing()
    assert outgoing is not None
    talk.conversation.not_sent(outgoing)
    assert [talk.send().turn.id, talk.send().turn.id] == [first, second]


def test_what_was_answered_or_given_up_meanwhile_is_not_sent_again() -> None:
    talk = Talk()
    for _ in range(2):
        talk.ask("alice")
    answered, given_up = talk.conversation.next_outgoing(), talk.conversation.next_outgoing()
    assert answered is not None
    assert given_up is not None
    talk.hear(spoken("quick", answered.turn.id))
    talk.later(WAITING_S)
    for outgoing in (answered, given_up):
        talk.conversation.not_sent(outgoing)
    assert talk.conversation.waits() == 0
    assert talk.conversation.next_outgoing() is None


def test_how_many_wait() -> None:
    talk = Talk()
    for name in ("alice", "bob", "alice"):
        talk.ask(name)
    assert (talk.conversation.waits(), talk.conversation.waits(talk.person("alice"))) == (3, 2)
    talk.send()
    assert (talk.conversation.waits(), talk.conversation.waits(talk.person("alice"))) == (2, 1)


def test_a_question_whose_line_is_no_longer_kept_is_sent_all_the_same() -> None:
    talk = Talk()
    number = talk.ask("alice", "the accepted one")
    for _ in range(talk.conversation._settings.limits.history):
        talk.clock.advance(0.1)
        talk.hear(spoken("spam"))
    assert talk.conversation.rooms.get(number) is None
    assert talk.send().as_bus_message("x")[1]["utterances"] == ["the accepted one"]
    [answer] = talk.hear(spoken("here", number))
    assert (answer.to, answer.reply_to) == ("alice", None)


def test_a_question_can_be_refused_for_good() -> None:
    talk = Talk()
    number = talk.ask("alice")
    outgoing = talk.send()
    list(talk.conversation.refused(outgoing, say("not_sent", detail="too large")))
    assert (talk.state(number), talk.line(number).note[:39]) == (
        State.FAILED,
        "This message could not be sent: too lar",
    )


def test_a_question_that_was_answered_did_not_fail() -> None:
    talk = Talk()
    number = talk.ask("alice")
    outgoing = talk.conversation.next_outgoing()
    assert outgoing is not None
    talk.hear(spoken("quick", number))
    assert list(talk.conversation.sent(outgoing, talk.clock.moment)) == []
    assert list(talk.conversation.refused(outgoing, say("not_sent"))) == []
    assert talk.state(number) is State.ANSWERED


def test_nothing_that_waits_is_sent_after_a_refusal() -> None:
    talk = Talk()
    sent, waiting = talk.asked("alice"), talk.ask("bob")
    list(talk.conversation.give_up(say("refused", text="The key is wrong.", cure="Use another.")))
    assert talk.state(sent) is State.SENT
    assert (talk.state(waiting), talk.line(waiting).note) == (State.FAILED, "The key is wrong. Use another.")
    assert talk.conversation.next_outgoing() is None


# --- answers -----------------------------------------------------------------------------------------------------


def test_an_answer_says_which_question_it_answers() -> None:
    talk = Talk()
    number = talk.asked("alice", room="kitchen", lang="de")
    [answer] = talk.hear(spoken("zwölf Uhr", number))
    assert (answer.room, answer.reply_to, answer.to, answer.lang) == ("kitchen", number, "alice", "de")
    assert (answer.username, answer.message) == ("HiveMind", "@alice - zwölf Uhr")
    assert (talk.state(number), answer.kind, answer.user_id) == (State.ANSWERED, Kind.TEXT, "")
    question, said = talk.changes[-2:]
    assert isinstance(question, ChatMessage)
    assert (question.id, said) == (number, answer)


def test_a_question_may_have_several_answers() -> None:
    talk = Talk()
    number = talk.asked("alice")
    answers = [talk.hear(spoken(text, number))[0] for text in ("wait", "here")]
    assert [answer.reply_to for answer in answers] == [number, number]
    talk.hear(handled(number))
    assert (talk.state(number), talk.line(number).note) == (State.ANSWERED, "")


def test_an_answer_is_for_whom_its_number_names_whatever_the_session() -> None:
    talk = Talk()
    alices, bobs = talk.asked("alice"), talk.asked("bob")
    [answer] = talk.hear(spoken("x", alices, talk.person("bob")))
    assert (answer.to, answer.reply_to) == ("alice", alices)
    assert talk.state(bobs) is State.SENT


def test_an_answer_without_a_number_is_for_whom_its_session_names() -> None:
    talk = Talk()
    talk.asked("alice")
    bobs = talk.asked("bob")
    [answer] = talk.hear(spoken("x", person=talk.person("bob")))
    assert (answer.to, answer.reply_to) == ("bob", bobs)


def test_an_answer_goes_where_the_question_was_asked() -> None:
    talk = Talk()
    number = talk.asked("alice", room="kitchen")
    talk.asked("alice", room="garage")
    assert talk.hear(spoken("x", number))[0].room == "kitchen"


def test_the_answer_to_a_private_question_is_private() -> None:
    talk = Talk()
    number = talk.asked("alice", "between us", private=True)
    talk.asked("alice", "for all")
    talk.hear(spoken("the private answer", number))
    talk.hear(Played((Media("the private song"),), turn=number))
    assert "the private answer" in talk.seen("alice")
    assert "the private song" in talk.seen("alice")
    assert talk.seen("bob") == ["for all"]


def test_a_late_answer_still_finds_its_question() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.later(ANSWER_S)
    assert talk.state(number) is State.FAILED
    [answer] = talk.hear(spoken("sorry", number))
    assert (answer.reply_to, talk.state(number), talk.line(number).note) == (number, State.ANSWERED, "")


def test_an_answer_to_a_question_of_many_others_ago_is_still_one() -> None:
    talk = Talk(history=10 * REMEMBERED)
    number = talk.asked("alice", private=True)
    talk.hear(handled(number))
    for _ in range(REMEMBERED + 1):
        talk.hear(handled(talk.asked("bob", room="kitchen")))
    assert talk.conversation.turns.get(number) is None
    [answer] = talk.hear(spoken("your timer", number))
    assert (answer.reply_to, answer.to, answer.private) == (number, "alice", True)
    assert "your timer" not in talk.seen("bob")


@pytest.mark.parametrize("private", [False, True])
def test_an_answer_after_a_restart_finds_its_question_and_stays_as_private(private: bool) -> None:
    earlier, talk = Talk(), Talk()
    number = earlier.asked("alice", private=private)
    talk.conversation.rooms.restore(earlier.conversation.rooms.all())
    talk.conversation.rooms.change(number, state=State.FAILED, note="restarted")
    [answer] = talk.hear(spoken("here", number, earlier.person("alice")))
    assert (answer.reply_to, answer.to, answer.private) == (number, "alice", private)
    assert (talk.state(number), talk.line(number).note) == (State.ANSWERED, "")
    assert ("here" in talk.seen("bob")) is not private
    assert "here" in talk.seen("alice")


def test_an_answer_to_a_forgotten_question_of_somebody_who_is_gone_is_told_to_nobody() -> None:
    talk = Talk()
    talk.asked("bob")
    assert talk.hear(Spoken("a private matter", "", turn=5, user="carol", session_id="of an earlier run")) == []
    assert talk.seen("bob") == ["question"]


def test_an_answer_to_a_room_that_made_way_is_dropped() -> None:
    talk = Talk(rooms=1)
    number = talk.asked("alice", room="old")
    talk.clock.advance(IDLE_S + 1)
    talk.ask("bob", room="new")
    assert talk.hear(spoken("too late", number)) == []
    assert talk.conversation.rooms.names() == ["new"]


def test_an_answer_pushes_no_room_out() -> None:
    talk = Talk(rooms=2)
    number = talk.asked("alice", room="old")
    talk.ask("bob", room="looked at")
    talk.clock.advance(IDLE_S + 1)
    talk.ask("carol", room="new")
    talk.clock.advance(IDLE_S + 1)
    talk.hear(spoken("too late", number))
    assert sorted(talk.conversation.rooms.names()) == ["looked at", "new"]


def test_handled_without_a_word_is_an_answer() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.hear(handled(number))
    assert (talk.state(number), talk.line(number).note) == (State.ANSWERED, str(say("nothing_said")))


def test_a_question_nobody_understands_has_failed() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.hear(unmatched(number))
    assert (talk.state(number), talk.line(number).note) == (State.FAILED, str(say("not_understood")))
    talk.hear(handled(number))
    assert (talk.state(number), talk.line(number).note) == (State.FAILED, str(say("not_understood")))


def test_not_understood_is_still_said_when_nothing_more_comes() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.hear(unmatched(number))
    talk.later(10 * ANSWER_S)
    assert talk.line(number).note == str(say("not_understood"))
    assert list(talk.conversation.turns.open_turns()) == []


def test_a_question_that_was_not_understood_may_be_answered_all_the_same() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.hear(unmatched(number))
    talk.hear(spoken("I did not get that", number))
    talk.hear(handled(number))
    assert (talk.state(number), talk.line(number).note) == (State.ANSWERED, "")


def test_what_is_quicker_than_the_word_that_it_was_sent_stands() -> None:
    for quick, state in ((unmatched, State.FAILED), (handled, State.ANSWERED)):
        talk = Talk()
        number = talk.ask("alice")
        outgoing = talk.conversation.next_outgoing()
        assert outgoing is not None
        talk.hear(quick(number))
        assert list(talk.conversation.sent(outgoing, talk.clock.moment)) == []
        assert talk.state(number) is state


def test_a_question_may_be_dropped() -> None:
    talk = Talk()
    silent, told = talk.asked("alice"), talk.asked("bob")
    talk.hear(spoken("so", told))
    for number in (silent, told):
        talk.hear(Cancelled(turn=number))
    assert talk.line(silent).note == str(say("cancelled"))
    assert (talk.state(silent), talk.state(told), talk.line(told).note) == (State.ANSWERED, State.ANSWERED, "")


def test_media_is_one_line_each() -> None:
    talk = Talk()
    number = talk.asked("alice")
    songs = Media("Blue", "Miles", "https://a.example/1"), Media("Green")
    lines = talk.hear(Played(songs, turn=number))
    assert [(line.kind, line.media, line.text, line.reply_to) for line in lines] == [
        (Kind.MEDIA, songs[0], "Miles - Blue\nhttps://a.example/1", number),
        (Kind.MEDIA, songs[1], "Green", number),
    ]
    assert talk.state(number) is State.ANSWERED


# --- denials -----------------------------------------------------------------------------------------------------


def test_a_denial_tells_why_and_what_to_do() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.hear(denied(number))
    assert talk.state(number) is State.DENIED
    assert talk.line(number).note == "The hub denied this message: not allowed. Allow it."


@pytest.mark.parametrize("incoming", [denied(), denied(denied_type="ovos.utterance.handle")])
def test_a_denial_that_names_nobody_is_for_the_last_question(incoming: Denied) -> None:
    talk = Talk()
    first, last = talk.asked("alice"), talk.asked("bob")
    talk.hear(incoming)
    assert (talk.state(first), talk.state(last)) == (State.SENT, State.DENIED)


def test_a_denial_that_names_somebody_is_for_nobody_else() -> None:
    talk = Talk()
    talk.person("alice")
    number = talk.asked("bob")
    talk.hear(denied(turn=5))
    talk.hear(denied(person=talk.person("alice")))
    talk.hear(denied(denied_type="mycroft.stop"))
    assert talk.state(number) is State.SENT


def test_what_was_answered_was_not_denied() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.hear(spoken("yes", number))
    talk.hear(denied(number))
    assert talk.state(number) is State.ANSWERED


# --- time --------------------------------------------------------------------------------------------------------


def test_a_question_that_waits_too_long_fails_and_is_not_sent() -> None:
    talk = Talk()
    number = talk.ask("alice")
    talk.later(WAITING_S - 1)
    assert talk.state(number) is State.SENDING
    talk.later(1)
    assert (talk.state(number), talk.line(number).note) == (State.FAILED, str(say("waited_too_long")))
    assert talk.conversation.next_outgoing() is None
    assert talk.conversation.waits() == 0


def test_a_question_without_an_answer_fails() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.later(ANSWER_S)
    assert (talk.state(number), talk.line(number).note) == (State.FAILED, str(say("unanswered")))


def test_the_time_for_an_answer_begins_when_it_was_sent() -> None:
    talk = Talk()
    number = talk.ask("alice")
    talk.later(100)
    talk.send()
    talk.later(ANSWER_S - 1)
    assert talk.state(number) is State.SENT


def test_an_answer_that_was_lost_with_the_link_is_said_to_be() -> None:
    talk = Talk()
    before, waiting = talk.asked("alice"), talk.ask("bob")
    talk.conversation.cut()
    talk.send()
    talk.later(ANSWER_S)
    assert talk.line(before).note == str(say("link_lost"))
    assert talk.line(waiting).note == str(say("unanswered"))


def test_what_was_answered_just_ends() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.hear(spoken("so", number))
    before = talk.line(number)
    talk.later(ANSWER_S)
    assert talk.line(number) == before
    assert list(talk.conversation.turns.open_turns()) == []


# --- announcements -----------------------------------------------------------------------------------------------


def test_what_names_nobody_is_announced_everywhere() -> None:
    talk = Talk()
    talk.ask("alice", room="kitchen")
    talk.ask("bob", room="garage")
    lines = talk.hear(spoken("dinner is ready"))
    assert sorted(line.room for line in lines) == ["garage", "kitchen"]
    assert {(line.kind, line.to, line.message, line.reply_to) for line in lines} == {
        (Kind.ANNOUNCEMENT, "", "dinner is ready", None)
    }


def test_an_announcement_in_an_empty_chatroom_is_kept_in_the_first_room() -> None:
    talk = Talk(site_id="porch")
    assert [line.room for line in talk.hear(spoken("hello"))] == ["porch"]


def test_what_names_a_site_is_announced_there() -> None:
    talk = Talk()
    talk.ask("alice", room="kitchen")
    talk.ask("bob", room="garage")
    assert [line.room for line in talk.hear(spoken("the oven", site_id="kitchen"))] == ["kitchen"]


def test_what_names_a_person_is_announced_where_they_are() -> None:
    talk = Talk()
    talk.ask("bob", room="garage")
    alice = talk.person("alice")
    alice.room = "kitchen"
    for incoming in (spoken("your timer", person=alice), Spoken("your timer", "", user="alice")):
        [line] = talk.hear(incoming)
        assert (line.room, line.to, line.kind, line.reply_to) == ("kitchen", "alice", Kind.ANNOUNCEMENT, None)


@pytest.mark.parametrize("given", [{"turn": 5}, {"session_id": "of somebody else before"}])
def test_a_name_alone_does_not_decide_where_more_is_known(given: dict[str, Any]) -> None:
    talk = Talk()
    talk.ask("alice", room="kitchen")
    assert talk.hear(Spoken("for an earlier alice", "", user="alice", **given)) == []


@pytest.mark.parametrize("session_id", ["", "default"])
def test_a_name_alone_is_enough_where_nothing_else_is_known(session_id: str) -> None:
    talk = Talk()
    talk.ask("alice", room="kitchen")
    assert [line.to for line in talk.hear(Spoken("hi", "", user="alice", session_id=session_id))] == ["alice"]
    assert [line.to for line in talk.hear(Spoken("hi", "", user="bob", session_id=session_id))] == [""]


def test_what_another_session_says_to_nobody_by_name_is_announced() -> None:
    talk = Talk()
    talk.ask("alice", room="kitchen")
    assert [line.room for line in talk.hear(Spoken("hi", "", session_id="of the satellite"))] == ["kitchen"]


def test_what_is_for_somebody_forgotten_is_told_to_nobody() -> None:
    talk, earlier = Talk(), Talk()
    talk.ask("bob")
    session_id = earlier.person("alice").session_id  # as of an earlier run: her browser has not come back
    assert talk.hear(Spoken("buy a ring for bob", "", session_id=session_id, site_id="flask")) == []
    assert [line.to for line in talk.hear(spoken("now", person=talk.person("alice")))] == ["alice"]


def test_one_address_does_not_keep_the_assistant_from_the_others() -> None:
    talk = Talk()
    for number in range(2 * ASKED_AT_ONCE):
        talk.ask("alice", f"spam {number}")
    talk.person("alice").address = "10.0.0.66"
    talk.ask("bob", "a question")
    sent = send_all(talk)
    assert [turn.text for turn in sent] == [*(f"spam {number}" for number in range(ASKED_AT_ONCE)), "a question"]
    talk.hear(spoken("there", sent[0].id))
    assert [turn.text for turn in send_all(talk)] == [f"spam {ASKED_AT_ONCE}"]
    talk.clock.advance(BUSY_S)
    assert len(send_all(talk)) == ASKED_AT_ONCE - 1


def send_all(talk: Talk) -> list[Turn]:
    """Send whatever may be sent now."""
    found = []
    while (outgoing := talk.conversation.next_outgoing(talk.clock.now)) is not None:
        talk.changes += talk.conversation.sent(outgoing, talk.clock.moment)
        found.append(outgoing.turn)
    return found


def test_the_assistant_says_so_much_at_once_to_one_question() -> None:
    talk = Talk(history=10 * SAID_AT_ONCE)
    first, second = talk.asked("alice"), talk.asked("bob")
    said = sum(len(talk.hear(spoken("spam", first))) for _ in range(5 * SAID_AT_ONCE))
    assert (said, talk.conversation.dropped) == (SAID_AT_ONCE, 4 * SAID_AT_ONCE)
    assert talk.hear(spoken("hi", second))
    talk.clock.advance(1)
    assert talk.hear(spoken("and then", first))


def test_the_assistant_says_so_much_unasked() -> None:
    talk = Talk()
    for room in ("one", "two"):
        talk.ask("alice", room=room)
    said = sum(len(talk.hear(Spoken("spam", ""))) for _ in range(5 * SAID_AT_ONCE))
    assert said == 2 * SAID_AT_ONCE


def test_who_is_in_no_room_yet_is_told_alone() -> None:
    talk = Talk(site_id="porch")
    talk.ask("bob", room="garage")
    [line] = talk.hear(spoken("your timer", person=talk.person("alice")))
    assert (line.room, line.to) == ("porch", "alice")


def test_an_announcement_after_a_private_message_is_private() -> None:
    talk = Talk()
    talk.hear(handled(talk.asked("alice", private=True)))
    talk.hear(Spoken("psst", "", user="alice"))
    assert "psst" in talk.seen("alice")
    assert "psst" not in talk.seen("bob")


def test_where_all_is_private_so_is_what_names_somebody() -> None:
    talk = Talk(always_private=True)
    talk.person("alice").room = "kitchen"
    [line] = talk.hear(Spoken("your timer", "", user="alice"))
    assert line.private
    assert talk.hear(Spoken("a timer of somebody who is gone", "", user="carol")) == []


def test_media_that_names_nobody_is_media() -> None:
    [line] = Talk().hear(Played((Media("Blue"),)))
    assert (line.kind, line.media) == (Kind.MEDIA, Media("Blue"))


def test_what_ends_nothing_changes_nothing() -> None:
    talk = Talk()
    number = talk.asked("alice")
    for incoming in (handled(), unmatched(), Cancelled(), Ignored(), handled(99), denied(99)):
        assert talk.hear(incoming) == []
    assert talk.state(number) is State.SENT


# --- the assistant's session -------------------------------------------------------------------------------------


def with_session(talk: Talk, name: str, turn: int | None, **session: Any) -> Spoken:
    person = talk.person(name)
    return Spoken("x", "", turn=turn, session_id=person.session_id, session=session)


def test_what_the_assistant_says_of_a_session_goes_back() -> None:
    talk = Talk()
    number = talk.asked("alice")
    talk.hear(with_session(talk, "alice", number, intent_context={"timer": 1}, site_id="elsewhere"))
    talk.ask("alice", room="kitchen")
    session = talk.send().session
    assert (session["intent_context"], session["site_id"]) == ({"timer": 1}, "kitchen")


def test_a_session_is_one_persons() -> None:
    talk = Talk()
    talk.hear(with_session(talk, "alice", talk.asked("alice"), intent_context={"timer": 1}))
    talk.ask("bob")
    assert "intent_context" not in talk.send().session


def test_the_assistant_may_go_on_in_another_language() -> None:
    talk = Talk()
    number = talk.asked("alice", lang="en")
    talk.hear(with_session(talk, "alice", number, lang="pt-pt"))
    assert [change.person.name for change in talk.changes if isinstance(change, Speaks)] == ["alice"]
    assert talk.person("alice").lang == "pt-PT"


@pytest.mark.parametrize("lang", ["en", "EN", None, 3, "not a language", ""])
def test_the_same_language_or_none_changes_nothing(lang: Any) -> None:
    talk = Talk()
    number = talk.asked("alice", lang="en")
    talk.hear(with_session(talk, "alice", number, lang=lang))
    assert not any(isinstance(change, Speaks) for change in talk.changes)
    assert talk.person("alice").lang == "en"


def test_a_newer_wish_goes_before_the_answer_to_an_older_question() -> None:
    talk = Talk()
    number = talk.asked("alice", lang="en")
    talk.asked("alice", lang="de")
    talk.hear(with_session(talk, "alice", number, lang="pt-PT"))
    assert talk.person("alice").lang == "de"


# --- all of it ---------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["alice", "bob", "carol"])
ENDS = [spoken, handled, unmatched]
OVER = {State.ANSWERED, State.DENIED, State.FAILED}


class Chatting(RuleBasedStateMachine):
    """Anything that may happen, in any order; all of it ends well."""

    def __init__(self) -> None:
        super().__init__()
        self.talk = Talk(history=50, rooms=3)
        self.asked: dict[int, str] = {}
        self.sent: list[int] = []
        self.in_hand: list[Outgoing] = []

    @rule(name=NAMES, room=st.sampled_from(["flask", "kitchen"]), private=st.booleans())
    def ask(self, name: str, room: str, private: bool) -> None:
        number = self.talk.ask(name, f"{name}: {'secret' if private else 'open'}", room=room, private=private)
        self.asked[number] = name

    @rule(how=st.sampled_from(["sent", "not_sent", "refused", "held"]))
    def take(self, how: str) -> None:
        conversation = self.talk.conversation
        outgoing = conversation.next_outgoing()
        if outgoing is None:
            return
        if how == "not_sent":
            conversation.not_sent(outgoing)
            return
        assert outgoing.turn.id not in self.sent, "sent twice"
        self.sent.append(outgoing.turn.id)
        if how == "sent":
            list(conversation.sent(outgoing, self.talk.clock.moment))
        elif how == "refused":
            list(conversation.refused(outgoing, say("not_sent")))
        else:
            self.in_hand.append(outgoing)

    @precondition(lambda self: self.in_hand)
    @rule(is_sent=st.booleans())
    def let_go(self, is_sent: bool) -> None:
        outgoing = self.in_hand.pop()
        if is_sent:
            list(self.talk.conversation.sent(outgoing, self.talk.clock.moment))
        else:
            self.sent.remove(outgoing.turn.id)
            self.talk.conversation.not_sent(outgoing)

    @precondition(lambda self: self.asked)
    @rule(data=st.data(), end=st.sampled_from([*ENDS, denied]), by_number=st.booleans())
    def answer(self, data: st.DataObject, end: Any, by_number: bool) -> None:
        number = data.draw(st.sampled_from(sorted(self.asked)))
        name, line = self.asked[number], self.talk.conversation.rooms.get(number)
        args = (f"for {name}",) if end is spoken else ()
        person = None if by_number else self.talk.person(name)
        for said in self.talk.hear(end(*args, number if by_number else None, person)):
            assert (said.text, said.owner) == (f"for {name}", f"browser of {name}")
            assert said.to == name
            if by_number and line is not None:
                assert (said.reply_to, said.room, said.private) == (number, line.room, line.private)

    @rule(seconds=st.sampled_from([1.0, 20.0, 50.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.talk.later(seconds)

    @rule()
    def lose_link(self) -> None:
        self.talk.conversation.cut()

    @rule()
    def give_up(self) -> None:
        list(self.talk.conversation.give_up(say("refused", text="no", cure="")))

    @invariant()
    def nobody_sees_the_secrets_of_others(self) -> None:
        for name in ("alice", "bob", "carol", "nobody"):
            assert not [text for text in self.talk.seen(name) if "secret" in text and not text.startswith(name)]

    def teardown(self) -> None:
        for outgoing in self.in_hand:
            list(self.talk.conversation.sent(outgoing, self.talk.clock.moment))
        for _ in range(2):
            self.talk.later(WAITING_S + ANSWER_S)
        assert list(self.talk.conversation.turns.open_turns()) == []
        assert self.talk.conversation.waits() == 0
        for line in self.talk.conversation.rooms.all():
            if line.role is Role.USER:
                assert line.state in OVER
                assert line.note or line.state is State.ANSWERED


Chatting.TestCase.settings = hypothesis_settings(max_examples=60, stateful_step_count=30, deadline=None)
TestChatting = Chatting.TestCase
