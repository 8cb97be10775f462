import json
import time

import pytest

from hivemind_bus_client import hive_map
from hivemind_bus_client.hive_map import FloodIdCache, HiveMapper, NodeInfo
from hivemind_bus_client.message import HiveMessage, HiveMessageType


def ping(peer="a", flood_id="f", route=None, **more) -> HiveMessage:
    payload = {"flood_id": flood_id, "peer": peer, **more}
    return HiveMessage(HiveMessageType.PING, payload, route=route)


def test_a_ping_makes_a_node():
    mapper = HiveMapper()
    about = {"site_id": "kitchen", "timestamp": 5.0, "public_key": "PEM", "lang": "en"}
    now = time.time()
    assert mapper.on_ping(ping(**about), received_at=now) is True
    assert mapper.nodes == {"a": NodeInfo("a", "kitchen", 5.0, now, "PEM", "en")}


def test_without_a_time_of_arrival_there_is_no_latency():
    mapper = HiveMapper()
    mapper.on_ping(ping(timestamp=time.time()))
    assert mapper.nodes["a"].latency_ms is None


def test_one_answer_of_a_node_counts_for_each_flood():
    mapper = HiveMapper()
    assert mapper.on_ping(ping(site_id="old"))
    assert not mapper.on_ping(ping(site_id="new"))
    assert mapper.nodes["a"].site_id == "old"
    assert mapper.on_ping(ping(flood_id="g", site_id="new"))
    assert mapper.nodes["a"].site_id == "new"
    mapper.start_ping("g")
    assert mapper.on_ping(ping(flood_id="g"))


@pytest.mark.parametrize(
    "payload",
    [{}, {"flood_id": "f"}, {"peer": "a"}, {"flood_id": "", "peer": "a"}, {"flood_id": "f", "peer": ""},
     {"flood_id": 3, "peer": "a"}, {"flood_id": "f", "peer": ["a"]}],
)  # fmt: skip
def test_a_ping_without_flood_or_peer_says_nothing(payload):
    mapper = HiveMapper()
    assert mapper.on_ping(HiveMessage(HiveMessageType.PING, payload)) is False
    assert mapper.on_ping(HiveMessage(HiveMessageType.BUS, {"type": "x"})) is False
    assert mapper.nodes == {}


def test_what_is_not_of_the_right_kind_is_left_out():
    mapper = HiveMapper()
    mapper.on_ping(ping(site_id=3, timestamp=True, public_key=["x"], lang={}))
    assert mapper.nodes["a"] == NodeInfo("a")
    mapper.on_ping(ping("b", timestamp="soon"))
    assert mapper.nodes["b"].timestamp is None


def test_a_route_makes_edges():
    mapper = HiveMapper()
    mapper.on_ping(
        ping("leaf", route=[{"source": "leaf", "targets": ["relay"]}, {"source": "relay", "targets": ["me"]}])
    )
    mapper.on_ping(ping("relay", route=[{"source": "relay", "targets": ["me", "you"]}]))
    assert mapper.edges == {"leaf": {"relay"}, "relay": {"me", "you"}}


def test_a_route_as_hubs_write_it():
    """A hub names no one it sends to, and calls a satellite by its peer id, not by its label."""
    mapper = HiveMapper()
    satellite = "agent::3::kitchen::5f"
    mapper.on_ping(
        ping("sat::5f", route=[{"source": satellite, "targets": [satellite]}, {"source": "H", "targets": ["H"]}])
    )
    assert mapper.edges == {"sat::5f": {"H"}}
    assert mapper.to_ascii("me").splitlines() == ["[self] me", "└── H", "    └── sat::5f"]


