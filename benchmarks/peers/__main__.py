"""`make bench_peers`: our jobs, the bare loops, Flink without Python and other stream processors, on the same work.

Settings: benchmarks/settings.py, with `DEFAULTS`. Exit status: see `status_of`.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions

from benchmarks import aggregator, collector, topics
from benchmarks.bench import Bench, Side, failed
from benchmarks.machine import Cpu
from benchmarks.numbers import Measurement
from benchmarks.peers.upper_bound import without_python
from benchmarks.run import say_header, session, status_of
from benchmarks.settings import Settings, read_settings
from local.settings import REPOSITORY

VENV = REPOSITORY / ".venv-peers"
CASES = ("collector", "aggregator")


@dataclass(frozen=True)
class Peer:
    """Another stream processor.

    module: in this package.
    package: on PyPI.
    guarantees: the strongest that it has, by part.
    """

    module: str
    package: str
    guarantees: Mapping[str, str]


PEERS = {
    "Quix": Peer(
        "quix_streams",
        "quixstreams",
        {
            "collector": "at least once; hand-written source",
            "aggregator": "exactly once within Kafka, upserts into the store",
        },
    ),
    "Bytewax": Peer(
        "bytewax_flow",
        "bytewax",
        {
            "collector": "at least once; hand-written source",
            "aggregator": "at least once, upserts into the store; hand-written sink",
        },
    ),
    "Pathway": Peer(
        "pathway_flow",
        "pathway",
        {
            "collector": "at least once behind its hand-written source, which does not resume",
            "aggregator": "at least once, upserts into the store; hand-written output",
        },
    ),
}
# The guarantees of the other sides.
OURS = {
    "collector": {"job": "exactly once", "loop": "none"},
    "aggregator": {
        "job": "exactly once: one document per window",
        "loop": "none",
        "SQL only": "at least once; nothing is stored",
    },
}


# Some peers need many times as long for a post.
DEFAULTS = Settings(cases=CASES, collector_posts=400_000, aggregator_posts=2_000_000, rounds=3)


def main() -> None:
    settings = read_settings(os.environ, CASES, DEFAULTS)
    say_header()
    with session(settings.rounds, {"SIMULATOR_STOP_AFTER": str(settings.collector_posts)}) as bench:
        if "collector" in settings.cases:
            compare_collectors(bench, settings.collector_posts)
        if "aggregator" in settings.cases:
            compare_aggregators(bench, settings.aggregator_posts)


def compare_collectors(bench: Bench, posts: int) -> None:
    """The same WebSocket into the same kind of topic."""
    sides = {"job": collector.job(bench, posts), "loop": collector.loop(bench, posts)}
    sides |= {name: collect(bench, peer, posts) for name, peer in PEERS.items()}
    bench.compare(f"collector, {posts:,} posts", "job", sides, may_fail=PEERS, notes=guarantees("collector"))


def compare_aggregators(bench: Bench, posts: int) -> None:
    """The same topic into windows, with the counters, into the same store."""
    with aggregator.filled_topic(bench, posts) as published:
        sides = {
            "job": aggregator.job(bench, posts),
            "loop": aggregator.loop(bench, posts, published),
            "SQL only": without_python(bench, posts),
        }
        sides |= {name: aggregate(bench, peer, posts) for name, peer in PEERS.items()}
        title = f"aggregator, {posts:,} posts in {topics.WINDOWS} windows"
        bench.compare(title, "job", sides, may_fail=PEERS, notes=guarantees("aggregator"))


def guarantees(part: str) -> dict[str, str]:
    """The guarantee of each side, with the versions of the peers."""
    folders = [str(folder) for folder in VENV.glob("lib/python*/site-packages")]
    versions = {each.name.lower(): each.version for each in distributions(path=folders)}
    peers = {name: f"{versions[peer.package]}: {peer.guarantees[part]}" for name, peer in PEERS.items()}
    return {**OURS[part], **peers}


def collect(bench: Bench, peer: Peer, posts: int) -> Side:
    kafka = bench.stack.settings.kafka

    def side(name: str) -> Measurement:
        with topics.topic(kafka, f"collector-{name}") as topic:
            arguments = ("collector", collector.url(bench), kafka, topic, str(posts))
            with peer_process(bench, peer, arguments) as running, Cpu((running.pid,)) as cpu:
                times = topics.append_times(kafka, topic, posts, lambda: failed(running))
        return collector.measurement(times, posts, cpu)

    return side


def aggregate(bench: Bench, peer: Peer, posts: int) -> Side:
    settings = bench.stack.settings

    def side(name: str) -> Measurement:
        addresses = (settings.store_uri, name, settings.worldometers_url)
        arguments = ("aggregator", settings.kafka, aggregator.TOPIC, str(posts), *addresses)
        with peer_process(bench, peer, arguments) as running, Cpu((running.pid,)) as cpu:
            times = aggregator.document_times(bench, name, running)
        return aggregator.measurement(bench, name, times, posts, cpu)

    return side


def peer_process(
    bench: Bench, peer: Peer, arguments: Sequence[str]
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    state = bench.stack.settings.run / "peers"
    state.mkdir(exist_ok=True)
    command = [str(VENV / "bin" / "python"), "-m", f"benchmarks.peers.{peer.module}", *arguments]
    return bench.process(command, peer.module, {"STATE_FOLDER": str(state)})


if __name__ == "__main__":
    sys.exit(status_of(main))
