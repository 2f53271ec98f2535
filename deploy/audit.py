"""`make audit`: checks that every post is accounted for, on the running demo, else on the cluster's release.

Exit status: 0 when everything balances, 1 when it does not, 2 when the audit cannot run.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from ruamel.yaml import YAML

from deploy import pods
from deploy.chart import copy_without_dependencies
from deploy.cluster import Cluster, ClusterError, Object, build_and_load_images, connect
from deploy.installed import FULLNAME, NAMESPACE, RELEASE
from deploy.release import Release, labels
from images.build import REPOSITORY, BuildError, image
from jobs.command import interruptible
from jobs.settings import SettingError
from local.audit import on_demo
from local.flink import Flink
from local.settings import Settings, read_settings

POD = "audit"
MEMORY = "1Gi"
CODE = "/opt/flink/usrlib"
FEED_FILE = "/etc/feed-client/feed.yaml"
MAIN_CONTAINER = "flink-main-container"
# Only these volumes of the job are mounted: the volume with its state may be one that only a single node can mount.
VOLUMES = ("kafka", "mongodb")
WORK = REPOSITORY / ".state" / "audit"
PASSED_ON = ("AUDIT_WAIT_SECONDS",)  # settings of the user that the pod gets


def main() -> int:
    return run_where_it_is(on_demo, on_cluster)


def run_where_it_is(on_demo: Callable[[Settings], int], on_cluster: Callable[[Cluster, Mapping[str, str]], int]) -> int:
    """Run a command on the running demo, else on the cluster. Returns its exit status; 2 if there is neither."""
    interruptible()
    try:
        settings = read_settings()
        if Flink(settings).get("/overview"):
            return on_demo(settings)
    except SettingError as error:
        return fail(str(error))
    try:
        return on_cluster(connect(start=False), os.environ)
    except (ClusterError, BuildError) as error:
        return fail(f"no demo runs here ({settings.flink_url} does not answer: make demo), and {error}")
    except KeyboardInterrupt:
        return 130


def on_cluster(cluster: Cluster, environment: Mapping[str, str]) -> int:
    """Run the audit in a pod beside the release; returns its exit status. Raises ClusterError or BuildError."""
    Release(cluster).require_installed(RELEASE, NAMESPACE)
    deployment = deployment_of(cluster, "aggregator")
    flink = image(REPOSITORY / "images" / "flink")
    passed_on = {name: environment[name] for name in PASSED_ON if environment.get(name)}
    values = release_values(cluster)
    passed_on["MONGODB_RETENTION_DAYS"] = str(retention_days(values))
    reference = build_and_load_images(cluster, [flink])[flink.name]
    pod = job_pod(POD, deployment, reference, passed_on, VOLUMES)
    add_feed(pod, values["collector"])
    return run_in(cluster, pod, "jobs.audit")


def run_in(cluster: Cluster, pod: Object, module: str) -> int:
    """Run a command of the jobs in this pod; returns its exit status. Raises ClusterError."""
    name = pod["metadata"]["name"]
    remove(cluster, name)
    cluster.apply([pod], NAMESPACE)
    try:
        cluster.await_condition(f"pod/{name}", "Ready", NAMESPACE, 120)
        command = ["kubectl", "--context", cluster.target.context, "exec", name, "-n", NAMESPACE, "--"]
        command += ["python", "-m", module]
        return subprocess.run(command, env=dict(cluster.environment), stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        remove(cluster, name)  # also ends a command that Ctrl-C has left running in the pod


def remove(cluster: Cluster, name: str) -> None:
    if cluster.get("pod", name, NAMESPACE) is not None:
        cluster.remove_now(name, NAMESPACE)


def deployment_of(cluster: Cluster, job: str) -> Object:
    """The job's FlinkDeployment from the cluster, else as the chart renders it. Raises ClusterError."""
    if "flinkdeployments" in cluster.run("api-resources", "--api-group=flink.apache.org", "-o", "name"):
        found = cluster.get("flinkdeployment", f"{FULLNAME}-{job}", NAMESPACE)
        if found is not None:
            return found
    return rendered(cluster, job)


