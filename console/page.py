"""Renders the page and its sections as HTML. Everything from outside is escaped by Jinja's autoescape."""

import gzip
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from console.history import STEP_SECONDS
from console.view import View, clock

SECTIONS = ("state", "path", "ledger", "posts", "documents", "rejected", "operations")
HEIGHT = 32  # of a line, in its own units; one step of time is one unit wide


class Page:
    """The templates, loaded once."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
            lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._templates.filters["time"] = time_tag
        self._templates.filters["line"] = line
        self.static = static_files()
        self.compressed = {name: gzip.compress(content) for name, content in self.static.items()}
        self.versions = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in self.static.items()}

    def sections(self, view: View) -> Mapping[str, str]:
        """The inner HTML of each section."""
        return {name: self._templates.get_template(f"{name}.html").render(view=view) for name in SECTIONS}

    def whole(self, view: View) -> str:
        sections = {name: Markup(html) for name, html in self.sections(view).items()}  # noqa: S704 - rendered above
        return self._templates.get_template("page.html").render(view=view, sections=sections, versions=self.versions)


def static_files() -> dict[str, bytes]:
    """The files below static/ by their path."""
    with resources.as_file(resources.files("console").joinpath("static")) as folder:
        return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def time_tag(seconds: float) -> Markup:
    """A time that the browser shows in the reader's zone; without JavaScript it is UTC."""
    if not seconds:
        return Markup("unknown")
    moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{0}" title="{0}">{1} UTC</time>').format(moment, clock(seconds))


def line(points: Sequence[float | None], label: str, unit: str, now: float) -> Markup:
    """A line of values over time as SVG. Steps without a value are gaps. charts.js draws the same from its data."""
    known = [point for point in points if point is not None]
    if len(known) < 2:
        return Markup("")
    highest = max(known) or 1.0
    runs: list[list[str]] = [[]]
    for number, point in enumerate(points):
        if point is None:
            runs.append([])
        else:
            runs[-1].append(f"{number},{HEIGHT - 1 - point / highest * (HEIGHT - 2):.1f}")
    drawn = Markup("").join(Markup('<polyline points="{}"/>').format(" ".join(run)) for run in runs if len(run) > 1)
    about = f"{label}, last 15 minutes: now {known[-1]:,.1f}{unit}, at most {max(known):,.1f}{unit}"
    data = Markup('data-name="{}" data-unit="{}" data-end="{}" data-step="{}" data-points="{}"').format(
        label,
        unit,
        int(now // STEP_SECONDS) * STEP_SECONDS,
        STEP_SECONDS,
        ",".join("" if point is None else f"{point:.1f}" for point in points),
    )
    box = f"0 0 {len(points) - 1} {HEIGHT}"
    return Markup(
        '<svg class="line" viewBox="{}" preserveAspectRatio="none" role="img" aria-label="{}" {}>{}</svg>'
    ).format(box, about, data, drawn)
