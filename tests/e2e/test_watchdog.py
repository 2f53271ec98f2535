"""The watchdog on a cluster: it restarts the simulator if necessary and not too often, and no restart loses a post.

The tests share one release, with the collector and without a database, and run in order. Each test checks all posts
since the release began. A fault is a signal to the simulator's process. The kubelet also reacts to it: it increases the
restart count of the pod, while the watchdog creates a new pod.
"""

import itertools
import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deploy import stubs
from deploy.chart import copy_without_dependencies
from deploy.cluster import ClusterError
from deploy.release import LIGHT_VALUES, image_settings, is_stable, ready
from tests.e2e.conftest import ClusterNamespace
from tests.support.counting import assert_complete, numbers
from tests.support.waiting import await_value

log = logging.getLogger(__name__)

RELEASE = "flow"
NAME = f"{RELEASE}-data-collection"
SIMULATOR, WATCHDOG, COLLECTOR = f"{NAME}-simulator", f"{NAME}-watchdog", f"{NAME}-collector"
TOPICS = ("flow", "flow.rejected")
RATE = 20
SETTINGS = (
    *("aggregator.enabled=false", "worldometersStub.enabled=false", "console.enabled=false"),
    *("mongodb.mode=external", "mongodb.existingSecret=none"),
    *(f"kafka.topics.tweets.name={TOPICS[0]}", f"kafka.topics.rejected.name={TOPICS[1]}"),
    f"simulator.settings.SIMULATOR_RATE={RATE}",
)
RUNNING_SECONDS = 300
MEMORY_MEGABYTES = 80
STOPPED_SECONDS = 60
STATE = "data-collection/watchdog-state"
# Sends a signal to the simulator's process, which is not the first one of its pod (see `release`). Without the
# brackets, grep would also find the shell.
SIGNAL = """
for folder in /proc/[0-9]*; do
  if grep -q '[t]witter_stream_simulator' $folder/cmdline; then kill -{signal} ${{folder#/proc/}}; fi
done
"""
# A stub of a simulator that answers /healthz and sends no posts. sent: a Python expression.
STALLED_SIMULATOR = """
import json, time
from http.server import BaseHTTPRequestHandler, HTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        seconds = int(time.monotonic())
        answer = {{"status": "ok", "newest": seconds, "clients": 1, "sent": {sent}, "last_send_age_seconds": 0}}
        self.send_response(200 if self.path == "/healthz" else 404)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())
HTTPServer(("", 5555), Handler).serve_forever()
"""


@dataclass(frozen=True)
class Event:
    moment: float  # Unix time, whole seconds
    text: str


