"""The settings of the benchmarks, from the environment."""

from collections.abc import Mapping
from dataclasses import dataclass

from jobs.settings import EnvReader

CASES = ("parser", "idle", "collector", "aggregator", "latency", "console", "buckets")
DEFAULT_CASES = tuple(case for case in CASES if case not in {"idle", "buckets"})  # these are measured on their own
NAMES = f"(?:{'|'.join(CASES)})"


@dataclass(frozen=True)
class Settings:
    """The settings.

    cases: which are measured.
    collector_posts, aggregator_posts: posts of a round. With the defaults a round takes 10 to 20 s.
    rounds: counted rounds; a warm-up comes before them.
    """

    cases: tuple[str, ...]
    collector_posts: int
    aggregator_posts: int
    rounds: int


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises SettingError."""
    read = EnvReader(environment)
    allowed = f"some of {', '.join(CASES)} with commas between"
    return Settings(
        cases=tuple(read.text("CASES", ",".join(DEFAULT_CASES), f"{NAMES}(?:,{NAMES})*", allowed).split(",")),
        collector_posts=read.integer("BENCH_COLLECTOR_POSTS", 1_000_000, 10_000, 10_000_000),
        aggregator_posts=read.integer("BENCH_AGGREGATOR_POSTS", 3_000_000, 10_000, 20_000_000),
        rounds=read.integer("BENCH_ROUNDS", 5, 1, 20),
    )
