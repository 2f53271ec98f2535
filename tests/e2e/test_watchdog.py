"""The watchdog on a cluster: it restarts the simulator when needed, is no storm itself, and no post is lost by it.

The tests share one release, with the collector and without a database, and run in order; each counts all posts since
the release began. Faults are signals to the simulator's process, which the kubelet sees as well: whatever it does shows
in the pod's restart count, while the watchdog makes new pods.
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
from tests.e2e.conftest import Place
from tests.support.counting import assert_complete, numbers
from tests.support.waiting import await_value

log = logging.getLogger(__name__)

RELEASE = "flow"
NAME = f"{RELEASE}-data-collection"
SIMULATOR, WATCHDOG, COLLECTOR = f"{NAME}-simulator", f"{NAME}-watchdog", f"{NAME}-collector"
TOPICS = ("flow", "flow.rejected")
RATE = 20
SETTINGS = (
    *("aggregator.enabled=false", "worldometersStub.enabled=false"),
    *("mongodb.mode=external", "mongodb.existingSecret=none"),
    *(f"kafka.topics.tweets.name={TOPICS[0]}", f"kafka.topics.rejected.name={TOPICS[1]}"),
    f"simulator.settings.SIMULATOR_RATE={RATE}",
)
RUNNING_SECONDS = 300
MEMORY_MEGABYTES = 80
FROZEN_SECONDS = 60
STATE = "data-collection/watchdog-state"
# To the simulator's process, which is not the first of its pod: see `flow`. The brackets keep the shell from itself.
SIGNAL = """
for folder in /proc/[0-9]*; do
  if grep -q '[t]witter_stream_simulator' $folder/cmdline; then kill -{signal} ${{folder#/proc/}}; fi
done
"""
# A stub of a simulator that answers /healthz but sends no posts; {sent} is an expression.
FAKE = """
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
class Flow:
    """The installed chart."""

    place: Place
    chart: Path
    settings: tuple[str, ...] = ()

    def helm(self, *arguments: str, seconds: float = 420) -> str:
        flags = ("--kube-context", self.place.cluster.target.context, "--namespace", self.place.namespace)
        return self.place.cluster.program("helm", *arguments, *flags, seconds=seconds)

    def upgrade(self, *settings: str) -> None:
        """Install or upgrade, with these values over those of before, and wait until all is Ready."""
        self.settings = (*self.settings, *settings)
        values = (*LIGHT_VALUES, *stubs.values(self.place.images), *image_settings(self.place.images))
        given = [part for setting in (*SETTINGS, *self.settings) for part in ("--set", setting)]
        self.helm("upgrade", "--install", RELEASE, str(self.chart), *values, *given, "--wait", "--timeout=5m")

    def operate(self, **settings: int) -> None:
        self.upgrade(*(f"watchdog.settings.{name}={value}" for name, value in settings.items()))

    def running(self) -> bool:
        return is_stable(self.place.cluster.get("flinkdeployment", COLLECTOR, self.place.namespace))

    def pods(self, component: str) -> list[dict[str, Any]]:
        """Those that are not being deleted."""
        selector = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component={component}"
        found = self.place.cluster.list("pods", self.place.namespace, selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod(self, component: str) -> str:
        """The name of the component's only pod, once it is Ready."""

        def only() -> str:
            found = self.pods(component)
            return str(found[0]["metadata"]["name"]) if len(found) == 1 and ready(found[0]) else ""

        return await_value(only, f"one Ready pod of the {component}", 120, every=0.5)

    def await_other_pod(self, old: str, seconds: float = 60) -> str:
        """The name of the simulator's pod once it is another one and Ready."""
        await_value(lambda: self.pod("simulator") != old, "the new pod", seconds)
        return self.pod("simulator")

    def signal(self, pod: str, name: str) -> None:
        command = ("sh", "-c", SIGNAL.format(signal=name))
        self.place.cluster.execute(pod, self.place.namespace, *command)

    def patch(self, **template: Any) -> None:
        """Change the simulator's pod template and wait for the new pod."""
        patch = json.dumps({"spec": {"template": {"spec": template}}})
        self.kubectl("patch", "deployment", SIMULATOR, "-p", patch)
        self.kubectl("rollout", "status", f"deployment/{SIMULATOR}", "--timeout=120s", seconds=130)

    def kubectl(self, *arguments: str, seconds: float = 60) -> str:
        return self.place.cluster.run(*arguments, "-n", self.place.namespace, seconds=seconds)

    def events(self, reason: str, *parts: str) -> list[Event]:
        """The watchdog's Events with all these parts in their text, the oldest first."""
        told = self.kubectl(
            "get", "events", "--field-selector", f"reason={reason},involvedObject.name={SIMULATOR}", "-o", "json"
        )
        events = [Event(unix(each["firstTimestamp"]), each["message"]) for each in json.loads(told)["items"]]
        return sorted(
            (event for event in events if all(part in event.text for part in parts)), key=lambda event: event.moment
        )

    def restarts(self, *parts: str) -> list[Event]:
        return self.events("SimulatorRestarted", *parts)

    def held(self, *parts: str) -> list[Event]:
        return self.events("SimulatorNotRestarted", *parts)

    def await_more(self, before: list[Event], reason: str, *parts: str, seconds: float) -> Event:
        """The first Event of this kind that was not there before."""

        def new() -> list[Event]:
            return [event for event in self.events(reason, *parts) if event not in before]

        try:
            return await_value(new, f"a new {reason} with {parts}", seconds, every=0.5)[0]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.story()}") from None

    def story(self) -> str:
        """What the watchdog said."""
        events = self.kubectl("get", "events", "--field-selector", f"involvedObject.name={SIMULATOR}")
        return f"{events[-3000:]}\n{self.kubectl('logs', f'deployment/{WATCHDOG}', '--tail=40')[-3000:]}"

    def state(self) -> dict[str, Any]:
        found = self.place.cluster.get("deployment", SIMULATOR, self.place.namespace) or {}
        return dict(json.loads(found["metadata"]["annotations"][STATE]))

    def await_posts_after(self, moment: float, seconds: float = 120) -> float:
        """Wait until a post of after this moment (Unix time) is in the topic; returns when it was seen there."""

        def seen() -> bool:
            return any(post["timestamp"] > moment * 1000 for post in self.place.posts(TOPICS[0]))

        await_value(seen, "posts to flow again", seconds, every=1)
        return time.time()

    def enough_numbers(self) -> list[int]:
        found = numbers(self.place.posts(TOPICS[0]))
        return found if len(found) > 10 * RATE else []

    def assert_exact(self) -> None:
        """Every post since the first is in the topic once, but for those of the transactions that are now open."""
        found = await_value(self.enough_numbers, "ten seconds of posts", 60, every=1)
        last = found[-1] - 4 * RATE
        assert_complete([number for number in found if number <= last], last)
        assert self.place.posts(TOPICS[1]) == []


def unix(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


@pytest.fixture(scope="module")
def flow(parts: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    topics = [f"{TOPICS[0]}:4", f"{TOPICS[1]}:1"]
    parts.cluster.execute("kafka-0", parts.namespace, "/entrypoint.sh", "topics", "kafka:9092", *topics)
    flow = Flow(parts, copy_without_dependencies(tmp_path_factory.mktemp("chart")))
    flow.upgrade()
    # The first process of a PID namespace cannot be stopped or killed from within: now that is the sandbox's.
    flow.patch(shareProcessNamespace=True)
    yield flow
    flow.helm("uninstall", RELEASE, "--wait")


def test_a_changed_configuration_waits_for_the_collector_and_then_rolls_it(flow: Flow) -> None:
    old = flow.pod("simulator")
    assert not flow.running()
    flow.upgrade("simulator.settings.SIMULATOR_STOP_AFTER=9000000000000000")
    flow.await_more([], "SimulatorNotRestarted", "ConfigChanged", "CollectorDown", seconds=60)
    assert flow.pod("simulator") == old
    await_value(flow.running, "the collector to be RUNNING and STABLE", RUNNING_SECONDS, every=1)
    restart = flow.await_more([], "SimulatorRestarted", "ConfigChanged", seconds=60)
    settings = flow.place.cluster.execute(flow.await_other_pod(old), flow.place.namespace, "env")
    assert "SIMULATOR_STOP_AFTER=9000000000000000" in settings
    assert len(flow.held("ConfigChanged", "CollectorDown")) == 1
    flow.await_posts_after(restart.moment)
    flow.assert_exact()


def test_a_frozen_simulator_is_restarted_within_a_minute_and_posts_flow_again(flow: Flow) -> None:
    """Its container would be restarted by the kubelet, after more than a minute: three probes, and 30 s of grace."""
    before = flow.restarts()
    await_value(lambda: time.time() > before[-1].moment + 61, "the end of the cooldown", 90)
    old = flow.pod("simulator")
    frozen = time.time()
    flow.signal(old, "STOP")
    restart = flow.await_more(before, "SimulatorRestarted", "NotReady", seconds=FROZEN_SECONDS)
    flow.await_other_pod(old, FROZEN_SECONDS)
    took = time.time() - frozen
    assert took <= FROZEN_SECONDS
    assert [container["restartCount"] for container in flow.pods("simulator")[0]["status"]["containerStatuses"]] == [0]
    flowing = flow.await_posts_after(frozen + took)
    restarted = restart.moment - frozen
    log.info("restarted after %.0f s, Ready after %.0f s, posts after %.0f s", restarted, took, flowing - frozen)
    flow.assert_exact()


def test_a_watchdog_that_is_killed_in_mid_cooldown_remembers(flow: Flow) -> None:
    flow.operate(COOLDOWN_SECONDS=600)
    restarts, held = flow.restarts(), flow.held()
    state = flow.state()
    assert len(state["restarts"]) == len(restarts) == 2
    killed = flow.pod("watchdog")
    flow.place.remove_now(killed)
    frozen = flow.pod("simulator")
    flow.signal(frozen, "STOP")
    assert flow.pod("watchdog") != killed
    told = flow.await_more(held, "SimulatorNotRestarted", "NotReady", "Cooldown", seconds=90)
    assert "the last restart was" in told.text
    flow.signal(frozen, "CONT")
    assert flow.pod("simulator") == frozen
    assert flow.restarts() == restarts
    assert flow.state()["restarts"] == state["restarts"]
    flow.await_posts_after(time.time())
    flow.assert_exact()


@pytest.mark.parametrize(("cause", "sent"), [("NoSend", "7"), ("TopicStalled", "seconds")])
def test_a_simulator_that_answers_but_does_not_feed_the_topic_is_restarted(flow: Flow, cause: str, sent: str) -> None:
    flow.operate(COOLDOWN_SECONDS=1, BACK_OFF_MAX_SECONDS=600, NO_SEND_SECONDS=10, TOPIC_STALLED_SECONDS=20)
    before = flow.restarts()
    command = ["/opt/venv/bin/python", "-c", FAKE.format(sent=sent)]
    flow.patch(containers=[{"name": "simulator", "command": command, "args": []}])
    flow.await_more(before, "SimulatorRestarted", cause, seconds=90)
    flow.patch(containers=[{"name": "simulator", "command": None, "args": None}])
    flow.await_posts_after(time.time())
    flow.assert_exact()


def test_a_simulator_that_crashes_again_and_again_is_not_hammered(flow: Flow) -> None:
    pause = 40
    flow.operate(COOLDOWN_SECONDS=pause, BACK_OFF_MAX_SECONDS=600, CRASH_LOOP_SECONDS=10, RECOVERED_SECONDS=86_400)
    await_value(lambda: time.time() > flow.restarts()[-1].moment + pause, "the end of the cooldown", 60, every=1)
    before, held = flow.restarts(), flow.held("CrashLooping")
    crashes, end = 0, time.time() + 150
    while time.time() < end:
        for pod in flow.pods("simulator"):
            try:
                flow.signal(pod["metadata"]["name"], "KILL")
                crashes += 1
            except ClusterError:  # it does not run just now
                pass
        time.sleep(1)
    new = flow.restarts()[len(before) :]
    moments = [event.moment for event in new]
    log.info("%d crashes, restarts: %s", crashes, new)
    assert crashes >= 5
    assert 1 <= len(new) <= 3, flow.story()
    assert all(later - earlier >= pause - 1 for earlier, later in itertools.pairwise(moments))
    assert len(flow.held("CrashLooping")) > len(held), flow.story()
    flow.pod("simulator")
    flow.await_posts_after(time.time())
    flow.assert_exact()


def test_ten_faults_in_a_row_stay_under_the_cap(flow: Flow) -> None:
    already = len(flow.state()["restarts"])
    cap = already + 3
    quick = {"COOLDOWN_SECONDS": 1, "BACK_OFF_MAX_SECONDS": 1, "NOT_READY_SECONDS": 3, "POLL_SECONDS": 1}
    flow.operate(**quick, CRASH_LOOP_SECONDS=3600, RESTARTS_PER_HOUR=cap)
    probe = {"periodSeconds": 1, "failureThreshold": 2}
    flow.patch(containers=[{"name": "simulator", "readinessProbe": probe}])
    before = flow.restarts()
    for fault in range(10):
        pod = flow.pod("simulator")
        restarts, held = flow.restarts(), flow.held("NotReady", "HourlyCap")
        flow.signal(pod, "STOP")
        if fault < 3:
            flow.await_more(restarts, "SimulatorRestarted", "NotReady", seconds=60)
            flow.await_other_pod(pod)
        else:
            flow.await_more(held, "SimulatorNotRestarted", "NotReady", "HourlyCap", seconds=60)
            flow.signal(pod, "CONT")
            await_value(lambda: not flow.state()["last_reported"], "the watchdog to see that all is well", 30)
    assert len(flow.restarts()) == len(before) + 3
    assert len(flow.state()["restarts"]) == cap
    flow.await_posts_after(time.time())
    flow.assert_exact()


def test_it_tells_what_it_did_and_stays_small(flow: Flow) -> None:
    pod = flow.pod("watchdog")
    lines = flow.place.cluster.http(pod, 9249, "/metrics", flow.place.namespace).splitlines()
    metrics = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines) if "#" not in name}
    assert metrics['simulator_restarts_total{reason="NotReady"}'] == 3
    assert metrics['simulator_restarts_suppressed_total{held_by="HourlyCap",reason="NotReady"}'] == 7
    assert metrics["simulator_flow_age_seconds"] < 30
    assert metrics["simulator_watch_age_seconds"] < 30
    resident = metrics["process_resident_memory_bytes"] / 1e6
    log.info("%.0f MB resident", resident)
    assert resident <= MEMORY_MEGABYTES


def test_it_puts_no_finalizer_on_anything_and_may_do_no_more_than_it_does(flow: Flow) -> None:
    place = flow.place
    watched = [
        *place.cluster.list("pods,deployments,configmaps", place.namespace, f"app.kubernetes.io/instance={RELEASE}"),
        *place.cluster.list("flinkdeployments", place.namespace),
    ]
    finalizers = {name for each in watched for name in each["metadata"].get("finalizers", [])}
    assert not {name for name in finalizers if "kopf" in name or "zalando" in name}
    account = f"system:serviceaccount:{place.namespace}:{WATCHDOG}"
    refused = (("delete", "pods"), ("get", "secrets"), ("list", "configmaps"), ("patch", f"deployments/{WATCHDOG}"))
    for verb, what in refused:
        with pytest.raises(ClusterError):
            flow.kubectl("auth", "can-i", verb, what, "--as", account)
    assert "yes" in flow.kubectl("auth", "can-i", "patch", f"deployments/{SIMULATOR}", "--as", account)


def test_it_ends_on_a_signal(flow: Flow) -> None:
    pod = flow.pod("watchdog")
    begin = time.monotonic()
    flow.place.cluster.delete("pod", flow.place.namespace, pod)
    assert time.monotonic() - begin < 25, "it was killed, not asked to end"
