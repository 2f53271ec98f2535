"""Which addresses a server listens on, of both versions of IP where this host has both."""

import contextlib
import socket

EVERY = "*"  # as a setting's value: every address of this host
PAIRS = {"localhost": ("127.0.0.1", "::1"), EVERY: ("0.0.0.0", "::")}  # noqa: S104 - in a container


def addresses(host: str) -> list[str]:
    """For a server with a socket for each: both of `localhost`, since clients try either first, or of `EVERY`;
    else `host`."""
    if host not in PAIRS:
        return [host]
    ipv4, ipv6 = PAIRS[host]
    return [ipv4, ipv6] if can_bind(ipv6) else [ipv4]


def every_address() -> str:
    """For a server with one socket: that of `::` takes IPv4 too, as long as IPV6_V6ONLY is off, Linux's default."""
    return addresses(EVERY)[-1]


def can_bind(ipv6: str) -> bool:
    """False on a host without IPv6."""
    with contextlib.suppress(OSError), socket.create_server((ipv6, 0), family=socket.AF_INET6):
        return True
    return False
