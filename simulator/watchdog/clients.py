"""The watchdog's clients: the Kubernetes API, the simulator's /healthz, Kafka's topic."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import kopf
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import OffsetSpec
from kafka.errors import KafkaError

from simulator.watchdog.policy import Health
from simulator.watchdog.resources import COMPONENT, read_health
from simulator.watchdog.settings import Kafka, SettingError
from simulator.watchdog.watch_cache import Resource

log = logging.getLogger("simulator.watchdog")

API_TIMEOUT_SECONDS = 10
HEALTH_TIMEOUT_SECONDS = 3
KAFKA_TIMEOUT_MS = 5_000
NOT_FOUND, CONFLICT = 404, 409


class Api:
    """A client of the Kubernetes API in one namespace. Its calls raise aiohttp.ClientError or TimeoutError."""

    def __init__(self, login: Callable[[], kopf.ConnectionInfo], namespace: str) -> None:
        info = login()
        self._login, self._namespace, self._server = login, namespace, info.server.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=info.as_ssl_context()),
            timeout=aiohttp.ClientTimeout(total=API_TIMEOUT_SECONDS),
        )

    async def versions(self, resource: Resource) -> dict[str, str]:
        """The resource version of each selected object by its name; {} for a resource that the API does not know."""
        url = self._server + resource.path(self._namespace)
        async with self._session.get(url, params=resource.selector, headers=self._headers()) as response:
            if response.status == NOT_FOUND:
                return {}
            response.raise_for_status()
            items = (await response.json())["items"]
        return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}

    async def patch(self, resource: Resource, name: str, patch: Mapping[str, Any]) -> bool:
        """Apply a merge patch. False when the object is gone or no longer has the patch's resourceVersion."""
        headers = {**self._headers(), "Content-Type": "application/merge-patch+json"}
        url = self._server + resource.path(self._namespace, name)
        manager = {"fieldManager": COMPONENT}
        async with self._session.patch(url, params=manager, json=patch, headers=headers) as response:
            if response.status in {CONFLICT, NOT_FOUND}:
                return False
            response.raise_for_status()
            return True

    async def post_event(self, event: Mapping[str, Any]) -> None:
        url = f"{self._server}/api/v1/namespaces/{self._namespace}/events"
        async with self._session.post(url, json=event, headers=self._headers()) as response:
            response.raise_for_status()

    async def close(self) -> None:
        await self._session.close()

    def _headers(self) -> dict[str, str]:
        # The service account token is replaced every hour: read it anew for each request.
        return self._login().as_http_headers()


class Simulator:
    """A client of /healthz of the simulator's pods."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=HEALTH_TIMEOUT_SECONDS))

    async def health(self, pod: str, ip: str) -> Health | None:
        """The pod's counters, or None without an answer: the kubelet's probes deal with a pod that does not answer."""
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with self._session.get(f"http://{host}:{self._port}/healthz") as response:
                return read_health(pod, await response.json())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return None

    async def close(self) -> None:
        await self._session.close()


class Topic:
    """Reads the end offsets of the topic.

    The methods block for about KAFKA_TIMEOUT_MS at most. Only one thread may call them at a time.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        self._client: Any = None
        self._last_error = ""

    def end(self) -> int | None:
        """The sum of all partitions' end offsets, or None when Kafka or the topic is unreachable (see the log)."""
        try:
            if self._client is None:
                self._client = KafkaAdminClient(
                    client_id=COMPONENT,
                    bootstrap_timeout_ms=KAFKA_TIMEOUT_MS,
                    request_timeout_ms=KAFKA_TIMEOUT_MS,
                    **self._kafka.options(),
                )
            topic = self._client.describe_topics([self._kafka.topic])[0]
            partitions = [TopicPartition(self._kafka.topic, each["partition_index"]) for each in topic["partitions"]]
            if not partitions:
                self._report_unreachable(f"topic {self._kafka.topic} does not exist, or this user may not describe it")
                return None
            ends = self._client.list_partition_offsets(
                dict.fromkeys(partitions, OffsetSpec.LATEST), timeout_ms=KAFKA_TIMEOUT_MS
            )
        except (KafkaError, OSError, SettingError) as error:
            self.close()
            self._report_unreachable(f"{type(error).__name__}: {error}")
            return None
        if self._last_error:
            log.info("Kafka answers again")
        self._last_error = ""
        return sum(int(each.offset) for each in ends.values())

    def close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(KafkaError, OSError):
                self._client.close()
        self._client = None

    def _report_unreachable(self, reason: str) -> None:
        """Log the first error of a row of failures only."""
        if not self._last_error:
            log.warning("Kafka at %s is unreachable: %s", self._kafka.bootstrap_servers, reason)
        self._last_error = reason
