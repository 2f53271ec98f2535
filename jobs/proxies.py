"""Selects the proxy for a URL from the environment. This machine and Services of the cluster never use a proxy.

The variables are those of curl (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) and SOCKS_PROXY.
"""

from urllib.request import getproxies, proxy_bypass

from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from jobs.addresses import bypasses_proxy


def websocket_proxy(url: str) -> str | None:
    """The URL of the proxy for a WebSocket; None: connect directly. Raises websockets' InvalidURI."""
    uri = parse_uri(url)
    if bypasses_proxy(uri.host):
        return None
    # websockets does not read ALL_PROXY.
    return get_proxy(uri) or (None if proxy_bypass(f"{uri.host}:{uri.port}") else getproxies().get("all"))
