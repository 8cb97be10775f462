"""Inputs that have the right shape, so that they get far; hypothesis makes and shrinks them."""

from __future__ import annotations

import json
from typing import Any

import click
from hypothesis import strategies as st

from fuzz.inputs import BREAK
from fuzz.targets import bus, commands, http, identity_file, intercom, link, upgrade
from fuzz.web_frames import BINARY, CLOSE, PING, PONG, TEXT, written
from hivemind_bus_client.message import HiveMessageType
from hivemind_core.clients import CLIENT_FIELDS
from hivemind_core.config import DEFAULTS
from hivemind_core.environment import VARIABLES
from hivemind_core.known_keys import KNOWN

leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
anything = st.recursive(
    leaves, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3), max_leaves=8
)
ids = st.sampled_from(["s", "default", "{me}", "{you}", "f", ""])


def block(known: Any) -> st.SearchStrategy[Any]:
    """What may stand where these keys are known, and what may not."""
    if not isinstance(known, dict):
        return st.just(known) | anything
    keys = {key: block(below) for key, below in known.items() if key != "*"}
    return st.fixed_dictionaries({}, optional=keys) | anything


def typed(*types: str) -> st.SearchStrategy[Any]:
    """A bus message."""
    context = {"destination": ids | st.lists(ids), "source": ids, "peer": ids, "session": session | anything}
    return st.fixed_dictionaries(
        {"type": st.sampled_from([*bus.TYPES, *types]) | st.text(max_size=9)},
        optional={"data": heard | anything, "context": st.fixed_dictionaries({}, optional=context) | anything},
    )


session = st.fixed_dictionaries({}, optional={"session_id": ids, "lang": st.just("pt"), "context": anything})
heard = st.fixed_dictionaries({"utterances": st.lists(st.text(max_size=9), max_size=2)}, optional={"lang": anything})
kinds = st.sampled_from([kind.value for kind in HiveMessageType])
hops = st.lists(st.fixed_dictionaries({"source": ids, "targets": st.lists(ids, max_size=2)}), max_size=3)
around = {
    "metadata": anything,
    "route": hops | anything,
    "target_peers": st.lists(ids, max_size=2) | anything,
    "source_peer": ids,
    "target_site_id": st.just("kitchen") | anything,
}
messages = st.recursive(
    typed("hive.send.downstream", "mycroft.stop")
    | st.fixed_dictionaries({}, optional={"flood_id": ids, "session": session}),
    lambda inner: st.fixed_dictionaries({"msg_type": kinds, "payload": inner | anything}, optional=around),
    max_leaves=3,
)


def as_json(strategy: st.SearchStrategy[Any], *front: int) -> st.SearchStrategy[bytes]:
    return strategy.map(lambda value: bytes(front) + json.dumps(value).encode())


