"""`make check_feed` on captures: its counts and the rules that it names, without a server."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.check_feed import __main__ as check_feed
from jobs.check_feed.capture import frames_in, to_line
from jobs.check_feed.hiding import resume_request
from jobs.check_feed.summary import age_of
from jobs.feeds.definition import parse
from jobs.feeds.model import Position
from jobs.feeds.rules import Rules
from jobs.records import Frame

TRADES = """
name: trades
frames:
  error: [{path: error}]
  control: [{frame: pong}, {path: channel, in: [heartbeat, status]}]
  keep: [{path: channel, equals: trade}]
  each: data
post:
  keep: [{path: side, equals: buy}]
  text: "{symbol} {price}"
  time: {path: at, unit: s}
  extra: {side: side}
position: {path: number, per: symbol, dense: true}
"""


def trades(*numbers: int, **fields: Any) -> str:
    data = [{"symbol": "A", "price": 1.5, "at": 1_000, "number": each, "side": "buy", **fields} for each in numbers]
    return json.dumps({"channel": "trade", "data": data})


def check(folder: Path, definition: str, *lines: str) -> tuple[int, str]:
    shown: list[str] = []
    (folder / "feed.yaml").write_text(definition)
    (folder / "capture").write_text("".join(f"{line}\n" for line in lines))
    given = {"FEED": str(folder / "feed.yaml"), "CAPTURE": str(folder / "capture")}
    return check_feed.run(given, shown.append), "\n".join(shown)


def test_the_rules_that_decided_are_named(tmp_path: Path) -> None:
    status, shown = check(
        tmp_path,
        TRADES,
        "pong",
        '{"channel": "status"}',
        '{"error": "no"}',
        '{"channel": "book", "data": []}',
        trades(),
        trades(1, 2, 3),
        trades(4, side="sell"),
        trades(5, price=None),
        trades(8, 9),
    )
    assert status == 0
    assert '1 by frames.control[0] {"frame":"pong"}' in shown
    assert '1 by frames.control[1] {"path":"channel","in":["heartbeat","status"]}' in shown
    assert '1 by frames.error[0] {"path":"error"}, reconnect' in shown
    assert '1 by frames.keep[0] {"path":"channel","equals":"trade"}' in shown
    assert "1 by frames.each: data is empty" in shown
    assert '1 by post.keep[0] {"path":"side","equals":"buy"}' in shown
    assert "1 by bad_text: price is not a text" in shown
    assert "events       0 to 3 in a frame, 1.3 on average" in shown
    assert "  kept       2 with 5 posts" in shown
    assert '  extra      {"side":"buy"}' in shown
    assert (
        "guarantee    loss counted: the server cannot resume; a missing number of each symbol is a lost post" in shown
    )
    assert "1 gap, " in shown


def test_no_post_is_an_exit_status(tmp_path: Path) -> None:
    assert check(tmp_path, TRADES, '{"channel": "book"}')[0] == 1
    status, shown = check(tmp_path, TRADES)
    assert status == 1
    assert "no frame came" in shown


def test_a_capture_without_times_of_arrival_says_so(tmp_path: Path) -> None:
    assert "the capture has no times of arrival" in check(tmp_path, TRADES, trades(1))[1]
    wrapped = json.dumps({"received": 1_000_500, "text": trades(1)})
    assert "post time    0.5 s before arrival\n" in check(tmp_path, TRADES, wrapped)[1]


def test_posts_ahead_of_the_clock_are_counted(tmp_path: Path) -> None:
    lines = [json.dumps({"received": 999_000 + number, "text": trades(number)}) for number in (1, 2)]
    shown = check(tmp_path, TRADES, *lines)[1]
    assert "2 are ahead of the clock: the collector takes the time of arrival for them" in shown


def test_a_post_of_nothing_but_a_link_is_rejected(tmp_path: Path) -> None:
    shown = check(tmp_path, "name: x\npost: {text: t}\n", '{"t": "https://example.com"}')[1]
    assert "  cleaned    nothing is left: it is rejected" in shown
    assert "1 by empty: empty after cleaning" in shown


@pytest.mark.parametrize(
    "frame",
    [
        Frame(b"a\r", True, 5),
        Frame("\u00e4\ud7ff\U0001f600".encode(), True, 1),
        Frame(b"\xff", True, 2),
        Frame(b"x", False, 3),
    ],
)
def test_a_recorded_frame_is_read_as_it_was(frame: Frame) -> None:
    assert list(frames_in([to_line(frame).encode() + b"\n"], 0)) == [frame]


@pytest.mark.parametrize(
    "line",
    [
        "hello",
        "[1]",
        '{"received": 1}',
        '{"received": "1", "text": "a"}',
        '{"received": 1, "base64": "?"}',
        "[" * 9_999,
    ],
)
def test_any_other_line_is_a_frame(line: str) -> None:
    assert list(frames_in([line.encode() + b"\r\n", b"\n"], 7)) == [Frame(line.encode(), True, 7)]


def test_the_request_to_resume_shows_only_the_position() -> None:
    feed = parse(
        """
name: x
connect: {urls: ["wss://h/"], query: {format: json, token: abcdef}}
post: {id: "{i}", text: t}
position: {path: p, unit: ms}
resume:
  query: {since: "${position}", key: abcdef}
  send: ["sub secret ${position}", '["REQ", "secret", 5]']
  overlap: 2
"""
    )
    assert resume_request(feed, "wss://user:pass@h/path?token=12345&cursor=3", Position(10_000)) == [
        "wss://h/***?cursor=3&format=json&token=***&since=8000&key=***",
        "***8000***",
        '["REQ", "***", 5]',
    ]


def test_frames_of_different_shapes_are_shown(tmp_path: Path) -> None:
    lines = ['["welcome", {"v": 1}]', '["batch", [1]]', '["batch", [2]]', '{"a": {"b": 1}}', '{"a": {"c": 1}}', "{}"]
    shown = check(tmp_path, "name: x\npost: {text: t}\n", *lines)[1]
    assert "6 by bad_text" in shown
    assert [line.split("e.g. ")[1] for line in shown.splitlines() if "e.g. " in line] == [lines[0], lines[1], lines[3]]


def test_rules_of_a_text_feed() -> None:
    rules = Rules(parse("name: x\nframes: {format: text, control: [{frame: hi}]}\npost: {}\n"))
    assert rules.of_frame(b"hi") == 'frames.control[0] {"frame":"hi"}'


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (0, "at arrival"),
        (-1_500, "1.5 s after arrival"),
        (119_000, "119 s before arrival"),
        (600_000, "10 min before arrival"),
        (36_000_000, "10 h before arrival"),
        (-864_000_000, "10 days after arrival"),
    ],
)
def test_ages(milliseconds: int, shown: str) -> None:
    assert age_of(milliseconds) == shown
