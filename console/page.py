"""Renders the page and its sections as HTML. Everything from outside is escaped by Jinja's autoescape."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from console.view import View, clock

SECTIONS = ("state", "path", "ledger", "posts", "documents", "rejected", "operations")
WIDTH, HEIGHT = 180, 32  # of a line, in CSS pixels


class Page:
    """The templates, loaded once."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._templates.filters["time"] = time_tag
        self._templates.filters["line"] = line
        self.static = {each.name: each.read_bytes() for each in resources.files("console").joinpath("static").iterdir()}
        self.versions = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in self.static.items()}

    def sections(self, view: View) -> Mapping[str, str]:
        """The inner HTML of each section."""
        return {name: self._templates.get_template(f"{name}.html").render(view=view) for name in SECTIONS}

    def whole(self, view: View) -> str:
        sections = {name: Markup(html) for name, html in self.sections(view).items()}  # noqa: S704 - rendered above
        return self._templates.get_template("page.html").render(view=view, sections=sections, versions=self.versions)


def time_tag(seconds: float) -> Markup:
    """A time that the browser shows in the reader's zone; without JavaScript it is UTC."""
    if not seconds:
        return Markup("unknown")
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{0}" title="{0}">{1} UTC</time>').format(moment, clock(seconds))


def line(points: Sequence[float | None], label: str) -> Markup:
    """A line of values over time as SVG. Steps without a value are gaps."""
    known = [point for point in points if point is not None]
    if len(known) < 2:
        return Markup("")
    highest = max(known) or 1.0
    step = WIDTH / (len(points) - 1)
    runs: list[list[str]] = [[]]
    for number, point in enumerate(points):
        if point is None:
            runs.append([])
        else:
            runs[-1].append(f"{number * step:.1f},{HEIGHT - 1 - point / highest * (HEIGHT - 2):.1f}")
    drawn = Markup("").join(Markup('<polyline points="{}"/>').format(" ".join(run)) for run in runs if len(run) > 1)
    about = f"{label}, last 15 minutes: now {known[-1]:,.1f}, at most {max(known):,.1f}"
    return Markup('<svg class="line" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        WIDTH, HEIGHT, about, drawn
    )