def either(*strategies: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.one_of(strategies)


def joined(pieces: st.SearchStrategy[bytes], front: bytes = b"\0", most: int = 8) -> st.SearchStrategy[bytes]:
    return st.lists(pieces, max_size=most).map(lambda found: front + BREAK.join(found))


row = st.fixed_dictionaries(
    {"api_key": st.sampled_from(["a", "b", "revoked", ""]) | anything, "client_id": st.integers(0, 4) | anything},
    optional=dict.fromkeys((*CLIENT_FIELDS[2:], "crypto_key", "skill_blacklist"), anything),
)
texts = st.text(max_size=6).map(lambda text: text.replace("\n", ""))
variables = st.lists(
    st.tuples(st.sampled_from([one.name for one in VARIABLES]), texts | st.sampled_from(["1", "true"]))
)
envelopes = st.fixed_dictionaries(
    {}, optional={field: st.sampled_from(["", "AAAA", "=", "é"]) for field in intercom.FIELDS}
)
headers = st.lists(st.sampled_from(upgrade.MORE) | st.text("aé:, \t", max_size=9).map("X: {}".format), max_size=3)
frames = st.builds(
    lambda kind, body, final: written(kind, body, final=final),
    st.sampled_from((TEXT, BINARY, CLOSE, PING, PONG, 0, 3)),
    st.sampled_from(upgrade.SHAKES).map(str.encode) | st.binary(max_size=9),
    st.booleans(),
)
requests = st.builds(
    lambda method, path, who, body, more: http.request(method, path, who, body, *more),
    st.sampled_from(("GET", "POST", "OPTIONS")),
    st.sampled_from(http.PATHS),
    st.sampled_from([*http.TOKENS[:1] * 4, *http.TOKENS]),
    st.sampled_from(("", "message={frame}", "message={frame}&binary=true", "message=%7B%7D", "message=AAAA&binary=1")),
    st.lists(st.sampled_from([http.SESSION, http.SESSION, *upgrade.MORE]), max_size=2),
)


def arguments(number: int, program: click.Command) -> st.SearchStrategy[bytes]:
    """What may be typed after a program's name: its own words in any order, and values."""
    own = st.sampled_from(sorted(commands.names(program)))
    values = st.sampled_from(["1", "2", "kitchen", "speak", "x", "", '{"a": 1}', "ws://h", "7d", "~nobody/x"]) | texts
    return st.lists(own | own | values, max_size=6).map(
        lambda found: bytes([number]) + "\n".join(found).encode("utf-8", "replace")
    )


SHAPES: dict[str, st.SearchStrategy[bytes]] = {
    "bus": either(
        joined(as_json(messages, bus.TEXT) | as_json(typed("hive.ping"), bus.AGENT), most=4),
        joined(as_json(messages, bus.TEXT), b"\1", most=4),
    ),
    "clear_frames": st.builds(
        lambda scenario, side, found: bytes([scenario, side]) + BREAK.join(found),
        st.integers(0, 10),
        st.integers(0, 1),
        st.lists(
            st.sampled_from(upgrade.SHAKES).map(str.encode) | as_json(messages) | st.binary(max_size=20), max_size=5
        ),
    ),
    "clients_json": st.builds(
        lambda version, rows: bytes([version]) + json.dumps(rows).encode(),
        st.sampled_from((0, 1, 9)),
        st.dictionaries(st.sampled_from(["1", "2", "3", "x", "007"]), row | anything, max_size=4),
    ),
    "cluster_frames": either(
        st.lists(st.integers(0, 5), min_size=20, max_size=64).map(lambda steps: bytes([2, *steps])),
        as_json(st.dictionaries(st.sampled_from(["name", "since", "agent", "parent", "peers"]), anything), 4),
    ),
    "commands": either(*(arguments(number, program) for number, (_, program) in enumerate(commands.PROGRAMS))),
    "frames": either(as_json(messages, 1), as_json(anything, 1), st.binary(max_size=60).map(b"\2".__add__)),
    "http": joined(requests),
    "identity_file": either(
        *(as_json(st.dictionaries(st.sampled_from(identity_file.KEYS), anything, max_size=5), kind) for kind in (0, 1))
    ),
    "intercom": either(as_json(envelopes, 0, 1), as_json(messages, 2, 1), st.binary(max_size=9).map(b"\1\1\1".__add__)),
    "link": st.builds(
        lambda scenario, steps: bytes([scenario, *steps]),
        st.integers(0, 10),
        st.lists(st.integers(0, len(link.OPS) - 1) | st.integers(0, 255), max_size=40),
    ),
    "server_json": either(
        as_json(block({**DEFAULTS, **KNOWN}), 0),
        variables.map(lambda pairs: b"\1" + "\n".join(map("=".join, pairs)).encode("utf-8", "replace")),
    ),
    "upgrade": st.builds(
        lambda size, who, more, found: bytes([size]) + upgrade.request(who, *more) + b"".join(found),
        st.sampled_from((0, 0, 1, 50)),
        st.sampled_from(upgrade.TOKENS),
        headers,
        st.lists(frames, max_size=4),
    ),
}