@dataclass
class WatchdogRelease:
    """The installed chart."""

    namespace: ClusterNamespace
    chart: Path
    settings: tuple[str, ...] = ()

    def helm(self, *arguments: str, seconds: float = 420) -> str:
        flags = ("--kube-context", self.namespace.cluster.target.context, "--namespace", self.namespace.name)
        return self.namespace.cluster.program("helm", *arguments, *flags, seconds=seconds)

    def upgrade(self, *settings: str) -> None:
        """Install or upgrade, and wait until all pods are Ready. The values of earlier calls remain."""
        self.settings = (*self.settings, *settings)
        values = (*LIGHT_VALUES, *stubs.values(self.namespace.images), *image_settings(self.namespace.images))
        given = [part for setting in (*SETTINGS, *self.settings) for part in ("--set", setting)]
        self.helm("upgrade", "--install", RELEASE, str(self.chart), *values, *given, "--wait", "--timeout=5m")

    def set_watchdog(self, **settings: int) -> None:
        self.upgrade(*(f"watchdog.settings.{name}={value}" for name, value in settings.items()))

    def running(self) -> bool:
        return is_stable(self.namespace.cluster.get("flinkdeployment", COLLECTOR, self.namespace.name))

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The pods of the component that are not being deleted."""
        selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        found = self.namespace.cluster.list("pods", self.namespace.name, selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod(self, component: str) -> str:
        """The name of the component's only pod, once it is Ready."""

        def only() -> str:
            found = self.pods(component)
            return str(found[0]["metadata"]["name"]) if len(found) == 1 and ready(found[0]) else ""

        return await_value(only, f"one Ready pod of the {component}", 120, every=0.5)

    def await_other_pod(self, old: str, seconds: float = 60) -> str:
        """Wait until the simulator has another pod that is Ready; returns its name."""
        await_value(lambda: self.pod("simulator") != old, "the new pod", seconds)
        return self.pod("simulator")

    def signal(self, pod: str, name: str) -> None:
        command = ("sh", "-c", SIGNAL.format(signal=name))
        self.namespace.cluster.execute(pod, self.namespace.name, *command)

    def patch(self, **template: Any) -> None:
        """Change the simulator's pod template and wait for the new pod."""
        patch = json.dumps({"spec": {"template": {"spec": template}}})
        self.kubectl("patch", "deployment", SIMULATOR, "-p", patch)
        self.kubectl("rollout", "status", f"deployment/{SIMULATOR}", "--timeout=120s", seconds=130)

    def kubectl(self, *arguments: str, seconds: float = 60) -> str:
        return self.namespace.cluster.run(*arguments, "-n", self.namespace.name, seconds=seconds)

    def events(self, reason: str, *parts: str) -> list[Event]:
        """The watchdog's Events whose text contains all these parts, the oldest first."""
        output = self.kubectl(
            "get", "events", "--field-selector", f"reason={reason},involvedObject.name={SIMULATOR}", "-o", "json"
        )
        events = [Event(unix(each["firstTimestamp"]), each["message"]) for each in json.loads(output)["items"]]
        return sorted(
            (event for event in events if all(part in event.text for part in parts)), key=lambda event: event.moment
        )

    def restarts(self, *parts: str) -> list[Event]:
        return self.events("SimulatorRestarted", *parts)

    def suppressed(self, *parts: str) -> list[Event]:
        return self.events("SimulatorNotRestarted", *parts)

    def await_new_event(self, before: list[Event], reason: str, *parts: str, seconds: float) -> Event:
        """The first new Event with this reason."""

        def new() -> list[Event]:
            return [event for event in self.events(reason, *parts) if event not in before]

        try:
            return await_value(new, f"a new {reason} with {parts}", seconds, every=0.5)[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.events_and_log()}") from None

    def events_and_log(self) -> str:
        """The watchdog's Events and log."""
        events = self.kubectl("get", "events", "--field-selector", f"involvedObject.name={SIMULATOR}")
        return f"{events[-3000:]}\n{self.kubectl('logs', f'deployment/{WATCHDOG}', '--tail=40')[-3000:]}"

    def state(self) -> dict[str, Any]:
        found = self.namespace.cluster.get("deployment", SIMULATOR, self.namespace.name) or {}
        return dict(json.loads(found["metadata"]["annotations"][STATE]))

    def await_posts_after(self, moment: float, seconds: float = 120) -> float:
        """Wait until a post from after this moment (Unix time) is in the topic; returns the present time."""

        def arrived() -> bool:
            return any(post["timestamp"] > moment * 1000 for post in self.namespace.posts(TOPICS[0]))

        await_value(arrived, "new posts in the topic", seconds, every=1)
        return time.time()

    def numbers_of_ten_seconds(self) -> list[int]:
        found = numbers(self.namespace.posts(TOPICS[0]))
        return found if len(found) > 10 * RATE else []

    def assert_exactly_once(self) -> None:
        """Assert that the topic has each post once. Posts of open transactions do not count."""
        found = await_value(self.numbers_of_ten_seconds, "ten seconds of posts", 60, every=1)
        last = found[-1] - 4 * RATE
        assert_complete([number for number in found if number <= last], last)
        assert self.namespace.posts(TOPICS[1]) == []


