"""The settings of the soak, from the environment."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jobs.settings import EnvReader

MAX_SEED = 999_999_999


@dataclass(frozen=True)
class SoakSettings:
    """Settings besides those of the demo."""

    minutes: int  # for how long there are faults
    seed: int  # of the faults
    rate: float  # of the simulator, posts per second


def any_seed() -> int:
    return secrets.randbelow(MAX_SEED) + 1


def read_soak_settings(
    environment: Mapping[str, str] = os.environ, new_seed: Callable[[], int] = any_seed
) -> SoakSettings:
    """Without SEED, `new_seed` gives one. Raises SettingError."""
    read = EnvReader(environment)
    return SoakSettings(
        minutes=read.integer("MINUTES", 30, 1, 10_080),
        seed=read.integer("SEED", 0, 0, MAX_SEED) or new_seed(),
        rate=read.number("RATE", 1_000.0, 1, 20_000),
    )
