"""What each preset makes of its capture in tests/support/captures, and which guarantee it gives.

A capture has one frame a line, as the server sends it. All of them are made up, after the documentation of the feeds.
"""

import itertools
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

from jobs.cleaning import clean
from jobs.feeds.definition import PRESETS, load
from jobs.feeds.feed import make_feed
from jobs.feeds.guarantee import EXACTLY_ONCE, LOSS_COUNTED, LOSS_TIMED, WITHIN_LOOK_BACK, guarantee
from jobs.feeds.model import Control, Failure, Ignored, Outcome, Post, Rejection

ROOT = Path(__file__).parents[4]
CAPTURES = ROOT / "tests" / "support" / "captures"
RECEIVED = 1_772_366_500_000
NOON = 1_772_366_400_000  # 2026-03-01T12:00:00Z
AUTHOR = "c" * 64


class Expected(NamedTuple):
    """What comes of a capture.

    posts: (id, text, timestamp, position) of each post, the position with its numbering.
    rejected: the codes of rejections, in order. failures: what the errors of the server mean, in order.
    """

    posts: list[tuple[str, str, int, str]]
    ignored: int = 0
    control: int = 0
    rejected: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


def bluesky(did: str, rkey: str) -> str:
    return f"at://did:plc:{did}/app.bsky.feed.post/{rkey}"


def note(number: int) -> str:
    return f"{number:064x}"


EXPECTED = {
    "simulator": Expected(
        [
            ("simulator-a1b2-41", "Good morning from the harbour", NOON, "a1b2/41"),
            ("simulator-a1b2-42", "RT: it&amp;#39;s #sunny https://a.example/b", NOON + 100, "a1b2/42"),
            ("simulator-43", "without a numbering", NOON + 200, "/43"),
        ],
        rejected=("bad_position", "bad_time", "bad_text", "bad_position", "not_json", "not_json"),
    ),
    "text": Expected(
        [
            ("text-new1", "Good morning from the harbour", RECEIVED, ""),
            ("text-new2", '{"text": "JSON is a text, too"}', RECEIVED, ""),
            ("text-new3", "très bien ☕", RECEIVED, ""),
            ("text-new4", "", RECEIVED, ""),
        ]
    ),
    "jetstream": Expected(
        [
            (bluesky("ann7kq2m", "3mb1"), "Good morning from the harbour", NOON, "/4101"),
            (bluesky("bob4xw9t", "3mb2"), "Très bien ☕ #café", NOON + 250, "/4109"),
            (bluesky("ann7kq2m", "3mb4"), "", NOON + 2_999, "/4130"),
        ],
        ignored=7,  # a like, an edit, a deletion, identity, account, sync, and a kind that is not known yet
        control=1,
        rejected=("bad_text", "bad_time", "bad_position", "bad_structure", "not_json", "not_json"),
        failures=("too_old", "reconnect"),
    ),
    "jetstream-v1": Expected(
        [
            (bluesky("ann7kq2m", "3mb1"), "Good morning from the harbour", NOON, f"/{NOON}001"),
            (bluesky("ann7kq2m", "3mb2"), "Two lines\nof text", NOON + 250, f"/{NOON + 250}000"),
        ],
        ignored=5,
        rejected=("bad_structure", "bad_text", "bad_position", "bad_id", "not_json"),
    ),
    "nostr": Expected(
        [
            (note(3), "the newest stored note", NOON + 20_000, "/1772366420"),
            (note(2), "an older one #harbour", NOON + 10_000, "/1772366410"),
            (note(1), "the oldest", NOON, "/1772366400"),
            (note(4), "live: bonjour à tous", NOON + 21_000, "/1772366421"),
        ],
        ignored=1,
        control=4,  # AUTH, EOSE, NOTICE, OK
        rejected=("bad_position", "bad_position", "bad_text", *["bad_position"] * 3, "not_json"),
        failures=("reconnect", "reconnect", "fatal", "fatal", "fatal"),
    ),
    "mastodon": Expected(
        [
            ("mastodon-116000000000000001", "Good morning from the harbour", NOON + 123, ""),
            (
                "mastodon-116000000000000002",
                "@bob see https://news.example/a?b=1&amp;c=2  second line third &lt;3 #cats",
                NOON + 1_000,
                "",
            ),
            ("mastodon-116000000000000003", "", NOON + 123, ""),
        ],
        ignored=5,  # an edit, a deletion, filters_changed, an announcement and its deletion
        rejected=("bad_text", "bad_time", "bad_time", "bad_time", "bad_structure", "not_json"),
        failures=("fatal", "fatal", "reconnect"),
    ),
    "kraken": Expected(
        [
            ("kraken-BTC/USD-101", "buy 0.5 BTC/USD at 64000.1", NOON - 2_000, "BTC/USD/101"),
            ("kraken-BTC/USD-102", "sell 0.0001 BTC/USD at 63999.9", NOON + 123, "BTC/USD/102"),
            ("kraken-ETH/USD-55", "buy 2 ETH/USD at 3100", NOON + 123, "ETH/USD/55"),
            ("kraken-BTC/USD-103", "buy 0.5 BTC/USD at 64000.1", NOON + 1_500, "BTC/USD/103"),
            ("kraken-ETH/USD-56", "sell 1e-07 ETH/USD at 3100.25", NOON + 1_500, "ETH/USD/56"),
            ("kraken-BTC/USD-104", "buy 0.5 BTC/USD at 64000.1", NOON + 1_500, "BTC/USD/104"),
            ("kraken-BTC/USD-105", "buy 0.5 BTC/USD at 64000.1", NOON + 123, "BTC/USD/105"),
        ],
        ignored=1,
        control=5,  # status, two answers, heartbeat, pong
        rejected=(
            *("bad_position", "bad_position", "bad_text", "bad_time", "bad_position"),  # items of one frame
            *("bad_structure", "bad_structure", "not_json"),
        ),
        failures=("fatal", "reconnect"),
    ),
    "binance": Expected(
        [
            ("binance-BTCUSDT-9001", "0.50000000 BTCUSDT at 64000.10000000", NOON, "BTCUSDT/9001"),
            ("binance-ETHUSDT-501", "2.00000000 ETHUSDT at 3100.00000000", NOON + 10, "ETHUSDT/501"),
            ("binance-BTCUSDT-9002", "0.50000000 BTCUSDT at 64000.10000000", NOON + 20, "BTCUSDT/9002"),
        ],
        ignored=1,
        rejected=(
            *("bad_structure", "bad_position", "bad_text", "bad_time", "bad_position"),
            *("bad_structure", "not_json"),
        ),
        failures=("reconnect", "reconnect", "reconnect", "reconnect"),
    ),
}
EXTRA = {
    "nostr": f'{{"author":"{AUTHOR}"}}',
    "mastodon": '{"lang":"en","uri":"https://social.example/users/ann/statuses/116000000000000001"}',
    "kraken": '{"symbol":"BTC/USD","price":64000.1,"qty":0.5}',
    "binance": '{"symbol":"BTCUSDT","price":"64000.10000000","qty":"0.50000000"}',
}
GUARANTEES = {
    "simulator": EXACTLY_ONCE,
    "text": LOSS_TIMED,
    "jetstream": EXACTLY_ONCE,
    "jetstream-v1": WITHIN_LOOK_BACK,
    "nostr": WITHIN_LOOK_BACK,
    "mastodon": LOSS_TIMED,
    "kraken": LOSS_COUNTED,
    "binance": LOSS_COUNTED,
}


