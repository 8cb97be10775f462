"""noise_psks: the file of derived keys, by the released functions."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from hivemind_bus_client.noise_psks import (
    NOISE_PSK_CACHE_SUFFIX,
    clear_cached_psks,
    forget_cached_psk,
    load_cached_psk,
    save_cached_psk,
)
from hivemind_bus_client.psk_cache import PskCache

PSK, OTHER = b"\x01" * 32, b"\x02" * 32


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "me_noise.key"


def file_of(key: Path) -> Path:
    return key.with_name(f"me_noise{NOISE_PSK_CACHE_SUFFIX}")


def test_a_key_is_kept_for_a_hub_and_an_access_key(key: Path) -> None:
    save_cached_psk(key, "hub", PSK)
    save_cached_psk(str(key), "hub", OTHER, "access")
    assert load_cached_psk(key, "hub") == load_cached_psk(key, "hub", "") == PSK
    assert load_cached_psk(key, "hub", "access") == OTHER
    assert load_cached_psk(key, "hub", "another") is None
    assert load_cached_psk(key, "another") is None
    scope = hashlib.sha256(b"access").hexdigest()[:16]
    assert json.loads(file_of(key).read_text()) == {"hub": PSK.hex(), f"{scope}@hub": OTHER.hex()}
    assert stat.S_IMODE(os.stat(file_of(key)).st_mode) == 0o600


def test_one_key_or_all_can_be_forgotten(key: Path) -> None:
    save_cached_psk(key, "hub", PSK)
    save_cached_psk(key, "hub", OTHER, "access")
    forget_cached_psk(key, "hub")
    forget_cached_psk(key, "unknown")
    assert load_cached_psk(key, "hub") is None
    assert load_cached_psk(key, "hub", "access") == OTHER
    clear_cached_psks(key)
    clear_cached_psks(key)
    assert not file_of(key).exists()


def test_without_a_place_nothing_is_kept() -> None:
    save_cached_psk(None, "hub", PSK)
    forget_cached_psk(None, "hub")
    clear_cached_psks(None)
    assert load_cached_psk(None, "hub") is None


@pytest.mark.parametrize(("node_id", "psk"), [("", PSK), ("n" * 513, PSK), (None, PSK), ("hub", b"short")])
def test_what_is_no_id_or_key_is_not_kept(key: Path, node_id: str, psk: bytes) -> None:
    save_cached_psk(key, node_id, psk)
    assert load_cached_psk(key, node_id) is None
    assert not file_of(key).exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"hub": 5}', '{"hub": "zz"}', '{"hub": "ab"}'])
def test_what_cannot_be_read_counts_as_nothing(key: Path, content: str) -> None:
    file_of(key).write_text(content)
    file_of(key).chmod(0o600)
    assert load_cached_psk(key, "hub") is None
    save_cached_psk(key, "hub", PSK)
    assert load_cached_psk(key, "hub") == PSK


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_file_that_others_can_read_counts_as_nothing(key: Path) -> None:
    save_cached_psk(key, "hub", PSK)
    file_of(key).chmod(0o640)
    assert load_cached_psk(key, "hub") is None
    save_cached_psk(key, "new", OTHER)
    assert json.loads(file_of(key).read_text()) == {"new": OTHER.hex()}
    assert stat.S_IMODE(os.stat(file_of(key)).st_mode) == 0o600


def test_a_file_that_is_too_large_counts_as_nothing(key: Path) -> None:
    file_of(key).write_text(json.dumps({"hub": PSK.hex(), "x": "y" * 1024 * 1024}))
    file_of(key).chmod(0o600)
    assert load_cached_psk(key, "hub") is None


def test_the_oldest_beyond_32_go(key: Path) -> None:
    for number in range(33):
        save_cached_psk(key, f"hub {number}", PSK)
    assert load_cached_psk(key, "hub 0") is None
    assert load_cached_psk(key, "hub 32") == PSK
    assert len(json.loads(file_of(key).read_text())) == 32


def test_our_clients_read_and_keep_what_is_kept_here(key: Path) -> None:
    save_cached_psk(key, "hub", PSK, "access")
    assert PskCache(key).load("access", "hub", "password", trusted=True) == PSK
    PskCache(key).save("access", "second", OTHER, "password")
    save_cached_psk(key, "hub", OTHER, "access")
    assert load_cached_psk(key, "second", "access") == OTHER
    assert PskCache(key).load("access", "second", "wrong") is None
    assert PskCache(key).load("access", "second", "password") == OTHER
    save_cached_psk(key, "second", PSK, "access")
    assert PskCache(key).load("access", "second", "wrong", trusted=True) == PSK
