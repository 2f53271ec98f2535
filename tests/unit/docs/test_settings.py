"""docs/reference/settings.md is what the code reads: the same names, defaults and ranges."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from console.settings import read_settings as read_console_settings
from jobs.settings import read_aggregator_settings, read_collector_settings
from local.settings import REPOSITORY
from local.settings import read_settings as read_demo_settings
from simulator import worldometers_stub
from simulator.twitter_stream_simulator import Settings as SimulatorSettings
from simulator.watchdog.settings import read_settings as read_watchdog_settings
from tests.unit.docs import pages

PAGE = (pages.REFERENCE / "settings.md").read_text()
Reader = Callable[[Mapping[str, str]], Any]
# With these the readers also ask for what the defaults do not need.
SASL = {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_USERNAME": "user", "KAFKA_PASSWORD_FILE": "/password"}
BOTH = "Both jobs"


class Recording(dict[str, str]):
    """An environment that remembers which variables it was asked for."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


@dataclass(frozen=True)
class Program:
    """A program's settings: the sections of the page that hold them, and the function that reads them."""

    sections: Sequence[str]
    read: Reader


PROGRAMS = {
    "collector": Program((BOTH, "Collector"), read_collector_settings),
    "aggregator": Program((BOTH, "Aggregator"), read_aggregator_settings),
    "demo": Program(("Demo",), read_demo_settings),
    "console": Program((BOTH, "Aggregator", "Console"), read_console_settings),
    "simulator": Program(("Simulator",), SimulatorSettings.from_environment),
    "stub": Program(("Stub of the Worldometers page",), worldometers_stub.read_settings),
    "watchdog": Program(("Watchdog",), read_watchdog_settings),
}


@dataclass(frozen=True)
class Setting:
    program: str
    name: str
    default: str
    allowed: str


def documented(name: str) -> list[Setting]:
    """The settings of a program, as the page has them."""
    table = [row for title in PROGRAMS[name].sections for row in pages.rows(pages.section(PAGE, title))]
    return [Setting(name, pages.codes(row[0])[0], *row[1:3]) for row in table if len(row) == 4]


def every(wanted: Callable[[Setting], bool]) -> list[Any]:
    """The settings of all programs that are wanted, as pytest's parameters."""
    found = [setting for program in PROGRAMS for setting in documented(program) if wanted(setting)]
    return [pytest.param(setting, id=f"{setting.program}-{setting.name}") for setting in found]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_page_names_what_the_program_reads_and_nothing_else(name: str) -> None:
    asked: set[str] = set()
    for variables in ({}, SASL):
        environment = Recording(variables)
        PROGRAMS[name].read(environment)
        asked |= environment.names
    listed = [setting.name for setting in documented(name)]
    assert sorted(listed) == sorted(asked)


@pytest.mark.parametrize("setting", every(lambda setting: setting.default != "not set"))
def test_a_default_is_the_codes(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)  # the state folder is relative to it
    read = PROGRAMS[setting.program].read
    assert read({setting.name: pages.codes(setting.default)[0]}) == read({})


def test_what_a_setting_has_as_default_is_not_what_any_value_gives() -> None:
    """The comparison above finds a wrong default."""
    assert read_collector_settings({"BUFFER_FRAMES": "20001"}) != read_collector_settings({})
    assert read_aggregator_settings({"WORLDOMETERS_URL": "https://example.com/"}) != read_aggregator_settings({})


def test_the_default_that_depends_on_the_feed() -> None:
    assert "of the feed `text`: 0" in next(
        each.default for each in documented("collector") if each.name == "MAX_SILENCE_SECONDS"
    )
    read = read_collector_settings
    assert read({"FEED": "text"}) == read({"FEED": "text", "MAX_SILENCE_SECONDS": "0"})


RANGE = re.compile(r"([\d.]+) to (\d+)")


@pytest.mark.parametrize("setting", every(lambda setting: RANGE.fullmatch(setting.allowed) is not None))
def test_a_range_is_the_codes(setting: Setting) -> None:
    found = RANGE.fullmatch(setting.allowed)
    assert found is not None
    read = PROGRAMS[setting.program].read
    low, high = found[1], found[2]
    for value in (low, high):
        read({setting.name: value})
    below = "0.001" if "." in low else str(int(low) - 1)
    for value in (below, str(int(high) + 1)):
        with pytest.raises(ValueError, match=setting.name):
            read({setting.name: value})


def is_choice(setting: Setting) -> bool:
    return re.fullmatch(r"`[\w-]+`(, `[\w-]+`)* or `[\w-]+`", setting.allowed) is not None


@pytest.mark.parametrize("setting", every(is_choice))
def test_each_choice_is_taken(setting: Setting) -> None:
    read = PROGRAMS[setting.program].read
    for value in pages.codes(setting.allowed):
        read({**(SASL if value.startswith("SASL") else {}), setting.name: value})
    with pytest.raises(ValueError, match=setting.name):
        read({setting.name: "none-of-them"})
