"""The settings of the benchmarks, from the environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobs.settings import EnvReader

CASES = ("parser", "idle", "collector", "aggregator", "latency", "console", "buckets")
DEFAULT_CASES = tuple(case for case in CASES if case not in {"idle", "buckets"})  # these are measured on their own


@dataclass(frozen=True)
class Settings:
    """The settings.

    cases: which are measured.
    collector_posts, aggregator_posts: posts of a round.
    rounds: counted rounds; a warm-up comes before them.
    """

    cases: tuple[str, ...]
    collector_posts: int
    aggregator_posts: int
    rounds: int


# With these posts a round takes 10 to 20 s.
DEFAULTS = Settings(cases=DEFAULT_CASES, collector_posts=1_000_000, aggregator_posts=3_000_000, rounds=5)


def read_settings(
    environment: Mapping[str, str], cases: Sequence[str] = CASES, defaults: Settings = DEFAULTS
) -> Settings:
    """Raises SettingError. cases: those that there are."""
    read = EnvReader(environment)
    name, allowed = f"(?:{'|'.join(cases)})", f"some of {', '.join(cases)} with commas between"
    return Settings(
        cases=tuple(read.text("CASES", ",".join(defaults.cases), f"{name}(?:,{name})*", allowed).split(",")),
        collector_posts=read.integer("BENCH_COLLECTOR_POSTS", defaults.collector_posts, 10_000, 10_000_000),
        aggregator_posts=read.integer("BENCH_AGGREGATOR_POSTS", defaults.aggregator_posts, 10_000, 20_000_000),
        rounds=read.integer("BENCH_ROUNDS", defaults.rounds, 1, 20),
    )
