"""Tells which rule of a definition decided about a frame, for people. No I/O.

It repeats the tests that the parser made, so it is not for the hot path.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from jobs.feeds.conditions import Test, raw_test_of, test_of
from jobs.feeds.definition import Definition
from jobs.feeds.json_values import decode, render
from jobs.feeds.parser import decoder_at
from jobs.feeds.paths import getter

Condition = Mapping[str, Any]
NamedTest = tuple[str, Test]


class Rules:
    """The rules of a definition with their names, such as `frames.keep[0] {"path":"kind","equals":"commit"}`."""

    def __init__(self, feed: Definition) -> None:
        frames = feed.frames
        special = list(special_conditions(feed))
        self._raw = [(name, raw_test_of(rule)) for name, rule in special if "frame" in rule]
        self._special = named_tests([(name, rule) for name, rule in special if "path" in rule])
        self._keep = named_tests(numbered("frames.keep", frames))
        self._element_keep = named_tests(numbered("post.keep", feed.post))
        self._expand = decoder_at(frames["decode"]) if "decode" in frames else None
        self._each: str | None = frames.get("each")
        self._elements: Callable[[Any], Any] = getter(self._each) if self._each else lambda frame: [frame]

    def of_frame(self, data: bytes) -> str:
        """The rule that made the frame a control frame, an error, or one that is ignored; "" if there is none."""
        for name, raw in self._raw:
            if raw(data):
                return name
        frame = self._decoded(data)
        found = next((name for name, test in self._special if test(frame)), None)
        if found is None:
            found = unmet(self._keep, frame)
        if found is None and self._each and self._elements(frame) == []:
            found = f"frames.each: {self._each} is empty"
        return found or ""

    def of_elements(self, data: bytes) -> list[str | None]:
        """For each element of `frames.each` the rule of `post.keep` that it does not meet; None if it meets all."""
        return [unmet(self._element_keep, element) for element in self.elements(data)]

    def elements(self, data: bytes) -> list[Any]:
        """The elements of `frames.each`, or the frame as the only one."""
        elements = self._elements(self._decoded(data))
        return elements if isinstance(elements, list) else []

    def _decoded(self, data: bytes) -> Any:
        frame = decode(data)
        if self._expand is not None:
            self._expand(frame)
        return frame


def special_conditions(feed: Definition) -> Iterator[tuple[str, Condition]]:
    """(name, condition) of what is no event, in the order in which the parser tests it."""
    yield from numbered("frames.error", feed.frames)
    if "replayed" in feed.frames:
        yield shown("frames.replayed", feed.frames["replayed"]), feed.frames["replayed"]
    yield from numbered("frames.control", feed.frames)
    for section, key in (("keepalive", "reply"), ("open", "expect")):
        if key in getattr(feed, section):
            condition = getattr(feed, section)[key]
            yield shown(f"{section}.{key}", condition), condition


def numbered(where: str, section: Mapping[str, Any]) -> Iterator[tuple[str, Condition]]:
    for number, condition in enumerate(section.get(where.partition(".")[2], ())):
        yield shown(f"{where}[{number}]", condition), condition


def shown(where: str, condition: Condition) -> str:
    return f"{where} {render(condition)}"


def named_tests(conditions: Sequence[tuple[str, Condition]] | Iterator[tuple[str, Condition]]) -> list[NamedTest]:
    return [(name, test_of(condition)) for name, condition in conditions if "path" in condition]


def unmet(tests: Sequence[NamedTest], value: Any) -> str | None:
    return next((name for name, test in tests if not test(value)), None)
