"""One cluster for all its tests, with the images in it and a namespace that is gone at the end."""

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
# What carries finalizers goes first: their operators answer for them as long as they live.
KINDS = ("flinkdeployments.flink.apache.org", "deployments,statefulsets,jobs,pods", "persistentvolumeclaims")
READ_TOPIC = (Path(__file__).parent / "read_topic.py").read_text()


@dataclass(frozen=True)
class Place:
    """The namespace of the tests, and the reference of every image by its name."""

    cluster: Cluster
    namespace: str
    images: dict[str, str]

    @contextmanager
    def made(self) -> Iterator[None]:
        """The namespace, empty, for as long as the block lasts."""
        remove_namespace(self.cluster, self.namespace)
        self.cluster.apply([pods.namespace(self.namespace)], self.namespace)
        # Pods need the namespace's account, which comes a moment later.
        await_value(lambda: self.cluster.get("serviceaccount", "default", self.namespace), "the account", 30)
        try:
            yield
        finally:
            remove_namespace(self.cluster, self.namespace)

    def apply(self, *objects: Object) -> None:
        self.cluster.apply(objects, self.namespace)

    def await_ready(self, pod: str, seconds: float = 120) -> None:
        """Wait until the pod is Ready; on failure say what it said last."""
        try:
            self.cluster.await_condition(f"pod/{pod}", "Ready", self.namespace, seconds)
        except ClusterError as error:
            raise AssertionError(f"{error}\n{self.story(pod)}") from None

    def remove_now(self, pod: str) -> None:
        self.cluster.remove_now(pod, self.namespace)

    def posts(self, topic: str) -> list[dict[str, Any]]:
        """The committed posts in a topic, read by the pod `reader`; heartbeats have no text."""
        command = ("python", "-", "kafka:9092", topic)
        lines = self.cluster.execute("reader", self.namespace, *command, stdin=READ_TOPIC, seconds=120).splitlines()
        return [post for line in lines if (post := json.loads(line))["text"] is not None]

    def story(self, pod: str) -> str:
        """Its events and the end of its log."""
        selector = f"involvedObject.name={pod}"
        commands = (
            ("get", "events", "-n", self.namespace, "--field-selector", selector),
            ("logs", pod, "-n", self.namespace, "--tail=40", "--all-containers"),
        )
        return "\n".join(self._say(*command) for command in commands)[-4000:]

    def _say(self, *command: str) -> str:
        try:
            return self.cluster.run(*command)
        except ClusterError as error:
            return str(error)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return connect()


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> dict[str, str]:
    """Every image of the project and of the stubs, loaded into the cluster: {name: reference there}."""
    return build_and_load_images(cluster, [*project_images(), *stubs.images()])


@pytest.fixture(scope="session")
def place(cluster: Cluster, images: dict[str, str]) -> Iterator[Place]:
    place = Place(cluster, NAMESPACE, images)
    with place.made():
        yield place


@pytest.fixture(scope="session")
def parts(place: Place) -> Place:
    """Kafka with the topics, the Flink operator, and a pod that reads topics and documents."""
    place.apply(pods.idle_pod("reader", place.images["data-collection/flink"]))
    stubs.install(place.cluster, place.namespace, place.images)
    place.await_ready("reader")
    return place


def remove_namespace(cluster: Cluster, name: str) -> None:
    """Delete a namespace of the tests and wait until it is gone; one that they did not make is not touched."""
    found = cluster.get("namespace", name, "default")
    if found is None:
        return
    assert pods.MANAGED_NAMESPACE_LABEL in found["metadata"].get("labels", {}), (
        f"namespace {name} is not of the tests: rename or delete it"
    )
    for kinds in KINDS:
        try:
            cluster.delete(kinds, name)
        except ClusterError as error:
            if "the server doesn't have a resource type" not in str(error):
                raise
    cluster.delete("namespace", "default", name)
