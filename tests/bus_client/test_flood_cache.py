import threading

import pytest

from hivemind_bus_client.flood_cache import FloodIdCache


def test_an_id_is_new_once():
    cache = FloodIdCache()
    assert cache.check("a") is False
    assert cache.check("a") is True
    assert cache.check("b") is False
    assert len(cache) == 2


@pytest.mark.parametrize("nothing", ["", None])
def test_no_id_counts_as_seen_and_is_not_noted(nothing):
    cache = FloodIdCache()
    assert cache.check(nothing)
    assert len(cache) == 0


def test_the_oldest_is_forgotten():
    cache = FloodIdCache(3)
    for flood_id in "abcd":
        cache.add(flood_id)
    assert list(cache) == ["b", "c", "d"]
    assert cache.check("a") is False
    assert list(cache) == ["c", "d", "a"]


def test_seeing_an_id_again_does_not_make_it_younger():
    cache = FloodIdCache(2)
    for flood_id in "aba":
        cache.check(flood_id)
    cache.check("c")
    assert list(cache) == ["b", "c"]


def test_a_bound_for_one_call():
    cache = FloodIdCache(10)
    for flood_id in "abc":
        cache.check(flood_id)
    cache.check("d", max_size=2)
    assert list(cache) == ["c", "d"]


@pytest.mark.parametrize("size", [0, 1, -1])
def test_it_holds_at_least_one(size):
    cache = FloodIdCache(size)
    assert [cache.check("a"), cache.check("a"), cache.check("b")] == [False, True, False]
    assert list(cache) == ["b"]


def test_it_is_a_set():
    cache = FloodIdCache()
    cache.add("a")
    cache |= {"b"}
    assert "a" in cache
    assert 3 not in cache
    assert cache == {"a", "b"}
    assert cache == {"a": 0, "b": 0}
    assert cache != {"a"}
    cache.discard("a")
    cache.discard("never there")
    assert list(cache) == ["b"]
    with pytest.raises(KeyError):
        cache.remove("a")
    cache.clear()
    assert cache == {} == dict(cache._added)


def test_when_an_id_was_added():
    cache = FloodIdCache()
    cache.add("a")
    first = cache["a"]
    cache.add("a")
    assert cache["a"] == first > 0
    with pytest.raises(KeyError):
        cache["b"]


def test_it_may_change_while_it_is_iterated():
    cache = FloodIdCache()
    cache |= {"a", "b"}
    for flood_id in cache:
        cache.discard(flood_id)
    assert len(cache) == 0


def test_of_many_threads_one_is_told_that_an_id_is_new():
    cache, told, barrier = FloodIdCache(), [], threading.Barrier(8)

    def check() -> None:
        barrier.wait(60)
        told.extend(not cache.check(str(number)) for number in range(200))

    threads = [threading.Thread(target=check) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told.count(True) == 200
