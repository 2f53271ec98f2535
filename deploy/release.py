"""The pipeline on Kubernetes, for the Make targets: ``python -m deploy.release up|deploy|run JOB|down|clean``.

up: load the images into a cluster and install the chart with everything but the jobs
deploy: load the image with the jobs' code; jobs that run restart with it
run JOB: start one job
down: uninstall the release
clean: uninstall the release and delete the images

Each can be repeated. Exit status: 0, or 1 with a reason and the next step.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy import pods, stubs
from deploy.chart import CHART, copy_without_dependencies
from deploy.cluster import NODE_SCRIPTS, Cluster, ClusterError, NoClusterError, Object, build_and_load_images, connect
from images.build import REPOSITORY, BuildError, choose_engine, exit_status, image, project_images, remove

NAMESPACE = "data-collection"
RELEASE = "data-collection"
JOBS = ("collector", "aggregator")
READY_SECONDS = 900  # the nodes may have to pull the images of Kafka and MongoDB first
JOB_SECONDS = 420
PROGRESS_SECONDS = 10
LIGHT_VALUES = ("--values", str(CHART / "values-light.yaml"))
CHART_COPY = REPOSITORY / ".state" / "chart"


@dataclass(frozen=True)
class Release:
    """The Helm release on a cluster. The methods raise ClusterError or BuildError."""

    cluster: Cluster

    def up(self) -> None:
        """Install or upgrade the release without the jobs, and wait until everything is Ready."""
        on_test_cluster = self.cluster.target.is_test_cluster
        references = build_and_load_images(
            self.cluster, [*project_images(), *(stubs.images() if on_test_cluster else [])]
        )
        if self.cluster.get("namespace", NAMESPACE, NAMESPACE) is None:
            self.cluster.apply([pods.namespace(NAMESPACE)], NAMESPACE)
            self._await(lambda: self.cluster.get("serviceaccount", "default", NAMESPACE), "the namespace", 30)
        if on_test_cluster:
            say("this cluster has stubs of Kafka and of the Flink operator: the operators' charts need the internet")
            stubs.install(self.cluster, NAMESPACE, references)
        values = [*LIGHT_VALUES, *(stubs.values(references) if on_test_cluster else []), *image_settings(references)]
        off = [part for job in JOBS for part in ("--set", f"{job}.enabled=false")]
        chart = str(self._chart())
        self._apply_crds(chart)
        # Not with Helm's --wait: it waits for the jobs' volume claim, which stays Pending with a WaitForFirstConsumer
        # storage class until a job starts.
        self._helm("upgrade", "--install", RELEASE, chart, "--skip-crds", *values, *off)
        self._await(
            lambda: not self._not_ready(),
            "the release to be Ready",
            READY_SECONDS,
            lambda: ", ".join(self._not_ready()),
        )
        self._say_forward("the live page is", "console", 8090)
        say(f"everything but the jobs is Ready in namespace {NAMESPACE}; next: make clean package deploy")

    def deploy(self) -> None:
        """Load the image with the jobs' code into the cluster. Jobs that run are upgraded from a savepoint."""
        flink = build_and_load_images(self.cluster, [image(REPOSITORY / "images" / "flink")])["data-collection/flink"]
        for job in JOBS:
            if self._job(job) is not None:
                patch = json.dumps({"spec": {"image": flink}})
                name = f"{RELEASE}-{job}"
                self.cluster.run("patch", "flinkdeployment", name, "-n", NAMESPACE, "--type=merge", "-p", patch)
                say(f"{job}: restarts with the new code")
        say("the jobs' image is loaded; next: make remote_collection_stream remote_aggregation_stream")

    def run(self, job: str) -> None:
        """Apply the job's FlinkDeployment, rendered from the chart, and wait until it is RUNNING and STABLE."""
        self.require_installed()
        references = build_and_load_images(self.cluster, [image(REPOSITORY / "images" / "flink")])
        given = REPOSITORY / ".state" / "values.yaml"
        given.parent.mkdir(parents=True, exist_ok=True)
        given.write_text(self._helm_output("get", "values", RELEASE, "--output", "yaml"))
        version = json.loads(self.cluster.run("version", "-o", "json"))["serverVersion"]["gitVersion"]
        values = ["--values", str(given), *image_settings(references), "--set", f"{job}.enabled=true"]
        only = ["--show-only", f"templates/{job}/flinkdeployment.yaml"]
        rendered = self._helm_output("template", RELEASE, str(self._chart()), "--kube-version", version, *values, *only)
        self.cluster.run("apply", "--server-side", "-n", NAMESPACE, "-f", "-", stdin=rendered)
        self._await(
            lambda: is_stable(self._job(job)),
            f"{job} to be RUNNING",
            JOB_SECONDS,
            lambda: status_line(self._job(job)),
        )
        self._say_forward(f"{job} is RUNNING; its Flink UI", f"{job}-rest", 8081)

    def _say_forward(self, what: str, service: str, port: int) -> None:
        """Print the command that forwards a port of this machine to a Service of the release."""
        say(f"{what} at http://localhost:{port} after:")
        context = self.cluster.target.context
        say(f"  kubectl --context {context} -n {NAMESPACE} port-forward service/{RELEASE}-{service} {port}")
        if self.cluster.target.is_test_cluster:
            say(f"  (with KUBECONFIG={self.cluster.environment['KUBECONFIG']})")

    def down(self) -> None:
        """Uninstall the release, and delete its namespace if `up` created it."""
        if RELEASE in self._helm_output("list", "--short").split():
            self._helm("uninstall", RELEASE, "--wait", "--timeout=6m")
        found = self.cluster.get("namespace", NAMESPACE, NAMESPACE)
        if found is not None and pods.MANAGED_NAMESPACE_LABEL in found["metadata"].get("labels", {}):
            self.cluster.run("delete", "namespace", NAMESPACE, "--timeout=170s", seconds=180)
        say("nothing is left of the pipeline on this cluster")

    def require_installed(self, release: str = RELEASE, namespace: str = NAMESPACE) -> None:
        """Raise ClusterError, with the next step, when the release is not installed."""
        target = ("--kube-context", self.cluster.target.context, "--namespace", namespace)
        if release not in self.cluster.program("helm", "list", "--short", *target).split():
            where = f"in namespace {namespace} on {self.cluster.target.context}"
            raise ClusterError(
                f"release {release} is not installed {where}: make docker_up, or set RELEASE and NAMESPACE"
            )

    def _chart(self) -> Path:
        """The chart to install: with its dependencies, or on the project's test cluster with empty ones."""
        if self.cluster.target.is_test_cluster:
            shutil.rmtree(CHART_COPY, ignore_errors=True)
            return copy_without_dependencies(CHART_COPY)
        if not (CHART / "charts").is_dir():
            self.cluster.program("helm", "dependency", "build", str(CHART), seconds=300)
        return CHART

    def _apply_crds(self, chart: str) -> None:
        """Create or update the CRDs of the bundled operators.

        Helm never updates an existing CRD, and Helm 4 without --wait creates custom resources before their CRDs exist.
        """
        crds = split_documents(self._helm_output("show", "crds", chart))
        if crds:
            self.cluster.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=crds)
            self.cluster.run("wait", "--for=condition=Established", "-f", "-", "--timeout=50s", stdin=crds)

    def _job(self, job: str) -> Object | None:
        """The job's FlinkDeployment, or None when it or the CRD does not exist."""
        if "flinkdeployments" not in self.cluster.run("api-resources", "--api-group=flink.apache.org", "-o", "name"):
            return None
        return self.cluster.get("flinkdeployment", f"{RELEASE}-{job}", NAMESPACE)

    def _helm_output(self, *arguments: str) -> str:
        target = ("--kube-context", self.cluster.target.context, "--namespace", NAMESPACE)
        return self.cluster.program("helm", *arguments, *target, seconds=READY_SECONDS)

    def _helm(self, *arguments: str) -> None:
        """Run helm, and print meanwhile which workloads are not Ready."""
        target = ("--kube-context", self.cluster.target.context, "--namespace", NAMESPACE)
        say(f"helm {arguments[0]} {RELEASE}")
        with subprocess.Popen(
            ["helm", *arguments, *target],
            env=dict(self.cluster.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            while process.poll() is None:
                try:
                    process.wait(PROGRESS_SECONDS)
                except subprocess.TimeoutExpired:
                    say(f"  waiting for: {', '.join(self._not_ready()) or 'helm'}")
            if process.returncode != 0:
                reason = process.stderr.read() if process.stderr else ""
                raise ClusterError(f"helm {arguments[0]}: {reason.strip()[-800:]}")

    def _not_ready(self) -> list[str]:
        """The names of the workloads that are not Ready or, for a Job, not complete."""
        resources = "deployments,statefulsets,jobs"
        if "kafkas." in self.cluster.run("api-resources", "--api-group=kafka.strimzi.io", "-o", "name"):
            resources += ",kafkas"
        return [each["metadata"]["name"] for each in self.cluster.list(resources, NAMESPACE) if not ready(each)]

    def _await(
        self, read: Callable[[], object], what: str, seconds: float, state: Callable[[], str] = lambda: ""
    ) -> None:
        """Wait until `read` returns a true value; print `state` meanwhile. Raises ClusterError after `seconds`."""
        start = shown = time.monotonic()
        while not read():
            now = time.monotonic()
            if now - start > seconds:
                raise ClusterError(f"gave up waiting for {what} after {seconds:g} s ({state()})")
            if now - shown >= PROGRESS_SECONDS:
                say(f"  waiting for {what}: {state() or 'not yet'}")
                shown = now
            time.sleep(1)


def split_documents(objects: str) -> str:
    """Separate YAML objects with `---`: Helm 3 prints CRDs one after the other without it."""
    return re.sub(r"^(?=apiVersion:)", "---\n", objects, flags=re.MULTILINE)


def image_settings(references: dict[str, str]) -> list[str]:
    """Helm's arguments for the images' references in the cluster, {name of an image: its reference}."""
    settings = []
    for part in ("console", "flink", "simulator", "watchdog"):
        if reference := references.get(f"data-collection/{part}"):
            repository, _, tag = reference.rpartition(":")
            settings += ["--set", f"{part}.image.repository={repository}", "--set", f"{part}.image.tag={tag}"]
    return settings


def is_stable(job: Object | None) -> bool:
    """Whether the job of a FlinkDeployment is RUNNING and its lifecycle state is STABLE."""
    status = (job or {}).get("status", {})
    return (status.get("jobStatus", {}).get("state"), status.get("lifecycleState")) == ("RUNNING", "STABLE")


def status_line(job: Object | None) -> str:
    """The state of a FlinkDeployment in one line."""
    status = (job or {}).get("status", {})
    parts = status.get("jobManagerDeploymentStatus"), status.get("jobStatus", {}).get("state"), status.get("error")
    return ", ".join(str(part)[:300] for part in parts if part)


def ready(workload: Object) -> bool:
    """Whether a Deployment or StatefulSet has all pods Ready, a Job is complete, any other object Ready."""
    status = workload.get("status", {})
    if workload["kind"] in {"Deployment", "StatefulSet"}:
        return bool(status.get("readyReplicas", 0) >= workload["spec"]["replicas"])
    wanted = "Complete" if workload["kind"] == "Job" else "Ready"
    return any(each["type"] == wanted and each["status"] == "True" for each in status.get("conditions", []))


def labels(component: str, release: str = RELEASE) -> dict[str, str]:
    """The labels by which the chart's NetworkPolicies know a pod beside the release."""
    return {
        "app.kubernetes.io/name": "data-collection",
        "app.kubernetes.io/instance": release,
        "app.kubernetes.io/component": component,
    }


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    action, *rest = arguments
    try:
        match action:
            case "up":
                Release(connect()).up()
            case "deploy":
                Release(connect(start=False)).deploy()
            case "run":
                Release(connect(start=False)).run(*rest)
            case "down":
                down()
            case "clean":
                down()
                clean()
            case _:
                raise ClusterError(f"unknown action {action!r}")
    except (ClusterError, BuildError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


def down() -> None:
    """Uninstall the release. The project's test cluster is stopped, too, unless tests still use it."""
    try:
        cluster = connect(start=False)
    except NoClusterError:
        say("no cluster of this project runs")
        return
    Release(cluster).down()
    if cluster.target.is_test_cluster:
        if cluster.list("namespaces", NAMESPACE, pods.MANAGED_NAMESPACE_LABEL):
            say("the cluster keeps running: tests use it")
        else:
            subprocess.run([NODE_SCRIPTS / "down.sh"], check=True)


def clean() -> None:
    """Delete the images and what `make package` wrote."""
    engine = choose_engine(exit_status)
    for each in [*project_images(), *stubs.images()]:
        remove(engine, each)
    for folder in ("dist", ".state/chart", ".state/images"):
        shutil.rmtree(REPOSITORY / folder, ignore_errors=True)
    say("the images and dist/ are deleted (make cluster-clean deletes what was built for the test cluster)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
