"""Before a release is uninstalled, its custom resources are deleted in order, and the script waits for each."""

import io
import json
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.unit.chart.chart import load_script

script = load_script("delete_resources")
OWN = "app.kubernetes.io/name=data-collection,app.kubernetes.io/instance=demo"
OF_JOBS = (
    "job-reference.kind=FlinkDeployment,"
    "job-reference.name in (demo-data-collection-collector,demo-data-collection-aggregator)"
)


class Cluster:
    """Objects by resource type. They disappear after `looks` requests that follow their deletion."""

    def __init__(self, looks: int = 1, **objects: list[str]) -> None:
        self.objects, self.looks = objects, looks
        self.calls: list[tuple[str, str, str]] = []
        self.errors: list[OSError] = []

    def __call__(self, method: str, path: str) -> list[str]:
        if self.errors:
            raise self.errors.pop()
        kind, _, labels = unquote(path).rpartition("/namespaces/ns/")[2].partition("?labelSelector=")
        self.calls.append((method, kind, labels))
        left = self.objects.get(kind, [])
        if method == "GET" and left:
            self.looks -= 1
            if self.looks < 0:
                self.objects[kind] = []
                self.looks = 1
        return [f"{kind}/{name}" for name in left] if method == "GET" else []


def delete(cluster: Cluster, seconds: float = 1.0) -> list[str]:
    now = 0.0

    def sleep(pause: float) -> None:
        nonlocal now
        now += seconds * pause

    order = script.stages("demo", "demo-data-collection")
    return list(script.delete(cluster, "ns", order, 240, clock=lambda: now, sleep=sleep))


def test_the_jobs_are_deleted_before_the_brokers_and_these_before_the_topics() -> None:
    cluster = Cluster(flinkdeployments=["collector"], pods=["broker"], kafkatopics=["tweets"])
    assert delete(cluster) == []
    deleted = [kind for method, kind, _ in cluster.calls if method == "DELETE"]
    assert list(dict.fromkeys(deleted)) == [
        "flinkstatesnapshots",
        "flinkdeployments",
        "kafkas",
        "kafkanodepools",
        "kafkatopics",
        "kafkausers",
        "pods/demo-data-collection-test",
    ]


def test_only_this_releases_resources_are_deleted() -> None:
    cluster = Cluster()
    delete(cluster)
    assert {labels for method, _, labels in cluster.calls if method == "DELETE"} == {OWN, OF_JOBS}
    assert "pods" not in {kind for method, kind, _ in cluster.calls if method == "DELETE"}


def test_the_script_waits_for_the_pods_of_jobs_and_brokers() -> None:
    cluster = Cluster()
    delete(cluster)
    assert [labels for _, kind, labels in cluster.calls if kind == "pods"] == [
        "app.kubernetes.io/instance=demo,app.kubernetes.io/component in (collector,aggregator)",
        "strimzi.io/cluster=demo-data-collection",
    ]


def test_an_error_of_the_api_is_tried_again() -> None:
    cluster = Cluster(flinkdeployments=["collector"])
    cluster.errors = [OSError("refused"), TimeoutError()]
    assert delete(cluster) == []


def test_remaining_resources_are_reported_at_the_timeout() -> None:
    cluster = Cluster(looks=1_000, flinkdeployments=["collector", "aggregator"])
    assert delete(cluster, seconds=100) == ["flinkdeployments/collector", "flinkdeployments/aggregator"]
    assert "kafkas" not in {kind for _, kind, _ in cluster.calls}


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("token-of-the-pod")
    monkeypatch.setattr(script, "ACCOUNT", tmp_path)
    monkeypatch.setattr("ssl.create_default_context", lambda cafile: cafile)


def answer_with(monkeypatch: pytest.MonkeyPatch, status: int, body: object) -> list[urllib.request.Request]:
    requests: list[urllib.request.Request] = []

    def urlopen(request: urllib.request.Request, **_: object) -> io.BytesIO:
        requests.append(request)
        content = io.BytesIO(json.dumps(body).encode())
        if status != 200:
            raise urllib.error.HTTPError(request.full_url, status, "reason", Message(), content)
        return content

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return requests


@pytest.mark.usefixtures("account")
def test_the_api_is_called_with_the_pods_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = answer_with(monkeypatch, 200, {"items": [{"metadata": {"name": "collector"}}]})
    api = script.connect({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"})
    assert api("GET", "/apis/x/namespaces/ns/flinkdeployments?labelSelector=a%2Fb") == ["flinkdeployments/collector"]
    assert requests[0].full_url.startswith("https://[fd00::1]:443/apis/x/")
    assert requests[0].get_header("Authorization") == "Bearer token-of-the-pod"


@pytest.mark.usefixtures("account")
def test_one_object_is_reported_like_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, 200, {"kind": "Pod", "metadata": {"name": "demo-test"}})
    api = script.connect({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"})
    assert api("GET", "/api/v1/namespaces/ns/pods/demo-test?labelSelector=a") == ["pods/demo-test"]
    assert api("DELETE", "/api/v1/namespaces/ns/pods/demo-test?labelSelector=a") == []


@pytest.mark.usefixtures("account")
def test_an_unknown_resource_type_has_no_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, 404, {"kind": "Status"})
    api = script.connect({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"})
    assert api("DELETE", "/apis/x/namespaces/ns/kafkas") == []


@pytest.mark.usefixtures("account")
def test_a_refusal_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, 403, {"message": "kafkas is forbidden"})
    api = script.connect({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"})
    with pytest.raises(OSError, match=r"403 .*kafkas is forbidden"):
        api("DELETE", "/apis/x/namespaces/ns/kafkas")
