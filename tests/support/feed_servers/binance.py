"""A stand-in for Binance's combined streams of trades.

Source: https://developers.binance.com/docs/binance-spot-api-docs/, pages web-socket-streams (general information and
limits) and websocket-api/connection-events (serverShutdown).
"""

import asyncio
import re
import time

from websockets.http11 import Request

from tests.support.feed_servers.base import FeedServer, Session, query_of


class BinanceServer(FeedServer):
    """Trades of each symbol have ids that grow by one."""

    path = "/stream?streams=btcusdt@trade/ethusdt@trade"
    ping_interval = 20.0  # the server pings every 20 seconds,
    ping_timeout = 60.0  # and disconnects without a pong within a minute
    max_age: float | None = 86_400.0  # a connection is valid for 24 hours
    most_messages = 5  # a second, pings and pongs included
    most_streams = 1_024

    def __init__(self) -> None:
        super().__init__()
        self.next_id: dict[str, int] = {}

    def refusal(self, request: Request) -> tuple[int, str] | None:
        # All names are in lower case.
        streams = query_of(request.path).get("streams", [""])[0].split("/")
        sound = all(re.fullmatch(r"[a-z0-9]+@trade", stream) for stream in streams)
        fits = request.path.startswith("/stream?") and sound and len(streams) <= self.most_streams
        return None if fits else (400, "")

    def trade(self, symbol: str) -> str:
        """Publish a trade, and return the collector's id of it."""
        number = self.next_id.get(symbol, 7)
        self.next_id[symbol] = number + 1
        now = int(time.time() * 1000)
        trade = {"e": "trade", "E": now, "s": symbol, "t": number, "p": "64000.10", "q": "0.5", "T": now, "m": True}
        self.log.append({"stream": f"{symbol.lower()}@trade", "data": trade})
        return f"binance-{symbol}-{number}"

    async def converse(self, session: Session) -> None:
        streams = session.query["streams"][0].split("/")
        following = asyncio.ensure_future(
            self.follow(session, len(self.log), lambda event: event if event["stream"] in streams else None)
        )
        try:
            while not following.done():
                await asyncio.sleep(0.05)
                now = time.monotonic()
                if sum(now - at < 1 for at in session.incoming) > self.most_messages:
                    await session.close(1008, "too many messages")
        finally:
            following.cancel()

    def shut_down(self) -> None:
        """Announce that the server is about to shut down. The client should leave before it does."""
        self.tell({"event": {"e": "serverShutdown", "E": int(time.time() * 1000)}})
