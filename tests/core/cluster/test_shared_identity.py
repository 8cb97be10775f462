"""The sealed identity: it opens with its code at its cluster, and with nothing else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from hivemind_bus_client import codec
from hivemind_core.cluster import join_code
from hivemind_core.cluster.shared_identity import (
    CannotOpen,
    SealedIdentity,
    SharedIdentity,
    cluster_secret,
    fingerprint,
    open_sealed,
    read,
    seal,
)

NAME = "home"
NOISE = bytes(range(32))
IDENTITY = SharedIdentity("PUBLIC PEM", "PRIVATE PEM", NOISE, "attic", {"alice": "A PEM"}, {"h:5678": "ab" * 32})


def secret() -> bytes:
    return join_code.read(join_code.write(random.randbytes(join_code.RANDOM_BYTES)))


def why(sealed: SealedIdentity, code: bytes, name: str = NAME) -> str:
    with pytest.raises(CannotOpen) as raised:
        open_sealed(sealed, code, name)
    return str(raised.value)


@pytest.mark.parametrize("identity", [IDENTITY, replace(IDENTITY, site_id=None, trusted_keys={}, pinned_keys={})])
def test_it_comes_out_as_it_went_in(identity: SharedIdentity) -> None:
    code = secret()
    assert open_sealed(read(seal(identity, code, NAME).written()), code, NAME) == identity


def test_what_is_stored_shows_nothing_of_it() -> None:
    code = secret()
    stored = seal(IDENTITY, code, NAME).written()
    for shown in (b"PEM", NOISE, NOISE.hex().encode(), code, b"attic", b"alice"):
        assert shown not in stored
    assert fingerprint("PUBLIC PEM", NOISE).encode() in stored


def test_secrets_are_not_in_a_repr() -> None:
    shown = repr(IDENTITY) + repr(seal(IDENTITY, secret(), NAME))
    assert "PRIVATE" not in shown
    assert repr(NOISE) not in shown


def test_another_code_and_another_cluster_are_told() -> None:
    code = secret()
    sealed = seal(IDENTITY, code, NAME)
    for said in (why(sealed, secret()), why(sealed, code, "other")):
        assert "not its join code" in said
        assert "--new-code" in said


def test_what_was_changed_in_redis_is_told() -> None:
    code = secret()
    sealed = seal(IDENTITY, code, NAME)
    changed = sealed.sealed[:-1] + bytes([sealed.sealed[-1] ^ 1])
    assert "was changed" in why(replace(sealed, sealed=changed), code)
    assert "was changed" in why(replace(sealed, sealed=b""), code)
    assert "was changed" in why(replace(sealed, fingerprint="0" * 32), code)


@pytest.mark.parametrize("stored", [b"", b"[]", b"{}", b'{"version":1}', b"\xff", b"7", b"null"])
def test_what_is_no_sealed_identity_is_told(stored: bytes) -> None:
    with pytest.raises(CannotOpen, match="damaged"):
        read(stored)


def test_one_of_a_newer_version_is_told() -> None:
    document = codec.loads(seal(IDENTITY, secret(), NAME).written()) | {"version": 2}
    with pytest.raises(CannotOpen, match="newer HiveMind"):
        read(codec.dumps_bytes(document))


@pytest.mark.parametrize("key", ["fingerprint", "code_mark", "sealed"])
@pytest.mark.parametrize("value", [None, 7, ["x"], "ü"])
def test_a_field_that_is_wrong_never_raises_anything_else(key: str, value: object) -> None:
    code = secret()
    document = codec.loads(seal(IDENTITY, code, NAME).written()) | {key: value}
    with pytest.raises(CannotOpen):
        open_sealed(read(codec.dumps_bytes(document)), code, NAME)


def test_both_keys_are_in_the_fingerprint() -> None:
    prints = {
        IDENTITY.fingerprint,
        replace(IDENTITY, node_id="OTHER").fingerprint,
        replace(IDENTITY, noise_key=bytes(reversed(NOISE))).fingerprint,
    }
    assert len(prints) == 3
    assert replace(IDENTITY, node_id="PUBLIC PEM\n", site_id=None).fingerprint == IDENTITY.fingerprint


def test_the_secret_of_a_cluster_comes_from_its_noise_key_alone() -> None:
    assert cluster_secret(NOISE) == cluster_secret(NOISE)
    assert cluster_secret(NOISE) not in (NOISE, cluster_secret(bytes(32)))
    assert len(cluster_secret(NOISE)) == 32
