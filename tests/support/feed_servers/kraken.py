"""A stand-in for Kraken's WebSocket API, version 2, channel `trade`.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/, pages trade (T), heartbeat (H), status (S)
and ping (P). Not in these pages: that a silent client is disconnected after a minute.
"""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

from websockets.http11 import Request

from tests.support.feed_servers.base import FeedServer, Session

SYMBOLS = {"BTC/USD", "ETH/USD"}
SNAPSHOT = 50  # T: the most recent trades of a symbol


class KrakenServer(FeedServer):
    """max_silence: seconds without a message of the client. heartbeat: seconds between two heartbeats."""

    path = "/v2"
    max_silence = 60.0
    heartbeat = 1.0  # H: in the absence of other updates

    def __init__(self) -> None:
        super().__init__()
        self.next_id: dict[str, int] = {}

    def refusal(self, request: Request) -> tuple[int, str] | None:
        return None if request.path == self.path else (404, "")

    def trades(self, *symbols: str) -> list[str]:
        """Publish a trade of each of these symbols, in one frame (T), and return the collector's ids of them."""
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        made = []
        for symbol in symbols:
            number = self.next_id.get(symbol, 7)  # T: a sequence number, unique per book
            self.next_id[symbol] = number + 1
            trade = {"symbol": symbol, "side": "buy", "price": 64_000.1, "qty": 0.5, "ord_type": "limit"}
            made.append(trade | {"trade_id": number, "timestamp": now})
        self.log.append(made)
        return [f"kraken-{trade['symbol']}-{trade['trade_id']}" for trade in made]

    async def converse(self, session: Session) -> None:
        status = {"system": "online", "api_version": "v2", "connection_id": 1, "version": "2.0.0"}
        await session.send(json.dumps({"channel": "status", "type": "update", "data": [status]}))  # S
        while True:
            await asyncio.sleep(self.heartbeat)
            if session.subscribed:
                await session.send(json.dumps({"channel": "heartbeat"}))
            if time.monotonic() - max(session.incoming, default=0) > self.max_silence:
                return

    async def on_message(self, session: Session, message: str | bytes) -> None:
        request = json.loads(message)
        if request.get("method") == "ping":  # P
            await session.send(json.dumps({"method": "pong", "time_in": "", "time_out": ""}))
        elif request.get("method") == "subscribe":
            await self.subscribe(session, request["params"])

    async def subscribe(self, session: Session, params: dict[str, Any]) -> None:
        """T: an answer for each symbol; then the snapshots, unless they are not wanted; then the updates."""
        wanted = [symbol for symbol in params["symbol"] if symbol in SYMBOLS]
        end = len(self.log)
        for symbol in params["symbol"]:
            answer: dict[str, Any] = {"method": "subscribe", "success": symbol in wanted}
            if symbol in wanted:
                answer["result"] = {"channel": "trade", "symbol": symbol, "snapshot": params.get("snapshot", False)}
            else:
                answer["error"] = f"Currency pair not supported {symbol}"
            await session.send(json.dumps(answer))
        for symbol in wanted if params.get("snapshot") else ():
            stored = [trade for trades in self.log[:end] for trade in trades if trade["symbol"] == symbol]
            await session.send(json.dumps({"channel": "trade", "type": "snapshot", "data": stored[-SNAPSHOT:]}))

        def update(trades: list[dict[str, Any]]) -> dict[str, Any] | None:
            data = [trade for trade in trades if trade["symbol"] in wanted]
            return {"channel": "trade", "type": "update", "data": data} if data else None

        if wanted:
            self.spawn(session, self.follow(session, end, update))