def unix(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


@pytest.fixture(scope="module")
def release(
    namespace_with_stubs: ClusterNamespace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchdogRelease]:
    topics = [f"{TOPICS[0]}:4", f"{TOPICS[1]}:1"]
    namespace_with_stubs.cluster.execute(
        "kafka-0", namespace_with_stubs.name, "/entrypoint.sh", "topics", "kafka:9092", *topics
    )
    release = WatchdogRelease(namespace_with_stubs, copy_without_dependencies(tmp_path_factory.mktemp("chart")))
    release.upgrade()
    # No process of a PID namespace can stop or kill its first process. In a shared namespace, that is the pause
    # container's.
    release.patch(shareProcessNamespace=True)
    yield release
    release.helm("uninstall", RELEASE, "--wait")


def test_a_changed_configuration_restarts_the_simulator_when_the_collector_runs(release: WatchdogRelease) -> None:
    old = release.pod("simulator")
    assert not release.running()
    release.upgrade("simulator.settings.SIMULATOR_STOP_AFTER=9000000000000000")
    release.await_new_event([], "SimulatorNotRestarted", "ConfigChanged", "CollectorDown", seconds=60)
    assert release.pod("simulator") == old
    await_value(release.running, "the collector to be RUNNING and STABLE", RUNNING_SECONDS, every=1)
    restart = release.await_new_event([], "SimulatorRestarted", "ConfigChanged", seconds=60)
    settings = release.namespace.cluster.execute(release.await_other_pod(old), release.namespace.name, "env")
    assert "SIMULATOR_STOP_AFTER=9000000000000000" in settings
    assert len(release.suppressed("ConfigChanged", "CollectorDown")) == 1
    release.await_posts_after(restart.moment)
    release.assert_exactly_once()


def test_a_stopped_simulator_is_restarted_within_a_minute_and_sends_posts(release: WatchdogRelease) -> None:
    """The kubelet would restart its container after more than a minute: three probes and a grace period of 30 s."""
    before = release.restarts()
    await_value(lambda: time.time() > before[-1].moment + 61, "the end of the cooldown", 90)
    old = release.pod("simulator")
    stopped_at = time.time()
    release.signal(old, "STOP")
    restart = release.await_new_event(before, "SimulatorRestarted", "NotReady", seconds=STOPPED_SECONDS)
    release.await_other_pod(old, STOPPED_SECONDS)
    took = time.time() - stopped_at
    assert took <= STOPPED_SECONDS
    assert [container["restartCount"] for container in release.pods("simulator")[0]["status"]["containerStatuses"]] == [
        0
    ]
    posts_at = release.await_posts_after(stopped_at + took)
    restarted = restart.moment - stopped_at
    log.info("restarted after %.0f s, Ready after %.0f s, posts after %.0f s", restarted, took, posts_at - stopped_at)
    release.assert_exactly_once()


def test_a_watchdog_that_is_killed_during_a_cooldown_keeps_it(release: WatchdogRelease) -> None:
    release.set_watchdog(COOLDOWN_SECONDS=600)
    restarts, suppressed = release.restarts(), release.suppressed()
    state = release.state()
    assert len(state["restarts"]) == len(restarts) == 2
    killed = release.pod("watchdog")
    release.namespace.remove_now(killed)
    stopped = release.pod("simulator")
    release.signal(stopped, "STOP")
    assert release.pod("watchdog") != killed
    event = release.await_new_event(suppressed, "SimulatorNotRestarted", "NotReady", "Cooldown", seconds=90)
    assert "the last restart was" in event.text
    release.signal(stopped, "CONT")
    assert release.pod("simulator") == stopped
    assert release.restarts() == restarts
    assert release.state()["restarts"] == state["restarts"]
    release.await_posts_after(time.time())
    release.assert_exactly_once()


@pytest.mark.parametrize(("cause", "sent"), [("NoSend", "7"), ("TopicStalled", "seconds")])
def test_a_simulator_that_is_healthy_but_sends_no_posts_is_restarted(
    release: WatchdogRelease, cause: str, sent: str
) -> None:
    release.set_watchdog(COOLDOWN_SECONDS=1, BACK_OFF_MAX_SECONDS=600, NO_SEND_SECONDS=10, TOPIC_STALLED_SECONDS=20)
    before = release.restarts()
    command = ["/opt/venv/bin/python", "-c", STALLED_SIMULATOR.format(sent=sent)]
    release.patch(containers=[{"name": "simulator", "command": command, "args": []}])
    release.await_new_event(before, "SimulatorRestarted", cause, seconds=90)
    release.patch(containers=[{"name": "simulator", "command": None, "args": None}])
    release.await_posts_after(time.time())
    release.assert_exactly_once()


def test_a_crash_looping_simulator_is_restarted_only_after_each_cooldown(release: WatchdogRelease) -> None:
    cooldown = 40
    release.set_watchdog(
        COOLDOWN_SECONDS=cooldown, BACK_OFF_MAX_SECONDS=600, CRASH_LOOP_SECONDS=10, RECOVERED_SECONDS=86_400
    )
    await_value(lambda: time.time() > release.restarts()[-1].moment + cooldown, "the end of the cooldown", 60, every=1)
    before, suppressed = release.restarts(), release.suppressed("CrashLooping")
    crashes, end = 0, time.time() + 150
    while time.time() < end:
        for pod in release.pods("simulator"):
            try:
                release.signal(pod["metadata"]["name"], "KILL")
                crashes += 1
            except ClusterError:  # it does not run at the moment
                pass
        time.sleep(1)
    new = release.restarts()[len(before) :]
    moments = [event.moment for event in new]
    log.info("%d crashes, restarts: %s", crashes, new)
    assert crashes >= 5
    assert 1 <= len(new) <= 3, release.events_and_log()
    assert all(later - earlier >= cooldown - 1 for earlier, later in itertools.pairwise(moments))
    assert len(release.suppressed("CrashLooping")) > len(suppressed), release.events_and_log()
    release.pod("simulator")
    release.await_posts_after(time.time())
    release.assert_exactly_once()


def test_ten_faults_cause_no_more_restarts_than_the_hourly_cap(release: WatchdogRelease) -> None:
    earlier = len(release.state()["restarts"])
    cap = earlier + 3
    quick = {"COOLDOWN_SECONDS": 1, "BACK_OFF_MAX_SECONDS": 1, "NOT_READY_SECONDS": 3, "POLL_SECONDS": 1}
    release.set_watchdog(**quick, CRASH_LOOP_SECONDS=3600, RESTARTS_PER_HOUR=cap)
    probe = {"periodSeconds": 1, "failureThreshold": 2}
    release.patch(containers=[{"name": "simulator", "readinessProbe": probe}])
    before = release.restarts()
    for fault in range(10):
        pod = release.pod("simulator")
        restarts, suppressed = release.restarts(), release.suppressed("NotReady", "HourlyCap")
        release.signal(pod, "STOP")
        if fault < 3:
            release.await_new_event(restarts, "SimulatorRestarted", "NotReady", seconds=60)
            release.await_other_pod(pod)
        else:
            release.await_new_event(suppressed, "SimulatorNotRestarted", "NotReady", "HourlyCap", seconds=60)
            release.signal(pod, "CONT")
            await_value(lambda: not release.state()["last_reported"], "the watchdog to report no fault", 30)
    assert len(release.restarts()) == len(before) + 3
    assert len(release.state()["restarts"]) == cap
    release.await_posts_after(time.time())
    release.assert_exactly_once()


def test_the_watchdog_reports_its_restarts_and_uses_little_memory(release: WatchdogRelease) -> None:
    pod = release.pod("watchdog")
    lines = release.namespace.cluster.http(pod, 9249, "/metrics", release.namespace.name).splitlines()
    metrics = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if "#" not in name}
    assert metrics['simulator_restarts_total{reason="NotReady"}'] == 3
    assert metrics['simulator_restarts_suppressed_total{held_by="HourlyCap",reason="NotReady"}'] == 7
    assert metrics["simulator_flow_age_seconds"] < 30
    assert metrics["simulator_watch_age_seconds"] < 30
    resident = metrics["process_resident_memory_bytes"] / 1e6
    log.info("%.0f MB resident", resident)
    assert resident <= MEMORY_MEGABYTES


