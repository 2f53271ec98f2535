"""The conditions of schema.json, compiled to functions. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobs.feeds.json_values import decode
from jobs.feeds.model import Rejection
from jobs.feeds.paths import getter

Test = Callable[[Any], bool]


def test_of(condition: Mapping[str, Any]) -> Test:
    """A function that tells whether a decoded frame, or an element of it, meets the condition on a path."""
    get = getter(condition["path"])
    if "equals" in condition:
        return _one_of(get, (condition["equals"],))
    if "in" in condition:
        return _one_of(get, condition["in"])
    if "contains" in condition:
        wanted = condition["contains"]
        return lambda value: isinstance(found := get(value), str) and wanted in found
    return lambda value: get(value) is not None


def _one_of(get: Callable[[Any], Any], allowed: Sequence[Any]) -> Test:
    # In Python True equals 1; in JSON it does not.
    typed = {(type(each), each) for each in allowed}
    if len(typed) == 1:
        ((kind, wanted),) = typed

        def equals(value: Any) -> bool:
            found = get(value)
            return found == wanted and type(found) is kind

        return equals

    def one_of(value: Any) -> bool:
        found = get(value)
        return isinstance(found, (str, int, float)) and (type(found), found) in typed

    return one_of


def raw_test_of(condition: Mapping[str, Any]) -> Callable[[bytes], bool]:
    """A function that tells whether a raw frame meets the condition, which may be on the frame's text."""
    if "frame" in condition:
        text = condition["frame"].encode()
        return lambda data: data == text
    test = test_of(condition)

    def decoded(data: bytes) -> bool:
        value = decode(data)
        return not isinstance(value, Rejection) and test(value)

    return decoded
