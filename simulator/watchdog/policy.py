"""Whether the simulator is restarted now, and why, or why not: pure functions of observations and a clock.

Moments are seconds since 1970 UTC, durations seconds. What must outlive the watchdog is the `State`, which is kept in
an annotation of the simulator's Deployment; `Memory` is lost with the watchdog, which then waits for each limit anew.
"""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum

HOUR = 3600
RUNNING = "RUNNING"
LARGEST_EXPONENT = 30  # of the back-off; far beyond each limit that can be set


class RestartReason(StrEnum):
    """Why a restart is wanted; the first that applies counts."""

    CONFIG_CHANGED = "ConfigChanged"
    CRASH_LOOPING = "CrashLooping"
    NOT_READY = "NotReady"
    NO_SEND = "NoSend"
    TOPIC_STALLED = "TopicStalled"


class SuppressReason(StrEnum):
    """Why a restart that is wanted does not happen."""

    ROLLOUT = "RolloutUnderWay"
    COLLECTOR_DOWN = "CollectorDown"
    KAFKA_UNREACHABLE = "KafkaUnreachable"
    COOLDOWN = "Cooldown"
    BACK_OFF = "BackOff"
    HOURLY_CAP = "HourlyCap"


@dataclass(frozen=True)
class Limits:
    """How long each fault is watched before it counts; cooldown: the shortest time between two restarts, doubled with
    each that did not help up to back_off_max; recovered: how long all must be well for the doubling to begin anew."""

    not_ready: float = 20
    crash_loop: float = 60
    no_send: float = 30
    topic_stalled: float = 60
    cooldown: float = 60
    back_off_max: float = 1800
    recovered: float = 300
    restarts_per_hour: int = 6


@dataclass(frozen=True)
class Pod:
    """started: when its container was started, None while none runs; not_ready_since: None while it is Ready, and while
    no container runs, for then there is nothing that a restart could help."""

    uid: str
    started: float | None = None
    not_ready_since: float | None = None
    crash_looping: bool = False


@dataclass(frozen=True)
class Health:
    """What the simulator in this pod says: how many clients it has, how many posts it sent, the newest one's number."""

    pod: str
    clients: int
    sent: int
    newest: int


@dataclass(frozen=True)
class Observation:
    """What is seen at one moment. pods: those meant to stay; health: None without an answer; topic_end: the sum of the
    partitions' end offsets, None when Kafka does not answer; collector: its job's state, None when there is none;
    rollout: of the simulator; config: a hash of the simulator's configuration, "" when a part of it is missing."""

    pods: tuple[Pod, ...] = ()
    health: Health | None = None
    topic_end: int | None = None
    collector: str | None = None
    rollout: bool = False
    replicas: int = 1
    config: str = ""


@dataclass(frozen=True)
class Memory:
    """What is known from the observations before."""

    config: str = ""
    config_since: float = 0
    crashing: tuple[tuple[str, float], ...] = ()  # pods, and since when
    health: Health | None = None
    newest_when_sent: int = 0  # the newest post's number when `sent` last grew
    no_send_since: float | None = None  # since when there are newer posts, and clients, but nothing more is sent
    topic_end: int | None = None
    flow_since: float | None = None  # when the topic last grew, or the first look at it
    sent_when_grown: int | None = None
    topic_stalled_since: float | None = None  # since when posts were sent of which the topic shows nothing
    healthy_since: float | None = None


@dataclass(frozen=True)
class State:
    """restarts: those of the last hour, rounded up; failures: how many in a row did not help; config: with which the
    simulator runs; said: which cause and hold were told last."""

    restarts: tuple[int, ...] = ()
    failures: int = 0
    config: str = ""
    said: str = ""

    def dump(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))


