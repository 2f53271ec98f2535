"""The watchdog at work: in each round it observes, decides, and acts."""

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
    address,
    collector_state,
    config_hash,
    event_of,
    read_pod,
    rollout_under_way,
    stays,
    timestamp_of,
)
from simulator.watchdog.settings import Settings
from simulator.watchdog.watch_cache import Kind, WatchCache

log = logging.getLogger("simulator.watchdog")

STATE = "data-collection/watchdog-state"  # annotation of the Deployment
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"  # what `kubectl rollout restart` sets
COMPARE_SECONDS = 15
LAG_SECONDS = 2.0  # a watch that is well may be this far behind
PAUSE_SECONDS = 1.0  # the shortest between two rounds


class Watchdog:
    """What `main` delegates to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.pods = Kind("", "v1", "pods", {"labelSelector": settings.selector})
        self.deployment = named("apps", "v1", "deployments", settings.deployment)
        self.configmap = named("", "v1", "configmaps", settings.configmap)
        self.secret = named("", "v1", "secrets", settings.secret) if settings.secret else None
        self.collector = named("flink.apache.org", "v1beta1", "flinkdeployments", settings.collector)
        kinds = (self.pods, self.deployment, self.configmap, self.secret, self.collector)
        self.kinds = tuple(kind for kind in kinds if kind is not None)
        self._watched = WatchCache(self.kinds, time.monotonic())
        self._memory = Memory()
        self._pending_events: list[Mapping[str, Any]] = []
        self._wake = asyncio.Event()
        self._compared = -float(COMPARE_SECONDS)
        self._finished = time.monotonic()

    async def start(self, login: Any) -> None:
        """Raises OSError when the metrics' port is taken."""
        self._api = Api(login, self._settings.namespace)
        self._simulator = Simulator(self._settings.port)
        self._topic = Topic(self._settings.kafka)
        metrics.serve(self._settings.metrics_port, self._flow_age, lambda: self._watched.age(time.monotonic()))
        self._task = asyncio.create_task(self._run(), name="rounds")

    async def stop(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        await self._api.close()
        await self._simulator.close()

    def record(self, kind: Kind, event: Mapping[str, Any]) -> None:
        self._watched.record(kind, event, time.monotonic())
        self._wake.set()

    def fault(self) -> str:
        """What is wrong with the watchdog itself, "" when nothing is."""
        now, limit = time.monotonic(), self._settings.watch_silent_seconds
        plural, seconds = self._watched.silent(now)
        if self._task.done():
            return "its task has ended"
        if seconds > limit:
            return f"the watch of {plural} has missed what the API says for {seconds:.0f} s"
        if now - self._finished > limit:
            return f"its round has not ended for {now - self._finished:.0f} s"
        return ""

    async def _run(self) -> None:
        while True:
            begin = time.monotonic()
            self._wake.clear()
            try:
                await self._reconcile()
            except (aiohttp.ClientError, TimeoutError) as error:
                log.warning("the Kubernetes API does not answer as it should: %r", error)
            self._finished = time.monotonic()
            await asyncio.sleep(PAUSE_SECONDS)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), begin + self._settings.poll_seconds - time.monotonic())

    async def _reconcile(self) -> None:
        if time.monotonic() - self._compared >= COMPARE_SECONDS or not self._watched.complete():
            await self._compare()
        while self._pending_events:
            await self._api.post_event(self._pending_events[0])
            del self._pending_events[0]
        if not self._watched.complete():
            return
        health, topic_end = await self._probe()
        deployment = self._watched.one(self.deployment)
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
        """Ask the API for what the watches should have shown by now."""
        self._compared = time.monotonic()
        asked = {kind: (time.monotonic(), await self._api.versions(kind)) for kind in self.kinds}
        if not all(self._watched.agrees(kind, listed, moment) for kind, (moment, listed) in asked.items()):
            await asyncio.sleep(LAG_SECONDS)
        for kind, (moment, listed) in asked.items():
            self._watched.compared(kind, self._watched.agrees(kind, listed, moment), moment)

    async def _probe(self) -> tuple[Health | None, int | None]:
        where = address(self._watched.all(self.pods))
        answer = self._simulator.health(*where) if where else no_answer()
        return await asyncio.gather(answer, asyncio.to_thread(self._topic.end))

    def _observation(self, deployment: Mapping[str, Any], health: Health | None, topic_end: int | None) -> Observation:
        configmap = self._watched.one(self.configmap)
        secret = self._watched.one(self.secret) if self.secret else None
        known = configmap is not None and (secret is not None or self.secret is None)
        return Observation(
            pods=tuple(read_pod(pod) for pod in self._watched.all(self.pods) if stays(pod)),
            health=health,
            topic_end=topic_end,
            collector=collector_state(self._watched.one(self.collector)),
            rollout=rollout_under_way(deployment),
            replicas=deployment["spec"].get("replicas", 1),
            config=config_hash(configmap, secret) if known else "",
        )

    async def _act(self, decision: Decision, deployment: Mapping[str, Any], now: float) -> None:
        """Write the state, and with it the restart: the API refuses both when the Deployment has changed meanwhile."""
        name, version = deployment["metadata"]["name"], deployment["metadata"]["resourceVersion"]
        patch: dict[str, Any] = {
            "metadata": {"resourceVersion": version, "annotations": {STATE: decision.state.dump()}},
        }
        if decision.restart:
            patch["spec"] = {"template": {"metadata": {"annotations": {RESTARTED_AT: timestamp_of(now)}}}}
        if await self._api.patch(self.deployment, name, patch) and decision.say and decision.cause:
            self._tell(decision, decision.cause, deployment, now)

    def _tell(self, decision: Decision, cause: RestartReason, deployment: Mapping[str, Any], now: float) -> None:
        """A metric, a line in the log, and an Event of the Deployment, which the next round posts."""
        if decision.hold is None:
            metrics.RESTARTS.labels(cause).inc()
            kind, reason = "Normal" if cause is RestartReason.CONFIG_CHANGED else "Warning", "SimulatorRestarted"
        else:
            metrics.SUPPRESSED.labels(cause, decision.hold).inc()
            kind, reason = "Warning", "SimulatorNotRestarted"
        log.warning("%s: %s", reason, decision.text)
        self._pending_events.append(event_of(deployment, kind, reason, decision.text, now))
        self._wake.set()

    def _flow_age(self) -> float:
        since = self._memory.flow_since
        return time.time() - since if since is not None else float("nan")


def named(group: str, version: str, plural: str, name: str) -> Kind:
    return Kind(group, version, plural, {"fieldSelector": f"metadata.name={name}"})


async def no_answer() -> None:
    return None
