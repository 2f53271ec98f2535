"""The restart policy: decides whether the simulator is restarted now, and why or why not.

Pure functions of observations and a clock. Times are seconds since 1970 UTC, durations are seconds. `State` survives a
restart of the watchdog: it is stored in an annotation of the simulator's Deployment. `Memory` does not survive: a new
watchdog waits for each limit anew.
"""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum

HOUR = 3600
RUNNING = "RUNNING"
MAX_BACK_OFF_EXPONENT = 30  # far beyond each BACK_OFF_MAX_SECONDS that can be set


class RestartReason(StrEnum):
    """Why a restart is due. When several apply, the first in this order counts."""

    CONFIG_CHANGED = "ConfigChanged"
    CRASH_LOOPING = "CrashLooping"
    NOT_READY = "NotReady"
    NO_SEND = "NoSend"
    TOPIC_STALLED = "TopicStalled"


class SuppressReason(StrEnum):
    """Why a restart that is due does not happen."""

    ROLLOUT = "RolloutUnderWay"
    COLLECTOR_DOWN = "CollectorDown"
    KAFKA_UNREACHABLE = "KafkaUnreachable"
    COOLDOWN = "Cooldown"
    BACK_OFF = "BackOff"
    HOURLY_CAP = "HourlyCap"


@dataclass(frozen=True)
class Limits:
    """The policy's limits: seconds, but for restarts_per_hour."""

    # How long a fault must last before a restart is due.
    not_ready: float = 20
    crash_loop: float = 60
    no_send: float = 30
    topic_stalled: float = 60
    # The shortest time between two restarts. It doubles with each restart that does not help, up to back_off_max.
    cooldown: float = 60
    back_off_max: float = 1800
    recovered: float = 300  # how long there must be no fault until the doubling is reset
    restarts_per_hour: int = 6


@dataclass(frozen=True)
class Pod:
    """A pod of the simulator."""

    uid: str
    started: float | None = None  # when its containers were started; None while not all of them run
    # None while the pod is Ready, and while its containers do not run: then a restart could not help.
    not_ready_since: float | None = None
    crash_looping: bool = False  # a container waits in CrashLoopBackOff


@dataclass(frozen=True)
class Health:
    """An answer of the simulator's /healthz."""

    pod: str  # uid
    clients: int  # open connections
    sent: int  # posts sent since the start, to all clients
    newest: int  # number of the newest post


@dataclass(frozen=True)
class Observation:
    """What the watchdog sees at one moment."""

    pods: tuple[Pod, ...] = ()  # active ones: neither finished nor being deleted
    health: Health | None = None  # None without an answer
    topic_end: int | None = None  # sum of the partitions' end offsets; None when Kafka does not answer
    collector: str | None = None  # state of its Flink job; None when there is no FlinkDeployment
    rollout: bool = False  # a rollout of the simulator's Deployment is under way
    replicas: int = 1  # of the simulator's Deployment
    config: str = ""  # hash of the simulator's ConfigMap and Secret; "" when one of them is missing


@dataclass(frozen=True)
class Memory:
    """What the earlier observations have shown."""

    config: str = ""  # the last configuration hash
    config_since: float = 0  # when it was first seen
    crashing: tuple[tuple[str, float], ...] = ()  # (uid of a pod in a crash loop, since when)
    health: Health | None = None  # the last answer
    newest_when_sent: int = 0  # number of the newest post when `sent` last grew
    no_send_since: float | None = None  # since when there are clients and newer posts, and `sent` does not grow
    topic_end: int | None = None  # the last one known
    flow_since: float | None = None  # when the topic last grew, or when it was first observed
    sent_when_grown: int | None = None  # `sent` when the topic last grew
    topic_stalled_since: float | None = None  # since when `sent` grows and the topic does not
    healthy_since: float | None = None  # since when no restart is due; None while one is


@dataclass(frozen=True)
class State:
    """What survives a restart of the watchdog."""

    restarts: tuple[int, ...] = ()  # times of the restarts of the last hour, rounded up
    failures: int = 0  # how many restarts in a row did not help
    config: str = ""  # hash of the configuration with which the simulator runs
    last_reported: str = ""  # "RestartReason/SuppressReason" of the last report; "" once all is well

    def dump(self) -> str:
        """The annotation's value: compact JSON with one key for each field."""
        return json.dumps(asdict(self), separators=(",", ":"))


