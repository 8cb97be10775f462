from hivemind_bus_client.topics import RENAMED, TWIN_MARK, TWIN_OF, TwinFilter, same_topic

SPEAK = {"utterance": "hi"}


def test_the_table_is_one_to_one():
    assert len(RENAMED) == 26
    assert len(TWIN_OF) == 52
    assert all(TWIN_OF[TWIN_OF[name]] == name for name in TWIN_OF)


def test_both_names_mean_the_same():
    assert same_topic("speak", "ovos.utterance.speak")
    assert same_topic("other", "other")
    assert not same_topic("speak", "mycroft.stop")


def test_a_marked_twin_of_what_came_before_is_a_repeat():
    twins = TwinFilter()
    assert not twins.is_repeat("ovos.utterance.speak", SPEAK, {})
    assert twins.is_repeat("speak", SPEAK, {TWIN_MARK: True})
    assert not twins.is_repeat("speak", SPEAK, {TWIN_MARK: True})


def test_a_marked_twin_that_comes_alone_is_not():
    assert not TwinFilter().is_repeat("speak", SPEAK, {TWIN_MARK: True})


def test_saying_the_same_twice_is_not():
    twins = TwinFilter()
    assert not twins.is_repeat("speak", SPEAK, {})
    assert not twins.is_repeat("speak", SPEAK, {})


def test_messages_with_one_name_never_are():
    assert not TwinFilter().is_repeat("ovos.utterance.handled", {}, {TWIN_MARK: True})


def test_twins_of_several_messages_may_come_in_any_order():
    twins = TwinFilter()
    for text in "abc":
        assert not twins.is_repeat("ovos.utterance.speak", {"utterance": text}, {})
    for text in "cab":
        assert twins.is_repeat("speak", {"utterance": text}, {TWIN_MARK: True})
