#!/opt/venv/bin/python
"""The entry point of the official mongo image for SecantusDB: options that SecantusDB does not have are refused.

The first start creates the user of MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD and runs
/docker-entrypoint-initdb.d/*.sh against a server on the loopback interface. Then this process becomes the server.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import ConnectionFailure, OperationFailure

SERVER = "/opt/venv/bin/secantusd-py"
SCRIPTS = Path("/docker-entrypoint-initdb.d")
# Written when the first start is complete: after a kill during it, the next start repeats everything.
DONE = ".initialised"
USER_EXISTS = 51003
STOP_SECONDS = 10


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    options = parse(arguments[1:] if arguments[:1] == ["mongod"] else arguments)
    root = root_user(environment)
    data = Path(options.dbpath)
    if not os.access(data, os.W_OK):
        raise SystemExit(f"error: {data} is not writable for user {os.getuid()}")
    server = [SERVER, "--standalone", "--log-level", "WARNING", "--storage-path", str(data)]
    server += ["--port", str(options.port), "--cache-size", f"{int(options.wiredTigerCacheSizeGB * 1024)}M"]
    if not (data / DONE).exists():
        found = scripts()
        if options.auth and not root and not found:
            raise SystemExit("error: --auth without MONGO_INITDB_ROOT_USERNAME: nobody could create the first user")
        initialise(server, options.port, root, found)
        (data / DONE).touch()
    if options.auth or root:
        server.append("--auth")
    os.execv(SERVER, [*server, "--host", options.bind_ip, *tls(options)])


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options of mongod that SecantusDB has, too. Any other option is an error with its name."""
    parser = argparse.ArgumentParser(prog="mongod", allow_abbrev=False)
    parser.add_argument("--dbpath", default="/data/db")
    parser.add_argument("--port", type=int, default=27017)
    parser.add_argument("--ipv6", action="store_true")
    parser.add_argument("--bind_ip")
    parser.add_argument("--bind_ip_all", action="store_true")
    parser.add_argument("--auth", action="store_true")
    parser.add_argument("--wiredTigerCacheSizeGB", type=float, default=0.25)
    parser.add_argument("--tlsMode", choices=["disabled", "requireTLS"], default="disabled")
    parser.add_argument("--tlsCertificateKeyFile")
    parser.add_argument("--tlsCAFile")
    parser.add_argument("--tlsAllowConnectionsWithoutCertificates", action="store_true")
    options = parser.parse_args(arguments)
    if options.bind_ip is None:  # the official image adds --bind_ip_all
        options.bind_ip = "::" if options.ipv6 and Path("/proc/net/if_inet6").exists() else "0.0.0.0"
    if "," in options.bind_ip:
        parser.error("--bind_ip: one address only")
    if (options.tlsMode == "requireTLS") != bool(options.tlsCertificateKeyFile):
        parser.error("--tlsMode requireTLS and --tlsCertificateKeyFile need each other")
    return options


def tls(options: argparse.Namespace) -> list[str]:
    if options.tlsMode == "disabled":
        return []
    # One file holds certificate and key, as for mongod.
    flags = ["--tls-cert-file", options.tlsCertificateKeyFile, "--tls-key-file", options.tlsCertificateKeyFile]
    if options.tlsCAFile:
        flags += ["--tls-ca-file", options.tlsCAFile]
        if not options.tlsAllowConnectionsWithoutCertificates:
            flags.append("--tls-require-client-cert")
    return flags


def root_user(environment: Mapping[str, str]) -> tuple[str, str] | None:
    name = setting(environment, "MONGO_INITDB_ROOT_USERNAME")
    password = setting(environment, "MONGO_INITDB_ROOT_PASSWORD")
    if bool(name) != bool(password):
        raise SystemExit("error: MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD need each other")
    return (name, password) if name and password else None


def setting(environment: Mapping[str, str], name: str) -> str:
    """The variable's value, or the content of the file that NAME_FILE names."""
    file = environment.get(f"{name}_FILE")
    if not file:
        return environment.get(name, "")
    if environment.get(name):
        raise SystemExit(f"error: both {name} and {name}_FILE are set")
    try:
        return Path(file).read_text().rstrip("\n")
    except OSError as error:
        raise SystemExit(f"error: {name}_FILE: {error}") from None


def scripts() -> list[Path]:
    found = sorted(SCRIPTS.glob("*"))
    for script in found:
        if script.suffix == ".js":
            raise SystemExit(f"error: {script}: this stub has no JavaScript shell; use a .sh script")
    return [script for script in found if script.suffix == ".sh"]


def initialise(server: list[str], port: int, root: tuple[str, str] | None, found: list[Path]) -> None:
    if not root and not found:
        return
    with running([*server, "--host", "127.0.0.1"], port) as client:
        if root:
            name, password = root
            roles = [{"role": "root", "db": "admin"}]
            try:
                client.admin.command("createUser", name, pwd=password, roles=roles)
            except OperationFailure as error:
                if error.code != USER_EXISTS:
                    raise
        for script in found:
            # As in the official image, a script ends at its first error, and with it the start.
            status = subprocess.run(["bash", "-euo", "pipefail", script], check=False).returncode
            if status:
                raise SystemExit(f"error: {script} ended with status {status}")


@contextlib.contextmanager
def running(server: list[str], port: int) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    process = subprocess.Popen(server)
    try:
        client: pymongo.MongoClient[dict[str, Any]]
        with pymongo.MongoClient("127.0.0.1", port, serverSelectionTimeoutMS=500) as client:
            while True:
                with contextlib.suppress(ConnectionFailure):
                    client.admin.command("ping")
                    break
                if process.poll() is not None:
                    raise SystemExit(f"error: the server ended with status {process.returncode}")
            yield client
    finally:
        # Python misses a signal that comes just before its main thread sleeps, so the signal is repeated, but only
        # after STOP_SECONDS: a second signal makes a server that is stopping begin anew.
        while process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)


if __name__ == "__main__":
    # Process 1 of a container has no default handlers: without this one, SIGTERM would not end the first start.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    main(sys.argv[1:], os.environ)
