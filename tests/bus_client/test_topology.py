import pytest

from hivemind_bus_client.topology import (
    EMPTY_MAP,
    NodeInfo,
    answering,
    display_peer,
    draw,
    is_same_peer,
    links,
    session_ids,
)

HUB = "-----BEGIN PUBLIC KEY-----\nabc\n-----END PUBLIC KEY-----"


def test_latency_is_the_time_between_the_two_clocks():
    assert NodeInfo("a", timestamp=10.0, received_at=10.25).latency_ms == pytest.approx(250.0)
    assert NodeInfo("a", timestamp=10.0).latency_ms is None
    assert NodeInfo("a", received_at=10.0).latency_ms is None


def test_a_node_as_json():
    node = NodeInfo("a", "kitchen", 1.0, 2.0, "PEM", "en", True)
    assert node.as_dict() == {
        "peer": "a",
        "site_id": "kitchen",
        "timestamp": 1.0,
        "latency_ms": 1000.0,
        "public_key": "PEM",
        "lang": "en",
        "trusted": True,
    }


def test_hubs_answer_questions_and_where_none_is_known_anybody_may():
    assert answering(["kitchen::1", HUB, "hall::2"]) == 1
    assert answering(["kitchen::1", "hall::2"]) == 2
    assert answering([]) == 0


def test_a_public_key_is_shown_short():
    assert display_peer("name::session") == "name::session"
    assert display_peer(HUB).startswith("key:")
    assert len(display_peer(HUB)) == len("key:") + 12
    assert display_peer(HUB) != display_peer(HUB.replace("abc", "abd"))


@pytest.mark.parametrize(
    ("peer", "ids"),
    [
        ("name::s1", {"s1"}),
        ("agent::7::kitchen::s1", {"s1"}),
        ("agent::7::kitchen::s1::0a1b2c3d", {"s1", "0a1b2c3d"}),
        ("name::default", set()),
        ("name", set()),
        ("", set()),
        (HUB, set()),
    ],
)
def test_session_ids_of_a_label(peer, ids):
    assert session_ids(peer) == ids


def test_a_label_and_a_peer_id_of_one_session_are_one_node():
    assert is_same_peer("kitchen::s1", "agent::7::sat::s1")
    assert is_same_peer(HUB, HUB)
    assert not is_same_peer("kitchen::s1", "agent::7::sat::s2")
    assert not is_same_peer("a::default", "b::default")


@pytest.mark.parametrize(
    ("route", "found"),
    [
        ([], []),
        ([{"source": "a", "targets": ["b"]}, {"source": "b", "targets": ["c"]}], [("a", "b"), ("b", "c")]),
        ([{"source": "a", "targets": ["a"]}, {"source": "b", "targets": ["b"]}], [("a", "b")]),
        ([{"source": "a"}, {"source": "b"}], [("a", "b")]),
        ([{"source": "x::1::n::s", "targets": ["x::1::n::s"]}, {"source": "hub", "targets": []}], [("me::s", "hub")]),
        ([{"source": "a", "targets": ["b", "c", 3]}], [("a", "b"), ("a", "c")]),
        ([{"source": "a", "targets": "b"}], []),
        ([{"source": "a", "targets": ["a"]}, {"source": "a", "targets": ["a"]}], []),
    ],
)
def test_links_of_a_route(route, found):
    assert list(links(route, "me::s")) == found


def hops(*sources: str) -> list[dict[str, object]]:
    return [{"source": source, "targets": [source]} for source in sources]


def test_the_connection_of_a_hub_to_the_one_above_is_no_node_of_its_own():
    top, upwards = HUB.replace("abc", "top"), "HiveMindBusClient::3::low::s9"
    assert list(links(hops(upwards, top), HUB)) == [(HUB, top)]
    assert list(links(hops("x::1::n::s", HUB, upwards, top), "me::s")) == [("me::s", HUB), (HUB, top)]
    assert list(links(hops(top, HUB), top)) == [(top, HUB)]


# --- the picture ---------------------------------------------------------------------------------------------


