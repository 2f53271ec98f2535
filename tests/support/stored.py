"""Reads posts from the topic and documents from the document store."""

import json
from typing import Any

from pymongo.errors import PyMongoError

from local.broker import read_topic
from local.store import client


def records(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    """The committed posts of the topic. A record without text is a heartbeat."""
    return [record for value in read_topic(bootstrap, topic) if (record := json.loads(value))["text"] is not None]


def documents(uri: str, database: str, collection: str) -> dict[str, list[dict[str, Any]]]:
    """The documents by the end of their window, ISO 8601."""
    found: dict[str, list[dict[str, Any]]] = {}
    with client(uri) as connection:
        for document in connection[database][collection].find():
            found.setdefault(document["timestamp"], []).append(document)
    return found


def newest_end(uri: str, database: str, collection: str) -> str:
    """The end of the newest window that has a document, ISO 8601; "" if there is none or the store is down."""
    with client(uri) as connection:
        try:
            newest = connection[database][collection].find_one({}, {"timestamp": 1}, sort=[("timestamp", -1)])
        except PyMongoError:
            return ""
    return str(newest["timestamp"]) if newest else ""
