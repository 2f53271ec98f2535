"""The container images, a folder each; `build.py` builds them with whichever engine the machine has."""