def release_values(cluster: Cluster) -> Object:
    """The release's values with its chart's defaults, so an earlier chart's lack some. Raises ClusterError."""
    where = ("--kube-context", cluster.target.context, "--namespace", NAMESPACE)
    return dict(json.loads(cluster.program("helm", "get", "values", RELEASE, "--all", "--output", "json", *where)))


def retention_days(values: Object) -> int:
    """After how many days the release deletes documents; 0 means never."""
    return int(values["mongodb"].get("retentionDays", 0))


def add_feed(pod: Object, collector: Object) -> None:
    """Tell the audit which feed the collector reads. collector: of the release's values."""
    feed = collector.get("feed") or collector["settings"].get("FEED", "simulator")
    container = pod["spec"]["containers"][0]
    if not isinstance(feed, str):
        config_map = {"name": "feed", "configMap": {"name": f"{FULLNAME}-collector"}}
        pod["spec"]["volumes"].append(config_map)
        container["volumeMounts"].append({"name": "feed", "mountPath": str(Path(FEED_FILE).parent), "readOnly": True})
        feed = FEED_FILE
    container["env"].append({"name": "FEED", "value": feed})


def rendered(cluster: Cluster, job: str) -> Object:
    """The job's FlinkDeployment, rendered with the release's values; the chart's dependencies are not needed."""
    shutil.rmtree(WORK, ignore_errors=True)
    chart, values = copy_without_dependencies(WORK), WORK / "values.yaml"
    version = json.loads(cluster.run("version", "-o", "json"))["serverVersion"]["gitVersion"]
    where = ("--kube-context", cluster.target.context, "--namespace", NAMESPACE)
    values.write_text(cluster.program("helm", "get", "values", RELEASE, "--output", "yaml", *where))
    template = f"templates/{job}/flinkdeployment.yaml"
    options = ("--values", str(values), "--set", f"{job}.enabled=true", "--show-only", template)
    manifests = cluster.program("helm", "template", RELEASE, str(chart), "--kube-version", version, *options, *where)
    return next(each for each in YAML(typ="safe").load_all(manifests) if each)


def job_pod(
    name: str, deployment: Object, reference: str, environment: Mapping[str, str], volumes: Collection[str]
) -> Object:
    """A sleeping pod with a job's settings and the files that these name.

    deployment: the job's FlinkDeployment
    reference: the image
    environment: settings that replace the job's
    volumes: names of the job's volumes that the pod gets
    """
    spec = deployment["spec"]
    template = spec["podTemplate"]["spec"]
    pod = pods.idle_pod(name, reference, memory=MEMORY)
    # By these labels the chart's NetworkPolicies allow connections to Kafka and to the database, in any such pod.
    pod["metadata"]["labels"] = labels(POD, RELEASE)
    shared = ("securityContext", "imagePullSecrets", "nodeSelector", "tolerations")
    pod["spec"] |= {name: template[name] for name in shared if name in template}
    pod["spec"]["volumes"] += [each for each in template.get("volumes", []) if each["name"] in volumes]
    container = pod["spec"]["containers"][0]
    container["workingDir"] = CODE
    container["volumeMounts"] += [
        each for each in main_container(template).get("volumeMounts", []) if each["name"] in volumes
    ]
    settings = main_container(spec["jobManager"]["podTemplate"]["spec"]).get("env", [])
    given = [{"name": name, "value": value} for name, value in environment.items()]
    container["env"] = [*(each for each in settings if each["name"] not in environment), *given]
    return pod


def main_container(template: Object) -> Object:
    containers: list[Object] = template.get("containers", [])
    return next((each for each in containers if each["name"] == MAIN_CONTAINER), {})


def fail(reason: str) -> int:
    sys.stderr.write(f"error: {reason}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
