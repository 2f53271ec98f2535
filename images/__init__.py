"""The container images, one folder for each; `build.py` builds them with Docker, Podman or buildah."""
