"""The documentation: its links resolve, and what it names exists."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from jobs.records import Counts
from local.settings import REPOSITORY
from tests.support.files import repository_files
from tests.unit.docs import pages

MAKEFILE = (REPOSITORY / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z_-]*):", MAKEFILE, re.MULTILINE))
ALERTS = set(
    re.findall(
        r"^ +- alert: (\w+)$",
        (REPOSITORY / "helm/data-collection/templates/monitoring/prometheusrule.yaml").read_text(),
        re.MULTILINE,
    )
)
# The first parts of paths that are looked up; what else stands in backticks may be a path somewhere else.
ROOMS = r"\.ci|\.github|benchmarks|deploy|dev|docs|helm|images|jobs|k8s|local|simulator|tests"
PATH = re.compile(rf"`((?:{ROOMS})/[\w./*-]*)`")
# Not committed: `helm dependency build` makes it.
MADE = {"helm/data-collection/charts"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
FIRST_PARTS = "collector|documents|enrichment|simulator"


def metrics() -> set[str]:
    """The names of the jobs' gauges and of the watchdog's metrics, as Prometheus has them behind Flink's scope."""
    jobs = "".join(file.read_text() for file in sorted((REPOSITORY / "jobs").glob("*.py")))
    found = set(re.findall(r'gauge\("(\w+)"', jobs)) | {f"collector_{name}" for name in vars(Counts())}
    watchdog = (REPOSITORY / "simulator/watchdog/metrics.py").read_text()
    for kind, name in re.findall(r'(Counter|Gauge)\(\s*"(\w+)"', watchdog):
        found.add(f"{name}_total" if kind == "Counter" else name)
    return found


def described(title: str, page: str = "metrics-and-alerts.md") -> list[str]:
    """What the first column of a section's table names."""
    return [pages.codes(row[0])[0] for row in pages.rows(pages.section((pages.REFERENCE / page).read_text(), title))]


@pytest.mark.parametrize("page", pages.pages(), ids=pages.relative)
def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for link in LINK.findall(pages.FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in pages.anchors(target.read_text())):
            broken.append(link)
    assert not broken


def test_each_page_is_in_the_index() -> None:
    index = pages.DOCS / "README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in LINK.findall(index.read_text())}
    assert {page for page in pages.DOCS.rglob("*.md") if page != index} <= linked


def test_the_readme_fits_on_a_screen_for_each_reader() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", pages.pages(), ids=pages.relative)
def test_make_targets_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"(?:`|^ {4,})(?:[A-Z_]+=\S+ )*make ((?:[a-z][a-z_-]*)(?: [a-z][a-z_-]*)*)", page.read_text(), re.MULTILINE
    )
    assert {target for line in named for target in line.split()} <= TARGETS


def test_the_reference_has_each_make_target() -> None:
    text = (pages.REFERENCE / "make-targets.md").read_text()
    listed = [pages.codes(row[0])[0].removeprefix("make ") for row in pages.rows(text)]
    assert sorted(listed) == sorted(TARGETS)


def test_each_metric_is_described() -> None:
    listed = [
        name
        for title in ("Metrics of the collector", "Metrics of the aggregator", "Watchdog")
        for name in described(title)
    ]
    assert sorted(listed) == sorted(metrics())


@pytest.mark.parametrize("page", pages.pages(), ids=pages.relative)
def test_metrics_that_are_named_exist(page: Path) -> None:
    named = {code for code in pages.codes(page.read_text()) if re.fullmatch(rf"(?:{FIRST_PARTS})_[a-z_]+", code)}
    assert named - {"collector_stream"} <= metrics()


def test_each_alert_is_described_with_its_time() -> None:
    alerts = pages.rows(pages.section((pages.REFERENCE / "metrics-and-alerts.md").read_text(), "Alerts"))
    assert sorted(pages.codes(row[0])[0] for row in alerts) == sorted(ALERTS)
    assert all(re.fullmatch(r"\d+ min", row[2]) for row in alerts)


def test_each_alert_has_its_first_steps() -> None:
    text = pages.section((pages.DOCS / "how-to/monitoring.md").read_text(), "What to do when an alert fires")
    assert sorted(name for row in pages.rows(text) for name in pages.codes(row[0])) == sorted(ALERTS)


@pytest.mark.parametrize("page", pages.pages(), ids=pages.relative)
def test_alerts_that_are_named_exist(page: Path) -> None:
    lists = re.findall(r"\balerts? (`\w+`(?:(?:, | and )`\w+`)*)", page.read_text())
    assert {name for text in lists for name in pages.codes(text)} <= ALERTS


def test_paths_that_are_named_exist() -> None:
    """In every file: in documentation, comments and messages."""
    missing = []
    for file in repository_files():
        if file.suffix in {".svg", ".lock"} or file.name == "requirements.txt":
            continue
        for path in PATH.findall(file.read_text(errors="replace")):
            name = path.rstrip("/")
            found = any(REPOSITORY.glob(name)) if "*" in name else (REPOSITORY / name).exists()
            if not (found or name in MADE):
                missing.append(f"{pages.relative(file)}: {path}")
    assert not missing
