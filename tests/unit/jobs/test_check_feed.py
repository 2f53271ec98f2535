"""`make check_feed` on a server of this process: its steps, its exit status, and what it does not show."""

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from jobs.check_feed import __main__ as check_feed
from jobs.settings import SettingError
from tests.unit.jobs.hostile_server import HostileServer, Peer, Script, quiet, refusing

DEFINITION = """
name: chat
connect: {urls: ["URL"]}
frames: {keep: [{path: kind, equals: message}], control: [{path: kind, equals: hello}]}
post: {text: data.body, time: {path: data.at, unit: ms}}
position: {path: data.number}
resume: {query: {after: "${position}"}}
"""


def frame(number: int, text: str = "Hi &amp; #hello") -> str:
    return json.dumps({"kind": "message", "data": {"number": number, "body": text, "at": int(time.time() * 1000)}})


def sending(*items: str | bytes) -> Script:
    """Send these frames a moment after the handshake."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await asyncio.sleep(0.05)
        await peer.send(*items)

    return script


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr("jobs.websocket_reader.PING_SECONDS", 0.02)


def check(
    script: Script, folder: Path, definition: str = DEFINITION, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """The exit status and the lines for a server with this script."""
    lines: list[str] = []
    with HostileServer(script) as server:
        file = folder / "chat.yaml"
        file.write_text(definition.replace("URL", server.url))
        given = {"FEED": str(file), "SECONDS": "5", **(environment or {})}
        status = check_feed.run(given, lines.append)
    return status, "\n".join(lines)


def test_each_step_is_shown(tmp_path: Path) -> None:
    script = sending('{"kind": "hello"}', *map(frame, range(1, 8)), '{"kind": "like", "data": {"number": 8}}', "oops")
    status, shown = check(script, tmp_path, environment={"FRAMES": "10"})
    assert status == 0
    steps = [line.split()[0] for line in shown.splitlines() if line.strip()]
    order = ["definition", "guarantee", "servers", "connected", "first", "post", "frames", "resume", "result"]
    assert [steps.index(step) for step in order] == sorted(steps.index(step) for step in order)
    assert "guarantee    exactly once: the client resumes from a number" in shown
    assert shown.count("  cleaned    Hi & hello") == 5
    assert "  text       Hi &amp; #hello" in shown
    assert "  kept       7 with 7 posts" in shown
    assert '1 by frames.keep[0] {"path":"kind","equals":"message"}\n' in shown
    assert '1 by frames.control[0] {"path":"kind","equals":"hello"}' in shown
    assert "1 by not_json: not JSON" in shown
    assert "e.g. oops" in shown
    assert "events       1 in each frame" in shown
    assert "it would write 7 posts, 1 rejection" in shown
    assert "?after=8" in shown


def test_the_opening_messages_are_counted_and_their_answer_is_awaited(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await asyncio.sleep(0.2)
        await peer.send('{"type": "subscribed"}', '{"text": "one"}')

    opening = """
name: chat
connect: {urls: ["URL"]}
open: {send: ['{"key": "sesame-1"}', second-2], expect: {path: type, equals: subscribed}}
post: {text: text}
"""
    status, shown = check(script, tmp_path, opening, {"FRAMES": "2"})
    assert status == 0
    assert "sent         2 opening messages" in shown
    assert "answer       the expected one came after 0.2 s" in shown
    assert '1 by open.expect {"path":"type","equals":"subscribed"}' in shown
    assert "sesame-1" not in shown
    assert "second-2" not in shown
    assert "the time of arrival, because the definition has no post.time" in shown
    assert "nothing: the definition has no resume" in shown


def test_an_answer_that_does_not_come_ends_the_check(tmp_path: Path) -> None:
    definition = DEFINITION + "open: {send: [hello], expect: {path: ready}, within: 0.2}\n"
    status, shown = check(quiet, tmp_path, definition)
    assert status == 1
    assert "the expected answer did not come within 0.2 s" in shown
    assert "no frame came: the server may wait for an opening message" in shown


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_ends_the_check(tmp_path: Path, status: int) -> None:
    began = time.monotonic()
    result, shown = check(refusing(status, "token expired\n"), tmp_path, environment={"SECONDS": "30"})
    assert result == 1
    assert time.monotonic() - began < 10
    assert f"refused with HTTP {status} token expired" in shown
    assert "the server refuses" in shown


def test_a_server_that_closes_before_any_post_is_tried_once(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await sending('{"kind": "hello"}')(peer)
        await peer.close(1008)

    status, shown = check(script, tmp_path, environment={"SECONDS": "30"})
    assert status == 1
    assert "1008" in shown
    assert shown.count("\nconnected ") == 1
    assert "no post came" in shown


def test_an_error_of_the_server_is_shown(tmp_path: Path) -> None:
    definition = DEFINITION.replace("frames: {", "frames: {error: [{path: kind, equals: error, means: fatal}], ")
    status, shown = check(sending(frame(1), '{"kind": "error", "why": "bad key"}'), tmp_path, definition)
    assert status == 1
    assert 'error        the server reports (fatal): {"kind":"error","why":"bad key"}' in shown
    assert "the server refuses" in shown


def test_no_server_at_all(tmp_path: Path) -> None:
    lines: list[str] = []
    file = tmp_path / "chat.yaml"
    file.write_text(DEFINITION.replace("URL", "ws://127.0.0.1:1/"))
    assert check_feed.run({"FEED": str(file)}, lines.append) == 1
    assert any(line.startswith("refused ") for line in lines)
    assert lines[-1] == "result       no server could be reached"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("sesame-77\n")
    definition = f"""
