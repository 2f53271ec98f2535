"""Stand-ins for this project's simulator. Source: simulator/twitter_stream_simulator.py."""

import re
import time
from typing import Any

from websockets.http11 import Request

from tests.support.feed_servers.base import FeedServer, Session, query_of


class SimulatorServer(FeedServer):
    """Posts numbered from 1 without gaps. feed: the name of the numbering."""

    def __init__(self) -> None:
        super().__init__()
        self.feed = "a1"

    def post(self) -> str:
        """Publish a post, and return the collector's id of it."""
        number = len(self.log) + 1
        self.log.append({"seq": number, "timestamp": int(time.time() * 1000), "text": f"post {number}"})
        return f"simulator-{self.feed}-{number}"

    def refusal(self, request: Request) -> tuple[int, str] | None:
        query = {name: values[0] for name, values in query_of(request.path).items()}
        since, feed = query.get("since", "0"), query.get("feed")
        if query.keys() - {"feed", "format", "since", "shard"} or query.get("format", "json") != "json":
            return 400, "bad query\n"
        if not re.fullmatch("[0-9]{1,18}", since) or (feed is not None and "since" not in query):
            return 400, "bad since\n"
        if feed not in (None, self.feed):
            return 410, "another numbering\n"
        return (400, "the numbering went back\n") if feed is None and int(since) > len(self.log) else None

    async def converse(self, session: Session) -> None:
        query = session.query
        shard, of = map(int, query.get("shard", ["0/1"])[0].split("/"))
        start = int(query["since"][0]) if "since" in query else len(self.log)

        def frame(post: dict[str, Any]) -> Any:
            if post["seq"] % of != shard:
                return None
            return post | {"feed": self.feed} if "format" in query else post["text"]

        await self.follow(session, start, frame)


class TextServer(SimulatorServer):
    """The simulator without `format=json`: each frame is a text. It is asked for no position."""

    def refusal(self, request: Request) -> tuple[int, str] | None:
        return (400, "no query is expected\n") if query_of(request.path) else None
