"""The console imports only what its image has: each further library takes memory."""

import re
import subprocess
import sys

from local.settings import REPOSITORY

REQUIREMENTS = REPOSITORY / "images" / "console" / "requirements.txt"
CODE = """
import sys, console.__main__
print(*sorted({name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names))
"""
# Names of modules that differ from those of their packages.
PACKAGES = {"kafka": "kafka-python", "bson": "pymongo", "gridfs": "pymongo", "typing_extensions": "typing-extensions"}
OURS = {"console", "jobs"}
# pymongo and kafka-python use these where they are installed.
OPTIONAL = {"zstandard", "snappy", "lz4", "crc32c", "dns"}


def test_what_the_console_imports_is_in_its_image() -> None:
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}){CODE}"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    installed = set(re.findall(r"^([a-z0-9-]+)==", REQUIREMENTS.read_text(), re.MULTILINE))
    foreign = {PACKAGES.get(name, name) for name in found if not name.startswith("_")} - OURS - OPTIONAL
    assert foreign <= installed
    assert not foreign & {"requests", "jsonschema", "beautifulsoup4"}  # 15 MiB together
