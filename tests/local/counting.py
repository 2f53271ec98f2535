"""Counts every post by its number: in the simulator, in the topic, in the documents."""

import json
from collections import Counter
from typing import Any

from pymongo.errors import PyMongoError

from jobs.cleaning import clean
from local.broker import read_topic
from local.store import client
from simulator.posts import Numbering, post_text
from simulator.twitter_stream_simulator import Settings as SimulatorSettings
from tests.local.conftest import RATE

DEFAULTS = SimulatorSettings()
NUMBERING = Numbering(DEFAULTS.epoch, RATE)


def records(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """The topic's committed records that are posts: heartbeats have no text."""
    return [record for value in read_topic(bootstrap, topic) if (record := json.loads(value))["text"] is not None]


def numbers(posts: list[dict[str, Any]]) -> list[int]:
    """The numbers of these posts, sorted."""
    return sorted(int(post["id"].removeprefix("simulator-")) for post in posts)


def assert_complete(found: list[int], last: int) -> None:
    """Every number from the first to `last` is there once."""
    twice = [number for number, count in Counter(found).items() if count > 1]
    missing = sorted(set(range(found[0], last + 1)) - set(found))
    assert not twice, f"{len(twice)} numbers came twice, the first is {twice[0]}"
    assert not missing, f"{len(missing)} of {len(found)} numbers are missing, from {missing[0]} to {missing[-1]}"


def documents(uri: str, database: str, collection: str) -> dict[str, list[dict[str, Any]]]:
    """The documents by the end of their window, ISO 8601."""
    found: dict[str, list[dict[str, Any]]] = {}
    with client(uri) as connection:
        for document in connection[database][collection].find():
            found.setdefault(document["timestamp"], []).append(document)
    return found


def newest_end(uri: str, database: str, collection: str) -> str:
    """The end of the newest window that has a document, ISO 8601; "" while there is none or the store is down."""
    with client(uri) as connection:
        try:
            newest = connection[database][collection].find_one({}, {"timestamp": 1}, sort=[("timestamp", -1)])
        except PyMongoError:
            return ""
    return str(newest["timestamp"]) if newest else ""


def expected_texts(first: int, last: int) -> list[str]:
    """What the documents must hold of the posts with these numbers, sorted."""
    return sorted(clean(post_text(DEFAULTS.seed, number)) for number in range(first, last + 1))
