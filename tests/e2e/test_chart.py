"""The chart as a user installs it: documents arrive, nothing that dies or changes costs a post, nothing stays behind.

The tests share one release and run in order; each one checks all that was counted since the release began. Kafka,
MongoDB and the Flink operator are the stubs of dev/stubs; its `values.yaml` has the values that differ.
"""

import base64
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy import pods, stubs
from deploy.chart import copy_without_dependencies
from deploy.cluster import Cluster, ClusterError, Object
from deploy.release import JOBS, LIGHT_VALUES, RELEASE, image_settings, is_stable
from deploy.sql_client import database_uri
from jobs.defaults import COLLECTION, DATABASE, REJECTED_TOPIC, TWEETS_TOPIC
from jobs.documents import iso
from tests.e2e.conftest import Place
from tests.support.counting import Feed, assert_complete, numbers
from tests.support.waiting import await_value

HERE = Path(__file__).parent
READ_DOCUMENTS = (HERE / "read_documents.py").read_text()
log = logging.getLogger(__name__)
FEED = Feed(rate=20, window_seconds=20)
FIRST_DOCUMENT_SECONDS = 240
RUNNING_SECONDS = 300
RECOVERY_SECONDS = 240
METRICS_PORT, REST_PORT = 9249, 8081
# Longer than Kafka's and Flink's clients wait for an answer.
KAFKA_AWAY_SECONDS = 90
FEED_TOKEN = "planted-t0ken"
FEED_ADDRESS = f"ws://tests:{FEED_TOKEN}@{RELEASE}-simulator:5555"


@dataclass(frozen=True)
class Release:
    """The installed chart."""

    place: Place
    chart: Path
    begun: float  # Unix time

    def helm(self, *arguments: str, seconds: float = 420) -> str:
        target = self.place.cluster.target
        flags = ("--kube-context", target.context, "--namespace", self.place.namespace)
        return self.place.cluster.program("helm", *arguments, *flags, seconds=seconds)

    def upgrade(self, *settings: str) -> None:
        """Install or upgrade with the images of this working tree. The feed's address holds a token, in a Secret."""
        self.secret("feed", url=FEED_ADDRESS)
        values = (*LIGHT_VALUES, *stubs.values(self.place.images), *image_settings(self.place.images))
        own = ("--set", "metrics.enabled=true,collector.existingSecret=feed")
        more = (*own, *settings, "--wait", "--timeout=5m")
        self.helm("upgrade", "--install", RELEASE, str(self.chart), *values, *more)

    def secret(self, name: str, **data: str) -> None:
        """Make a Secret, or change these of its keys."""
        meta = {"name": name, "namespace": self.place.namespace}
        self.place.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data})

    def job(self, name: str) -> dict[str, Any]:
        found = self.place.cluster.get("flinkdeployment", f"{RELEASE}-{name}", self.place.namespace)
        return dict((found or {}).get("status", {}))

    def generation(self, name: str) -> int:
        """How often the job's spec was changed."""
        found = self.place.cluster.get("flinkdeployment", f"{RELEASE}-{name}", self.place.namespace) or {}
        return int(found["metadata"]["generation"])

    def settled(self, name: str) -> bool:
        return is_stable({"status": self.job(name)})

    def await_settled(self, seconds: float = RUNNING_SECONDS) -> None:
        def settled() -> bool:
            return all(self.settled(name) for name in JOBS)

        await_value(settled, "both jobs to be RUNNING and STABLE", seconds, every=1)

    def documents(self) -> list[dict[str, Any]]:
        """All documents; none while the database does not answer."""
        uri = database_uri(self.place.cluster, self.place.namespace)
        command = ("env", f"MONGODB_URI={uri}", "python", "-", DATABASE, COLLECTION)
        try:
            lines = self.place.cluster.execute("reader", self.place.namespace, *command, stdin=READ_DOCUMENTS)
        except ClusterError:
            return []
        return [json.loads(line) for line in lines.splitlines()]

    def await_window_after(self, moment: float, what: str, seconds: float = RECOVERY_SECONDS) -> None:
        """Wait until a window that began after `moment` (Unix time) and all before it are in the collection."""
        end = iso(moment + 2 * FEED.window_seconds)
        await_value(
            lambda: FEED.complete_end(document["timestamp"] for document in self.documents()) >= end,
            f"a document of {end} or later ({what})",
            seconds,
            every=1,
        )

    def assert_exact(self) -> None:
        stored: dict[str, list[list[str]]] = {}
        for document in self.documents():
            stored.setdefault(document["timestamp"], []).append(document["content"])
        FEED.assert_exact(numbers(self.place.posts(TWEETS_TOPIC)), stored)
        assert self.place.posts(REJECTED_TOPIC) == []

    def pod(self, component: str) -> str:
        """The name of the component's pod."""
        found = self.place.cluster.list("pods", self.place.namespace, component)
        assert len(found) == 1, [pod["metadata"]["name"] for pod in found]
        return str(found[0]["metadata"]["name"])


