"""Which addresses a server listens on: IPv4, and IPv6 where this host has it."""

import contextlib
import socket

EVERY = "*"  # value of a host setting: every address of this host
PAIRS = {"localhost": ("127.0.0.1", "::1"), EVERY: ("0.0.0.0", "::")}  # noqa: S104 - in a container


def addresses(host: str) -> list[str]:
    """The addresses for a server that opens one socket for each.

    `localhost` and `EVERY` give an IPv4 and an IPv6 address: a client of `localhost` may try either first. Any other
    host is returned as it is.
    """
    if host not in PAIRS:
        return [host]
    ipv4, ipv6 = PAIRS[host]
    return [ipv4, ipv6] if can_bind(ipv6) else [ipv4]


def every_address() -> str:
    """The address for a server with one socket: one on `::` takes IPv4 too while IPV6_V6ONLY is off, as on Linux."""
    return addresses(EVERY)[-1]


def can_bind(ipv6: str) -> bool:
    """Whether this host has the IPv6 address."""
    with contextlib.suppress(OSError), socket.create_server((ipv6, 0), family=socket.AF_INET6):
        return True
    return False
