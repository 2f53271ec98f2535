"""How the unit tests are spread over processes."""

import os


def pytest_xdist_auto_num_workers() -> int:
    """Two processes for each processor: most of the time the tests wait, for sockets and for other processes to end."""
    return 2 * (os.cpu_count() or 1)
