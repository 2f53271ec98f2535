"""`make bench`: measures the cases, and prints each round and a summary.

Settings: benchmarks/settings.py. Exit status: see `status_of`.
"""

import os
import sys

from benchmarks import aggregator, buckets, collector, idle, latency, live_page, parser
from benchmarks.run import say, say_header, session, status_of
from benchmarks.settings import Settings, read_settings

PARSER_ROUNDS = 9


def main() -> None:
    settings = read_settings(os.environ)
    say_header()
    if "parser" in settings.cases:
        parser.run(say, PARSER_ROUNDS)
    if "idle" in settings.cases:
        idle.run(say)
    if not set(settings.cases) <= {"parser", "idle"}:
        measure(settings)


def measure(settings: Settings) -> None:
    """Measure the cases that need the stack."""
    with session(settings.rounds, {"SIMULATOR_STOP_AFTER": str(settings.collector_posts)}) as bench:
        if "collector" in settings.cases:
            collector.run(bench, settings.collector_posts)
        if "aggregator" in settings.cases:
            aggregator.run(bench, settings.aggregator_posts)
        if "latency" in settings.cases:
            latency.run(bench)
        if "buckets" in settings.cases:
            buckets.run(bench, settings.aggregator_posts)
        if "console" in settings.cases:
            live_page.run(bench)


if __name__ == "__main__":
    sys.exit(status_of(main))