def test_the_watchdog_adds_no_finalizer_and_has_no_further_rights(release: WatchdogRelease) -> None:
    namespace = release.namespace
    watched = [
        *namespace.cluster.list("pods,deployments,configmaps", namespace.name, f"app.kubernetes.io/instance={RELEASE}"),
        *namespace.cluster.list("flinkdeployments", namespace.name),
    ]
    finalizers = {name for each in watched for name in each["metadata"].get("finalizers", [])}
    assert not {name for name in finalizers if "kopf" in name or "zalando" in name}
    account = f"system:serviceaccount:{namespace.name}:{WATCHDOG}"
    forbidden = (("delete", "pods"), ("get", "secrets"), ("list", "configmaps"), ("patch", f"deployments/{WATCHDOG}"))
    for verb, what in forbidden:
        with pytest.raises(ClusterError):
            release.kubectl("auth", "can-i", verb, what, "--as", account)
    assert "yes" in release.kubectl("auth", "can-i", "patch", f"deployments/{SIMULATOR}", "--as", account)


def test_the_watchdog_ends_on_sigterm(release: WatchdogRelease) -> None:
    pod = release.pod("watchdog")
    begin = time.monotonic()
    release.namespace.cluster.delete("pod", release.namespace.name, pod)
    assert time.monotonic() - begin < 25, "it ended on SIGKILL, not on SIGTERM"
