"""Which proxy leads to an address: what the environment says, but none to this machine or to a Service of the cluster.

The environment's variables are those of curl (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY) and SOCKS_PROXY.
"""

from urllib.request import getproxies, proxy_bypass

from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from jobs.addresses import bypasses_proxy


def websocket_proxy(url: str) -> str | None:
    """The proxy through which a WebSocket is reached, None: it is reached directly. Raises websockets' InvalidURI."""
    uri = parse_uri(url)
    if bypasses_proxy(uri.host):
        return None
    # websockets does not know curl's variable for all protocols.
    return get_proxy(uri) or (None if proxy_bypass(f"{uri.host}:{uri.port}") else getproxies().get("all"))
