"""No handler: every satellite is told so, and no message is kept from the agent."""

from __future__ import annotations

from hivemind_core.binary import own_method
from hivemind_core.binary.callbacks import CALLBACKS
from hivemind_core.binary.default import DefaultHandler


def test_it_takes_nothing() -> None:
    handler = DefaultHandler()
    assert [callback.method for callback in CALLBACKS.values() if own_method(handler, callback.method)] == []
    assert own_method(handler, "handle_message") is None
    assert (handler.code, handler.detail) == ("no_binary_handler", "")


def test_one_in_the_place_of_a_plugin_that_failed_says_so() -> None:
    handler = DefaultHandler("binary_handler_failed", "it could not be started")
    assert (handler.code, handler.detail) == ("binary_handler_failed", "it could not be started")
