"""Shows what the collector makes of a feed: `python -m jobs.check_feed`, with the collector's environment.

It needs the feed only. It connects, or reads a capture, and uses the collector's own code.

Exit status: 0 if posts came, 1 if none came or the server refuses, 2 for a wrong definition or setting, 130 after
Ctrl-C.

FEED: the name of a preset, or a file. WEBSOCKET_URL: replaces the addresses in it.
CAPTURE: a file to read instead of the feed, see capture.py. RECORD: a new file, into which each frame is written.
FRAMES (200; with CAPTURE all), SECONDS (30): after how many frames or seconds it ends.
"""

import contextlib
import itertools
import logging
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from jobs.check_feed.capture import frames_in, to_line
from jobs.check_feed.examination import Examination
from jobs.check_feed.hiding import Hider, resume_request, secrets_in
from jobs.check_feed.summary import line, sample_lines, summary_lines
from jobs.feeds.definition import PRESETS, Definition, FeedError, load
from jobs.feeds.feed import Feed
from jobs.feeds.guarantee import explain
from jobs.feeds.model import Shard
from jobs.feeds.request import Request
from jobs.feeds.templates import files_in
from jobs.records import Frame
from jobs.redaction import redact_url
from jobs.settings import CollectorSettings, EnvReader, SettingError, read_collector_settings, read_secret_file
from jobs.shard_worker import protocol_of
from jobs.websocket_events import Connected, Disconnected, Event, ResumeRejected, Subscribed, TooLarge
from jobs.websocket_reader import Reader

DEFAULT = "simulator"
SAMPLES = 5
POLL_SECONDS = 0.05
POLLS_IN_VAIN = 6  # the reader needs a moment to say why an attempt ended, and says the same reason only once a minute
MAX_FRAMES = 1_000_000
# The collector's settings that this command has, too.
SHARED = ("FEED", "WEBSOCKET_URL", "WEBSOCKET_URL_FILE", "WEBSOCKET_CA_FILE", "MAX_FRAME_BYTES", "MAX_SILENCE_SECONDS")
Show = Callable[[str], None]


@dataclass(frozen=True)
class Limits:
    """After how many frames or seconds the command ends."""

    frames: int
    seconds: float


class Check:
    """Examines frames, and shows the first posts and the counts. record: gets each frame as a line of a capture."""

    def __init__(self, feed: Feed, hide: Hider, show: Show, record: TextIO | None = None) -> None:
        self.feed = feed
        self.hide = hide
        self.show = show
        self.examination = Examination(feed, SAMPLES)
        self._record = record

    def add(self, frame: Frame) -> tuple[str, str] | None:
        """Examine a frame. Returns (meaning, reason) if the server reports an error with it."""
        if self._record is not None:
            self._record.write(f"{to_line(frame)}\n")
        before = len(self.examination.samples)
        failed = self.examination.add(frame)
        for number, sample in enumerate(self.examination.samples[before:], before + 1):
            self._show_all(sample_lines(number, sample, self.hide))
        if failed is not None:
            self.show(line("error", f"the server reports ({failed.means}): {self.hide(failed.reason)}"))
        return failed

    def summarize(self, servers: tuple[str, ...], *, timed: bool = True) -> None:
        definition = self.feed.definition
        self._show_all(summary_lines(definition, self.examination, self.hide, timed=timed))
        if not self.feed.resumable:
            self.show(line("resume", "nothing: the definition has no resume, so each connection starts live"))
        elif self.examination.position is None:
            self.show(line("resume", "no position is known yet"))
        else:
            base = servers[0] if servers else next(iter(definition.connect.get("urls", ["ws://server"])))
            for number, text in enumerate(resume_request(definition, base, self.examination.position)):
                self.show(line("" if number else "resume", self.hide(text)))

    def _show_all(self, lines: Iterator[str]) -> None:
        for each in lines:
            self.show(each)