def load_state(text: str | None, now: float) -> State:
    """Read what `dump` wrote; None gives a new state.

    A text that cannot be read counts as a restart just now: that delays the next restart and cannot cause a storm.
    """
    if text is None:
        return State()
    try:
        values = json.loads(text)
        state = State(tuple(values["restarts"]), values["failures"], values["config"], values["last_reported"])
    except (ValueError, TypeError, KeyError):
        return State(restarts=(math.ceil(now),))
    numbers = all(type(number) is int for number in (*state.restarts, state.failures))
    if not (numbers and state.failures >= 0 and isinstance(state.config, str) and isinstance(state.last_reported, str)):
        return State(restarts=(math.ceil(now),))
    return state


@dataclass(frozen=True)
class Decision:
    """What follows from an observation."""

    memory: Memory
    state: State  # to be written together with the restart
    restart: bool = False  # restart now
    notify: bool = False  # report it: as an Event, in the log, in the metrics
    cause: RestartReason | None = None  # why a restart is due; None when none is
    hold: SuppressReason | None = None  # why the restart is suppressed; None when it is not
    text: str = field(default="", compare=False)  # of the report


def decide(memory: Memory, state: State, seen: Observation, limits: Limits, now: float) -> Decision:
    """Decide from one more observation. The caller keeps the returned memory and stores the returned state."""
    memory = remember(memory, seen, limits, now)
    if seen.config and (not state.config or has_config(memory, seen)):
        state = replace(state, config=seen.config)
    found = find_cause(memory, state, seen, limits, now)
    if found is None:
        healthy_since = now if memory.healthy_since is None else memory.healthy_since
        failures = 0 if now - healthy_since >= limits.recovered else state.failures
        return Decision(
            replace(memory, healthy_since=healthy_since), replace(state, failures=failures, last_reported="")
        )
    cause, why = found
    memory = replace(memory, healthy_since=None)
    held = find_hold(cause, state, seen, limits, now)
    if held is not None:
        hold, reason = held
        if hold is SuppressReason.ROLLOUT and state.restarts and now - max(state.restarts) < limits.cooldown:
            # The rollout that the restart itself began is not reported.
            return Decision(memory, state, False, False, cause, hold, "")
        report = f"{cause}/{hold}"
        text = f"{cause}: {why}. Not restarted, {hold}: {reason}"
        notify = report != state.last_reported
        return Decision(memory, replace(state, last_reported=report), False, notify, cause, hold, text)
    failures = 0 if cause is RestartReason.CONFIG_CHANGED else state.failures + 1
    restarts = (*recent_restarts(state, now), math.ceil(now))
    after = State(restarts, failures, seen.config or state.config)
    return Decision(memory, after, True, True, cause, None, f"{cause}: {why}")


def remember(memory: Memory, seen: Observation, limits: Limits, now: float) -> Memory:
    """Add one more observation to the memory."""
    if seen.config != memory.config:
        memory = replace(memory, config=seen.config, config_since=now)
    memory = replace(memory, crashing=find_crashing(memory, seen, limits, now))
    memory = remember_topic(memory, seen, now)
    return remember_health(memory, seen.health, now)


def find_crashing(memory: Memory, seen: Observation, limits: Limits, now: float) -> tuple[tuple[str, float], ...]:
    """The pods in a crash loop, and since when.

    A container runs for a while between two crashes. Its pod leaves the crash loop when it has run for longer than the
    limit.
    """
    before = dict(memory.crashing)
    found = []
    for pod in seen.pods:
        ran = pod.started is not None and now - pod.started > limits.crash_loop
        if pod.crash_looping or (pod.uid in before and not ran):
            found.append((pod.uid, before.get(pod.uid, now)))
    return tuple(found)


def remember_health(memory: Memory, health: Health | None, now: float) -> Memory:
    """Note since when the simulator has clients and newer posts but sends nothing."""
    if health is None:
        return memory
    last = memory.health
    if last is None or health.pod != last.pod or health.sent != last.sent or health.clients == 0:
        return replace(memory, health=health, newest_when_sent=health.newest, no_send_since=None)
    no_send_since = memory.no_send_since
    if no_send_since is None and health.newest > memory.newest_when_sent:
        no_send_since = now
    return replace(memory, health=health, no_send_since=no_send_since)


def remember_topic(memory: Memory, seen: Observation, now: float) -> Memory:
    """Note since when the topic has not grown, and since when it has not although posts were sent.

    Called before `remember_health`: the last answer, still in the memory, shows whether the pod is a new one.
    """
    grown = seen.topic_end is not None and seen.topic_end != memory.topic_end
    # Without a collector there is no flow that could have stopped.
    if memory.flow_since is None or grown or seen.collector is None:
        memory = replace(memory, flow_since=now)
    if seen.topic_end is not None:
        memory = replace(memory, topic_end=seen.topic_end)
    health = seen.health
    new_pod = health is not None and memory.health is not None and health.pod != memory.health.pod
    no_clients = health is not None and health.clients == 0
    if grown or new_pod or no_clients or seen.topic_end is None or seen.collector != RUNNING:
        return replace(memory, sent_when_grown=health.sent if health else None, topic_stalled_since=None)
    if health is None:
        return memory
    if memory.sent_when_grown is None:
        return replace(memory, sent_when_grown=health.sent)
    if memory.topic_stalled_since is None and health.sent > memory.sent_when_grown:
        return replace(memory, topic_stalled_since=now)
    return memory