def load_state(text: str | None, now: float) -> State:
    """What `dump` wrote; None gives a new one. What cannot be read counts as a restart of this moment: rather one too
    few than a storm."""
    if text is None:
        return State()
    try:
        values = json.loads(text)
        state = State(tuple(values["restarts"]), values["failures"], values["config"], values["said"])
    except (ValueError, TypeError, KeyError):
        return State(restarts=(math.ceil(now),))
    numbers = all(type(number) is int for number in (*state.restarts, state.failures))
    if not (numbers and state.failures >= 0 and isinstance(state.config, str) and isinstance(state.said, str)):
        return State(restarts=(math.ceil(now),))
    return state


@dataclass(frozen=True)
class Decision:
    """What follows from an observation. restart: now; cause without restart: held back by `hold`; say: it is news."""

    memory: Memory
    state: State
    restart: bool = False
    say: bool = False
    cause: RestartReason | None = None
    hold: SuppressReason | None = None
    text: str = field(default="", compare=False)


def decide(memory: Memory, state: State, seen: Observation, limits: Limits, now: float) -> Decision:
    memory = remember(memory, seen, limits, now)
    if seen.config and (not state.config or has_config(memory, seen)):
        state = replace(state, config=seen.config)
    found = find_cause(memory, state, seen, limits, now)
    if found is None:
        healthy_since = now if memory.healthy_since is None else memory.healthy_since
        failures = 0 if now - healthy_since >= limits.recovered else state.failures
        return Decision(replace(memory, healthy_since=healthy_since), replace(state, failures=failures, said=""))
    cause, why = found
    memory = replace(memory, healthy_since=None)
    held = find_hold(cause, state, seen, limits, now)
    if held is not None:
        hold, reason = held
        if hold is SuppressReason.ROLLOUT and state.restarts and now - max(state.restarts) < limits.cooldown:
            return Decision(memory, state, False, False, cause, hold, "")  # of the restart itself: that is no news
        said = f"{cause}/{hold}"
        text = f"{cause}: {why}. Not restarted, {hold}: {reason}"
        return Decision(memory, replace(state, said=said), False, said != state.said, cause, hold, text)
    failures = 0 if cause is RestartReason.CONFIG_CHANGED else state.failures + 1
    restarts = (*recent(state, now), math.ceil(now))
    after = State(restarts, failures, seen.config or state.config)
    return Decision(memory, after, True, True, cause, None, f"{cause}: {why}")


def remember(memory: Memory, seen: Observation, limits: Limits, now: float) -> Memory:
    """The memory with one more observation in it."""
    if seen.config != memory.config:
        memory = replace(memory, config=seen.config, config_since=now)
    memory = replace(memory, crashing=crashing(memory, seen, limits, now))
    memory = remember_topic(memory, seen, now)
    return remember_health(memory, seen.health, now)


def crashing(memory: Memory, seen: Observation, limits: Limits, now: float) -> tuple[tuple[str, float], ...]:
    """Between two crashes a container runs for a while: a pod is through with it when that is longer than the limit."""
    before = dict(memory.crashing)
    found = []
    for pod in seen.pods:
        ran = pod.started is not None and now - pod.started > limits.crash_loop
        if pod.crash_looping or (pod.uid in before and not ran):
            found.append((pod.uid, before.get(pod.uid, now)))
    return tuple(found)


def remember_health(memory: Memory, health: Health | None, now: float) -> Memory:
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
    """To be called before `remember_health`, whose last answer tells a new pod."""
    grown = seen.topic_end is not None and seen.topic_end != memory.topic_end
    # A pipeline that is not there yet has no flow that could have stopped.
    if memory.flow_since is None or grown or seen.collector is None:
        memory = replace(memory, flow_since=now)
    if seen.topic_end is not None:
        memory = replace(memory, topic_end=seen.topic_end)
    health = seen.health
    new_pod = health is not None and memory.health is not None and health.pod != memory.health.pod
    nobody = health is not None and health.clients == 0
    if grown or new_pod or nobody or seen.topic_end is None or seen.collector != RUNNING:
        return replace(memory, sent_when_grown=health.sent if health else None, topic_stalled_since=None)
    if health is None:
        return memory
    if memory.sent_when_grown is None:
        return replace(memory, sent_when_grown=health.sent)
    if memory.topic_stalled_since is None and health.sent > memory.sent_when_grown:
        return replace(memory, topic_stalled_since=now)
    return memory