class Session:
    """Reads a feed as the collector does, until a limit is reached or each server has been tried without a post."""

    def __init__(self, check: Check, settings: CollectorSettings, limits: Limits) -> None:
        self._check = check
        self._limits = limits
        self._urls = settings.websocket_url.read()
        self._attempts = len(self._urls)
        self._polls_in_vain = 0
        self._ended = False
        self._connected_at: float | None = None
        self._unsent = 0
        self._resumed = ""
        expects = check.feed.expect is not None
        self._awaited: tuple[str, str] | None = ("answer", "the expected one ") if expects else ("first frame", "")
        self.reader = Reader(
            self._urls,
            self._request,
            max_frame=settings.max_frame_bytes,
            max_silence=settings.max_silence_seconds or None,
            ca_file=settings.websocket_ca_file,
            protocol=protocol_of(check.feed),
        )

    @property
    def connected(self) -> bool:
        """Whether a handshake succeeded."""
        return self._connected_at is not None

    def run(self) -> None:
        """Read until the end, and show each step. Raises RuntimeError if the reader's thread dies."""
        tally, end = self._check.examination.tally, time.monotonic() + self._limits.seconds
        self.reader.start()
        try:
            while time.monotonic() < end and tally.frames < self._limits.frames:
                self._show_sent()
                events = self.reader.dequeue(self._limits.frames - tally.frames, 1_048_576)
                for event in events:
                    self._apply(event)
                self.reader.ack()
                if not events:
                    if self._is_over():
                        break
                    time.sleep(POLL_SECONDS)
        finally:
            self.reader.stop()

    def _is_over(self) -> bool:
        if not self.reader.alive():
            raise RuntimeError("the reader's thread died; see the error that it logged")
        in_vain = not self._check.examination.tally.posts and self.reader.connects >= self._attempts
        self._polls_in_vain = self._polls_in_vain + 1 if in_vain else 0
        return self.reader.refused or (in_vain and self._ended) or self._polls_in_vain > POLLS_IN_VAIN

    def _request(self, base: str, resume: bool) -> Request:
        position = self._check.examination.position if resume else None
        return self._check.feed.request(base, position, Shard(), lambda path: read_secret_file("${file:...}", path))

    def _apply(self, event: Event) -> None:
        check, examination = self._check, self._check.examination
        if isinstance(event, Frame):
            self._show_answer(event)
            failed = check.add(event)
            if failed is not None:
                self.reader.fail(failed[0], f"the server reports an error: {failed[1]}")
        elif isinstance(event, Connected):
            self._connected_at, self._ended = event.at / 1000, False
            check.show(line("connected", f"{event.server}{self._resumed}"))
            self._unsent = len(self._request(self._urls[0], examination.position is not None).messages)
        elif isinstance(event, Disconnected):
            self._unsent, self._ended = 0, True
            check.show(line(event.what, f"{event.server}: {check.hide(event.reason)}"))
        elif isinstance(event, Subscribed):
            examination.on_subscribed(event.resumed)
            position = examination.position if event.resumed else None
            self._resumed = f", resuming from {position.number}" if position is not None else ""
        elif isinstance(event, ResumeRejected):
            examination.on_resume_rejected()
        elif isinstance(event, TooLarge):
            self._attempts += 1  # the next connection may serve smaller frames
            examination.skip(event.limit, int(time.time() * 1000))

    def _show_sent(self) -> None:
        """The reader sends the opening messages right after the handshake, and then stays connected."""
        if self._unsent and self.reader.connected:
            self._check.show(line("sent", f"{self._unsent} opening message{'s' if self._unsent > 1 else ''}"))
            self._unsent = 0

    def _show_answer(self, frame: Frame) -> None:
        self._show_sent()
        expect = self._check.feed.expect
        if self._awaited and self._connected_at is not None and (expect is None or expect(frame.data)):
            label, what = self._awaited
            seconds = max(0.0, frame.received / 1000 - self._connected_at)
            self._check.show(line(label, f"{what}came after {seconds:.1f} s"))
            self._awaited = None


def run(environment: Mapping[str, str], show: Show) -> int:
    """Check the feed with this environment. show: is called with one line for each step. Returns the exit status.

    Raises SettingError.
    """
    environment = with_absolute_feed(environment)
    read, capture = EnvReader(environment), environment.get("CAPTURE") or ""
    limits = Limits(
        read.integer("FRAMES", MAX_FRAMES if capture else 200, 1, MAX_FRAMES), read.number("SECONDS", 30, 1, 86_400)
    )
    if capture and environment.get("RECORD"):
        raise SettingError(f"RECORD={environment['RECORD']!r}: together with CAPTURE nothing is allowed")
    return check_capture(environment, Path(capture), limits, show) if capture else check_live(environment, limits, show)


def check_live(environment: Mapping[str, str], limits: Limits, show: Show) -> int:
    if not (read_definition(environment).connect.get("urls") or is_given(environment, "WEBSOCKET_URL")):
        raise SettingError(f"FEED={environment.get('FEED')!r}: connect.urls is missing, and WEBSOCKET_URL too")
    settings = read_collector_settings({name: environment[name] for name in SHARED if name in environment})
    definition, urls = settings.feed, settings.websocket_url.read()
    private = urls if is_given(environment, "WEBSOCKET_URL") else ()
    files = files_in(vars(definition))
    hide = Hider(secrets_in(definition, files, private, lambda path: read_secret_file("${file:...}", path)))
    with new_file("RECORD", environment.get("RECORD") or "") as record:
        check = Check(make(definition), hide, show, record)
        introduce(definition, environment, show)
        for number, url in enumerate(urls):
            show(line("" if number else "servers", redact_url(url)))
        session = Session(check, settings, limits)
        try:
            session.run()
        finally:
            check.summarize(urls)
    return finish(check, connected=session.connected, refused=session.reader.refused)


