"""QUERY and CASCADE at the hub: the agent is asked, the question goes on, the answers go back (docs/protocol.md 13)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

from hivemind_bus_client import codec
from hivemind_bus_client.answers import QUERY_STREAM_END, QUERY_TIMEOUT, inner_topic
from hivemind_bus_client.bus_context import Speaker, localise
from hivemind_bus_client.message import HiveMessage, HiveMessageType, Message
from hivemind_bus_client.outgoing import Outgoing
from hivemind_bus_client.playback import NOT_OURS, Acknowledgements

from . import bus_events, routing, sessions
from .actions import AGENT, PARENT, Answer, Ask, Deny, Relay, denied, malformed, may_go_up, member_of, text
from .asking import QUERY_ADDRESS, Asking, Finished, Said
from .bus_frames import problem_with
from .peers import Peer
from .policy import Verdict
from .posting import Post
from .queries import CascadeChoice, Opening, WaysBack, chunk, complete, response, unanswered
from .roles import UTTERANCES
from .sessions import AGENT_ADDRESS
from .surroundings import Surroundings

log = logging.getLogger(__name__)

MAX_ORIGINATOR = 1024
"""Characters of the name of who asked first."""
MAX_WAY_BYTES, MAX_QUESTION_BYTES = 64 * 1024, 256 * 1024
"""JSON of what is kept of a question until it is answered: its route, and all of it while the agent is asked."""
_QUERY, _CASCADE = HiveMessageType.QUERY, HiveMessageType.CASCADE
_NOTHING = HiveMessage(HiveMessageType.BUS, {})


class Questions:
    """The questions that are open at this hub."""

    def __init__(self, around: Surroundings, post: Post) -> None:
        self.choice = CascadeChoice()
        """Lets an embedder choose among the answers to a CASCADE."""
        self._around = around
        self._post = post
        self._node_id = around.identity.node_id
        self._ways = WaysBack()
        self._asking = Asking()
        self._playback = Acknowledgements()
        self._asked: dict[str, Ask] = {}
        """Questions that are open, as they are passed on."""

    def take(self, sender: str, action: Ask) -> None:
        """Take a question from somebody."""
        question = _too_large(action) or self._question(sender, action)
        peer = self._around.peers.get(sender)
        if isinstance(question, Message) and peer is not None and sender != PARENT:
            self._around.reviews.message(peer, question, partial(self._judged, peer, sender, action))
        else:
            self._open(sender, action, question)

    def _judged(self, peer: Peer, sender: str, action: Ask, question: Message, verdict: Verdict) -> None:
        if self._around.peers.get(sender) is None:  # while policies were asked it left, or began another session
            self._tell(peer.peer_id, action, "session_changed")
        elif not verdict.allowed:
            self._open(sender, action, Deny(question.msg_type, verdict.code, verdict.reason, dict(verdict.data)))
        else:
            self._open(sender, action, self._cannot_be_asked(sender, action) or question)

    def _cannot_be_asked(self, sender: str, action: Ask) -> Deny | None:
        """Return why nobody can be asked; the hub above may know where this one cannot say."""
        if self._post.parent_is_there:
            return None
        if not self._around.agent.available:
            return denied("backend_unavailable", action.kind.value)
        has_room = self._asking.has_room(action.query_id, sender, self._around.share_of(sender))
        return None if has_room else denied("too_many_questions", action.kind.value)

    def _open(self, sender: str, action: Ask, question: Message | Deny | None) -> None:
        around, now = self._around, self._around.monotonic()
        if isinstance(question, Deny):
            named = {"query_id": action.query_id} if action.query_id else {}
            self._post.deny(sender, replace(question, data={**question.data, **named}))
            return
        query_id = action.query_id or str(uuid4())
        share = around.share_of(sender)
        if action.looped or self._ways.open(query_id, sender, action.kind, now, share) == Opening.LOOP:
            self._came_round(sender, action)
            return
        originator = text(action.relayed.metadata.get("originator_peer"))[:MAX_ORIGINATOR] or sender
        named = {**action.relayed.metadata, "query_id": query_id, "originator_peer": originator}
        action = replace(action, relayed=action.relayed.forward(metadata=named))
        self._asked[query_id] = action
        around.agent.emit(bus_events.asked(action.kind, query_id, originator, sender))
        if action.kind == _CASCADE:
            self._asked[query_id] = _envelope(action)
            self._post.relay(sender, Relay(action.relayed, down=True, up=may_go_up(sender)))
        asked = None
        if question is not None:
            asked = self._asking.ask(query_id, sender, action.kind, question, now, share)
        if asked is not None and not around.agent.emit(asked):
            self._asking.cancel(asked)
            asked = None
        if asked is None and action.kind == _QUERY:
            self._pass_on(sender, action)

    def _came_round(self, sender: str, action: Ask) -> None:
        """Say that there is nobody else to ask on this way: who waits for an answer there would wait in vain."""
        self._tell(sender, action, "no_answer")

    def _tell(self, sender: str, action: Ask, why: str) -> None:
        if action.kind == _QUERY and action.query_id:
            answer = unanswered(action.query_id, why)
            self._post.to(sender, response(_envelope(action).relayed, self._node_id, answer))

    def _question(self, sender: str, action: Ask) -> Message | Deny | None:
        """Return what the agent is to be asked, if the policies let it through; None where that is nothing."""
        if not _is_for_agents(action):
            return None
        message, peer = routing.own_copy(action.inner), self._around.peers.get(sender)
        if sender == PARENT:
            found = _namespaced(localise(message, Speaker("", "", "")))
            return found if problem_with(found) is None else None
        if peer is None:
            return None
        stamped = sessions.stamped(message, peer.peer_id, peer.session, peer.session_prefix)
        problem = problem_with(stamped)
        return stamped if problem is None else malformed(action.kind.value, problem)

    def hears(self, message: Message) -> bool:
        """Take a message of the agent's bus that belongs to a question; False where it belongs to none."""
        heard = self._asking.hear(message, self._around.monotonic())
        if heard is None:
            return False
        if any(isinstance(event, Said) for event in heard):
            self._spoken(message.context)
        self._follow(heard)
        return True

    def _spoken(self, context: Mapping[str, Any]) -> None:
        """Let a skill that waits until its words are spoken go on: nobody plays them here."""
        session = context.get("session")
        session_id = session.get("session_id") if isinstance(session, dict) else None
        if isinstance(session, dict) and isinstance(session_id, str) and session_id not in ("", NOT_OURS):
            number = self._playback.told(session, self._around.monotonic())
            self._playback.shown(session_id, number)
            self._acknowledge()

    def _acknowledge(self) -> None:
        for msg_type, session in self._playback.due(self._around.monotonic()):
            context = {"session": dict(session), "source": QUERY_ADDRESS, "destination": AGENT_ADDRESS}
            self._around.agent.emit(Message(msg_type, {}, context))

    def tick(self) -> None:
        """To be called about once a second."""
        now = self._around.monotonic()
        self._acknowledge()
        if not self._around.agent.available:
            self._playback.forget()
            self._follow(self._asking.unavailable())
        self._follow(self._asking.tick(now))
        self._ways.tick(now)
        self._asked = {key: ask for key, ask in self._asked.items() if self._ways.asker_of(key, now)}

    def _follow(self, events: Sequence[Said | Finished]) -> None:
        for event in events:
            question = event.question
            if self._ways.asker_of(question.query_id, self._around.monotonic()) != question.asker:
                continue  # forgotten, and perhaps another's by now
            if isinstance(event, Said):
                self._said(event)
            else:
                self._finished(event)

    def _said(self, event: Said) -> None:
        question = event.question
        self._respond(question.query_id, chunk(question.query_id, event.utterance, event.lang))

    def _finished(self, event: Finished) -> None:
        question = event.question
        action = self._asked.get(question.query_id)
        if event.said:
            self._respond(question.query_id, complete())
        elif question.kind == _QUERY and action is not None:
            self._pass_on(question.asker, action)

    def _pass_on(self, sender: str, action: Ask) -> None:
        """Ask the next, since nobody here had an answer to a QUERY: the hub above, or everybody below."""
        query_id, onward = action.query_id, action.relayed
        self._asked[query_id] = _envelope(action)
        if may_go_up(sender) and self._post.has_parent:
            self._ask_above(query_id, onward)
            return
        asked = [] if may_go_up(sender) else self._post.to_all(onward) or []
        if sender == PARENT:
            asked += self._around.company.relay(onward) or []
        if asked:
            self._ways.passed(query_id, asked)
        else:
            self._unanswered(query_id, "no_answer")

    def _ask_above(self, query_id: str, question: HiveMessage) -> None:
        if self._post.to(PARENT, question):
            self._ways.passed(query_id, [PARENT])
        else:
            self._unanswered(query_id, "upstream_unavailable")

    def lift(self, sender: str, action: Ask) -> None:
        """Pass a question of another hub of the cluster on to the hub above."""
        query_id, now, share = action.query_id, self._around.monotonic(), self._around.share_of(sender)
        if self._ways.open(query_id, sender, action.kind, now, share) == Opening.LOOP:
            self._came_round(sender, action)
            return
        self._asked[query_id] = _envelope(action)
        self._ask_above(query_id, action.relayed)

    def _unanswered(self, query_id: str, why: str) -> None:
        self._respond(query_id, unanswered(query_id, why))

    def ask(self, receiver: str, message: HiveMessage) -> bool:
        """Ask a question for somebody on the agent's bus, where the answers go; False if the receiver is not there."""
        query_id = text(message.metadata.get("query_id"))
        self._ways.open(query_id, AGENT, HiveMessageType(message.msg_type), self._around.monotonic())
        if not self._post.to(receiver, message):
            self._ways.done(query_id)
            return False
        self._ways.passed(query_id, [receiver])
        return True

    # answers

    def _respond(self, query_id: str, message: Message) -> None:
        """Send an answer of this hub's own."""
        asker, asked = self._ways.asker_of(query_id, self._around.monotonic()), self._asked.get(query_id)
        if asker == AGENT:
            self._post.emit_from_above(message)
            self._done(query_id)
        elif asker is not None and asked is not None:
            self._hand_over(asker, query_id, response(asked.relayed, self._node_id, message), self._post.to)

    def answered(self, sender: str, action: Answer) -> None:
        """Take an answer from somebody."""
        message, now = action.message, self._around.monotonic()
        query_id = text(message.metadata.get("query_id"))
        asker = self._ways.asker_of(query_id, now)
        if member_of(sender) and self._ways.may_answer(query_id, PARENT, now):
            sender = PARENT  # another hub of the cluster is joined to it
        if asker is None or not self._ways.may_answer(query_id, sender, now, HiveMessageType(message.msg_type)):
            log.debug("%s answers what it was not asked", sender)
            return
        if message.msg_type == _QUERY:
            if inner_topic(message) == QUERY_TIMEOUT and not self._ways.declined(query_id, sender):
                return  # another that was asked may have an answer
            self._ways.passed(query_id, [sender])  # the first to answer wins
        answer = message.forward(node=None, source_peer=None, target_peers=[])
        if not Outgoing(answer).can_be_relayed:
            self._post.deny(sender, denied("message_too_large", HiveMessageType(message.msg_type).value))
        else:
            self._hand_over(asker, query_id, answer, self._post.pass_on)

    def _hand_over(
        self, asker: str, query_id: str, answer: HiveMessage, send: Callable[[str, HiveMessage], bool]
    ) -> None:
        if answer.msg_type == _CASCADE and asker != PARENT and self.choice.select is not None:
            if inner_topic(answer) == QUERY_STREAM_END:
                return
            self._choose(query_id, answer)
            return
        send(asker, answer)
        if answer.msg_type == _QUERY and inner_topic(answer) in (QUERY_STREAM_END, QUERY_TIMEOUT):
            self._done(query_id)

    def _choose(self, query_id: str, answer: HiveMessage) -> None:
        try:
            chosen = self.choice.add(query_id, answer)
        except Exception:
            log.exception("cascade_select_callback failed")
            return
        if chosen is not None:
            self._done(query_id)
            self._around.agent.emit(chosen)

    def _done(self, query_id: str) -> None:
        self._ways.done(query_id)
        self._asked.pop(query_id, None)

    def denied_above(self, denial: Mapping[str, Any]) -> None:
        """Tell whoever has waited longest that the hub above does not let its question through.

        A denial of a released hub does not name the question. Denials come at once and in order, so it is the oldest
        without an answer.
        """
        code, details = text(denial.get("code")) or "no_answer", denial.get("data")
        named = details.get("query_id") if isinstance(details, Mapping) else None
        waiting = self._ways.waiting_for(PARENT)
        if named in waiting:
            self._unanswered(str(named), code)
        elif waiting and named is None and _denies_questions(text(denial.get("denied_type")), code):
            self._unanswered(waiting[0], code)

    # those who leave

    def parent_lost(self) -> None:
        """Tell those who wait for the hub above that it is gone."""
        for query_id in self._ways.waiting_for(PARENT):
            self._unanswered(query_id, "upstream_unavailable")

    def gone(self, peer_id: str) -> None:
        """Forget what a connection asked that ended, or has another peer id from now on: that one is told."""
        self._asking.forget(peer_id)
        for query_id in self._ways.asked_by(peer_id, _QUERY):
            self._unanswered(query_id, "session_changed")
        self._ways.gone(peer_id)


