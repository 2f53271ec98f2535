"""Deletes a release's custom resources while their operators still run, and waits until their pods are gone too.
Deletes also the pod of `helm test`, which Helm keeps for its log.

Settings: NAMESPACE, RELEASE, NAME (the prefix of the release's objects), TIMEOUT_SECONDS. Calls the Kubernetes API with
the pod's service account. Exit status: 0, or 1 with the remaining resources in the log.
"""

import json
import logging
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAUSE_SECONDS = 2
NOT_FOUND = 404

log = logging.getLogger("delete_resources")
# Takes the method and the path; returns the names of the items, none for a resource type that the API does not know.
Api = Callable[[str, str], list[str]]


class Stage(NamedTuple):
    """Resources that are deleted together: all of a type with these labels, or one object (type/name).

    pods: labels of the pods that have to be gone too."""

    api: str
    resources: tuple[str, ...]
    labels: str
    pods: str = ""


def stages(release: str, name: str) -> list[Stage]:
    """The stages in order. Snapshots come before their job, which may have to dispose of them; the jobs before Kafka.

    Topics come after the Kafka cluster: a running topic operator would delete the data of a deleted topic, which
    `keepData` may protect."""
    flink, kafka = "apis/flink.apache.org/v1beta1", "apis/kafka.strimzi.io/v1"
    of_release = f"app.kubernetes.io/instance={release}"
    own = f"app.kubernetes.io/name=data-collection,{of_release}"
    jobs = "collector", "aggregator"
    # The Flink operator sets its own labels on snapshots.
    of_jobs = f"job-reference.kind=FlinkDeployment,job-reference.name in ({','.join(f'{name}-{job}' for job in jobs)})"
    job_pods = f"{of_release},app.kubernetes.io/component in ({','.join(jobs)})"
    return [
        Stage(flink, ("flinkstatesnapshots",), of_jobs),
        Stage(flink, ("flinkdeployments",), own, job_pods),
        Stage(kafka, ("kafkas", "kafkanodepools"), own, f"strimzi.io/cluster={name}"),
        Stage(kafka, ("kafkatopics", "kafkausers"), own),
        Stage("api/v1", (f"pods/{name}-test",), own),
    ]


def main(environ: Mapping[str, str] = os.environ) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    timeout = float(environ["TIMEOUT_SECONDS"])
    order = stages(environ["RELEASE"], environ["NAME"])
    left = delete(connect(environ), environ["NAMESPACE"], order, timeout)
    if left:
        log.error("error: not deleted within %.0f s: %s", timeout, ", ".join(left))
        log.error("see the logs of their operators; `helm uninstall --no-hooks` continues without them")
    return int(bool(left))


def delete(
    api: Api,
    namespace: str,
    order: Sequence[Stage],
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> list[str]:
    """Delete stage by stage; returns the remaining resources when the timeout is reached, else nothing."""
    start = clock()
    for stage in order:
        paths = [f"/{stage.api}/namespaces/{namespace}/{name}{selected(stage.labels)}" for name in stage.resources]
        pods = [f"/api/v1/namespaces/{namespace}/pods{selected(stage.pods)}"] if stage.pods else []
        while left := delete_once(api, paths, pods):
            if clock() - start > timeout:
                return left
            log.info("%3.0f s, waiting for: %s", clock() - start, ", ".join(left))
            sleep(PAUSE_SECONDS)
        log.info("gone: %s", ", ".join(stage.resources))
    return []


def delete_once(api: Api, paths: Sequence[str], pods: Sequence[str]) -> list[str]:
    """The remaining resources, or the API's error: the next try may succeed. Deleting twice is harmless."""
    try:
        for path in paths:
            api("DELETE", path)
        return [name for path in (*paths, *pods) for name in api("GET", path)]
    except OSError as error:
        return [str(error)]


def selected(labels: str) -> str:
    return f"?labelSelector={quote(labels)}"


def connect(environ: Mapping[str, str]) -> Api:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ["KUBERNETES_SERVICE_PORT"]
    base = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))

    def request(method: str, path: str) -> list[str]:
        # Kubernetes replaces the token while the pod runs.
        headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
        call = urllib.request.Request(base + path, method=method, headers=headers)  # noqa: S310 - https, see above
        try:
            with urllib.request.urlopen(call, timeout=30, context=context) as answer:  # noqa: S310
                return names(path, json.load(answer)) if method == "GET" else []
        except urllib.error.HTTPError as error:
            if error.code == NOT_FOUND:  # no such object, or the cluster has no such CRD
                return []
            raise OSError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')[:300]}") from error

    return request


def names(path: str, answer: Mapping[str, Any]) -> list[str]:
    """The items of the response, a list or one object, as type/name."""
    kind = path.partition("/namespaces/")[2].partition("?")[0].split("/")[1]
    return [f"{kind}/{item['metadata']['name']}" for item in answer.get("items", [answer])]


if __name__ == "__main__":
    sys.exit(main())
