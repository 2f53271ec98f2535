"""The installed chart, in a namespace of the tests, beside the stubs of dev/stubs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy import stubs
from deploy.cluster import ClusterError
from deploy.release import JOBS, LIGHT_VALUES, RELEASE, image_settings, is_stable
from deploy.sql_client import database_uri
from jobs.defaults import COLLECTION, DATABASE, REJECTED_TOPIC, TWEETS_TOPIC
from jobs.documents import iso
from tests.e2e.conftest import ClusterNamespace
from tests.support.counting import SimulatorFeed, numbers
from tests.support.waiting import await_value

READ_DOCUMENTS = (Path(__file__).parent / "read_documents.py").read_text()
FEED = SimulatorFeed(rate=20, window_seconds=20)
RUNNING_SECONDS = 300
RECOVERY_SECONDS = 240
FEED_TOKEN = "planted-t0ken"
FEED_URL = f"ws://tests:{FEED_TOKEN}@{RELEASE}-simulator:5555"


@dataclass(frozen=True)
class Release:
    """The installed chart."""

    namespace: ClusterNamespace
    chart: Path
    begun: float  # Unix time

    def helm(self, *arguments: str, seconds: float = 420) -> str:
        target = self.namespace.cluster.target
        flags = ("--kube-context", target.context, "--namespace", self.namespace.name)
        return self.namespace.cluster.program("helm", *arguments, *flags, seconds=seconds)

    def upgrade(self, *settings: str) -> None:
        """Install or upgrade with the images of this working tree. A Secret has the URL of the feed with its token."""
        self.secret("feed", url=FEED_URL)
        values = (*LIGHT_VALUES, *stubs.values(self.namespace.images), *image_settings(self.namespace.images))
        own = ("--set", "metrics.enabled=true,collector.existingSecret=feed")
        more = (*own, *settings, "--wait", "--timeout=5m")
        self.helm("upgrade", "--install", RELEASE, str(self.chart), *values, *more)

    def secret(self, name: str, **data: str) -> None:
        """Create a Secret, or change these keys of it."""
        meta = {"name": name, "namespace": self.namespace.name}
        self.namespace.apply({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data})

    def job(self, name: str) -> dict[str, Any]:
        found = self.namespace.cluster.get("flinkdeployment", f"{RELEASE}-{name}", self.namespace.name)
        return dict((found or {}).get("status", {}))

    def generation(self, name: str) -> int:
        """metadata.generation, which counts the changes of the spec."""
        found = self.namespace.cluster.get("flinkdeployment", f"{RELEASE}-{name}", self.namespace.name) or {}
        return int(found["metadata"]["generation"])

    def running_and_stable(self, name: str) -> bool:
        return is_stable({"status": self.job(name)})

    def await_running_and_stable(self, seconds: float = RUNNING_SECONDS) -> None:
        def both() -> bool:
            return all(self.running_and_stable(name) for name in JOBS)

        await_value(both, "both jobs to be RUNNING and STABLE", seconds, every=1)

    def documents(self) -> list[dict[str, Any]]:
        """All documents; [] while the database does not answer."""
        uri = database_uri(self.namespace.cluster, self.namespace.name)
        command = ("env", f"MONGODB_URI={uri}", "python", "-", DATABASE, COLLECTION)
        try:
            lines = self.namespace.cluster.execute("reader", self.namespace.name, *command, stdin=READ_DOCUMENTS)
        except ClusterError:
            return []
        return [json.loads(line) for line in lines.splitlines()]

    def await_window_after(self, moment: float, what: str, seconds: float = RECOVERY_SECONDS) -> None:
        """Wait until a window that began after `moment` (Unix time) and all windows before it have documents."""
        end = iso(moment + 2 * FEED.window_seconds)
        await_value(
            lambda: FEED.end_of_complete_windows(document["timestamp"] for document in self.documents()) >= end,
            f"a document of {end} or later ({what})",
            seconds,
            every=1,
        )

    def assert_exactly_once(self) -> None:
        stored: dict[str, list[list[str]]] = {}
        for document in self.documents():
            stored.setdefault(document["timestamp"], []).append(document["content"])
        FEED.assert_exactly_once(numbers(self.namespace.posts(TWEETS_TOPIC)), stored)
        assert self.namespace.posts(REJECTED_TOPIC) == []

    def pod(self, component: str) -> str:
        """The name of the component's pod."""
        found = self.namespace.cluster.list("pods", self.namespace.name, component)
        assert len(found) == 1, [pod["metadata"]["name"] for pod in found]
        return str(found[0]["metadata"]["name"])
