"""`make demo`: starts the stack, shows the documents as they are written, and stops everything at Ctrl-C."""

import contextlib
import functools
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from typing import Any, NoReturn

from pymongo.collection import Collection
from pymongo.errors import PyMongoError
from rich.console import Console

from jobs.settings import SettingError
from local import view
from local.process import StackError
from local.settings import read_settings
from local.stack import Stack
from local.store import client, collection

REFRESH_SECONDS = 0.5
# When no new document comes for this time and the length of a window, the demo ends with an error.
PATIENCE_SECONDS = 180
MAX_RESTARTS = 5


def main() -> int:
    console = Console(stderr=False, highlight=False)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        settings = read_settings()
        with Stack(settings) as stack, stopping(console):
            run(stack, console)
    except KeyboardInterrupt:
        return 130
    except (StackError, SettingError) as error:
        for line in str(error).splitlines():
            console.print(f"[red]error:[/red] {line}", markup=True, soft_wrap=True)
        return 1
    return 0


def interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001
    raise KeyboardInterrupt


@contextlib.contextmanager
def stopping(console: Console) -> Iterator[None]:
    try:
        yield
    finally:
        # A second Ctrl-C would leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        console.print("stopping everything ...")


def run(stack: Stack, console: Console) -> None:
    """Start the stack and show documents until DOCUMENTS of them have come, or until Ctrl-C."""
    settings = stack.settings
    began = time.monotonic()
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    with view.screen(console, view.addresses(settings)) as screen:
        start(stack, screen)
        with client(settings.store_uri) as connection:
            watch(stack, screen, collection(connection), since, began)


def start(stack: Stack, screen: view.Screen) -> None:
    """Start the stack in another thread and show its steps meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(functools.partial(stack.start, demo=True))
        try:
            while not future.done():
                screen.steps(stack.steps)
                wait([future], timeout=REFRESH_SECONDS)
        except BaseException:
            stack.abort()
            raise
        screen.steps(stack.steps)
        future.result()


def watch(
    stack: Stack,
    screen: view.Screen,
    documents: Collection[dict[str, Any]],
    since: str,
    began: float,
) -> None:
    """Show the windows that ended after `since` (ISO 8601), and restart programs that die.

    began: time.monotonic() of the demo's start
    """
    settings = stack.settings
    restarts: Counter[str] = Counter()
    seen: set[str] = set()
    newest_at = time.monotonic()
    while settings.documents is None or len(seen) < settings.documents:
        time.sleep(REFRESH_SECONDS)
        try:
            found = list(documents.find({"timestamp": {"$gt": since}}).sort("timestamp", -1).limit(view.WINDOWS))
        except PyMongoError:
            found = []  # the store is being restarted
        fresh = [document for document in reversed(found) if document["hash"] not in seen]
        if settings.documents is not None:  # several windows may have ended since the start
            fresh = fresh[: settings.documents - len(seen)]
        if fresh:
            if not seen:
                screen.note(view.time_line(stack.steps, began, time.monotonic()))
            seen.update(document["hash"] for document in fresh)
            newest_at = time.monotonic()
            screen.windows(found, fresh)
        restart_dead(stack, restarts, screen)
        if time.monotonic() - newest_at > settings.window_seconds + PATIENCE_SECONDS:
            raise StackError(
                f"no document came for {time.monotonic() - newest_at:.0f} s; "
                f"see the jobs' state at {settings.flink_url} and the logs in {settings.logs}"
            )


def restart_dead(stack: Stack, restarts: "Counter[str]", screen: view.Screen) -> None:
    """Restart programs that have died. Raises StackError when one dies too often, or when the JobManager has died."""
    if not stack.flink.jobmanager.alive():
        raise StackError(f"the JobManager died, and the jobs with it (log: {stack.flink.jobmanager.log})")
    for program in stack.programs():
        if not program.alive():
            restarts[program.name] += 1
            if restarts[program.name] > MAX_RESTARTS:
                raise StackError(f"{program.name} died {MAX_RESTARTS} times (log: {program.log})")
            screen.note(f"{program.name} died and is being restarted")
            program.start()


if __name__ == "__main__":
    sys.exit(main())
