"""The soak's settings: defaults, what is taken, and how a wrong value is told."""

import re

import pytest

from jobs.settings import SettingError
from tests.soak.settings import SoakSettings, any_seed, read_soak_settings


def test_defaults() -> None:
    assert read_soak_settings({}, lambda: 42) == SoakSettings(minutes=30, seed=42, rate=1000)


def test_what_is_set_is_taken() -> None:
    environment = {"MINUTES": "5", "SEED": "77", "RATE": "20.5"}
    assert read_soak_settings(environment, lambda: 42) == SoakSettings(minutes=5, seed=77, rate=20.5)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MINUTES", "0", "a whole number from 1 to 10080"),
        ("MINUTES", "half", "a whole number from 1 to 10080"),
        ("SEED", "-1", "a whole number from 0 to 999999999"),
        ("RATE", "nan", "a number from 1 to 20000"),
        ("RATE", "20001", "a number from 1 to 20000"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingError, match=re.escape(f"{name}={value!r}: {allowed} is allowed")):
        read_soak_settings({name: value})


def test_a_seed_of_its_own_can_be_given_again() -> None:
    assert {read_soak_settings({"SEED": str(seed)}).seed == seed for seed in (any_seed() for _ in range(20))} == {True}
