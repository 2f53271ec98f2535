"""A stand-in for Mastodon's streaming server.

Sources: https://docs.joinmastodon.org/methods/streaming/ (D) and streaming/index.js of
https://github.com/mastodon/mastodon (C).
"""

import json
import time
from datetime import UTC, datetime
from typing import Any

from websockets.http11 import Request

from tests.support.feed_servers.base import FeedServer, Session, query_of

STREAMS = {"public", "public:local", "public:remote", "public:media", "hashtag"}


class MastodonServer(FeedServer):
    """token: the only valid token. scoped: whether it may read posts."""

    path = "/api/v1/streaming?stream=public"
    ping_interval = 30.0  # C: a connection that has not answered the last ping is terminated
    ping_timeout = 30.0

    def __init__(self, token: str, *, scoped: bool = True) -> None:
        super().__init__()
        self.token = token
        self.scoped = scoped

    def refusal(self, request: Request) -> tuple[int, str] | None:
        if request.path.partition("?")[0] != "/api/v1/streaming":
            return 404, ""
        # D, C: a header, a query parameter or the subprotocol; 401 without a valid token.
        given = [request.headers.get("Authorization", "").removeprefix("Bearer ")]
        given += [*query_of(request.path).get("access_token", []), request.headers.get("Sec-WebSocket-Protocol", "")]
        return None if self.token in given else (401, "")

    async def converse(self, session: Session) -> None:
        stream = session.query.get("stream", [""])[0]
        # C: a wrong stream and a missing scope are reported in the socket, which stays open.
        if stream and (stream not in STREAMS or not self.scoped):
            status = 401 if self.scoped is False else 400
            await session.send(json.dumps({"error": "refused", "status": status}))
            stream = ""
        if not stream:
            await session.wait_closed()
        await self.follow(session, len(self.log), lambda event: {"stream": [stream]} | event)

    async def on_message(self, session: Session, message: str | bytes) -> None:
        if isinstance(message, bytes):
            await session.close(1003, "no binary messages")  # C

    def update(self, number: int, event: str = "update") -> str:
        """Publish a post, and return the collector's id of it. D: the payload is JSON in a string."""
        now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        status: dict[str, Any] = {
            "id": str(number),
            "created_at": now,
            "language": "en",
            "content": f"<p>post {number}</p>",
        }
        status["uri"] = f"https://social.example/users/ann/statuses/{number}"
        self.log.append({"event": event, "payload": json.dumps(status)})
        return f"mastodon-{number}"

    def delete(self, number: int) -> None:
        """D: the payload is the id."""
        self.log.append({"event": "delete", "payload": str(number)})
