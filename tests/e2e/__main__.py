"""Starts the cluster and builds the tools and images of the tests, with visible progress: `python -m tests.e2e`."""

import shutil
import subprocess
import sys

from deploy import stubs
from deploy.cluster import NODE_SCRIPTS, UP_SECONDS, ClusterError, build_and_load_images, connect, env_with_tools
from images.build import BuildError, project_images

TOOLS = ("kubectl", "helm", "helm4", "helm-unittest", "helm-docs", "actionlint", "promtool")


def main() -> int:
    try:
        cluster = connect()
        path = env_with_tools()["PATH"]
        if missing := [tool for tool in TOOLS if shutil.which(tool, path=path) is None]:
            subprocess.run([NODE_SCRIPTS / "build.sh", *missing], check=True, timeout=UP_SECONDS)
        build_and_load_images(cluster, [*project_images(), *stubs.images()])
    except (BuildError, ClusterError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(
            f"error: the tools {', '.join(missing)} are neither on PATH nor could they be built: {error}\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