name: chat
connect:
  urls: ["URLlive/pass-word-1?key=${{file:{tmp_path}/token}}"]
  headers: {{Authorization: "Bearer sesame-99", X-Key: "${{file:{tmp_path}/token}}"}}
open: {{send: ['{{"token": "${{file:{tmp_path}/token}}", "password": "sesame-88"}}']}}
post: {{text: text}}
position: {{path: n}}
resume: {{send: ['{{"token": "${{file:{tmp_path}/token}}", "password": "sesame-88", "from": ${{position}}}}']}}
"""
    echo = '{"n": 5, "text": "you are sesame-77 and Bearer sesame-99"}'
    status, shown = check(sending(echo, '{"error": "sesame-77 is no post"}'), tmp_path, definition, {"FRAMES": "2"})
    assert status == 0
    assert "sesame" not in shown
    assert "pass-word-1" not in shown
    assert '{"token": "***", "password": "***", "from": 5}' in shown
    assert "you are *** and ***" in shown


def test_the_address_of_the_setting_replaces_that_of_the_definition(tmp_path: Path) -> None:
    lines: list[str] = []
    file = tmp_path / "chat.yaml"
    file.write_text(DEFINITION.replace("URL", "ws://127.0.0.1:1/"))
    with HostileServer(sending(frame(1))) as server:
        given = {"FEED": str(file), "WEBSOCKET_URL": f"{server.url}?token=sesame-1", "FRAMES": "1"}
        assert check_feed.run(given, lines.append) == 0
    assert f"connected    {server.url}" in lines
    assert "sesame" not in "".join(lines)


def test_it_ends_after_the_seconds(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        for number in range(1, 1_000):
            await peer.send(frame(number))
            await asyncio.sleep(0.02)

    began = time.monotonic()
    status, shown = check(script, tmp_path, environment={"SECONDS": "2", "FRAMES": "100000"})
    assert status == 0
    assert 2 <= time.monotonic() - began < 9
    assert " a second" in shown


def test_a_frame_that_is_too_large_is_counted(tmp_path: Path) -> None:
    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.send(frame(1, "x" * 5_000) if peer.number == 0 else frame(2))

    status, shown = check(script, tmp_path, environment={"FRAMES": "2", "MAX_FRAME_BYTES": "1024"})
    assert status == 0
    assert "1 by too_large: a frame larger than 1024 bytes" in shown


def test_a_capture_that_was_recorded_gives_the_same(tmp_path: Path) -> None:
    record = tmp_path / "capture"
    items: list[str | bytes] = ['{"kind": "hello"}', frame(1), b"\xff\x00", frame(2), "oops"]
    environment = {"FRAMES": "5", "RECORD": str(record)}
    _, live = check(sending(*items), tmp_path, environment=environment)
    lines: list[str] = []
    given = {"FEED": str(tmp_path / "chat.yaml"), "CAPTURE": str(record), "KAFKA_BOOTSTRAP_SERVERS": "wrong"}
    assert check_feed.run(given, lines.append) == 0

    def results(shown: str) -> list[str]:
        return shown[shown.index("post 1") :].splitlines()

    assert results("\n".join(lines)) == [line.replace(server_of(live), "ws://server/") for line in results(live)] or (
        results("\n".join(lines)) == results(live)
    )
    with pytest.raises(SettingError, match=r"RECORD=.*: a file that does not exist yet is allowed"):
        check(sending(*items), tmp_path, environment=environment)


def server_of(shown: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith("connected")).split()[1]


@pytest.mark.parametrize(
    ("environment", "error"),
    [
        ({"FEED": "nowhere.yaml"}, "FEED='nowhere.yaml': a file that exists or one of .*simulator.* is allowed"),
        ({"FEED": "chat.yaml", "FRAMES": "0"}, "FRAMES='0': a whole number from 1 to 1000000 is allowed"),
        ({"FEED": "chat.yaml", "SECONDS": "soon"}, "SECONDS='soon': a number from 1 to 86400 is allowed"),
        ({"FEED": "chat.yaml", "CAPTURE": "none"}, "CAPTURE='none': a readable file is allowed"),
        ({"FEED": "chat.yaml", "CAPTURE": "a", "RECORD": "b"}, "RECORD='b': together with CAPTURE nothing is allowed"),
        ({"FEED": "chat.yaml"}, "connect.urls is missing, and WEBSOCKET_URL too"),
        ({"FEED": "wrong.yaml"}, "wrong.yaml': connect: the key 'url' is unknown; .*urls.* are allowed"),
        ({"FEED": "secret.yaml"}, "/no/such/file': a file that can be read is allowed"),
    ],
)
def test_a_wrong_setting_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("chat.yaml").write_text("name: chat\npost: {text: text}\n")
    Path("wrong.yaml").write_text('name: chat\nconnect: {url: "ws://h"}\npost: {text: text}\n')
    Path("secret.yaml").write_text(
        'name: chat\nconnect: {urls: ["ws://h"], headers: {A: "${file:/no/such/file}"}}\npost: {text: text}\n'
    )
    with pytest.raises(SettingError, match=error):
        check_feed.run(environment, lambda _: None)
    assert check_feed.main(environment) == 2
    assert capsys.readouterr().err.count("\n") == 1
