"""What the local stack hands to its jobs."""

import stat
from pathlib import Path

from jobs.settings import read_aggregator_settings
from local.settings import Settings
from local.stack import Stack, write_secret

URI = "mongodb://me:s3cret@host"


def test_the_jobs_get_the_stores_address_by_file(tmp_path: Path) -> None:
    stack = Stack(Settings(state=tmp_path, mongodb_uri=URI))
    file = stack.settings.store_uri_file
    file.parent.mkdir()
    write_secret(file, URI)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    environment = stack.job_environment()
    assert "s3cret" not in str(environment)
    assert read_aggregator_settings(environment).mongodb_uri.read() == URI
