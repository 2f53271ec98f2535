"""`make rejected`: lists, replays or discards rejections, on the running demo, else on the cluster's release.

Exit status: 0 when it could be done, 2 when it could not.
"""

import os
import sys
from collections.abc import Mapping

from deploy.audit import deployment_of, fail, job_pod, run_in
from deploy.cluster import Cluster, ClusterError, build_and_load_images, connect
from deploy.installed import NAMESPACE, RELEASE
from deploy.release import Release
from images.build import REPOSITORY, BuildError, image
from jobs.command import interruptible
from jobs.settings import SettingError
from local.flink import Flink
from local.rejected import on_demo
from local.settings import read_settings

POD = "rejected"
# The collector's volumes with the feed's definition, and with its login to Kafka.
VOLUMES = ("kafka", "feed")
PASSED_ON = ("SHOW", "REPLAY", "DISCARD")  # settings of the user that the pod gets


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
    """Run the command in a pod beside the release; returns its exit status. Raises ClusterError or BuildError."""
    Release(cluster).require_installed(RELEASE, NAMESPACE)
    deployment = deployment_of(cluster, "collector")
    flink = image(REPOSITORY / "images" / "flink")
    reference = build_and_load_images(cluster, [flink])[flink.name]
    passed_on = {name: environment[name] for name in PASSED_ON if environment.get(name)}
    return run_in(cluster, job_pod(POD, deployment, reference, passed_on, VOLUMES), "jobs.rejected")


if __name__ == "__main__":
    sys.exit(main())
