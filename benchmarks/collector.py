"""The case `collector`: WebSocket -> clean -> topic. Both sides read the same posts from the simulator."""

from benchmarks import topics
from benchmarks.bench import Bench, Side, failed, loop_command
from benchmarks.machine import Cpu
from benchmarks.numbers import Measurement, steady


def run(bench: Bench, posts: int) -> None:
    bench.compare(f"collector, {posts:,} posts", "job", {"loop": loop(bench, posts), "job": job(bench, posts)})


def loop(bench: Bench, posts: int) -> Side:
    settings = bench.stack.settings

    def side(name: str) -> Measurement:
        with topics.topic(settings.kafka, f"collector-{name}") as topic:
            command = loop_command("collector", url(bench), settings.kafka, topic, str(posts))
            with bench.process(command, "loop") as running, Cpu((running.pid,)) as cpu:
                times = topics.append_times(settings.kafka, topic, posts, lambda: failed(running))
        return measurement(times, posts, cpu)

    return side


def job(bench: Bench, posts: int) -> Side:
    def side(name: str) -> Measurement:
        with topics.topic(bench.stack.settings.kafka, f"collector-{name}") as topic:
            environment = {"WEBSOCKET_URL": url(bench), "KAFKA_TOPIC": topic}
            with bench.cpu_of_jobs() as cpu, bench.job("collector_stream", environment) as identity:
                times = topics.append_times(bench.stack.settings.kafka, topic, posts)
                note = bench.checkpoints(identity)
        return measurement(times, posts, cpu, note)

    return side


def url(bench: Bench) -> str:
    """The simulator's posts from its first one on, as fast as the client reads."""
    return f"{bench.stack.settings.simulator_url}/?since=0&format=json"


def measurement(times: list[float], posts: int, cpu: Cpu, note: str = "") -> Measurement:
    """The counted part. times: when each post was appended to the topic."""
    part = steady(times)
    return Measurement(len(times) * part.share, part.end - part.begin, cpu.seconds(part), posts - len(times), note)
