"""`make audit`: checks that every post is accounted for, on the running demo, else on the cluster's release.

Exit status: 0 when everything balances, 1 when it does not, 2 when the audit cannot run.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from ruamel.yaml import YAML

from deploy import pods
from deploy.chart import copy_without_dependencies
from deploy.cluster import Cluster, ClusterError, Object, build_and_load_images, connect
from deploy.release import NAMESPACE, RELEASE, Release, labels
from images.build import REPOSITORY, BuildError, image
from jobs.command import interruptible
from jobs.settings import SettingError
from local.audit import on_demo
from local.flink import Flink
from local.settings import read_settings

POD = "audit"
MEMORY = "1Gi"
CODE = "/opt/flink/usrlib"
AGGREGATOR = f"{RELEASE}-aggregator"
TEMPLATE = "templates/aggregator/flinkdeployment.yaml"
MAIN_CONTAINER = "flink-main-container"
# Only these volumes of the job are mounted: the volume with its state may be one that only a single node can mount.
VOLUMES = ("kafka", "mongodb")
WORK = REPOSITORY / ".state" / "audit"
PASSED_ON = ("AUDIT_WAIT_SECONDS",)  # settings of the user that the pod gets


def main() -> int:
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
    Release(cluster).require_installed()
    deployment = aggregator(cluster)
    flink = image(REPOSITORY / "images" / "flink")
    passed_on = {name: environment[name] for name in PASSED_ON if environment.get(name)}
    passed_on["MONGODB_RETENTION_DAYS"] = str(retention_days(cluster))
    pod = audit_pod(deployment, build_and_load_images(cluster, [flink])[flink.name], passed_on)
    remove(cluster)
    cluster.apply([pod], NAMESPACE)
    try:
        cluster.await_condition(f"pod/{POD}", "Ready", NAMESPACE, 120)
        command = ["kubectl", "--context", cluster.target.context, "exec", POD, "-n", NAMESPACE, "--"]
        command += ["python", "-m", "jobs.audit"]
        return subprocess.run(command, env=dict(cluster.environment), stdin=subprocess.DEVNULL, check=False).returncode
    finally:
        remove(cluster)  # also ends an audit that Ctrl-C has left running in the pod


def remove(cluster: Cluster) -> None:
    if cluster.get("pod", POD, NAMESPACE) is not None:
        cluster.remove_now(POD, NAMESPACE)


def aggregator(cluster: Cluster) -> Object:
    """The aggregator's FlinkDeployment from the cluster, else as the chart renders it. Raises ClusterError."""
    if "flinkdeployments" in cluster.run("api-resources", "--api-group=flink.apache.org", "-o", "name"):
        found = cluster.get("flinkdeployment", AGGREGATOR, NAMESPACE)
        if found is not None:
            return found
    return rendered(cluster)


def retention_days(cluster: Cluster) -> int:
    """After how many days the release deletes documents; 0 means never. Raises ClusterError."""
    where = ("--kube-context", cluster.target.context, "--namespace", NAMESPACE)
    values = cluster.program("helm", "get", "values", RELEASE, "--all", "--output", "json", *where)
    # A release of an earlier chart does not have the value.
    return int(json.loads(values)["mongodb"].get("retentionDays", 0))


def rendered(cluster: Cluster) -> Object:
    """The aggregator's FlinkDeployment, rendered with the release's values; the chart's dependencies are not needed."""
    shutil.rmtree(WORK, ignore_errors=True)
    chart, values = copy_without_dependencies(WORK), WORK / "values.yaml"
    version = json.loads(cluster.run("version", "-o", "json"))["serverVersion"]["gitVersion"]
    where = ("--kube-context", cluster.target.context, "--namespace", NAMESPACE)
    values.write_text(cluster.program("helm", "get", "values", RELEASE, "--output", "yaml", *where))
    options = ("--values", str(values), "--set", "aggregator.enabled=true", "--show-only", TEMPLATE)
    manifests = cluster.program("helm", "template", RELEASE, str(chart), "--kube-version", version, *options, *where)
    return next(each for each in YAML(typ="safe").load_all(manifests) if each)


def audit_pod(deployment: Object, reference: str, environment: Mapping[str, str]) -> Object:
    """A sleeping pod with the aggregator's settings and the files that these name.

    deployment: the aggregator's FlinkDeployment
    reference: the image
    environment: settings that replace the aggregator's
    """
    spec = deployment["spec"]
    template = spec["podTemplate"]["spec"]
    pod = pods.idle_pod(POD, reference, memory=MEMORY)
    # By these labels the chart's NetworkPolicies allow connections to Kafka and to the database.
    pod["metadata"]["labels"] = labels(POD)
    shared = ("securityContext", "imagePullSecrets", "nodeSelector", "tolerations")
    pod["spec"] |= {name: template[name] for name in shared if name in template}
    pod["spec"]["volumes"] += [each for each in template.get("volumes", []) if each["name"] in VOLUMES]
    container = pod["spec"]["containers"][0]
    container["workingDir"] = CODE
    container["volumeMounts"] += [
        each for each in main_container(template).get("volumeMounts", []) if each["name"] in VOLUMES
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
