"""The Kubernetes cluster that the project runs on: which one it is, how images get into it, and kubectl."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from images.build import REPOSITORY, Engine, Image, build, choose_engine, push, save, silently

Object = dict[str, Any]

NODE_SCRIPTS = REPOSITORY / "dev" / "cluster"
UP_SECONDS = 3600  # from nothing, most of it Go builds
LOAD_SECONDS = 600


class ClusterError(RuntimeError):
    """The cluster cannot be used, or refused something; the text is for the user."""


class NoClusterError(ClusterError):
    """The repository's own cluster does not run."""


@dataclass(frozen=True)
class Target:
    """A cluster: the context that kubectl uses, and the registry from which its nodes pull the project's images.

    registry: None for kind and minikube, into whose nodes images are loaded. own: the repository's own test cluster.
    """

    context: str
    registry: str | None = None
    own: bool = False

    @property
    def kind(self) -> str | None:
        """The name of the kind cluster."""
        return self.context.removeprefix("kind-") if self.context.startswith("kind-") else None


def choose(named: str, current: str, contexts: Sequence[str], registry: str) -> Target | None:
    """The user's cluster to be used; None for the repository's own.

    named: the context that the user named on purpose (`CONTEXT`), or "". current: the kubeconfig's, or "". A kind or
    minikube cluster that is current is meant for trying things out and used; any other has to be named.
    Raises ClusterError.
    """
    if named and named not in contexts:
        there = ", ".join(contexts) or "none"
        raise ClusterError(f"CONTEXT={named!r}: the kubeconfig has no such context (it has: {there})")
    local = current if current.startswith("kind-") or current == "minikube" else ""
    context = named or local
    if not context:
        return None
    if not registry and not context.startswith("kind-") and context != "minikube":
        raise ClusterError(
            f"CONTEXT={context!r}: say from which registry its nodes pull, for example IMAGE_REGISTRY=localhost:5000"
        )
    return Target(context, registry or None)


