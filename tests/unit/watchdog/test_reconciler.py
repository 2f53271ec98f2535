"""The watchdog's rounds between fakes: what it writes, what it reports, and when it is unhealthy itself."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from simulator.watchdog.policy import Health, State
from simulator.watchdog.reconciler import RESTARTED_AT, STATE, Watchdog
from simulator.watchdog.settings import read_settings
from simulator.watchdog.watch_cache import Resource

LONG_AGO = "2026-01-01T00:00:00Z"
SETTINGS = read_settings({"NOT_READY_SECONDS": "20", "WATCH_SILENT_SECONDS": "30"})


class FakeApi:
    """The API server: what it lists, and what was written to it."""

    def __init__(self) -> None:
        self.listed: dict[str, dict[str, str]] = {}
        self.patches: list[Mapping[str, Any]] = []
        self.events: list[Mapping[str, Any]] = []
        self.accepts, self.fails = True, False

    async def versions(self, resource: Resource) -> dict[str, str]:
        return self.listed.get(resource.plural, {})

    async def patch(self, resource: Resource, name: str, patch: Mapping[str, Any]) -> bool:
        assert (resource.plural, name) == ("deployments", "simulator")
        self.patches.append(patch)
        return self.accepts

    async def post_event(self, event: Mapping[str, Any]) -> None:
        if self.fails:
            raise aiohttp.ClientError
        self.events.append(event)


class FakeSimulator:
    async def health(self, pod: str, ip: str) -> Health:
        assert ip == "10.0.0.1"
        return Health(pod, 1, 1, 1)


class FakeTopic:
    def end(self) -> int:
        return 1


class World:
    """A watchdog between fakes, whose watches have delivered a running simulator."""

    def __init__(self, ready: str = "True", state: State | None = None) -> None:
        self.watchdog = Watchdog(SETTINGS)
        self.api = FakeApi()
        vars(self.watchdog).update(_api=self.api, _simulator=FakeSimulator(), _topic=FakeTopic())
        annotations = {STATE: state.dump()} if state else {}
        self.show(self.watchdog.deployment, "simulator", {"annotations": annotations, "generation": 1}, spec={})
        self.show(self.watchdog.configmap, "simulator", {}, data={"SIMULATOR_RATE": "20"})
        condition = {"type": "Ready", "status": ready, "lastTransitionTime": LONG_AGO}
        containers = [{"state": {"running": {"startedAt": LONG_AGO}}}]
        status = {"podIP": "10.0.0.1", "conditions": [condition], "containerStatuses": containers}
        self.show(self.watchdog.pods, "simulator-a", {"creationTimestamp": LONG_AGO}, status=status)

    def show(self, resource: Resource, name: str, metadata: dict[str, Any], **body: Any) -> None:
        given = {"name": name, "namespace": "default", "uid": name, "resourceVersion": "7", **metadata}
        body = {"status": {"observedGeneration": 1}, **body}
        self.watchdog.record(resource, {"type": None, "object": {"metadata": given, **body}})
        self.api.listed.setdefault(resource.plural, {})[name] = given["resourceVersion"]

    def rounds(self, count: int = 1) -> None:
        for _ in range(count):
            asyncio.run(self.watchdog._reconcile())

    @property
    def config(self) -> str:
        self.rounds()
        return str(json.loads(self.api.patches.pop()["metadata"]["annotations"][STATE])["config"])


def known(**changes: Any) -> State:
    return State(config=World().config, **changes)


def test_the_first_round_notes_the_configuration_and_reports_nothing() -> None:
    world = World()
    world.rounds(2)
    patch = world.api.patches[0]
    assert patch["metadata"]["resourceVersion"] == "7"
    assert json.loads(patch["metadata"]["annotations"][STATE])["restarts"] == []
    assert "spec" not in patch
    assert world.api.events == []


def test_nothing_is_written_while_nothing_changes() -> None:
    world = World(state=known())
    world.rounds(3)
    assert world.api.patches == []


def test_a_fault_restarts_it_with_the_state_in_the_same_write_and_an_event() -> None:
    world = World(ready="False", state=known())
    world.rounds(1)
    patch = world.api.patches[0]
    assert RESTARTED_AT in patch["spec"]["template"]["metadata"]["annotations"]
    assert patch["metadata"]["resourceVersion"] == "7"
    state = json.loads(patch["metadata"]["annotations"][STATE])
    assert time.time() - 5 < state["restarts"][0] < time.time() + 5
    world.show(world.watchdog.deployment, "simulator", patch["metadata"] | {"resourceVersion": "8"}, spec={})
    world.rounds(1)
    (event,) = world.api.events
    assert (event["reason"], event["type"]) == ("SimulatorRestarted", "Warning")
    assert event["message"].startswith("NotReady: ")


def test_what_the_api_refuses_did_not_happen() -> None:
    world = World(ready="False", state=known())
    world.api.accepts = False
    world.rounds(2)
    assert len(world.api.patches) == 2
    assert world.api.events == []


def test_an_event_that_could_not_be_posted_is_posted_later() -> None:
    world = World(ready="False", state=known(restarts=(int(time.time()),)))
    world.api.fails = True
    world.rounds(1)
    with pytest.raises(aiohttp.ClientError):
        world.rounds(1)
    world.api.fails = False
    world.rounds(1)
    assert world.api.events[0]["reason"] == "SimulatorNotRestarted"
    assert "NotReady: " in world.api.events[0]["message"]
    assert "Cooldown: " in world.api.events[0]["message"]


def test_nothing_is_decided_before_each_watch_has_shown_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.watchdog.reconciler.LAG_SECONDS", 0)
    world = World(ready="False", state=known())
    world.api.listed["flinkdeployments"] = {"collector": "1"}
    world.rounds(3)
    assert world.api.patches == []


def test_health(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.watchdog.reconciler.LAG_SECONDS", 0)
    world = World()
    now = time.monotonic()
    monkeypatch.setattr("simulator.watchdog.reconciler.time.monotonic", lambda: now)
    running: asyncio.Future[None] = asyncio.Future(loop=asyncio.new_event_loop())
    vars(world.watchdog).update(_task=running, _finished_at=now)
    world.rounds()
    assert world.watchdog.unhealthy_reason() == ""

    now += 20
    world.api.listed["pods"] = {"simulator-a": "9"}
    world.rounds()
    vars(world.watchdog)["_finished_at"] = now
    assert world.watchdog.unhealthy_reason() == ""
    now += 31
    assert world.watchdog.unhealthy_reason() == "the watch of pods has differed from the API for 31 s"
    world.show(world.watchdog.pods, "simulator-a", {"resourceVersion": "9"})
    world.rounds()
    assert world.watchdog.unhealthy_reason() == "no round has ended for 31 s"
    vars(world.watchdog)["_finished_at"] = now
    assert world.watchdog.unhealthy_reason() == ""
    running.cancel()
    assert world.watchdog.unhealthy_reason() == "the task that runs the rounds has ended"


def test_its_triggers_put_nothing_on_what_they_watch() -> None:
    script = """
import kopf, simulator.watchdog.main
registry = kopf.get_default_registry()
print(sorted(handler.id for handler in registry._watching.get_all_handlers()))
print([*registry._changing.get_all_handlers(), *registry._spawning.get_all_handlers()])
"""
    watched = ["collector", "configmap", "deployment", "pod"]
    assert run(script).stdout == f"{watched}\n[]\n"
    assert run(script, SIMULATOR_SECRET="more").stdout == f"{[*watched, 'secret']}\n[]\n"


def test_a_bad_setting_is_one_line_and_exit_status_2() -> None:
    done = run("import simulator.watchdog.main", COOLDOWN_SECONDS="0")
    error = "SettingError: COOLDOWN_SECONDS='0': a whole number from 1 to 3600 is allowed\n"
    assert (done.returncode, done.stderr) == (2, error)


def run(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script]
    return subprocess.run(
        command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False
    )
