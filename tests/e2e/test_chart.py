"""The chart as a user installs it: documents arrive, no kill and no change loses a post, uninstall deletes everything.

The tests share one release and run in order. Each test checks all posts since the release began. Kafka, MongoDB and the
Flink operator are the stubs of dev/stubs, whose `values.yaml` has the values that differ.
"""

import base64
import contextlib
import json
import logging
import re
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
import requests

from deploy import pods, stubs
from deploy.chart import copy_without_dependencies
from deploy.cluster import ClusterError, Object
from deploy.release import JOBS, RELEASE
from jobs.defaults import COLLECTION, DATABASE, TWEETS_TOPIC
from tests.e2e.conftest import ClusterNamespace
from tests.e2e.release import FEED, FEED_TOKEN, FEED_URL, RECOVERY_SECONDS, RUNNING_SECONDS, Release
from tests.support.counting import assert_complete, numbers
from tests.support.waiting import await_value

log = logging.getLogger(__name__)
FIRST_DOCUMENT_SECONDS = 240
METRICS_PORT, REST_PORT, CONSOLE_PORT = 9249, 8081, 8090
# Longer than the request timeouts of Kafka's and Flink's clients.
KAFKA_DOWN_SECONDS = 90


@pytest.fixture(scope="module")
def release(namespace_with_stubs: ClusterNamespace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    # Strimzi's brokers also need a minute to start.
    scale_kafka(namespace_with_stubs, 0)
    release = Release(namespace_with_stubs, copy_without_dependencies(tmp_path_factory.mktemp("chart")), time.time())
    release.upgrade()
    yield release
    if RELEASE in release.helm("list", "--short").split():
        release.helm("uninstall", RELEASE, "--wait")


def test_the_first_install_waits_for_kafka(release: Release) -> None:
    """Both JobManagers run before Kafka does and log what they wait for; no FlinkDeployment reports an error."""
    namespace = release.namespace

    def waiting() -> bool:
        logs = (log_of(namespace, each["metadata"]["name"]) for job in JOBS for each in job_managers(job))
        return sum("waiting for Kafka" in text for text in logs) == len(JOBS)

    def job_managers(job: str) -> list[Object]:
        return namespace.cluster.list("pods", namespace.name, SELECTORS[f"JobManager of the {job}"])

    await_value(waiting, "both JobManagers to wait for Kafka", RUNNING_SECONDS, every=1)
    assert [release.job(job).get("error") for job in JOBS] == [None, None]
    scale_kafka(namespace, 1)


def test_the_first_document_arrives_in_time(release: Release) -> None:
    await_value(release.documents, "the first document", RUNNING_SECONDS, every=1)
    seconds = time.time() - release.begun
    log.info("the first document came %.0f s after helm install began", seconds)  # pytest --log-cli-level=INFO
    assert seconds <= FIRST_DOCUMENT_SECONDS
    release.await_running_and_stable()
    release.await_window_after(time.time(), "the first windows")
    release.assert_exactly_once()
    first = release.documents()[0]
    assert first["total_cases_count"] > 0


def test_the_live_page_shows_the_first_document(release: Release) -> None:
    """Through a forwarded port, as NOTES.txt says."""
    with forwarded_port(release.namespace, f"service/{RELEASE}-console", CONSOLE_PORT) as port:
        url, session = f"http://localhost:{port}/", requests.Session()
        session.trust_env = False  # no proxy

        def page() -> str:
            answer = session.get(url, timeout=10)
            answer.raise_for_status()
            return answer.text

        def complete() -> str | None:
            return html if "Complete up to" in (html := page()) else None

        html = await_value(complete, "the page to show a document", 60, every=1)
        newest = sorted(document["timestamp"] for document in release.documents())[-8:]
        assert any(f'<th scope="row">{end}</th>' in html for end in newest), html
        assert 'data-level="red"' not in html, html
        # Both jobs, Kafka, MongoDB and the watchdog answer.
        assert "no answer since" not in html, html
        assert "watchdog: restarts of the simulator" in html
        assert "Warnings of Kubernetes" in html
        assert "The Kubernetes API does not answer" not in html, html
        assert f"service/{RELEASE}-collector-rest 8081:8081" in html
        assert session.get(url, headers={"Host": "rebound.example.com"}, timeout=10).status_code == 400


def test_the_consoles_user_in_mongodb_may_not_write(release: Release) -> None:
    secret = release.namespace.cluster.get("secret", f"{RELEASE}-console-mongodb", release.namespace.name) or {}
    uri = base64.b64decode(secret["data"]["uri"]).decode()
    command = ("python", "-", uri, DATABASE, COLLECTION)
    assert "refused" in release.namespace.cluster.execute(
        "reader", release.namespace.name, *command, stdin=TRY_TO_WRITE
    )


TRY_TO_WRITE = """
import sys, pymongo
uri, database, collection = sys.argv[1:]
with pymongo.MongoClient(uri) as client:
    client[database][collection].find_one()
    try:
        client[database][collection].delete_one({"_id": "nothing"})
    except pymongo.errors.OperationFailure:
        print("refused")
"""


@contextlib.contextmanager
def forwarded_port(namespace: ClusterNamespace, target: str, port: int) -> Iterator[int]:
    """A port of this machine that kubectl forwards to `port` of a Service."""
    cluster = namespace.cluster
    flags = ("--context", cluster.target.context, "--namespace", namespace.name)
    with subprocess.Popen(
        ["kubectl", *flags, "port-forward", target, f":{port}"],
        env=cluster.environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r":(\d+) ->", line)
            assert found, f"kubectl port-forward {target}: {line}"
            yield int(found[1])
        finally:
            process.terminate()


def test_helm_test_passes(release: Release) -> None:
    release.helm("test", RELEASE)


def test_flink_serves_each_metric_of_the_alerts_and_the_dashboard(release: Release) -> None:
    templates = (f"templates/monitoring/{name}.yaml" for name in ("prometheusrule", "dashboard"))
    show = (part for template in templates for part in ("--show-only", template))
    flags = ("--set", "prometheusRule.enabled=true,grafanaDashboard.enabled=true", "--kube-version=1.34.0")
    rendered = release.helm("template", RELEASE, str(release.chart), *show, *flags)
    used = set(re.findall(r"flink_\w+", rendered.replace("(shard_)?", "")))  # only with a parallelism above 1
    pods = [release.pod(SELECTORS[f"{part} of the {job}"]) for part in ("TaskManager", "JobManager") for job in JOBS]

    def absent() -> set[str]:
        pages = (release.namespace.cluster.http(pod, METRICS_PORT, "/metrics", release.namespace.name) for pod in pods)
        return used.difference(*(re.findall(r"^flink_\w+", page, re.MULTILINE) for page in pages))

    assert len(used) > 8
    await_value(lambda: not absent(), f"all of {', '.join(sorted(used))} to be served", 30, every=1)


SELECTORS = {
    "TaskManager of the collector": "app=data-collection-collector,component=taskmanager",
    "TaskManager of the aggregator": "app=data-collection-aggregator,component=taskmanager",
    "JobManager of the collector": "app=data-collection-collector,component=jobmanager",
    "JobManager of the aggregator": "app=data-collection-aggregator,component=jobmanager",
    "broker": "app=kafka",
    "database": "app.kubernetes.io/component=mongodb",
    "simulator": "app.kubernetes.io/component=simulator",
}


@pytest.mark.parametrize("part", SELECTORS)
def test_no_post_is_lost_or_duplicate_after_a_kill(release: Release, part: str) -> None:
    await_value(lambda: 8 < time.time() % FEED.window_seconds < 12, "the middle of a window", 30)
    killed_at = time.time()
    release.namespace.remove_now(release.pod(SELECTORS[part]))
    release.await_window_after(killed_at, f"after the kill of the {part}")
    release.assert_exactly_once()


def test_an_upgrade_uses_a_savepoint(release: Release) -> None:
    assert_no_loss_after(release, lambda: release.upgrade("--set", "aggregator.settings.CHECKPOINT_SECONDS=5"))
    assert release.job("aggregator")["jobStatus"]["savepointInfo"]["lastSavepoint"]["triggerType"] == "UPGRADE"


def test_a_rollback_loses_no_post(release: Release) -> None:
    assert_no_loss_after(release, lambda: release.helm("rollback", RELEASE, "--wait"))


def test_an_upgrade_while_kafka_is_down_loses_no_post(release: Release) -> None:
    """The upgraded collector waits for Kafka without a limit, and logs that it waits."""
    namespace, selector = release.namespace, SELECTORS["JobManager of the collector"]
    old = release.pod(selector)

    def new() -> str | None:
        found = (pod["metadata"]["name"] for pod in namespace.cluster.list("pods", namespace.name, selector))
        return next((pod for pod in found if pod != old), None)

    def upgrade_without_kafka() -> None:
        release.upgrade("--set", "collector.settings.CHECKPOINT_SECONDS=3")
        jobmanager = await_value(new, "the JobManager of the upgraded collector", 180, every=0.5)
        scale_kafka(namespace, 0)
        up_at = time.time() + KAFKA_DOWN_SECONDS
        waiting = lambda: "waiting for Kafka" in log_of(namespace, jobmanager)  # noqa: E731
        await_value(waiting, "the collector to log that it waits for Kafka", 120, every=2)
        await_value(lambda: time.time() > up_at, "the end of the outage", KAFKA_DOWN_SECONDS + 1)
        scale_kafka(namespace, 1)

    assert_no_loss_after(release, upgrade_without_kafka, "collector")


def scale_kafka(namespace: ClusterNamespace, replicas: int) -> None:
    namespace.cluster.run("scale", "statefulset/kafka", "-n", namespace.name, f"--replicas={replicas}")
    scaled = lambda: len(namespace.cluster.list("pods", namespace.name, "app=kafka")) == replicas  # noqa: E731
    await_value(scaled, f"{replicas} brokers", 90, every=1)


def log_of(namespace: ClusterNamespace, pod: str) -> str:
    """The logs of all containers of the pod; "" before one has started."""
    try:
        return namespace.cluster.run("logs", pod, "-n", namespace.name, "--all-containers")
    except ClusterError:
        return ""


def test_a_failed_job_resumes_after_its_setting_is_corrected(release: Release) -> None:
    """As the chart's README says: FAILED is final, and another restartNonce starts the job from its state."""
    release.secret("feed", url=f"{FEED_URL}\n")
    change_restart_nonce(release, "collector")
    failed = lambda: release.job("collector").get("jobStatus", {}).get("state") == "FAILED"  # noqa: E731
    await_value(failed, "the collector to be FAILED", RUNNING_SECONDS, every=1)
    log_lines = log_of(release.namespace, release.pod(SELECTORS["JobManager of the collector"]))
    assert "WEBSOCKET_URL_FILE" in log_lines
    assert "without a line break at the end" in log_lines
    release.secret("feed", url=FEED_URL)
    assert_no_loss_after(release, lambda: change_restart_nonce(release, "collector"), "collector")


def change_restart_nonce(release: Release, job: str) -> None:
    patch = json.dumps({"spec": {"restartNonce": time.time_ns() // 1_000_000}})
    target = (f"{RELEASE}-{job}", "-n", release.namespace.name)
    release.namespace.cluster.run("patch", "flinkdeployment", *target, "--type", "merge", "--patch", patch)


def test_jobs_without_state_resume_where_their_output_ends(release: Release) -> None:
    """As the chart's README says: delete the FlinkDeployment and install the same values again."""

    def install_again() -> None:
        for job in JOBS:
            release.namespace.cluster.delete("flinkdeployment", release.namespace.name, f"{RELEASE}-{job}")
        release.upgrade()

    assert_no_loss_after(release, install_again)


# The root user of the database runs this. The Secret has its password.
NEW_PASSWORD = """
import sys, pymongo
root, user, database, password = sys.argv[1:]
with pymongo.MongoClient("mongodb", username="root", password=root) as client:
    client[database].command("updateUser", user, pwd=password)
"""


def test_the_aggregator_uses_a_new_database_password_without_a_new_spec(release: Release) -> None:
    """The kubelet updates the Secret in the running pods. The task fails, restarts, and reads the new password."""
    name, namespace = f"{RELEASE}-mongodb", release.namespace
    stored = (namespace.cluster.get("secret", name, namespace.name) or {})["data"]
    old, root, user, uri = (
        base64.b64decode(stored[key]).decode() for key in ("password", "root-password", "username", "uri")
    )
    new = old[::-1]
    generation = release.generation("aggregator")
    command = ("python", "-", root, user, DATABASE, new)
    namespace.cluster.execute("reader", namespace.name, *command, stdin=NEW_PASSWORD)
    release.secret(name, password=new, uri=uri.replace(old, new))
    changed_at = time.time()
    namespace.remove_now(release.pod(SELECTORS["database"]))  # and so the connections that the old password opened
    release.await_window_after(changed_at, "with the new password")
    release.assert_exactly_once()
    assert release.generation("aggregator") == generation


def test_secret_values_are_only_in_secrets(release: Release) -> None:
    """No other object or event of the namespace, no log and no response of Flink's REST API contains them."""
    namespace, cluster = release.namespace, release.namespace.cluster
    stored = cluster.get("secret", f"{RELEASE}-mongodb", namespace.name) or {}
    reader = cluster.get("secret", f"{RELEASE}-console-mongodb", namespace.name) or {}
    encoded = [stored["data"]["password"], stored["data"]["root-password"], reader["data"]["password"]]
    secrets = [FEED_TOKEN, *(base64.b64decode(each).decode() for each in encoded)]
    secrets += [base64.b64encode(each.encode()).decode() for each in secrets]
    assert all(len(each) > 8 for each in secrets)
    listed = cluster.run("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    kinds = [kind for kind in listed if kind != "secrets"]
    texts = {kind: cluster.run("get", kind, "-n", namespace.name, "-o", "json") for kind in kinds}
    for pod in cluster.list("pods", namespace.name):
        name = pod["metadata"]["name"]
        texts[f"log of {name}"] = log_of(namespace, name)
    for job in JOBS:
        manager = release.pod(SELECTORS[f"JobManager of the {job}"])
        identity = release.job(job)["jobStatus"]["jobId"]
        paths = [f"/jobs/{identity}{part}" for part in ("", "/plan", "/config", "/exceptions")]
        for path in (*paths, "/jobmanager/config", "/jobmanager/environment"):
            texts[f"{job} {path}"] = cluster.http(manager, REST_PORT, path, namespace.name)
    assert "WEBSOCKET_URL_FILE" in texts["flinkdeployments.flink.apache.org"]
    assert any("collector" in text for name, text in texts.items() if name.startswith("log of "))
    assert [name for name, text in texts.items() if any(secret in text for secret in secrets)] == []


def assert_no_loss_after(release: Release, change: Callable[[], object], job: str = "aggregator") -> None:
    """Run `change`, wait until the job has restarted and new windows have documents, and check all posts."""
    before = release.job(job)["jobStatus"]["startTime"]
    change()

    def restarted() -> bool:
        return release.running_and_stable(job) and release.job(job)["jobStatus"]["startTime"] != before

    await_value(restarted, f"the {job} to run again", RUNNING_SECONDS, every=1)
    release.await_window_after(time.time(), "after the change")
    release.assert_exactly_once()


# A stub of an S3 store, in place of the store in values-production.yaml.
BUCKET = {
    "flink.storage": {"type": "uri", "uri": "s3://checkpoints/flink", "existingSecret": "s3"},
    "flink.extraConfiguration": {"s3.endpoint": "http://s3:9000", "s3.path.style.access": "true"},
}
MAKE_BUCKET = """
import urllib.request
urllib.request.urlopen(urllib.request.Request("http://localhost:9000/checkpoints", method="PUT"))
"""


def test_a_second_release_in_another_namespace_keeps_its_state_in_a_bucket(release: Release) -> None:
    second = ClusterNamespace(release.namespace.cluster, f"{release.namespace.name}-2", release.namespace.images)
    with second.created():
        second.apply(pods.idle_pod("reader", second.images["data-collection/flink"]), *s3(second))
        stubs.install(second.cluster, second.name, second.images)
        second.await_ready("s3")
        second.cluster.execute("s3", second.name, "/opt/venv/bin/python", "-", stdin=MAKE_BUCKET)
        other = Release(second, release.chart, time.time())
        settings = (part for key, value in BUCKET.items() for part in ("--set-json", f"{key}={json.dumps(value)}"))
        other.upgrade("--set", "aggregator.enabled=false,worldometersStub.enabled=false", *settings)
        await_value(
            lambda: other.running_and_stable("collector"),
            "the second collector to be RUNNING",
            RUNNING_SECONDS,
            every=1,
        )
        await_value(lambda: checkpoints(second), "a checkpoint in the bucket", 120, every=1)
        killed_at = time.time()
        second.remove_now(other.pod(SELECTORS["JobManager of the collector"]))

        # Kafka commits a transaction partition by partition. So only posts older than the newest are complete.
        after, newest = (FEED.schedule.newest(killed_at + seconds) for seconds in (5, FEED.window_seconds))

        def numbers_after_the_kill() -> list[int]:
            found = numbers(second.posts(TWEETS_TOPIC))
            return found if found and found[-1] > newest else []

        found = await_value(numbers_after_the_kill, "posts after the kill", RECOVERY_SECONDS, every=2)
        assert_complete([number for number in found if number <= after], after)
        other.helm("uninstall", RELEASE, "--wait")
    release.await_window_after(time.time(), "beside the second release")
    release.assert_exactly_once()


def s3(namespace: ClusterNamespace) -> list[Object]:
    """A store, its Service, and a Secret with credentials. The store accepts any credentials."""
    meta = {"name": "s3", "namespace": namespace.name}
    credentials = "[default]\naws_access_key_id = tests\naws_secret_access_key = tests\n"
    service = {"selector": {"app": "s3"}, "ports": [{"port": 9000}]}
    return [
        pods.pod("s3", namespace.images["data-collection/test-s3"], port=9000, health="/moto-api/", memory="512Mi"),
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service},
        {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"credentials": credentials}},
    ]


def checkpoints(namespace: ClusterNamespace) -> list[str]:
    """The completed checkpoints in the bucket."""
    listed = namespace.cluster.http("s3", 9000, "/checkpoints?list-type=2", namespace.name)
    return re.findall(r"<Key>([^<]*/checkpoints/[^<]*/chk-[^<]*/_metadata)</Key>", listed)


def test_uninstall_deletes_every_object(release: Release) -> None:
    release.helm("uninstall", RELEASE, "--wait")
    cluster = release.namespace.cluster
    listed = cluster.run("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    # Events remain, and the metrics of a pod remain for a while.
    kinds = [kind for kind in listed if not kind.startswith("events") and not kind.endswith(".metrics.k8s.io")]

    def remaining() -> list[str]:
        return [
            f"{each['kind']}/{each['metadata']['name']}"
            for each in cluster.list(",".join(kinds), release.namespace.name)
            if RELEASE in each["metadata"]["name"] or RELEASE in each["metadata"].get("labels", {}).values()
        ]

    try:
        await_value(lambda: not remaining(), "all objects of the release to be deleted", 90, every=1)
    except AssertionError:
        pytest.fail(f"not deleted: {', '.join(remaining())}")
