"""Checks before anything is started; each problem is one line."""

import contextlib
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from websockets.uri import parse_uri

from jobs.proxies import websocket_proxy
from local.process import StackError
from local.settings import Settings

# The scripts of Flink and Kafka split paths at blanks, and Flink reads some paths as URLs.
PATH = "[A-Za-z0-9/._+@-]+"
MIN_JAVA = 17  # what Kafka 4 needs; Flink 1.20 runs on it as well


def check(settings: Settings) -> None:
    """Raise StackError with one line for each problem."""
    problems = [
        *check_path(settings.state),
        *check_java(java_version()),
        *check_maven(settings, shutil.which("mvn")),
        *check_ports(settings),
        *(() if settings.simulated else check_feed(settings)),
    ]
    if problems:
        raise StackError("\n".join(problems))


def check_path(state: Path) -> Iterable[str]:
    if not re.fullmatch(PATH, str(state)):
        allowed = "one of A-Z, a-z, 0-9 and / . _ + @ - is allowed"
        yield f"Flink's scripts do not take the path STATE={str(state)!r}: {allowed}"


def java_version() -> str | None:
    """The output of `java -version`, or None without a java on PATH."""
    try:
        result = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return None
    return result.stderr + result.stdout


def check_java(printed: str | None) -> Iterable[str]:
    """printed: see `java_version`."""
    if printed is None:
        yield f"java is not on PATH: install a JDK {MIN_JAVA}"
        return
    match = re.search(r'version "(\d+)', printed)
    if match is None or int(match[1]) < MIN_JAVA:
        first = printed.strip().splitlines() or ["nothing"]
        yield f"java is too old: a JDK {MIN_JAVA} or newer is needed, `java -version` says {first[0]}"


def check_maven(settings: Settings, maven: str | None) -> Iterable[str]:
    if maven is None and not all((settings.jars / name).is_dir() for name in ("flink", "kafka")):
        yield "mvn is not on PATH: install Maven, which fetches the jars of Kafka and of Flink's connectors"


def check_ports(settings: Settings) -> Iterable[str]:
    unused = {
        "mongodb": settings.mongodb_uri is not None,
        "simulator": not settings.simulated,
    }
    for name, port in vars(settings.ports).items():
        if not unused.get(name) and in_use(port):
            yield f"port {port} is in use{by_whom(port)}: free it, or choose another with {name.upper()}_PORT"


def in_use(port: int) -> bool:
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        # The programs set it, too: a port with connections in TIME_WAIT only can be used.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def by_whom(port: int) -> str:
    """The program that listens on a port, for the error message; empty when it cannot be found."""
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                if connection.pid is None:
                    break
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return ""


def check_feed(settings: Settings, connect: Callable[..., socket.socket] = socket.create_connection) -> Iterable[str]:
    """One line when no server of the feed accepts a connection within five seconds.

    A server behind a proxy, or whose name is in a secret file, counts as reachable.
    """
    reasons = []
    for url in settings.definition.connect["urls"]:
        if "$" in urlsplit(url).netloc or "proxy" in settings.definition.connect or websocket_proxy(url):
            return
        server = parse_uri(url)
        try:
            connect((server.host, server.port), timeout=5).close()
        except OSError as error:
            reasons.append(f"{server.host}:{server.port}: {error}")
        else:
            return
    yield f"no server of FEED={settings.feed!r} can be reached ({'; '.join(reasons)})"