def check_capture(environment: Mapping[str, str], path: Path, limits: Limits, show: Show) -> int:
    definition = read_definition(environment)
    largest = EnvReader(environment).integer("MAX_FRAME_BYTES", 262_144, 1_024, 524_288)
    check = Check(make(definition), Hider(()), show)
    now_ms, end = int(time.time() * 1000), time.monotonic() + limits.seconds
    introduce(definition, environment, show)
    show(line("capture", str(path)))
    timed = False
    try:
        with path.open("rb") as file:
            for frame in itertools.islice(frames_in(file, now_ms), limits.frames):
                timed = timed or frame.received != now_ms
                if len(frame.data) > largest:
                    check.examination.skip(largest, frame.received)
                else:
                    check.add(frame)
                if time.monotonic() > end:
                    break
    except OSError as error:
        raise SettingError(f"CAPTURE={str(path)!r}: a readable file is allowed: {error.strerror}") from error
    check.summarize((), timed=timed)
    return finish(check, connected=True, refused=False)


def read_definition(environment: Mapping[str, str]) -> Definition:
    """The definition of the feed. The files that it names are not read. Raises SettingError."""
    feed = environment.get("FEED") or DEFAULT
    try:
        return load(feed)
    except FeedError as error:
        raise SettingError(f"FEED={feed!r}: {error}") from error


def is_given(environment: Mapping[str, str], name: str) -> bool:
    """Whether the environment has this setting, or a file for it."""
    return any(environment.get(each) for each in (name, f"{name}_FILE"))


def introduce(definition: Definition, environment: Mapping[str, str], show: Show) -> None:
    show(line("definition", f"{environment.get('FEED') or DEFAULT}: the feed {definition.name}"))
    show(line("guarantee", explain(definition)))


def finish(check: Check, *, connected: bool, refused: bool) -> int:
    """Show the result, and return the exit status."""
    tally = check.examination.tally
    if refused:
        check.show(line("result", "the server refuses: the collector would make no further request"))
    elif not connected:
        check.show(line("result", "no server could be reached"))
    elif not tally.frames:
        check.show(line("result", "no frame came: the server may wait for an opening message (open.send)"))
    elif not tally.posts:
        check.show(line("result", "no post came: the rules and codes above say why"))
    else:
        check.show(line("result", "posts come"))
    return 0 if tally.posts and not refused else 1


def make(definition: Definition) -> Feed:
    return Feed(definition, lambda: uuid.uuid4().hex)


def with_absolute_feed(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with an absolute path in FEED. The collector runs elsewhere, so it allows no relative one."""
    feed = environment.get("FEED") or ""
    path = Path(feed).expanduser()
    if not feed or feed in PRESETS or path.is_absolute():
        return {**environment, "FEED": str(path)} if feed.startswith("~") else dict(environment)
    if not path.exists():
        raise SettingError(f"FEED={feed!r}: a file that exists or one of {', '.join(PRESETS)} is allowed")
    return {**environment, "FEED": str(path.resolve())}


@contextlib.contextmanager
def new_file(name: str, path: str) -> Iterator[TextIO | None]:
    """The file at `path`, which must not exist; None for "". Each line is written at once. Raises SettingError."""
    if not path:
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(Path(path).open("x", buffering=1))
        except OSError as error:
            allowed = f"a file that does not exist yet is allowed: {error.strerror}"
            raise SettingError(f"{name}={path!r}: {allowed}") from error
        yield file


def main(environment: Mapping[str, str] = os.environ) -> int:
    # What the reader logs is shown as a step.
    logging.getLogger("jobs").addHandler(logging.NullHandler())
    logging.getLogger("jobs").propagate = False
    try:
        return run(environment, lambda text: write(sys.stdout, text))
    except KeyboardInterrupt:
        write(sys.stderr, "stopped")
        return 130
    except SettingError as error:
        write(sys.stderr, f"error: {error}")
        return 2
    except BrokenPipeError:  # such as `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it at the end
        return 1


def write(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def interruptible() -> None:
    """Let SIGINT and SIGTERM end the command. A shell starts background processes with SIGINT ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


if __name__ == "__main__":
    interruptible()
    sys.exit(main())
