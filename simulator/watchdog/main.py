"""The watchdog's kopf handlers: ``kopf run --standalone --module=simulator.watchdog.main``.

Each handler delegates to `reconciler.Watchdog`. The objects have `on.event` handlers only: kopf's other change
handlers put finalizers on the objects that they watch. Exit status 2 for a bad setting.
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

# The API server ends each watch after SERVER_SECONDS, and kopf starts a new one. The client's timeouts end a watch that
# the server does not end.
SERVER_SECONDS, CLIENT_SECONDS, CONNECT_SECONDS = 240, 300, 10
EXIT_SECONDS = 20  # less than the 30 s of a pod's termination grace period

try:
    WATCHDOG = Watchdog(read_settings(os.environ))
except SettingError as error:
    sys.stderr.write(f"SettingError: {error}\n")
    sys.exit(2)


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, **_: object) -> None:
    settings.scanning.disabled = True  # scanning lists namespaces and CRDs: the watchdog may only use its namespace
    settings.watching.server_timeout = SERVER_SECONDS
    settings.watching.client_timeout = CLIENT_SECONDS
    settings.watching.connect_timeout = CONNECT_SECONDS
    settings.process.ultimate_exiting_timeout = EXIT_SECONDS
    for resource in WATCHDOG.resources:
        for query, selectors in (
            ("labelSelector", settings.watching.label_selectors),
            ("fieldSelector", settings.watching.field_selectors),
        ):
            if query in resource.selector:
                selectors[resource.group, resource.version, resource.plural] = resource.selector[query]
    # These loggers write a line for each watch event, each health check and each failed Kafka call (`Topic` logs the
    # first failure).
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
        raise kopf.LoginError("neither a service account nor a kubeconfig was found")
    return info


@kopf.on.probe(id="watch")
async def healthy(**_: object) -> str:
    if reason := WATCHDOG.unhealthy_reason():
        raise kopf.PermanentError(reason)
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


# Registered by a call, since the condition is known at run time only: without a Secret in the settings, the watchdog's
# Role does not allow to watch Secrets.
if WATCHDOG.secret is not None:
    kopf.on.event("v1", "secrets")(secret)
