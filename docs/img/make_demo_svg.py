"""Draws docs/img/demo.svg: what `make demo` shows on a terminal, with made-up documents.

Run it from the top folder of the repository, and commit the picture: .venv/bin/python -m docs.img.make_demo_svg
The view is the demo's own (local/view.py), so a change of the view needs a new picture.
"""

import io
import re
from pathlib import Path
from typing import Any, cast

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, RenderableType
from rich.live import Live

from jobs.cleaning import clean
from jobs.documents import document_key, iso
from local.stack import Step
from local.view import Terminal, time_line
from simulator.posts import post_text

PICTURE = Path(__file__).with_name("demo.svg")
COLUMNS = 132
NEWEST_END = 1_767_225_800  # 2026-01-01T00:03:20Z
WINDOW_SECONDS, WINDOWS, POSTS = 20, 8, 400
SEED = 1
# Of the simulator's posts: short ones in English, which every font can show.
PRINTABLE = re.compile(r"[ -~]{30,58}")
ADDRESSES = {
    "Flink UI": "http://127.0.0.1:8081",
    "database": "mongodb://127.0.0.1:27017",
    "posts": "ws://127.0.0.1:5555",
    "logs": ".state/run/logs",
}
START = {"Kafka broker and topics": 6, "Flink cluster": 7, "job collector_stream": 19, "job aggregator_stream": 20}


class Picture:
    """Takes the place of rich's Live: it keeps what would be drawn."""

    def update(self, renderable: RenderableType, *, refresh: bool = False) -> None:  # noqa: ARG002
        self.drawn = renderable


def documents() -> list[dict[str, Any]]:
    """The documents of the newest windows, newest first."""
    texts = (clean(post_text(SEED, number)) for number in range(1, 5_000))
    samples = [text for text in texts if PRINTABLE.fullmatch(text)]
    return [document(age, samples[age]) for age in range(WINDOWS)]


def document(age: int, text: str) -> dict[str, Any]:
    """One window of POSTS posts that all read the same. age: how many windows came after it."""
    end = NEWEST_END - age * WINDOW_SECONDS
    start, stop = iso(end - WINDOW_SECONDS), iso(end)
    cases, deaths, recovered = 704_753_890 - 41 * age, 7_010_681 - age, 675_619_811 - 37 * age
    return {
        "hash": document_key("tweets", start, stop, 0),
        "content": [text] * POSTS,
        "timestamp": stop,
        "total_cases_count": cases,
        "total_deaths_count": deaths,
        "total_recovered_count": recovered,
        "active_cases_count": cases - deaths - recovered,
    }


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    picture = Picture()
    terminal = Terminal(cast(Live, picture), ADDRESSES)
    newest = documents()
    terminal.windows(newest, newest)
    terminal.note(time_line([Step(name, "done", 0, seconds) for name, seconds in START.items()], 0, 24))
    console.print("[bold green]$[/] make demo")
    console.print(picture.drawn)
    # Without the web fonts, which a reader's browser would fetch from another site.
    code = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(str(PICTURE), title="make demo", code_format=code, unique_id="demo")


if __name__ == "__main__":
    main()
