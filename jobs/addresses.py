"""Patterns and rules for addresses and names in settings. No I/O.

The chart's schema has the same expressions. So they use only what its engine (RE2) supports.
"""

import contextlib
import re
from ipaddress import ip_address
from typing import NamedTuple

PORT = "(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HOST = r"(?:\[[0-9a-fA-F:.]+\]|[^\]\[\s@/:?#,'\\]+)"
# Without the scheme. A user without a password is not allowed: one client ignores it, the other rejects it.
URL = rf"(?:[^\s@/:?#\\]+:[^\s@/?#\\]*@)?{HOST}(?::{PORT})?(?:[/?][^\s#]*)?"
URL_ALLOWED = "[user:password@]host[:port][/path][?query] without blank or '#', with '@/?#' in a password as %40 etc."
WEBSOCKET_ALLOWED = f"addresses that start with ws:// or wss://, separated by commas, each {URL_ALLOWED}"
PAGE_ALLOWED = f"an address that starts with http:// or https://, {URL_ALLOWED}"
MONGODB_ALLOWED = "an address that starts with mongodb:// or mongodb+srv://"
SERVERS = f"{HOST}:{PORT}(?:,{HOST}:{PORT})*"
SERVERS_ALLOWED = "host:port[,host:port...], an IPv6 address in brackets, with ports from 1 to 65535"
# Suffixes of names that only the cluster's DNS resolves. Names without a dot belong to it, too.
CLUSTER = (".svc", ".cluster.local")


class NameRule(NamedTuple):
    """A rule for names.

    pattern: the complete name must match it.
    forbidden: the complete name must not match it.
    allowed: both as a text for error messages.
    """

    pattern: str
    forbidden: str
    allowed: str

    def allows(self, name: str) -> bool:
        return bool(re.fullmatch(self.pattern, name)) and not re.fullmatch(self.forbidden, name)


# https://github.com/apache/kafka, org.apache.kafka.common.internals.Topic; Kafka's own topics begin with `__`.
TOPIC = NameRule(
    "[a-zA-Z0-9._-]{1,249}",
    r"\.{1,2}|__.*",
    "1 to 249 of the characters a-z, A-Z, 0-9, '.', '_', '-', not '.', not '..' and not with '__' first,",
)
# https://www.mongodb.com/docs/manual/reference/limits/#naming-restrictions; without MongoDB's own databases.
DATABASE = NameRule(
    "[a-zA-Z0-9_-]{1,63}",
    "admin|local|config",
    "1 to 63 of the characters a-z, A-Z, 0-9, '_', '-', other than admin, local, config,",
)
COLLECTION = NameRule(
    r"[a-zA-Z0-9_-]+(?:\.[a-zA-Z0-9_-]+)*",
    r"system\..*|.{191,}",
    "1 to 190 of the characters a-z, A-Z, 0-9, '_', '-', '.', with no '.' at an end or beside another, not system.*,",
)


def websocket_addresses(text: str) -> tuple[str, ...] | None:
    urls = tuple(url.strip() for url in text.split(","))
    return urls if all(re.fullmatch(f"wss?://{URL}", url) for url in urls) else None


def page_address(text: str) -> str | None:
    return text if re.fullmatch(f"https?://{URL}", text) else None


def mongodb_address(text: str) -> str | None:
    """Checks only the scheme. MongoDB's driver checks the rest when the aggregator is submitted."""
    return text if text.startswith(("mongodb://", "mongodb+srv://")) else None


def uses_tls(uri: str) -> bool:
    """Whether MongoDB's driver uses TLS for this address. For mongodb+srv:// TLS is on unless the address turns it off.

    https://www.mongodb.com/docs/manual/reference/connection-string-options/#tls-options
    """
    options = dict(option.lower().partition("=")[::2] for option in uri.partition("?")[2].split("&"))
    given = options.get("tls", options.get("ssl"))
    return uri.startswith("mongodb+srv://") if given is None else given == "true"


def with_write_concern(uri: str) -> str:
    """The MongoDB address with `w=majority&journal=true`: an acknowledged write survives a crash of the server.

    Flink drops a window once its write is acknowledged. By default the server acknowledges before the write is in its
    journal. Options that the address already has stay. https://www.mongodb.com/docs/manual/reference/write-concern/
    """
    base, _, query = uri.partition("?")
    if base.count("/") < 3:
        base += "/"
    given = {option.partition("=")[0].lower() for option in query.split("&")}
    if "w=0" in query.split("&"):
        return uri  # the user wants no acknowledgement; MongoDB allows no journal option with it
    wanted = [f"{name}={value}" for name, value in (("w", "majority"), ("journal", "true")) if name not in given]
    return f"{base}?{'&'.join([*filter(None, [query]), *wanted])}" if wanted else uri


def bypasses_proxy(host: str) -> bool:
    """Whether a host is this machine or a Service of the cluster, which no proxy can reach."""
    with contextlib.suppress(ValueError):
        return ip_address(host).is_loopback
    return "." not in host or host.endswith(CLUSTER)
