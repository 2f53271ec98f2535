"""One cluster for all tests, with the images and with a namespace that is deleted at the end."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy import pods, stubs
from deploy.cluster import Cluster, ClusterError, Object, build_and_load_images, connect
from images.build import project_images
from tests.support.waiting import await_value

NAMESPACE = "data-collection-test"
# Objects with finalizers are deleted first, while the operators that remove the finalizers still run.
DELETION_ORDER = ("flinkdeployments.flink.apache.org", "deployments,statefulsets,jobs,pods", "persistentvolumeclaims")
READ_TOPIC = (Path(__file__).parent / "read_topic.py").read_text()


@dataclass(frozen=True)
class ClusterNamespace:
    """A namespace of the tests. images: the reference of every image by its name."""

    cluster: Cluster
    name: str
    images: dict[str, str]

    @contextmanager
    def created(self) -> Iterator[None]:
        """Create the namespace, empty. Delete it at the end of the block."""
        remove_namespace(self.cluster, self.name)
        self.cluster.apply([pods.namespace(self.name)], self.name)
        # Pods need the service account, which Kubernetes creates a moment later.
        await_value(lambda: self.cluster.get("serviceaccount", "default", self.name), "the service account", 30)
        try:
            yield
        finally:
            remove_namespace(self.cluster, self.name)

    def apply(self, *objects: Object) -> None:
        self.cluster.apply(objects, self.name)

    def await_ready(self, pod: str, seconds: float = 120) -> None:
        """Wait until the pod is Ready. A failure shows its events and its log."""
        try:
            self.cluster.await_condition(f"pod/{pod}", "Ready", self.name, seconds)
        except ClusterError as error:
            raise AssertionError(f"{error}\n{self.events_and_log(pod)}") from None

    def remove_now(self, pod: str) -> None:
        self.cluster.remove_now(pod, self.name)

    def posts(self, topic: str) -> list[dict[str, Any]]:
        """The committed posts in a topic, which the pod `reader` reads. A record without text is a heartbeat."""
        command = ("python", "-", "kafka:9092", topic)
        lines = self.cluster.execute("reader", self.name, *command, stdin=READ_TOPIC, seconds=120).splitlines()
        return [post for line in lines if (post := json.loads(line))["text"] is not None]

    def events_and_log(self, pod: str) -> str:
        """The events of the pod and the end of its log."""
        selector = f"involvedObject.name={pod}"
        commands = (
            ("get", "events", "-n", self.name, "--field-selector", selector),
            ("logs", pod, "-n", self.name, "--tail=40", "--all-containers"),
        )
        return "\n".join(self._output_or_error(*command) for command in commands)[-4000:]

    def _output_or_error(self, *command: str) -> str:
        try:
            return self.cluster.run(*command)
        except ClusterError as error:
            return str(error)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return connect()


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> dict[str, str]:
    """All images of the project and of the stubs, loaded into the cluster: {name: reference in the cluster}."""
    return build_and_load_images(cluster, [*project_images(), *stubs.images()])


@pytest.fixture(scope="session")
def namespace(cluster: Cluster, images: dict[str, str]) -> Iterator[ClusterNamespace]:
    namespace = ClusterNamespace(cluster, NAMESPACE, images)
    with namespace.created():
        yield namespace


@pytest.fixture(scope="session")
def namespace_with_stubs(namespace: ClusterNamespace) -> ClusterNamespace:
    """The namespace with Kafka and its topics, the Flink operator, and a pod that reads topics and documents."""
    namespace.apply(pods.idle_pod("reader", namespace.images["data-collection/flink"]))
    stubs.install(namespace.cluster, namespace.name, namespace.images)
    namespace.await_ready("reader")
    return namespace


def remove_namespace(cluster: Cluster, name: str) -> None:
    """Delete a namespace and wait until it is gone. Fails if the tests did not create it."""
    found = cluster.get("namespace", name, "default")
    if found is None:
        return
    assert pods.MANAGED_NAMESPACE_LABEL in found["metadata"].get("labels", {}), (
        f"the tests did not create namespace {name}: rename or delete it"
    )
    for kinds in DELETION_ORDER:
        try:
            cluster.delete(kinds, name)
        except ClusterError as error:
            if "the server doesn't have a resource type" not in str(error):
                raise
    cluster.delete("namespace", "default", name)
