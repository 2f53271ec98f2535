"""The demo's display: the steps of the start, then the newest windows. Live on a terminal, lines elsewhere."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jobs.redaction import redact_url
from local.settings import Settings
from local.stack import Step

WINDOWS = 10  # how many of the newest windows are shown
MARKS = {"waiting": ("·", "dim"), "running": ("▸", "yellow"), "done": ("✓", "green"), "failed": ("✗", "red")}
COUNTERS = {
    "cases": "total_cases_count",
    "deaths": "total_deaths_count",
    "recovered": "total_recovered_count",
    "active": "active_cases_count",
}
Document = Mapping[str, Any]


class Screen(Protocol):
    """What the demo displays on."""

    def steps(self, steps: Sequence[Step]) -> None:
        """Show the present state of the start's steps."""

    def windows(self, newest: Sequence[Document], fresh: Sequence[Document]) -> None:
        """Show documents. newest: newest first; fresh: those that have come since the last call, oldest first."""

    def note(self, text: str) -> None:
        """Show a message of one line."""


@contextlib.contextmanager
def screen(console: Console, addresses: Mapping[str, str]) -> Iterator[Screen]:
    """A `Terminal` where the console is one, else `Lines`. addresses: {name: address} for the user to open."""
    if not console.is_terminal:
        yield Lines(console, addresses)
        return
    with Live(console=console, refresh_per_second=4, vertical_overflow="crop") as live:
        yield Terminal(live, addresses)


def addresses(settings: Settings) -> dict[str, str]:
    """The addresses for the user to open, {name: address}. The user's own URI is not shown: it may have a password."""
    own = settings.mongodb_uri is None
    server = settings.simulator_url if settings.simulated else settings.definition.connect["urls"][0]
    return {
        "live page": settings.console_url,
        "Flink UI": settings.flink_url,
        "database": settings.store_uri if own else "the one in MONGODB_URI",
        "posts": redact_url(server),
        "logs": str(settings.logs),
    }


class Lines:
    """Prints one line for each event."""

    def __init__(self, console: Console, shown: Mapping[str, str]) -> None:
        self._console = console
        self._addresses = shown
        self._states: dict[str, str] = {}

    def steps(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.state != self._states.get(step.name, "waiting"):
                self._states[step.name] = step.state
                took = f" ({step.seconds:.1f} s)" if step.ended else ""
                self.note(f"{step.name}: {step.state}{took}")
        if steps and all(step.state == "done" for step in steps):
            for name, address in self._addresses.items():
                self.note(f"{name}: {address}")

    def windows(self, newest: Sequence[Document], fresh: Sequence[Document]) -> None:  # noqa: ARG002
        for document in fresh:
            counters = ", ".join(f"{name} {value}" for name, value in counters_of(document).items())
            self.note(
                f"{document['timestamp']}  {len(document['content'])} posts  {counters}  {sample(document, 60)!r}"
            )

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


class Terminal:
    """A view that is redrawn with each change."""

    def __init__(self, live: Live, shown: Mapping[str, str]) -> None:
        self._live = live
        self._addresses = shown
        self._notes: list[str] = []
        self._upper: Table | Text = Text()

    def steps(self, steps: Sequence[Step]) -> None:
        table = Table.grid(padding=(0, 2))
        for step in steps:
            mark, style = MARKS[step.state]
            took = f"{step.seconds:.1f} s" if step.began else ""
            table.add_row(Text(mark, style), step.name, Text(took, "dim", justify="right"))
        if steps and all(step.state == "done" for step in steps):
            table.add_row("", Text("everything runs; the first window is being filled ...", "yellow"), "")
        self._upper = table
        self._draw()

    def windows(self, newest: Sequence[Document], fresh: Sequence[Document]) -> None:  # noqa: ARG002
        table = Table(title="documents in twitter_db.twitter_collection", title_justify="left", expand=True)
        for heading in ("window end", "posts", *COUNTERS):
            table.add_column(heading, justify="left" if heading == "window end" else "right", no_wrap=True)
        table.add_column("a post", no_wrap=True, overflow="ellipsis", ratio=1)
        for document in newest:
            shown = [document["timestamp"], f"{len(document['content']):,}", *counters_of(document).values()]
            table.add_row(*shown, Text(sample(document, 200)))
        self._upper = table
        self._draw()

    def note(self, text: str) -> None:
        self._notes = [*self._notes, text][-4:]
        self._draw()

    def _draw(self) -> None:
        footer = Table.grid(padding=(0, 2))
        for name, address in self._addresses.items():
            footer.add_row(Text(name, "dim"), Text(address))
        footer.add_row(Text("stop", "dim"), "Ctrl-C")
        notes = Text("\n".join(self._notes), "yellow")
        self._live.update(Group(self._upper, *([notes] if self._notes else []), footer), refresh=True)


def time_line(steps: Sequence[Step], began: float, now: float) -> str:
    """When each step of the start was done, and the first document came, in seconds since the start, in order.

    began, now: of time.monotonic()
    """
    done = [(step.ended, step.name) for step in steps]
    moments = [f"{name} {moment - began:.0f} s" for moment, name in sorted(done)]
    return ", ".join([*moments, f"the first document {now - began:.0f} s"])


def counters_of(document: Document) -> dict[str, str]:
    """The counters to show, as text; a dash where the page had no value."""
    values = {name: document.get(field) for name, field in COUNTERS.items()}
    return {name: "-" if value is None else f"{value:,}" for name, value in values.items()}


def sample(document: Document, length: int) -> str:
    """One post of the window, cut to `length` characters."""
    texts = document["content"]
    text = str(texts[len(texts) // 2]) if texts else ""
    return text if len(text) <= length else f"{text[: length - 1]}…"
