"""The release that `make audit`, `make rejected` and `make sql_client` read: RELEASE in NAMESPACE.

The other make targets install and delete the release `data-collection` only.
"""

import os
import re
import sys

from deploy import release

NAME = "[a-z0-9]([a-z0-9-]{0,51}[a-z0-9])?"


def read(name: str, default: str) -> str:
    value = os.environ.get(name) or default
    if not re.fullmatch(NAME, value):
        sys.exit(f"error: {name}={value!r}: 1 to 53 of the characters a-z, 0-9 and '-' are allowed, with '-' at no end")
    return value


RELEASE = read("RELEASE", release.RELEASE)
NAMESPACE = read("NAMESPACE", release.NAMESPACE)
# The beginning of the names of the release's objects, as the chart makes it.
FULLNAME = RELEASE if "data-collection" in RELEASE else f"{RELEASE}-data-collection"