@dataclass(frozen=True)
class Cluster:
    """kubectl on one cluster. A call that fails, or takes too long, raises ClusterError with what kubectl said."""

    target: Target
    environment: Mapping[str, str] = field(repr=False)

    def run(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        return self.program("kubectl", "--context", self.target.context, *arguments, stdin=stdin, seconds=seconds)

    def program(self, *command: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run kubectl, helm or the like with the cluster's environment; returns what it prints."""
        return run_program(command, self.environment, stdin=stdin, seconds=seconds)

    def apply(self, objects: Iterable[Object], namespace: str, *, dry_run: bool = False) -> None:
        """Create or change objects, or with `dry_run` let the API server only check them.

        Server-side, since some definitions are too large for an annotation.
        """
        items = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        flags = ["--dry-run=server"] if dry_run else []
        self.run("apply", "--server-side", *flags, "-n", namespace, "-f", "-", stdin=json.dumps(items))

    def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """The object, or None when there is none."""
        found = self.run("get", kind, name, "-n", namespace, "--ignore-not-found", "-o", "json")
        return dict(json.loads(found)) if found.strip() else None

    def list(self, kinds: str, namespace: str, selector: str = "") -> list[Object]:
        found = self.run("get", kinds, "-n", namespace, "-l", selector, "-o", "json")
        return list(json.loads(found)["items"])

    def delete(self, kinds: str, namespace: str, *names: str, seconds: float = 120) -> None:
        """Delete by name, or everything of these kinds, and wait until it is gone."""
        which = names or ("--all",)
        limit = f"--timeout={seconds:g}s"
        self.run("delete", kinds, *which, "-n", namespace, "--ignore-not-found", limit, seconds=seconds + 10)

    def await_condition(self, what: str, condition: str, namespace: str, seconds: float) -> None:
        """Wait for a condition of an object, for example of `job/NAME`; on failure tell the namespace's last events."""
        limit = f"--timeout={seconds:g}s"
        try:
            self.run("wait", f"--for=condition={condition}", what, "-n", namespace, limit, seconds=seconds + 10)
        except ClusterError as error:
            events = self.run("get", "events", "-n", namespace, "--sort-by=.lastTimestamp")
            raise ClusterError(f"{error}\n{events[-2000:]}") from None

    def remove_now(self, pod: str, namespace: str) -> None:
        """Delete a pod at once, as if its node had died."""
        self.run("delete", "pod", pod, "-n", namespace, "--grace-period=0", "--force")

    def execute(self, pod: str, namespace: str, *command: str, stdin: str | None = None, seconds: float = 60) -> str:
        flags = ["-i"] if stdin is not None else []
        return self.run("exec", pod, "-n", namespace, *flags, "--", *command, stdin=stdin, seconds=seconds)

    def http(self, pod: str, port: int, path: str, namespace: str) -> str:
        """One GET to a pod, through the API server."""
        return self.run("get", "--raw", f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy{path}")


def run_program(
    command: Sequence[str], environment: Mapping[str, str], *, stdin: str | None = None, seconds: float = 60
) -> str:
    """What a program prints. Raises ClusterError, with what it said, when it fails or takes too long."""
    told = " ".join(command[:6])
    try:
        result = subprocess.run(
            command,
            env=dict(environment),
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except OSError as error:
        raise ClusterError(f"{command[0]} cannot be started: {error}") from error
    except subprocess.TimeoutExpired:
        raise ClusterError(f"{told}: no answer within {seconds:g} s") from None
    if result.returncode != 0:
        raise ClusterError(f"{told}: {(result.stderr.strip() or result.stdout.strip())[-1000:]}")
    return result.stdout


def connect(environment: Mapping[str, str] = os.environ, *, start: bool = True) -> Cluster:
    """The cluster to use, answering; `start` the repository's own one where that is meant. Raises ClusterError."""
    named, registry = environment.get("CONTEXT", ""), environment.get("IMAGE_REGISTRY", "")
    current = (output(["kubectl", "config", "current-context"]) or "").strip()
    contexts = (output(["kubectl", "config", "get-contexts", "-o", "name"]) or "").split()
    target = choose(named, current, contexts, registry)
    if target is None:
        if current and current != own_settings()[2]:
            sys.stderr.write(f"context {current} is not touched: CONTEXT={current} would name it\n")
        if start:
            start_own_cluster()
        return own_cluster(environment)
    cluster = Cluster(target, dict(environment))
    cluster.run("get", "--raw=/readyz", "--request-timeout=10s", seconds=15)
    return cluster


def start_own_cluster() -> None:
    """Start the cluster of dev/cluster, and build it before; its scripts tell what they do."""
    for command in (["build.sh", "helm"], ["up.sh"]):
        try:
            result = subprocess.run(
                [NODE_SCRIPTS / command[0], *command[1:]], stdin=subprocess.DEVNULL, check=False, timeout=UP_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise ClusterError(f"the test cluster was not up within {UP_SECONDS} s") from None
        if result.returncode != 0:
            raise ClusterError("the test cluster could not be started (see above)")


def own_cluster(environment: Mapping[str, str]) -> Cluster:
    """The repository's own cluster, which must run already. Raises ClusterError."""
    kubeconfig, _, context, registry = own_settings()
    variables = {**tools(environment), "KUBECONFIG": kubeconfig}
    cluster = Cluster(Target(context, registry, own=True), variables)
    try:
        cluster.run("get", "--raw=/readyz", "--request-timeout=10s", seconds=15)
    except ClusterError:
        raise NoClusterError("no cluster runs: make docker_up") from None
    return cluster


def tools(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment in which kubectl and helm are found: those on PATH, else those built for the own cluster."""
    _, programs, *_ = own_settings()
    return {**environment, "PATH": f"{environment['PATH']}:{programs}"}


def own_settings() -> list[str]:
    """The own cluster's kubeconfig, folder of programs, context and registry, from where its scripts have them."""
    script = '. "$0/settings.sh"; echo "$KUBECONFIG $BIN $CLUSTER_NAME localhost:$REGISTRY_PORT"'
    told = output(["bash", "-c", script, str(NODE_SCRIPTS)])
    if told is None:
        raise ClusterError(f"the settings in {NODE_SCRIPTS} cannot be read")
    return told.split()


def output(command: Sequence[str]) -> str | None:
    """What a command prints, or None when it fails or is not there."""
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=15
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout if result.returncode == 0 else None


def load(cluster: Cluster, images: Sequence[Image]) -> dict[str, str]:
    """Build what is missing and bring it to the cluster's nodes; returns each image's name with its reference there.

    Raises BuildError or ClusterError.
    """
    engine = choose_engine(silently)
    target = cluster.target
    references = {}
    for image in images:
        build(engine, image)
        if target.registry:
            push(engine, image, target.registry)
            references[image.name] = image.reference(target.registry)
        else:
            load_into_nodes(engine, image, target)
            references[image.name] = image.reference()
    return references


def load_into_nodes(engine: Engine, image: Image, target: Target) -> None:
    """Load an image into the nodes of kind or minikube, from an archive: so it works with every engine."""
    archive = save(engine, image)
    command = (
        ["kind", "load", "image-archive", str(archive), "--name", target.kind]
        if target.kind
        else ["minikube", "image", "load", str(archive)]
    )
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=LOAD_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClusterError(f"{image.name} cannot be loaded: {error}") from error
    finally:
        archive.unlink(missing_ok=True)
    if result.returncode != 0:
        raise ClusterError(f"{image.name} cannot be loaded: {result.stderr.strip()[-400:]}")
