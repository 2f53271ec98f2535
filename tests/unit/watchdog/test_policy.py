"""When the simulator is restarted, when that is suppressed, and that no sequence of events makes a storm."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.watchdog.policy import (
    HOUR,
    Decision,
    Health,
    Limits,
    Memory,
    Observation,
    Pod,
    RestartReason,
    State,
    SuppressReason,
    decide,
    load_state,
)

NOW = 1_800_000_000.0
LIMITS = Limits(
    not_ready=20, crash_loop=60, no_send=30, topic_stalled=60, cooldown=60, back_off_max=1800, recovered=300
)
READY = Pod("a", started=NOW - 1000)
# A moment at which all is well.
WELL = Observation(
    pods=(READY,),
    health=Health("a", clients=1, sent=100, newest=100),
    topic_end=100,
    collector="RUNNING",
    config="one",
)
KNOWN = State(config="one")


class World:
    """The watchdog over time: a clock, what it remembers, and the annotation."""

    def __init__(self, limits: Limits = LIMITS, state: State = KNOWN) -> None:
        self.now, self.limits, self.state, self.memory = NOW, limits, state, Memory()
        self.seen = WELL

    def look(self, seconds: float = 5, *, flow: bool = True, **changes: Any) -> Decision:
        """What is decided some seconds later. flow: posts were sent and reached the topic."""
        self.now += seconds
        seen = replace(self.seen, **changes)
        if flow and seen.health and seen.topic_end is not None:
            health = replace(seen.health, sent=seen.health.sent + 10, newest=seen.health.newest + 10)
            seen = replace(seen, health=health, topic_end=seen.topic_end + 10)
        self.seen = seen
        decision = decide(self.memory, load_state(self.state.dump(), self.now), seen, self.limits, self.now)
        self.memory, self.state = decision.memory, decision.state
        return decision

    def send(self, seconds: float = 5, *, posts: int = 10, arriving: bool = False) -> Decision:
        """Time goes on, `newest` grows by 10, `sent` by `posts`, and the topic where they arrive."""
        assert self.seen.health is not None
        assert self.seen.topic_end is not None
        health = replace(self.seen.health, sent=self.seen.health.sent + posts, newest=self.seen.health.newest + 10)
        return self.look(seconds, flow=False, health=health, topic_end=self.seen.topic_end + posts * arriving)


def not_ready(world: World, seconds: float = 1000) -> Pod:
    return replace(READY, not_ready_since=world.now - seconds)


def test_a_simulator_that_is_well_is_left_alone() -> None:
    world = World()
    for _ in range(1000):
        decision = world.look()
        assert (decision.restart, decision.notify, decision.cause) == (False, False, None)
    assert world.state == KNOWN


def test_a_pod_that_stays_not_ready_is_restarted_after_the_limit() -> None:
    world = World()
    since = world.now
    pod = replace(READY, not_ready_since=since)
    assert not world.look(20, pods=(pod,)).restart
    decision = world.look(1, pods=(pod,))
    assert (decision.restart, decision.cause) == (True, RestartReason.NOT_READY)
    assert "not been Ready for 21 s" in decision.text


def test_a_pod_whose_container_was_not_started_yet_is_not_judged() -> None:
    world = World()
    assert not world.look(3600, pods=(Pod("a"),)).restart


def test_a_crash_loop_is_restarted_after_the_limit_however_ready_it_looks_in_between() -> None:
    world = World()
    crashed = Pod("a", crash_looping=True)
    world.look(pods=(crashed,))
    for _ in range(2):
        assert not world.look(20, pods=(Pod("a", started=world.now + 15),)).restart  # runs for five seconds
        assert not world.look(10, pods=(crashed,)).restart
    decision = world.look(5, pods=(crashed,))
    assert (decision.restart, decision.cause) == (True, RestartReason.CRASH_LOOPING)


def test_a_pod_that_ran_for_longer_than_the_limit_has_left_its_crash_loop() -> None:
    world = World()
    world.look(pods=(Pod("a", crash_looping=True),))
    started = Pod("a", started=world.now + 1)
    assert not world.look(55, pods=(started,)).restart
    assert not world.look(10, pods=(started,)).restart
    assert world.memory.crashing == ()
    assert not world.look(10, pods=(Pod("a", crash_looping=True),)).restart


def test_another_pod_begins_its_own_crash_loop() -> None:
    world = World()
    world.look(pods=(Pod("a", crash_looping=True),))
    assert not world.look(100, pods=(Pod("b", crash_looping=True),)).restart


def test_clients_but_no_send_is_a_fault_after_the_limit() -> None:
    world = World()
    world.look()
    world.send(posts=0)
    assert not world.send(30, posts=0).restart
    decision = world.send(1, posts=0)
    assert (decision.restart, decision.cause) == (True, RestartReason.NO_SEND)


def test_no_send_is_no_fault_without_clients_or_without_new_posts() -> None:
    world = World()
    world.look()
    for _ in range(20):
        nobody = Health("a", clients=0, sent=100, newest=world.seen.health.newest + 10 if world.seen.health else 0)
        assert not world.look(flow=False, health=nobody).restart
    world = World()
    world.look()
    for _ in range(20):
        assert not world.look(60, flow=False).restart  # such as after SIMULATOR_STOP_AFTER


def test_a_slow_feed_is_no_fault() -> None:
    """A post in 100 seconds, which is due for a moment before it is sent."""
    world = World()
    world.look()
    for _ in range(20):
        assert not world.send(100, posts=0).restart
        assert not world.send(0.1, posts=10, arriving=True).restart


def test_no_answer_is_no_evidence_of_a_silent_feed() -> None:
    world = World()
    world.look()
    world.send(posts=0)
    assert not world.look(100, flow=False, health=None).restart


def test_a_topic_that_does_not_grow_although_posts_are_sent_is_a_fault_after_the_limit() -> None:
    world = World()
    world.look()
    world.send()
    assert not world.send(60).restart
    decision = world.send(1)
    assert (decision.restart, decision.cause) == (True, RestartReason.TOPIC_STALLED)


def test_a_topic_that_does_not_grow_while_nothing_is_sent_is_no_fault() -> None:
    world = World()
    world.look()
    for _ in range(20):
        assert not world.look(60, flow=False).restart


def test_the_topic_is_given_its_time_anew_after_each_interruption() -> None:
    interruptions: tuple[dict[str, Any], ...] = (
        {"topic_end": None},
        {"collector": "RESTARTING"},
        {"health": Health("b", clients=1, sent=0, newest=1000)},
        {"health": Health("a", clients=0, sent=1000, newest=1000)},
    )
    for interruption in interruptions:
        world = World()
        world.look()
        end = world.seen.topic_end
        world.send()
        world.send(50)
        world.look(5, flow=False, **interruption)
        back = world.seen.health or WELL.health
        assert back is not None
        world.look(1, flow=False, topic_end=end, collector="RUNNING", health=replace(back, clients=1))
        world.send(1)
        assert not world.send(59).restart, interruption
        assert world.send(2).restart, interruption


def test_a_changed_configuration_rolls_it_and_is_remembered() -> None:
    world = World()
    world.look()
    decision = world.look(config="two")
    assert (decision.restart, decision.cause) == (True, RestartReason.CONFIG_CHANGED)
    assert world.state.config == "two"
    assert not world.look(1000, pods=(Pod("b", started=world.now),)).restart


def test_a_configuration_that_changed_while_no_watchdog_ran_is_noticed() -> None:
    world = World(state=State(config="zero"))
    assert world.look().cause is RestartReason.CONFIG_CHANGED


def test_the_first_configuration_seen_is_no_change() -> None:
    world = World(state=State())
    assert not world.look().restart
    assert world.state.config == "one"


def test_a_configuration_with_which_all_pods_were_started_needs_no_restart() -> None:
    world = World()
    world.look()
    decision = world.look(config="two", rollout=True)  # as by a helm upgrade that changes both
    assert (decision.cause, decision.hold) == (RestartReason.CONFIG_CHANGED, SuppressReason.ROLLOUT)
    assert world.look(5, pods=(Pod("b", started=world.now + 3),)).cause is None
    assert world.state.config == "two"


def test_a_pod_of_the_same_second_may_have_the_configuration_of_before() -> None:
    world = World()
    world.look()
    assert world.look(config="two", pods=(Pod("b", started=world.now + 5),)).restart


def test_a_configuration_that_is_not_all_there_is_no_change() -> None:
    world = World()
    world.look()
    assert world.look(config="").cause is None
    assert world.look(config="one").cause is None


def test_nothing_is_done_about_a_simulator_that_is_scaled_to_zero() -> None:
    world = World()
    world.look()
    decision = world.look(1000, pods=(), replicas=0, config="two", health=None, flow=False)
    assert decision.cause is None
    assert world.state.config == "two"


HOLDS: dict[SuppressReason, dict[str, Any]] = {
    SuppressReason.ROLLOUT: {"rollout": True},
    SuppressReason.COLLECTOR_DOWN: {"collector": "FAILED"},
    SuppressReason.KAFKA_UNREACHABLE: {"topic_end": None},
}


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("cause", [RestartReason.NOT_READY, RestartReason.CONFIG_CHANGED])
def test_somebody_elses_fault_suppresses_it_and_is_reported_once(hold: SuppressReason, cause: RestartReason) -> None:
    world = World()
    world.look()
    fault: dict[str, Any] = {"pods": (not_ready(world),)} if cause is RestartReason.NOT_READY else {"config": "two"}
    decisions = [world.look(**fault, **HOLDS[hold]) for _ in range(100)]
    assert {(decision.cause, decision.hold) for decision in decisions} == {(cause, hold)}
    assert [decision.notify for decision in decisions] == [True] + [False] * 99
    assert world.state.restarts == ()
    # And once it is over, the restart that is still wanted comes.
    assert world.look(collector="RUNNING", topic_end=500, rollout=False).restart


def test_the_rollout_of_its_own_restart_is_no_news_until_it_takes_longer_than_the_cooldown() -> None:
    world = World()
    world.look()
    assert world.look(pods=(not_ready(world),)).restart
    decisions = [world.look(1, pods=(not_ready(world),), rollout=True) for _ in range(100)]
    assert {decision.hold for decision in decisions} == {SuppressReason.ROLLOUT}
    assert [number for number, decision in enumerate(decisions, 1) if decision.notify] == [60]


def test_what_was_reported_is_reported_again_only_when_it_comes_again() -> None:
    world = World()
    world.look()
    assert world.look(pods=(not_ready(world),), rollout=True).notify
    assert not world.look().notify
    world.look(pods=(READY,))
    assert world.look(pods=(not_ready(world),)).notify


@pytest.mark.parametrize("state", ["FAILED", "RECONCILING", "not started"])
def test_a_flow_that_ended_with_the_collector_is_reported_and_not_acted_on(state: str) -> None:
    world = World()
    world.look()
    decisions = [world.look(flow=False, collector=state, health=replace_clients(0)) for _ in range(40)]
    reported = [decision for decision in decisions if decision.notify]
    assert [(decision.cause, decision.hold) for decision in reported] == [
        (RestartReason.TOPIC_STALLED, SuppressReason.COLLECTOR_DOWN)
    ]
    assert not any(decision.restart for decision in decisions)


def test_an_unreachable_kafka_is_reported_and_not_acted_on() -> None:
    world = World()
    world.look()
    decisions = [world.look(flow=False, topic_end=None) for _ in range(40)]
    reported = [decision for decision in decisions if decision.notify]
    assert [(decision.cause, decision.hold) for decision in reported] == [
        (RestartReason.TOPIC_STALLED, SuppressReason.KAFKA_UNREACHABLE)
    ]
    assert not any(decision.restart for decision in decisions)


def test_without_a_collector_only_the_pod_and_its_configuration_count() -> None:
    world = World()
    for _ in range(40):
        assert world.look(flow=False, collector=None, topic_end=None).cause is None
    world = World()
    assert world.look(collector=None, pods=(not_ready(world),)).restart


def replace_clients(clients: int) -> Health:
    return Health("a", clients, sent=100, newest=100)


def test_the_cooldown_then_the_back_off_doubles_up_to_its_limit() -> None:
    world = World(replace(LIMITS, restarts_per_hour=60, back_off_max=400))
    world.look()
    moments, holds = [], set()
    for _ in range(3000):
        decision = world.look(1, pods=(not_ready(world),))
        holds.add(decision.hold)
        if decision.restart:
            moments.append(world.now)
    assert holds == {None, SuppressReason.COOLDOWN, SuppressReason.BACK_OFF}
    pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert pauses[:6] == [60, 120, 240, 400, 400, 400]


def test_the_back_off_begins_anew_once_all_was_well_for_long_enough() -> None:
    world = World()
    for _ in range(400):
        world.look(1, pods=(not_ready(world),))
    assert world.state.failures == 3
    world.look(1, pods=(READY,))
    world.look(299)
    assert world.state.failures == 3
    world.look(1)
    assert world.state.failures == 0


def test_a_changed_configuration_waits_for_the_cooldown_and_not_for_the_back_off() -> None:
    world = World()
    while world.state.failures < 4:
        world.look(1, pods=(not_ready(world),))
    assert world.look(59, config="two").hold is SuppressReason.COOLDOWN
    decision = world.look(1)
    assert (decision.restart, decision.cause) == (True, RestartReason.CONFIG_CHANGED)
    assert world.state.failures == 0


def test_the_hourly_cap() -> None:
    world = World(replace(LIMITS, cooldown=1, back_off_max=1, restarts_per_hour=3))
    decisions = [world.look(10, pods=(not_ready(world),)) for _ in range(1000)]
    moments = [10 * number for number, decision in enumerate(decisions) if decision.restart]
    assert moments[:3] == [0, 10, 20]
    assert all(later - earlier > HOUR - 10 for earlier, later in zip(moments, moments[3:], strict=False))
    assert len(moments) == 9
    assert decisions[3].hold is SuppressReason.HOURLY_CAP
    assert "3 restarts within an hour" in decisions[3].text


def test_a_watchdog_killed_in_mid_cooldown_remembers() -> None:
    world = World()
    world.look()
    assert world.look(pods=(not_ready(world),)).restart
    world.memory = Memory()
    decision = world.look(30, pods=(not_ready(world),))
    assert (decision.hold, decision.notify) == (SuppressReason.COOLDOWN, True)
    world.memory = Memory()
    assert not world.look(20).notify
    assert world.look(10).restart


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "null",
        "{}",
        '{"restarts":"12","failures":0,"config":"","last_reported":""}',
        '{"restarts":[null],"failures":0,"config":"","last_reported":""}',
        '{"restarts":[true],"failures":0,"config":"","last_reported":""}',
        '{"restarts":[],"failures":-1,"config":"","last_reported":""}',
        '{"restarts":[],"failures":0.5,"config":"","last_reported":""}',
        '{"restarts":[],"failures":0,"config":1,"last_reported":""}',
        '{"restarts":[],"failures":0,"config":"","last_reported":null}',
    ],
)
def test_a_state_that_cannot_be_read_counts_as_a_restart_just_now(text: str) -> None:
    assert load_state(text, NOW + 0.5) == State(restarts=(math.ceil(NOW + 0.5),))


states = st.builds(
    State,
    st.lists(st.integers(0, 2**40), max_size=60).map(tuple),
    st.integers(0, 10**6),
    st.text(max_size=20),
    st.text(max_size=20),
)


@given(states)
def test_a_state_is_read_as_it_was_written(state: State) -> None:
    assert load_state(state.dump(), NOW) == state


def test_no_annotation_is_a_new_state() -> None:
    assert load_state(None, NOW) == State()


@dataclass(frozen=True)
class Step:
    """What happens next: time passes, something is seen, and perhaps the watchdog dies or its write is refused."""

    seconds: float
    seen: Observation
    dies: bool
    refused: bool


pods = st.builds(
    Pod,
    uid=st.sampled_from("ab"),
    started=st.none() | st.floats(NOW - 10_000, NOW + 10_000),
    not_ready_since=st.none() | st.floats(NOW - 10_000, NOW + 10_000),
    crash_looping=st.booleans(),
)
healths = st.builds(Health, st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 99), st.integers(0, 99))
# Most moments have a fault, and few have an excuse: otherwise hardly any restart would come about.
observations = st.builds(
    Observation,
    pods=st.lists(pods, max_size=2).map(tuple),
    health=st.none() | healths,
    topic_end=st.sampled_from([1, 1, 2, 3, None]),
    collector=st.sampled_from(["RUNNING", "RUNNING", "RUNNING", None, "FAILED"]),
    rollout=st.sampled_from([False, False, False, True]),
    replicas=st.sampled_from([1, 1, 1, 0]),
    config=st.sampled_from(["one", "two", "three", ""]),
)
steps = st.builds(
    Step,
    seconds=st.floats(0, 5) | st.floats(0, 4000),
    seen=observations,
    dies=st.booleans(),
    refused=st.sampled_from([False, False, True]),
)
limits = st.builds(
    Limits,
    not_ready=st.integers(1, 60),
    crash_loop=st.integers(1, 60),
    no_send=st.integers(1, 60),
    topic_stalled=st.integers(1, 60),
    cooldown=st.integers(1, 600),
    back_off_max=st.integers(1, 86_400),
    recovered=st.integers(1, 600),
    restarts_per_hour=st.integers(1, 5),
)


def live(limits: Limits, steps: list[Step]) -> Iterator[tuple[float, Decision]]:
    """The moments of all restarts that happened."""
    now, memory, annotation = NOW, Memory(), None
    for step in steps:
        now += step.seconds
        decision = decide(Memory() if step.dies else memory, load_state(annotation, now), step.seen, limits, now)
        memory = decision.memory
        if not step.refused:
            annotation = decision.state.dump()
            if decision.restart:
                yield now, decision


@settings(max_examples=400)
@given(limits, st.lists(steps, max_size=60))
def test_never_more_restarts_than_the_cap_in_any_hour(limits: Limits, steps: list[Step]) -> None:
    moments = [moment for moment, _ in live(limits, steps)]
    for first in moments:
        assert len([each for each in moments if first <= each < first + HOUR]) <= limits.restarts_per_hour
    assert all(later - earlier >= limits.cooldown for earlier, later in itertools.pairwise(moments))


@settings(max_examples=400)
@given(limits, st.lists(steps, max_size=60))
def test_never_a_restart_with_an_excuse_or_without_a_cause(limits: Limits, steps: list[Step]) -> None:
    by_moment: dict[float, list[Observation]] = {}
    now = NOW
    for step in steps:
        now += step.seconds
        by_moment.setdefault(now, []).append(step.seen)
    for moment, decision in live(limits, steps):
        assert decision.cause is not None
        assert decision.hold is None
        assert any(
            not seen.rollout and seen.collector in {None, "RUNNING"} and seen.topic_end and seen.replicas
            for seen in by_moment[moment]
        )


@settings(max_examples=200)
@given(states, observations, limits, st.floats(NOW - 10_000, NOW + 10_000))
def test_any_state_and_observation_are_decided(state: State, seen: Observation, limits: Limits, now: float) -> None:
    decision = decide(Memory(), state, seen, limits, now)
    assert len(decision.state.restarts) <= max(len(state.restarts), limits.restarts_per_hour)
    assert decision.restart == (decision.cause is not None and decision.hold is None)
    assert bool(decision.text) >= decision.notify
