"""What the watches have shown, and how a watch that went silent is noticed."""

from typing import Any

from simulator.watchdog.watch_cache import Kind, WatchCache

PODS = Kind("", "v1", "pods", {"labelSelector": "a=b"})
JOBS = Kind("flink.apache.org", "v1beta1", "flinkdeployments", {"fieldSelector": "metadata.name=c"})


def event(kind: str | None, name: str, version: str) -> dict[str, Any]:
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": version}}}


def watched() -> WatchCache:
    return WatchCache((PODS, JOBS), now=0)


def test_the_paths_of_the_api() -> None:
    assert PODS.path("n") == "/api/v1/namespaces/n/pods"
    assert JOBS.path("n", "c") == "/apis/flink.apache.org/v1beta1/namespaces/n/flinkdeployments/c"


def test_objects_come_change_and_go() -> None:
    shown = watched()
    assert shown.one(PODS) is None
    shown.record(PODS, event(None, "a", "1"), 1)
    shown.record(PODS, event("ADDED", "b", "2"), 2)
    shown.record(PODS, event("MODIFIED", "a", "3"), 3)
    assert [each["metadata"]["resourceVersion"] for each in shown.all(PODS)] == ["3", "2"]
    shown.record(PODS, event("DELETED", "a", "4"), 4)
    shown.record(PODS, event("DELETED", "a", "4"), 4)
    assert [each["metadata"]["name"] for each in shown.all(PODS)] == ["b"]
    assert shown.all(JOBS) == []


def test_a_quiet_watch_agrees_with_the_api() -> None:
    shown = watched()
    shown.record(PODS, event(None, "a", "1"), 1)
    assert shown.agrees(PODS, {"a": "1"}, asked=1000)
    assert shown.agrees(JOBS, {}, asked=1000)


def test_a_watch_that_missed_something_does_not_agree() -> None:
    shown = watched()
    shown.record(PODS, event(None, "a", "1"), 1)
    assert not shown.agrees(PODS, {"a": "2"}, asked=1000)
    assert not shown.agrees(PODS, {}, asked=1000)
    assert not shown.agrees(PODS, {"a": "1", "b": "1"}, asked=1000)


def test_a_watch_that_tells_something_else_meanwhile_is_not_silent() -> None:
    shown = watched()
    shown.record(PODS, event("MODIFIED", "a", "3"), 1001)
    assert shown.agrees(PODS, {"a": "2"}, asked=1000)


def test_it_is_complete_once_each_watch_has_agreed() -> None:
    shown = watched()
    shown.compared(PODS, True, 1)
    assert not shown.complete()
    shown.compared(JOBS, False, 1)
    assert not shown.complete()
    shown.compared(JOBS, True, 2)
    assert shown.complete()


def test_the_age_is_that_of_the_watch_that_agreed_longest_ago() -> None:
    shown = watched()
    assert shown.age(10) == 10
    shown.compared(PODS, True, 5)
    shown.compared(JOBS, True, 8)
    assert shown.age(10) == 5


def test_a_silent_watch_is_named_with_the_time_since_it_first_missed_something() -> None:
    shown = watched()
    assert shown.silent(10) == ("", 0)
    shown.compared(JOBS, False, 20)
    shown.compared(PODS, False, 30)
    shown.compared(JOBS, False, 40)
    assert shown.silent(50) == ("flinkdeployments", 30)
    shown.compared(JOBS, True, 60)
    assert shown.silent(70) == ("pods", 40)