def has_config(memory: Memory, seen: Observation) -> bool:
    """Whether all that runs was started with the present configuration: moments of containers are whole seconds."""
    started = [pod.started for pod in seen.pods]
    after = [moment for moment in started if moment is not None and moment >= memory.config_since + 1]
    return seen.replicas == 0 or (bool(started) and len(after) == len(started))


def find_cause(
    memory: Memory, state: State, seen: Observation, limits: Limits, now: float
) -> tuple[RestartReason, str] | None:
    """Why a restart is wanted, and how that is told."""
    if seen.replicas == 0:
        return None
    if seen.config and seen.config != state.config:
        return RestartReason.CONFIG_CHANGED, "the configuration is another than the one it was started with"
    clients = seen.health.clients if seen.health else 0
    others = seen.collector is not None and (seen.collector != RUNNING or seen.topic_end is None)
    crashes = longest([since for _, since in memory.crashing], now)
    not_ready = longest([pod.not_ready_since for pod in seen.pods], now)
    due = longest([memory.no_send_since if clients else None], now)
    unseen = longest([memory.topic_stalled_since if clients else None], now)
    still = longest([memory.flow_since if others else None], now)
    faults = (
        (crashes, limits.crash_loop, RestartReason.CRASH_LOOPING, "the pod has been crash-looping"),
        (not_ready, limits.not_ready, RestartReason.NOT_READY, "the pod has not been Ready"),
        (due, limits.no_send, RestartReason.NO_SEND, f"it has {clients} client(s) and new posts, but has sent nothing"),
        (unseen, limits.topic_stalled, RestartReason.TOPIC_STALLED, "it sends, but the topic has not grown"),
        (still, limits.topic_stalled, RestartReason.TOPIC_STALLED, "the topic was not seen to grow"),
    )
    for age, limit, cause, told in faults:
        if age > limit:
            return cause, f"{told} for {age:.0f} s"
    return None


def longest(begins: list[float | None], now: float) -> float:
    return max((now - begin for begin in begins if begin is not None), default=0)


def find_hold(
    cause: RestartReason, state: State, seen: Observation, limits: Limits, now: float
) -> tuple[SuppressReason, str] | None:
    """Why a restart that is wanted must not happen, and how that is told."""
    if seen.rollout:
        return SuppressReason.ROLLOUT, "a rollout of the simulator is under way"
    if seen.collector not in {None, RUNNING}:
        return SuppressReason.COLLECTOR_DOWN, f"the collector is {seen.collector}"
    if seen.topic_end is None:
        return SuppressReason.KAFKA_UNREACHABLE, "the topic cannot be asked for"
    restarts = recent(state, now)
    if restarts:
        last = max(restarts)
        wait = wanted_pause(cause, state, limits)
        if now - last < wait:
            hold = SuppressReason.COOLDOWN if now - last < limits.cooldown else SuppressReason.BACK_OFF
            tried = f" and {state.failures} in a row did not help" if state.failures > 1 else ""
            return (
                hold,
                f"the last restart was {max(0, now - last):.0f} s ago{tried}; the next may come after {wait:.0f} s",
            )
    if len(restarts) >= limits.restarts_per_hour:
        return SuppressReason.HOURLY_CAP, f"there were {len(restarts)} restarts within an hour"
    return None


def wanted_pause(cause: RestartReason, state: State, limits: Limits) -> float:
    """A changed configuration may be the remedy for what other restarts did not help: it never waits longer than the
    cooldown."""
    if cause is RestartReason.CONFIG_CHANGED:
        return limits.cooldown
    doubled = limits.cooldown * math.pow(2, min(max(0, state.failures - 1), LARGEST_EXPONENT))
    return max(limits.cooldown, min(limits.back_off_max, doubled))


def recent(state: State, now: float) -> tuple[int, ...]:
    """The restarts of the last hour. One in the future, by a clock that was set back, is among them."""
    return tuple(moment for moment in state.restarts if moment > now - HOUR)