def _envelope(action: Ask) -> Ask:
    """Return what answers need of a question that has been passed on, without what it carries: that may be large."""
    named = {key: action.relayed.metadata.get(key) for key in ("query_id", "originator_peer")}
    return replace(action, inner=_NOTHING, relayed=action.relayed.forward(_NOTHING, metadata=named))


def _too_large(action: Ask) -> Deny | None:
    """Return the denial of a question that is too large to be kept, or to be passed on."""
    if not Outgoing(action.relayed).can_be_relayed:
        return denied("message_too_large", action.kind.value)
    kept = len(codec.dumps_bytes(action.relayed.route))
    if kept > MAX_WAY_BYTES:
        return malformed(action.kind.value, f"its route has more than {MAX_WAY_BYTES} bytes")
    if (
        _is_for_agents(action)
        and kept + len(codec.dumps_bytes([action.relayed.metadata, action.inner.body])) > MAX_QUESTION_BYTES
    ):
        return malformed(action.kind.value, f"it has more than {MAX_QUESTION_BYTES} bytes")
    return None


def _is_for_agents(action: Ask) -> bool:
    return action.inner.msg_type == HiveMessageType.BUS and inner_topic_of(action.inner) in UTTERANCES


def _denies_questions(denied_type: str, code: str) -> bool:
    """Tell whether a denial that names no question may be of one, and not of something else that went up."""
    is_of_this = code not in ("malformed_payload", "backend_unavailable")
    return denied_type == _QUERY.value or (denied_type in UTTERANCES and is_of_this)


def inner_topic_of(inner: HiveMessage) -> str:
    """Return the type of the bus message in a BUS message."""
    return text(inner.body.get("type"))


def _namespaced(message: Message) -> Message:
    """Keep a session of the hub above apart from those here."""
    session = message.context.get("session")
    known = dict(session) if isinstance(session, dict) else {}
    known["session_id"] = sessions.inbound_id(text(known.get("session_id")) or str(uuid4()), "above")
    return Message(message.msg_type, message.data, {**message.context, "session": known})
