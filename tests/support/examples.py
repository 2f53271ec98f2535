"""How many random examples a property test tries."""

import os


def examples(most: int) -> int:
    """`most` in `make test`. A tenth of them in the inner loop: `make test-unit` sets QUICK."""
    return max(10, most // 10) if os.environ.get("QUICK") else most
