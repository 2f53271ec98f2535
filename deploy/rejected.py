"""`make rejected`: lists, replays or discards rejections, on the running demo, else on the cluster's release.

Exit status: 0 when it could be done, 2 when it could not.
"""

import sys
from collections.abc import Mapping

from deploy.audit import deployment_of, job_pod, run_in, run_where_it_is
from deploy.cluster import Cluster, build_and_load_images
from deploy.installed import NAMESPACE, RELEASE
from deploy.release import Release
from images.build import REPOSITORY, image
from local.rejected import on_demo

POD = "rejected"
# The collector's volumes with the feed's definition, and with its login to Kafka.
VOLUMES = ("kafka", "feed")
PASSED_ON = ("SHOW", "REPLAY", "DISCARD")  # settings of the user that the pod gets


def main() -> int:
    return run_where_it_is(on_demo, on_cluster)


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
