"""The cache of watched objects, and how a stale watch is noticed."""

from typing import Any

from simulator.watchdog.watch_cache import Resource, WatchCache

PODS = Resource("", "v1", "pods", {"labelSelector": "a=b"})
JOBS = Resource("flink.apache.org", "v1beta1", "flinkdeployments", {"fieldSelector": "metadata.name=c"})


def event(type_: str | None, name: str, version: str) -> dict[str, Any]:
    return {"type": type_, "object": {"metadata": {"name": name, "resourceVersion": version}}}


def new_cache() -> WatchCache:
    return WatchCache((PODS, JOBS), now=0)


def test_the_paths_of_the_api() -> None:
    assert PODS.path("n") == "/api/v1/namespaces/n/pods"
    assert JOBS.path("n", "c") == "/apis/flink.apache.org/v1beta1/namespaces/n/flinkdeployments/c"


def test_objects_come_change_and_go() -> None:
    cache = new_cache()
    assert cache.one(PODS) is None
    cache.record(PODS, event(None, "a", "1"), 1)
    cache.record(PODS, event("ADDED", "b", "2"), 2)
    cache.record(PODS, event("MODIFIED", "a", "3"), 3)
    assert [each["metadata"]["resourceVersion"] for each in cache.all(PODS)] == ["3", "2"]
    cache.record(PODS, event("DELETED", "a", "4"), 4)
    cache.record(PODS, event("DELETED", "a", "4"), 4)
    assert [each["metadata"]["name"] for each in cache.all(PODS)] == ["b"]
    assert cache.all(JOBS) == []


def test_a_quiet_watch_matches_the_api() -> None:
    cache = new_cache()
    cache.record(PODS, event(None, "a", "1"), 1)
    assert cache.matches(PODS, {"a": "1"}, listed_at=1000)
    assert cache.matches(JOBS, {}, listed_at=1000)


def test_a_watch_that_missed_something_does_not_match() -> None:
    cache = new_cache()
    cache.record(PODS, event(None, "a", "1"), 1)
    assert not cache.matches(PODS, {"a": "2"}, listed_at=1000)
    assert not cache.matches(PODS, {}, listed_at=1000)
    assert not cache.matches(PODS, {"a": "1", "b": "1"}, listed_at=1000)


def test_a_watch_that_delivers_something_else_meanwhile_is_not_stale() -> None:
    cache = new_cache()
    cache.record(PODS, event("MODIFIED", "a", "3"), 1001)
    assert cache.matches(PODS, {"a": "2"}, listed_at=1000)


def test_it_is_complete_once_each_watch_has_matched() -> None:
    cache = new_cache()
    cache.mark_compared(PODS, True, 1)
    assert not cache.complete()
    cache.mark_compared(JOBS, False, 1)
    assert not cache.complete()
    cache.mark_compared(JOBS, True, 2)
    assert cache.complete()


def test_the_age_is_that_of_the_watch_that_matched_longest_ago() -> None:
    cache = new_cache()
    assert cache.age(10) == 10
    cache.mark_compared(PODS, True, 5)
    cache.mark_compared(JOBS, True, 8)
    assert cache.age(10) == 5


def test_a_stale_watch_is_named_with_the_time_since_it_first_missed_something() -> None:
    cache = new_cache()
    assert cache.most_stale(10) == ("", 0)
    cache.mark_compared(JOBS, False, 20)
    cache.mark_compared(PODS, False, 30)
    cache.mark_compared(JOBS, False, 40)
    assert cache.most_stale(50) == ("flinkdeployments", 30)
    cache.mark_compared(JOBS, True, 60)
    assert cache.most_stale(70) == ("pods", 40)