def nodes(*peers: str) -> dict[str, NodeInfo]:
    return {peer: NodeInfo(peer) for peer in peers}


def test_nothing_known():
    assert draw({}, {}) == draw({}, {}, "me") == EMPTY_MAP


def test_a_tree_seen_from_the_root():
    known = {
        "relay": NodeInfo("relay", "r"),
        "leaf": NodeInfo("leaf", "l", 1.0, 1.5),
        "other": NodeInfo("other"),
    }
    edges = {"leaf": {"relay"}, "relay": {"me"}, "other": {"me"}}
    assert draw(known, edges, "me").splitlines() == [
        "[self] me",
        "├── relay  site=r",
        "│   └── leaf  site=l  latency=500ms",
        "└── other",
    ]


def test_the_top_of_a_tree_has_no_latency():
    known = {"me": NodeInfo("me", "m", 1.0, 1.5), "a": NodeInfo("a", "s", 1.0, 1.5)}
    assert draw(known, {"a": {"me"}}, "me").splitlines() == ["[self] me  site=m", "└── a  site=s  latency=500ms"]
    assert draw(known, {"a": {"me"}}).splitlines() == ["a  site=s", "└── me  site=m  latency=500ms"]


def test_a_tree_without_a_root_goes_the_way_messages_go():
    edges = {"leaf": {"relay"}, "relay": {"me", "you"}}
    assert draw(nodes("leaf", "relay"), edges).splitlines() == [
        "leaf",
        "└── relay",
        "    ├── me",
        "    └── you",
    ]


def test_lines_go_on_beside_lower_branches():
    edges = {"a1": {"a"}, "a": {"me"}, "b": {"me"}}
    assert draw({}, edges, "me").splitlines() == ["[self] me", "├── a", "│   └── a1", "└── b"]


def test_nodes_without_links_hang_off_the_root():
    assert draw(nodes("b", "a"), {}, "me").splitlines() == ["[self] me", "├── b", "└── a"]
    assert draw(nodes("b", "a"), {}).splitlines() == ["b", "a"]


def test_what_does_not_lead_to_the_root_hangs_off_it_too():
    """The released client lost a hub whose messages named no target."""
    edges = {"leaf::s": {HUB}}
    assert draw(nodes("leaf::s", HUB), edges, "me").splitlines() == [
        "[self] me",
        f"└── {display_peer(HUB)}",
        "    └── leaf::s",
    ]


def test_each_node_is_drawn_once():
    edges = {"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}
    for text in (draw(nodes("a", "b", "c", "d"), edges), draw(nodes("a", "b", "c", "d"), edges, "d")):
        for peer in "abcd":
            assert sum(line.endswith(peer) for line in text.splitlines()) == 1


def test_rings_end():
    edges = {"a": {"b"}, "b": {"a"}}
    assert draw(nodes("a", "b"), edges).splitlines() == ["a", "└── b", "    └── a (cycle)"]
    lines = draw(nodes("a", "b"), edges, "me").splitlines()
    assert lines == ["[self] me", "└── a", "    └── b", "        └── a (cycle)"]
    assert draw(nodes("a"), {"a": {"a"}}, "me").splitlines() == ["[self] me", "└── a"]


def test_a_long_chain_is_no_deep_recursion():
    edges = {f"n{i}": {f"n{i + 1}"} for i in range(2000)}
    assert len(draw({}, edges, "n2000").splitlines()) == 2001


def test_a_hub_that_answers_as_a_client_is_the_one_that_stands_in_routes_by_its_key():
    known = {"hivemind-core::s": NodeInfo("hivemind-core::s", public_key=f"{HUB}\n"), "leaf::t": NodeInfo("leaf::t")}
    assert draw(known, {"leaf::t": {HUB}, HUB: {"me"}}, "me").splitlines() == [
        "[self] me",
        "└── hivemind-core::s",
        "    └── leaf::t",
    ]
    known[HUB] = NodeInfo(HUB)
    assert draw(known, {"leaf::t": {HUB}}, "me").count("leaf::t") == 1
    assert display_peer(HUB) in draw(known, {"leaf::t": {HUB}}, "me")