def test_nodes_not_heard_of_are_forgotten():
    mapper = HiveMapper(node_ttl=60)
    now = time.time()
    mapper.on_ping(ping("old", route=[{"source": "old", "targets": ["new"]}]), received_at=now - 50)
    mapper.on_ping(ping("new", route=[{"source": "new", "targets": ["old"]}]), received_at=now)
    mapper.on_ping(ping("timeless"))
    assert set(mapper.nodes) == {"old", "new", "timeless"}
    mapper.prune_stale_nodes(now + 30)
    assert set(mapper.nodes) == {"new", "timeless"}
    assert mapper.edges == {"new": set()}
    assert mapper.to_dict()["edges"] == []
    mapper.on_ping(ping("older"), received_at=now - 3600)
    mapper.on_ping(ping("newer"), received_at=now)
    assert "older" not in mapper.nodes


def test_nodes_may_be_kept_for_ever():
    mapper = HiveMapper(node_ttl=None)
    mapper.on_ping(ping("old"), received_at=1.0)
    mapper.prune_stale_nodes()
    assert set(mapper.nodes) == {"old"}


def test_the_number_of_nodes_is_bounded(monkeypatch):
    monkeypatch.setattr(hive_map, "MAX_NODES", 3)
    mapper = HiveMapper()
    for peer in "abcd":
        mapper.on_ping(ping(peer))
    assert list(mapper.nodes) == ["b", "c", "d"]
    named = [{"source": f"s{number}", "targets": [f"t{each}" for each in range(9)]} for number in range(9)]
    mapper.on_ping(ping("e", route=named))
    assert [len(targets) for targets in mapper.edges.values()] == [3, 3, 3]


def test_the_number_of_floods_is_bounded():
    mapper = HiveMapper(max_seen_pings=2)
    for flood_id in "fgh":
        mapper.on_ping(ping(flood_id=flood_id))
    assert list(mapper._seen_pings) == ["g", "h"]
    assert mapper.on_ping(ping(flood_id="f"))


def test_floods_seen():
    mapper = HiveMapper()
    assert isinstance(mapper._seen_flood_ids, FloodIdCache)
    assert mapper.check_flood_id("f") is False
    assert mapper.check_flood_id("f") is True
    assert mapper.check_flood_id("") is True
    mapper.check_flood_id("g", max_size=1)
    assert mapper._seen_flood_ids == {"g"}


def test_the_memory_of_floods_can_be_shared():
    one, other, cache = HiveMapper(), HiveMapper(), FloodIdCache()
    one.share_floods(cache)
    other.share_floods(cache)
    assert one.check_flood_id("f") is False
    assert other.check_flood_id("f") is True


def test_trust_follows_the_keys():
    mapper = HiveMapper()
    mapper.on_ping(ping("a", public_key="PEM-A"))
    mapper.on_ping(ping("b", public_key="PEM-B"))
    mapper.on_ping(ping("c"))
    mapper.mark_trusted_nodes({"alias": "PEM-A"})
    assert [mapper.is_peer_trusted(peer) for peer in ("a", "b", "c", "unknown")] == [True, False, False, False]
    mapper.mark_trusted_nodes({"alias": "PEM-B"})
    assert [mapper.is_peer_trusted(peer) for peer in "ab"] == [False, True]


def test_all_can_be_forgotten():
    mapper = HiveMapper()
    mapper.on_ping(ping(route=[{"source": "a", "targets": ["b"]}]))
    mapper.check_flood_id("f")
    mapper.clear()
    assert (mapper.nodes, mapper.edges, mapper._seen_pings) == ({}, {}, {})
    assert mapper._seen_flood_ids == {}
    assert mapper.on_ping(ping())


def test_the_map_as_json():
    mapper = HiveMapper()
    mapper.on_ping(ping(site_id="k", route=[{"source": "a", "targets": ["c", "b"]}]))
    as_dict = mapper.to_dict()
    assert as_dict["nodes"] == [mapper.nodes["a"].as_dict()]
    assert as_dict["edges"] == [{"source": "a", "target": "b"}, {"source": "a", "target": "c"}]
    assert json.loads(mapper.to_json()) == as_dict
    assert mapper.to_json().startswith('{\n  "nodes"')


def test_the_map_as_text():
    mapper = HiveMapper()
    assert mapper.to_ascii() == "[No nodes discovered]"
    mapper.on_ping(ping())
    assert mapper.to_ascii("me") == "[self] me\n└── a"
