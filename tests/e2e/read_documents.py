"""Prints each document as a line of JSON: `python - DATABASE COLLECTION`, in a pod with MONGODB_URI."""

import json
import os
import sys
from typing import Any

from pymongo import MongoClient


def main(database: str, collection: str) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(os.environ["MONGODB_URI"], serverSelectionTimeoutMS=5_000)
    with client:
        for document in client[database][collection].find({}, {"_id": 0}):
            sys.stdout.write(json.dumps(document) + "\n")


main(*sys.argv[1:])