def has_config(memory: Memory, seen: Observation) -> bool:
    """Whether all pods were started with the present configuration. Start times of containers are whole seconds."""
    started = [pod.started for pod in seen.pods]
    after = [moment for moment in started if moment is not None and moment >= memory.config_since + 1]
    return seen.replicas == 0 or (bool(started) and len(after) == len(started))


def find_cause(
    memory: Memory, state: State, seen: Observation, limits: Limits, now: float
) -> tuple[RestartReason, str] | None:
    """Why a restart is due, and the text that says so; None when none is due."""
    if seen.replicas == 0:
        return None
    if seen.config and seen.config != state.config:
        return RestartReason.CONFIG_CHANGED, "the configuration differs from the one it was started with"
    clients = seen.health.clients if seen.health else 0
    downstream = seen.collector is not None and (seen.collector != RUNNING or seen.topic_end is None)
    crashing = max_age([since for _, since in memory.crashing], now)
    not_ready = max_age([pod.not_ready_since for pod in seen.pods], now)
    no_send = max_age([memory.no_send_since if clients else None], now)
    stalled = max_age([memory.topic_stalled_since if clients else None], now)
    # A fault after the simulator: it is reported, and the reasons to suppress a restart apply.
    no_flow = max_age([memory.flow_since if downstream else None], now)
    faults = (
        (crashing, limits.crash_loop, RestartReason.CRASH_LOOPING, "the pod has been crash-looping"),
        (not_ready, limits.not_ready, RestartReason.NOT_READY, "the pod has not been Ready"),
        (
            no_send,
            limits.no_send,
            RestartReason.NO_SEND,
            f"it has {clients} client(s) and new posts, but has sent nothing",
        ),
        (stalled, limits.topic_stalled, RestartReason.TOPIC_STALLED, "it sends, but the topic has not grown"),
        (no_flow, limits.topic_stalled, RestartReason.TOPIC_STALLED, "the topic has not been seen to grow"),
    )
    for age, limit, cause, text in faults:
        if age > limit:
            return cause, f"{text} for {age:.0f} s"
    return None


def max_age(starts: list[float | None], now: float) -> float:
    """Seconds since the earliest of these times; 0 without any."""
    return max((now - start for start in starts if start is not None), default=0)


def find_hold(
    cause: RestartReason, state: State, seen: Observation, limits: Limits, now: float
) -> tuple[SuppressReason, str] | None:
    """Why a restart that is due must not happen, and the text that says so; None when it may."""
    if seen.rollout:
        return SuppressReason.ROLLOUT, "a rollout of the simulator is under way"
    if seen.collector not in {None, RUNNING}:
        return SuppressReason.COLLECTOR_DOWN, f"the collector is {seen.collector}"
    if seen.topic_end is None:
        return SuppressReason.KAFKA_UNREACHABLE, "the end of the topic cannot be read"
    restarts = recent_restarts(state, now)
    if restarts:
        last = max(restarts)
        wait = required_pause(cause, state, limits)
        if now - last < wait:
            hold = SuppressReason.COOLDOWN if now - last < limits.cooldown else SuppressReason.BACK_OFF
            tried = f" and {state.failures} in a row did not help" if state.failures > 1 else ""
            return (
                hold,
                f"the last restart was {max(0, now - last):.0f} s ago{tried}; the next is allowed after {wait:.0f} s",
            )
    if len(restarts) >= limits.restarts_per_hour:
        return SuppressReason.HOURLY_CAP, f"there were {len(restarts)} restarts within an hour"
    return None


def required_pause(cause: RestartReason, state: State, limits: Limits) -> float:
    """Seconds from the last restart to the next.

    A changed configuration may cure what earlier restarts did not: it never waits longer than the cooldown.
    """
    if cause is RestartReason.CONFIG_CHANGED:
        return limits.cooldown
    doubled = limits.cooldown * math.pow(2, min(max(0, state.failures - 1), MAX_BACK_OFF_EXPONENT))
    return max(limits.cooldown, min(limits.back_off_max, doubled))


def recent_restarts(state: State, now: float) -> tuple[int, ...]:
    """The restarts of the last hour, and those in the future, which a clock that was set back leaves."""
    return tuple(moment for moment in state.restarts if moment > now - HOUR)
