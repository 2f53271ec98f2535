"""A stored document as the page shows it."""

import json

from console.sources.mongodb import SHOWN_POSTS, document_of

STORED = {"hash": "a", "timestamp": "2026-11-24T08:00:20Z", "total_cases_count": 7, "active_cases_count": None}


def test_a_large_document_is_shown_with_its_first_posts_and_their_number() -> None:
    texts = ["x" * 1_000, "b", "c"]
    document = document_of({**STORED, "posts": 20_000, "content": texts})
    assert (document.timestamp, document.posts) == ("2026-11-24T08:00:20Z", 20_000)
    assert document.counters == {"total_cases_count": 7, "active_cases_count": None}
    raw = json.loads(document.raw)
    assert raw["content"][1:] == ["b", "c", f"... and {20_000 - SHOWN_POSTS} more"]
    assert (len(raw["content"][0]), "posts" in raw) == (280, False)


def test_a_small_document_is_shown_whole() -> None:
    assert json.loads(document_of({**STORED, "posts": 1, "content": ["a"]}).raw) == {**STORED, "content": ["a"]}
