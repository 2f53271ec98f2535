"""The watchdog's triggers, each of which delegates: ``kopf run --standalone --module=simulator.watchdog.main``.

Exit status 2 for a bad setting. Only `on.event` is used, since other triggers put finalizers on what they watch.
"""

import functools
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

import kopf

from simulator.watchdog.reconciler import Watchdog
from simulator.watchdog.settings import SettingError, read_settings

# A watch is made anew after SERVER_SECONDS; should that not end it, the others do.
SERVER_SECONDS, CLIENT_SECONDS, CONNECT_SECONDS = 240, 300, 10
EXIT_SECONDS = 20  # of the 30 that a pod is given

try:
    WATCHDOG = Watchdog(read_settings(os.environ))
except SettingError as error:
    sys.stderr.write(f"SettingError: {error}\n")
    sys.exit(2)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, **_: object) -> None:
    settings.scanning.disabled = True  # the watchdog's rights end at its namespace
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.client_timeout = CLIENT_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.process.ultimate_exiting_timeout = EXIT_SECONDS
    for kind in WATCHDOG.kinds:
        for query, selectors in (
            ("labelSelector", settings.watching.label_selectors),
            ("fieldSelector", settings.watching.field_selectors),
        ):
            if query in kind.selector:
                selectors[kind.group, kind.version, kind.plural] = kind.selector[query]
    # They would log each event of each watch, each health check, and each attempt that `Topic` tells of once.
    for name in ("kopf.objects", "kopf.activities.probe", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    await WATCHDOG.start(functools.partial(login, settings=settings))


@kopf.on.cleanup()
async def stop(**_: object) -> None:
    await WATCHDOG.stop()


@kopf.on.login()
def login(settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo:
    info = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    if info is None:
        raise kopf.LoginError("there is neither a service account nor a kubeconfig")
    return info


@kopf.on.probe(id="watch")
async def healthy(**_: object) -> str:
    if fault := WATCHDOG.fault():
        raise kopf.PermanentError(fault)
    return "ok"


@kopf.on.event("v1", "pods")
async def pod(event: Mapping[str, Any], **_: object) -> None:
    WATCHDOG.record(WATCHDOG.pods, event)


@kopf.on.event("apps", "v1", "deployments")
async def deployment(event: Mapping[str, Any], **_: object) -> None:
    WATCHDOG.record(WATCHDOG.deployment, event)


@kopf.on.event("v1", "configmaps")
async def configmap(event: Mapping[str, Any], **_: object) -> None:
    WATCHDOG.record(WATCHDOG.configmap, event)


@kopf.on.event("flink.apache.org", "v1beta1", "flinkdeployments")
async def collector(event: Mapping[str, Any], **_: object) -> None:
    WATCHDOG.record(WATCHDOG.collector, event)


async def secret(event: Mapping[str, Any], **_: object) -> None:
    if WATCHDOG.secret is not None:
        WATCHDOG.record(WATCHDOG.secret, event)


if WATCHDOG.secret is not None:  # without one there is no right to watch any
    kopf.on.event("v1", "secrets")(secret)
