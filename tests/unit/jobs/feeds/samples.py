"""Definitions for the tests of feeds."""

import copy
import itertools
import json
from enum import Enum
from typing import Any

from jobs.feeds.definition import check
from jobs.feeds.feed import Feed
from jobs.feeds.model import Control, Failure, Ignored, Post, Rejection

RECEIVED = 1_767_225_600_123


class Absence(Enum):
    """Stands for a key that is not there."""

    ABSENT = "absent"


ABSENT = Absence.ABSENT
# Every key of the schema that fits together with the others.
FULL: dict[str, Any] = {
    "name": "full",
    "connect": {
        "urls": ["wss://a.example/ws", "wss://b.example/ws"],
        "query": {"format": "json"},
        "headers": {"Authorization": "Bearer ${file:/run/token}"},
        "subprotocols": ["v1.json"],
        "ca_file": "/run/ca.pem",
        "client_certificate": "/run/client.pem",
        "proxy": "http://proxy.example:3128",
    },
    "open": {"send": ['{"subscribe": "posts"}'], "expect": {"path": "type", "equals": "subscribed"}, "within": 5},
    "keepalive": {
        "pings": False,
        "send": '{"ping": 1}',
        "every": 10,
        "reply": {"path": "type", "equals": "pong"},
        "max_silence": 30,
        "max_age": 3600,
    },
    "frames": {
        "format": "json",
        "decode": "payload",
        "error": [{"path": "type", "equals": "error", "means": "fatal"}, {"frame": "go away"}],
        "control": [{"path": "type", "in": ["hello", "heartbeat"]}, {"frame": "PONG"}],
        "keep": [{"path": "type", "equals": "posts", "required": True}],
        "each": "payload.items",
    },
    "post": {
        "keep": [{"path": "lang", "contains": "en"}],
        "id": "{user}/{id}",
        "text": "{title}: {body}",
        "html": True,
        "time": {"path": "time", "unit": "s"},
        "extra": {"lang": "lang"},
    },
    "position": {"path": "$.seq"},
    "resume": {
        "query": {"since": "${position}"},
        "inclusive": True,
        "look_back": 3600,
        "too_old": [{"status": 400, "contains": "too old"}],
    },
}
PLAIN: dict[str, Any] = {"name": "plain", "post": {"text": "text"}}
TIMED: dict[str, Any] = {
    "name": "timed",
    "post": {"id": "{id}", "text": "text"},
    "position": {"path": "at", "unit": "ms"},
    "resume": {"query": {"since": "${position}"}, "inclusive": True, "overlap": 5},
}
TEXT: dict[str, Any] = {"name": "words", "frames": {"format": "text"}, "post": {}}


def changed(mapping: dict[str, Any], *changes: tuple[str, object]) -> dict[str, Any]:
    """A copy with the value at each dotted path replaced, or removed if it is ABSENT. Missing parents are made."""
    mapping = copy.deepcopy(mapping)
    for path, value in changes:
        *parents, name = path.split("/")
        target: Any = mapping
        for parent in parents:
            target = target[int(parent)] if isinstance(target, list) else target.setdefault(parent, {})
        if value is ABSENT:
            del target[name]
        elif isinstance(target, list):
            target[int(name)] = value
        else:
            target[name] = value
    return mapping


def feed(mapping: dict[str, Any]) -> Feed:
    ids = itertools.count(1)
    return Feed(check(mapping), lambda: f"id{next(ids)}")


Parsed = Post | Ignored | Rejection | Control | Failure


def parse(mapping: dict[str, Any], *frames: object) -> list[Parsed]:
    """The results of these frames, of all in one list. A frame is bytes, or a value that becomes JSON."""
    parser, found = feed(mapping).parse, list[Parsed]()
    for frame in frames:
        outcome = parser(frame if isinstance(frame, bytes) else json.dumps(frame).encode(), RECEIVED)
        found += outcome if isinstance(outcome, list) else [outcome]
    return found