@pytest.fixture(scope="module")
def release(parts: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    # Strimzi's brokers need a minute as well.
    scale_kafka(parts, 0)
    release = Release(parts, copy_without_dependencies(tmp_path_factory.mktemp("chart")), time.time())
    release.upgrade()
    yield release
    if RELEASE in release.helm("list", "--short").split():
        release.helm("uninstall", RELEASE, "--wait")


def test_the_first_install_waits_for_kafka(release: Release) -> None:
    """Both JobManagers run before Kafka does and log what they wait for; no FlinkDeployment reports an error."""
    cluster, namespace = release.place.cluster, release.place.namespace

    def waiting() -> bool:
        logs = (log_of(cluster, namespace, each["metadata"]["name"]) for job in JOBS for each in managers(job))
        return sum("waiting for Kafka" in text for text in logs) == len(JOBS)

    def managers(job: str) -> list[Object]:
        return cluster.list("pods", namespace, FAULTS[f"JobManager of the {job}"])

    await_value(waiting, "both JobManagers to wait for Kafka", RUNNING_SECONDS, every=1)
    assert [release.job(job).get("error") for job in JOBS] == [None, None]
    scale_kafka(release.place, 1)


def test_documents_arrive(release: Release) -> None:
    await_value(release.documents, "the first document", RUNNING_SECONDS, every=1)
    seconds = time.time() - release.begun
    log.info("the first document came %.0f s after helm install began", seconds)  # pytest --log-cli-level=INFO
    assert seconds <= FIRST_DOCUMENT_SECONDS
    release.await_settled()
    release.await_window_after(time.time(), "the first windows")
    release.assert_exact()
    first = release.documents()[0]
    assert first["total_cases_count"] > 0


def test_helm_test(release: Release) -> None:
    release.helm("test", RELEASE)


def test_what_alerts_and_dashboard_ask_for_is_there(release: Release) -> None:
    templates = (f"templates/monitoring/{name}.yaml" for name in ("prometheusrule", "dashboard"))
    show = (part for template in templates for part in ("--show-only", template))
    flags = ("--set", "prometheusRule.enabled=true,grafanaDashboard.enabled=true", "--kube-version=1.34.0")
    rendered = release.helm("template", RELEASE, str(release.chart), *show, *flags)
    asked = set(re.findall(r"flink_\w+", rendered.replace("(shard_)?", "")))  # there with a parallelism above 1
    pods = [release.pod(FAULTS[f"{part} of the {job}"]) for part in ("TaskManager", "JobManager") for job in JOBS]

    def absent() -> set[str]:
        pages = (release.place.cluster.http(pod, METRICS_PORT, "/metrics", release.place.namespace) for pod in pods)
        return asked.difference(*(re.findall(r"^flink_\w+", page, re.MULTILINE) for page in pages))

    assert len(asked) > 8
    await_value(lambda: not absent(), f"all of {', '.join(sorted(asked))} to be served", 30, every=1)


FAULTS = {
    "TaskManager of the collector": "app=data-collection-collector,component=taskmanager",
    "TaskManager of the aggregator": "app=data-collection-aggregator,component=taskmanager",
    "JobManager of the collector": "app=data-collection-collector,component=jobmanager",
    "JobManager of the aggregator": "app=data-collection-aggregator,component=jobmanager",
    "broker": "app=kafka",
    "database": "app.kubernetes.io/component=mongodb",
    "simulator": "app.kubernetes.io/component=simulator",
}


@pytest.mark.parametrize("part", FAULTS)
def test_no_post_is_lost_or_doubled_when_it_is_killed(release: Release, part: str) -> None:
    await_value(lambda: 8 < time.time() % FEED.window_seconds < 12, "the middle of a window", 30)
    killed_at = time.time()
    release.place.remove_now(release.pod(FAULTS[part]))
    release.await_window_after(killed_at, f"after the kill of the {part}")
    release.assert_exact()


def test_upgrade_goes_through_a_savepoint(release: Release) -> None:
    change(release, lambda: release.upgrade("--set", "aggregator.settings.CHECKPOINT_SECONDS=5"))
    assert release.job("aggregator")["jobStatus"]["savepointInfo"]["lastSavepoint"]["triggerType"] == "UPGRADE"


def test_rollback(release: Release) -> None:
    change(release, lambda: release.helm("rollback", RELEASE, "--wait"))


def test_upgrade_while_kafka_is_away(release: Release) -> None:
    """The upgraded collector waits for Kafka as long as it takes, and says what it waits for."""
    name, selector = "collector", FAULTS["JobManager of the collector"]
    cluster, namespace = release.place.cluster, release.place.namespace
    old = release.pod(selector)

    def new() -> str | None:
        found = (pod["metadata"]["name"] for pod in cluster.list("pods", namespace, selector))
        return next((pod for pod in found if pod != old), None)

    def away() -> None:
        release.upgrade("--set", "collector.settings.CHECKPOINT_SECONDS=3")
        jobmanager = await_value(new, "the JobManager of the upgraded collector", 180, every=0.5)
        scale_kafka(release.place, 0)
        back_at = time.time() + KAFKA_AWAY_SECONDS
        told = lambda: "waiting for Kafka" in log_of(cluster, namespace, jobmanager)  # noqa: E731
        await_value(told, "the collector to say that it waits for Kafka", 120, every=2)
        await_value(lambda: time.time() > back_at, "the end of Kafka's absence", KAFKA_AWAY_SECONDS + 1)
        scale_kafka(release.place, 1)

    change(release, away, name)


def scale_kafka(place: Place, replicas: int) -> None:
    place.cluster.run("scale", "statefulset/kafka", "-n", place.namespace, f"--replicas={replicas}")
    gone = lambda: len(place.cluster.list("pods", place.namespace, "app=kafka")) == replicas  # noqa: E731
    await_value(gone, f"{replicas} brokers", 90, every=1)


def log_of(cluster: Cluster, namespace: str, pod: str) -> str:
    """What its containers have written; nothing while none has been started."""
    try:
        return cluster.run("logs", pod, "-n", namespace, "--all-containers")
    except ClusterError:
        return ""


def test_a_failed_job_goes_on_when_its_fault_is_mended(release: Release) -> None:
    """As the chart's README says: FAILED is for good, and another restartNonce starts it from its state."""
    release.secret("feed", url=f"{FEED_ADDRESS}\n")
    start_again(release, "collector")
    failed = lambda: release.job("collector").get("jobStatus", {}).get("state") == "FAILED"  # noqa: E731
    await_value(failed, "the collector to be FAILED", RUNNING_SECONDS, every=1)
    jobmanager = log_of(
        release.place.cluster, release.place.namespace, release.pod(FAULTS["JobManager of the collector"])
    )
    assert "WEBSOCKET_URL_FILE" in jobmanager
    assert "without a line break at the end" in jobmanager
    release.secret("feed", url=FEED_ADDRESS)
    change(release, lambda: start_again(release, "collector"), "collector")


def start_again(release: Release, job: str) -> None:
    patch = json.dumps({"spec": {"restartNonce": time.time_ns() // 1_000_000}})
    where = (f"{RELEASE}-{job}", "-n", release.place.namespace)
    release.place.cluster.run("patch", "flinkdeployment", *where, "--type", "merge", "--patch", patch)


def test_a_job_without_its_state_goes_on_where_its_posts_end(release: Release) -> None:
    """As the chart's README says: its FlinkDeployment is deleted and the same values are installed again."""

    def anew() -> None:
        for job in JOBS:
            release.place.cluster.delete("flinkdeployment", release.place.namespace, f"{RELEASE}-{job}")
        release.upgrade()

    change(release, anew)


# By the database's root user, whose password the Secret has.
NEW_PASSWORD = """
import sys, pymongo
root, user, database, password = sys.argv[1:]
with pymongo.MongoClient("mongodb", username="root", password=root) as client:
    client[database].command("updateUser", user, pwd=password)
"""


def test_a_new_password_of_the_database_is_taken_without_another_spec(release: Release) -> None:
    """The kubelet brings the changed Secret into the running pods, and the task that is refused reads it again."""
    name, namespace = f"{RELEASE}-mongodb", release.place.namespace
    stored = (release.place.cluster.get("secret", name, namespace) or {})["data"]
    old, root, user, uri = (
        base64.b64decode(stored[key]).decode() for key in ("password", "root-password", "username", "uri")
    )
    new = old[::-1]
    generation = release.generation("aggregator")
    release.place.cluster.execute("reader", namespace, "python", "-", root, user, DATABASE, new, stdin=NEW_PASSWORD)
    release.secret(name, password=new, uri=uri.replace(old, new))
    changed_at = time.time()
    release.place.remove_now(release.pod(FAULTS["database"]))  # and with it the connections that the old one opened
    release.await_window_after(changed_at, "with the new password")
    release.assert_exact()
    assert release.generation("aggregator") == generation


def test_no_secret_is_outside_of_the_secrets(release: Release) -> None:
    """In no other object of the namespace, its events included, in no log, and in no answer of Flink's REST API."""
    cluster, namespace = release.place.cluster, release.place.namespace
    stored = cluster.get("secret", f"{RELEASE}-mongodb", namespace) or {}
    encoded = [stored["data"][key] for key in ("password", "root-password")]
    secrets = [FEED_TOKEN, *(base64.b64decode(each).decode() for each in encoded)]
    secrets += [base64.b64encode(each.encode()).decode() for each in secrets]
    assert all(len(each) > 8 for each in secrets)
    listed = cluster.run("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    kinds = [kind for kind in listed if kind != "secrets"]
    texts = {kind: cluster.run("get", kind, "-n", namespace, "-o", "json") for kind in kinds}
    for pod in cluster.list("pods", namespace):
        name = pod["metadata"]["name"]
        texts[f"log of {name}"] = log_of(cluster, namespace, name)
    for job in JOBS:
        manager = release.pod(FAULTS[f"JobManager of the {job}"])
        identity = release.job(job)["jobStatus"]["jobId"]
        paths = [f"/jobs/{identity}{part}" for part in ("", "/plan", "/config", "/exceptions")]
        for path in (*paths, "/jobmanager/config", "/jobmanager/environment"):
            texts[f"{job} {path}"] = cluster.http(manager, REST_PORT, path, namespace)
    assert "WEBSOCKET_URL_FILE" in texts["flinkdeployments.flink.apache.org"]
    assert any("collector" in text for name, text in texts.items() if name.startswith("log of "))
    assert [name for name, text in texts.items() if any(secret in text for secret in secrets)] == []


def change(release: Release, act: Callable[[], object], job: str = "aggregator") -> None:
    """Change the job, wait until it runs anew and has written windows, and count."""
    before = release.job(job)["jobStatus"]["startTime"]
    act()

    def started_anew() -> bool:
        return release.settled(job) and release.job(job)["jobStatus"]["startTime"] != before

    await_value(started_anew, f"the {job} to run anew", RUNNING_SECONDS, every=1)
    release.await_window_after(time.time(), "after the change")
    release.assert_exact()


# A stub of an S3 store, in place of the store in values-production.yaml.
BUCKET = {
    "flink.storage": {"type": "uri", "uri": "s3://checkpoints/flink", "existingSecret": "s3"},
    "flink.extraConfiguration": {"s3.endpoint": "http://s3:9000", "s3.path.style.access": "true"},
}
MAKE_BUCKET = """
import urllib.request
urllib.request.urlopen(urllib.request.Request("http://localhost:9000/checkpoints", method="PUT"))
"""


def test_second_release_in_another_namespace_with_its_state_in_a_bucket(release: Release) -> None:
    second = Place(release.place.cluster, f"{release.place.namespace}-2", release.place.images)
    with second.made():
        second.apply(pods.idle_pod("reader", second.images["data-collection/flink"]), *s3(second))
        stubs.install(second.cluster, second.namespace, second.images)
        second.await_ready("s3")
        second.cluster.execute("s3", second.namespace, "/opt/venv/bin/python", "-", stdin=MAKE_BUCKET)
        other = Release(second, release.chart, time.time())
        settings = (part for key, value in BUCKET.items() for part in ("--set-json", f"{key}={json.dumps(value)}"))
        other.upgrade("--set", "aggregator.enabled=false,worldometersStub.enabled=false", *settings)
        await_value(lambda: other.settled("collector"), "the second collector to be RUNNING", RUNNING_SECONDS, every=1)
        await_value(lambda: checkpoints(second), "a checkpoint in the bucket", 120, every=1)
        killed_at = time.time()
        second.remove_now(other.pod(FAULTS["JobManager of the collector"]))

        # A transaction becomes visible partition by partition: only what is older than the newest is complete.
        after, newest = (FEED.schedule.newest(killed_at + seconds) for seconds in (5, FEED.window_seconds))

        def read_on() -> list[int]:
            found = numbers(second.posts(TWEETS_TOPIC))
            return found if found and found[-1] > newest else []

        found = await_value(read_on, "posts after the kill", RECOVERY_SECONDS, every=2)
        assert_complete([number for number in found if number <= after], after)
        other.helm("uninstall", RELEASE, "--wait")
    release.await_window_after(time.time(), "beside the second release")
    release.assert_exact()


def s3(place: Place) -> list[Object]:
    """A store, a Service for it and the Secret of who uses it; any key opens it."""
    meta = {"name": "s3", "namespace": place.namespace}
    credentials = "[default]\naws_access_key_id = tests\naws_secret_access_key = tests\n"
    service = {"selector": {"app": "s3"}, "ports": [{"port": 9000}]}
    return [
        pods.pod("s3", place.images["data-collection/test-s3"], port=9000, health="/moto-api/", memory="512Mi"),
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"credentials": credentials}},
    ]


def checkpoints(place: Place) -> list[str]:
    """The completed checkpoints in the bucket."""
    listed = place.cluster.http("s3", 9000, "/checkpoints?list-type=2", place.namespace)
    return re.findall(r"<Key>([^<]*/checkpoints/[^<]*/chk-[^<]*/_metadata)</Key>", listed)


def test_uninstall_leaves_nothing(release: Release) -> None:
    release.helm("uninstall", RELEASE, "--wait")
    cluster, namespace = release.place.cluster, release.place.namespace
    known = cluster.run("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    # Events tell of what was, and a pod's metrics outlive it for a while.
    kinds = [kind for kind in known if not kind.startswith("events") and not kind.endswith(".metrics.k8s.io")]

    def left() -> list[str]:
        return [
            f"{each['kind']}/{each['metadata']['name']}"
            for each in cluster.list(",".join(kinds), namespace)
            if RELEASE in each["metadata"]["name"] or RELEASE in each["metadata"].get("labels", {}).values()
        ]

    try:
        await_value(lambda: not left(), "everything of the release to be gone", 90, every=1)
    except AssertionError:
        pytest.fail(f"left behind: {', '.join(left())}")
