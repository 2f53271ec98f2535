"""The watchdog's control loop: each round observes, decides and acts."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from simulator.watchdog import metrics
from simulator.watchdog.clients import Api, Simulator, Topic
from simulator.watchdog.policy import Decision, Health, Memory, Observation, RestartReason, decide, load_state
from simulator.watchdog.resources import (
    build_event,
    collector_state,
    config_hash,
    format_timestamp,
    is_active,
    newest_pod_address,
    read_pod,
    rollout_under_way,
)
from simulator.watchdog.settings import Settings
from simulator.watchdog.watch_cache import Resource, WatchCache

log = logging.getLogger("simulator.watchdog")

STATE = "data-collection/watchdog-state"  # annotation of the Deployment
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # what `kubectl rollout restart` sets
COMPARE_SECONDS = 15  # between two comparisons of the watches with the API
LAG_SECONDS = 2.0  # a healthy watch may be this far behind the API
PAUSE_SECONDS = 1.0  # the shortest pause between two rounds


class Watchdog:
    """Holds the watchdog's state and runs its rounds. `main` starts, feeds and stops it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.pods = Resource("", "v1", "pods", {"labelSelector": settings.selector})
        self.deployment = by_name("apps", "v1", "deployments", settings.deployment)
        self.configmap = by_name("", "v1", "configmaps", settings.configmap)
        self.secret = by_name("", "v1", "secrets", settings.secret) if settings.secret else None
        self.collector = by_name("flink.apache.org", "v1beta1", "flinkdeployments", settings.collector)
        resources = (self.pods, self.deployment, self.configmap, self.secret, self.collector)
        self.resources = tuple(each for each in resources if each is not None)
        self._cache = WatchCache(self.resources, time.monotonic())
        self._memory = Memory()
        self._pending_events: list[Mapping[str, Any]] = []
        self._wake = asyncio.Event()
        self._compared_at = -float(COMPARE_SECONDS)
        self._finished_at = time.monotonic()

    async def start(self, login: Any) -> None:
        """Open the clients, serve the metrics, run the rounds in a task. Raises OSError when the port is in use."""
        self._api = Api(login, self._settings.namespace)
        self._simulator = Simulator(self._settings.port)
        self._topic = Topic(self._settings.kafka)
        metrics.serve(self._settings.metrics_port, self._flow_age, lambda: self._cache.age(time.monotonic()))
        self._task = asyncio.create_task(self._run(), name="rounds")

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._api.close()
        await self._simulator.close()

    def record(self, resource: Resource, event: Mapping[str, Any]) -> None:
        """Store an event of a watch and wake the control loop."""
        self._cache.record(resource, event, time.monotonic())
        self._wake.set()

    def unhealthy_reason(self) -> str:
        """Why the watchdog itself is unhealthy; "" when it is healthy. The text is the answer of its /healthz."""
        now, limit = time.monotonic(), self._settings.watch_silent_seconds
        plural, seconds = self._cache.most_stale(now)
        if self._task.done():
            return "the task that runs the rounds has ended"
        if seconds > limit:
            return f"the watch of {plural} has differed from the API for {seconds:.0f} s"
        if now - self._finished_at > limit:
            return f"no round has ended for {now - self._finished_at:.0f} s"
        return ""

    async def _run(self) -> None:
        while True:
            begin = time.monotonic()
            self._wake.clear()
            try:
                await self._reconcile()
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("a call of the Kubernetes API failed: %r", error)
            self._finished_at = time.monotonic()
            await asyncio.sleep(PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), begin + self._settings.poll_seconds - time.monotonic())

    async def _reconcile(self) -> None:
        """One round. It decides nothing before each watch has matched a listing of the API."""
        if time.monotonic() - self._compared_at >= COMPARE_SECONDS or not self._cache.complete():
            await self._compare()
        while self._pending_events:
            await self._api.post_event(self._pending_events[0])
            del self._pending_events[0]
        if not self._cache.complete():
            return
        health, topic_end = await self._probe()
        deployment = self._cache.one(self.deployment)
        if deployment is None:
            return
        seen = self._observation(deployment, health, topic_end)
        now = time.time()
        annotation = deployment["metadata"].get("annotations", {}).get(STATE)
        decision = decide(self._memory, load_state(annotation, now), seen, self._settings.limits, now)
        self._memory = decision.memory
        if decision.restart or decision.state.dump() != annotation:
            await self._act(decision, deployment, now)

    async def _compare(self) -> None:
        """Compare the cache with listings of the API. When they differ, wait once: a watch may be a little behind."""
        self._compared_at = time.monotonic()
        listings = {each: (time.monotonic(), await self._api.versions(each)) for each in self.resources}
        if not all(self._cache.matches(each, listed, at) for each, (at, listed) in listings.items()):
            await asyncio.sleep(LAG_SECONDS)
        for each, (at, listed) in listings.items():
            self._cache.mark_compared(each, self._cache.matches(each, listed, at), at)

    async def _probe(self) -> tuple[Health | None, int | None]:
        """Ask the simulator for its counters and Kafka for the end of the topic, at the same time."""
        address = newest_pod_address(self._cache.all(self.pods))
        answer = self._simulator.health(*address) if address else no_health()
        return await asyncio.gather(answer, asyncio.to_thread(self._topic.end))

    def _observation(self, deployment: Mapping[str, Any], health: Health | None, topic_end: int | None) -> Observation:
        configmap = self._cache.one(self.configmap)
        secret = self._cache.one(self.secret) if self.secret else None
        known = configmap is not None and (secret is not None or self.secret is None)
        return Observation(
            pods=tuple(read_pod(pod) for pod in self._cache.all(self.pods) if is_active(pod)),
            health=health,
            topic_end=topic_end,
            collector=collector_state(self._cache.one(self.collector)),
            rollout=rollout_under_way(deployment),
            replicas=deployment["spec"].get("replicas", 1),
            config=config_hash(configmap, secret) if known else "",
        )

    async def _act(self, decision: Decision, deployment: Mapping[str, Any], now: float) -> None:
        """Write the state and the restart in one patch.

        The patch carries the resourceVersion: the API rejects it when the Deployment has changed since it was read.
        """
        name, version = deployment["metadata"]["name"], deployment["metadata"]["resourceVersion"]
        patch: dict[str, Any] = {
            "metadata": {"resourceVersion": version, "annotations": {STATE: decision.state.dump()}},
        }
        if decision.restart:
            patch["spec"] = {"template": {"metadata": {"annotations": {RESTARTED_AT: format_timestamp(now)}}}}
        if await self._api.patch(self.deployment, name, patch) and decision.notify and decision.cause:
            self._publish(decision, decision.cause, deployment, now)

    def _publish(self, decision: Decision, cause: RestartReason, deployment: Mapping[str, Any], now: float) -> None:
        """Count it in a metric, log it, and queue an Event of the Deployment, which the next round posts."""
        if decision.hold is None:
            metrics.RESTARTS.labels(cause).inc()
            event_type, reason = "Normal" if cause is RestartReason.CONFIG_CHANGED else "Warning", "SimulatorRestarted"
        else:
            metrics.SUPPRESSED.labels(cause, decision.hold).inc()
            event_type, reason = "Warning", "SimulatorNotRestarted"
        log.warning("%s: %s", reason, decision.text)
        self._pending_events.append(build_event(deployment, event_type, reason, decision.text, now))
        self._wake.set()

    def _flow_age(self) -> float:
        since = self._memory.flow_since
        return time.time() - since if since is not None else float("nan")


def by_name(group: str, version: str, plural: str, name: str) -> Resource:
    """A resource of which one object is watched."""
    return Resource(group, version, plural, {"fieldSelector": f"metadata.name={name}"})


async def no_health() -> None:
    return None