def parsed(preset: str) -> list[Outcome]:
    """The outcomes of all frames of a preset's capture, in order."""
    numbers = itertools.count(1)
    feed = make_feed(preset, lambda: f"new{next(numbers)}")
    outcomes: list[Outcome] = []
    for line in (CAPTURES / f"{preset}.jsonl").read_bytes().split(b"\n")[:-1]:
        outcome = feed.parse(line, RECEIVED)
        outcomes += outcome if isinstance(outcome, list) else [outcome]
    return outcomes


def posts(outcomes: list[Outcome]) -> list[Post]:
    return [outcome for outcome in outcomes if isinstance(outcome, Post)]


def test_each_preset_has_a_capture_and_a_documented_guarantee() -> None:
    assert set(EXPECTED) == set(GUARANTEES) == set(PRESETS)
    assert {path.stem for path in CAPTURES.glob("*.jsonl")} == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_capture_gives_exactly_these_outcomes(preset: str) -> None:
    outcomes = parsed(preset)
    kinds = Counter(type(outcome) for outcome in outcomes)
    assert EXPECTED[preset] == Expected(
        [
            (post.id, post.text, post.timestamp, "" if post.position is None else f"{post.numbering}/{post.position}")
            for post in posts(outcomes)
        ],
        kinds[Ignored],
        kinds[Control],
        tuple(outcome.code for outcome in outcomes if isinstance(outcome, Rejection)),
        tuple(outcome.means for outcome in outcomes if isinstance(outcome, Failure)),
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_the_first_post_has_these_extra_fields(preset: str) -> None:
    assert posts(parsed(preset))[0].extra == EXTRA.get(preset, "")


@pytest.mark.parametrize("preset", PRESETS)
def test_the_guarantee_is_the_documented_one(preset: str) -> None:
    assert guarantee(load(preset)) == GUARANTEES[preset]
    text = (ROOT / "jobs" / "feeds" / "presets" / f"{preset}.yaml").read_text("utf-8")
    comment = " ".join(line.removeprefix("#").strip() for line in text.split("name:")[0].splitlines())
    assert f"Guarantee: {GUARANTEES[preset]}" in comment
    assert "Set: " in comment


def test_the_end_of_stored_notes_is_recognized() -> None:
    assert [outcome.replayed for outcome in parsed("nostr") if isinstance(outcome, Control)] == [
        False,
        True,
        *[False] * 2,
    ]


def test_html_becomes_clean_text() -> None:
    assert [clean(post.text) for post in posts(parsed("mastodon"))] == [
        "Good morning from the harbour",
        "@bob see second line third <3 cats",
        "",
    ]
