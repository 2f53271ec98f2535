"""A stand-in for Bluesky's Jetstream, both versions. Sources are sections of its docs/README.md and its lexicon.

https://github.com/bluesky-social/jetstream, lexicons/network/bsky/jetstream/subscribeEvents.json
"""

import json
from datetime import UTC, datetime
from typing import Any

from websockets.http11 import Request

from tests.support.feed_servers.base import FeedServer, Session, microseconds, query_of

POSTS = "app.bsky.feed.post"
LEXICON = "network.bsky.jetstream.subscribeEvents"
KINDS = {"commit", "identity", "account", "sync"}
TIMESTAMP = 10**15


class Jetstream(FeedServer):
    """Events that both versions share. `seq` grows by more than one, because other events lie between (section 2)."""

    first_seq = 1_000

    def __init__(self) -> None:
        super().__init__()
        self.next_seq = self.first_seq

    def event(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Publish an event, and return it."""
        event = {"seq": self.next_seq, "us": microseconds(), "kind": kind, "did": "did:plc:ann"} | fields
        self.next_seq += 3
        self.log.append(event)
        return event

    def commit(self, collection: str, operation: str, rkey: str, record: dict[str, Any] | None) -> dict[str, Any]:
        return self.event("commit", collection=collection, operation=operation, rkey=rkey, record=record)

    def post(self, rkey: str) -> str:
        """Publish a post, and return its id."""
        self.commit(POSTS, "create", rkey, {"$type": POSTS, "text": f"post {rkey}"})
        return f"at://did:plc:ann/{POSTS}/{rkey}"

    def other(self) -> None:
        """Publish events that are no new posts."""
        self.commit("app.bsky.feed.like", "create", "like", {"subject": {}})
        self.commit(POSTS, "delete", "gone", None)
        self.event("identity", handle="ann.example")

    def first_at(self, key: str, cursor: int) -> int:
        """The index of the first event at or after the cursor, which is inclusive (section 2)."""
        return next((index for index, event in enumerate(self.log) if event[key] >= cursor), len(self.log))


class JetstreamV2(Jetstream):
    """Section 5.2. floor: the oldest number that the server keeps."""

    path = f"/xrpc/{LEXICON}"

    def __init__(self) -> None:
        super().__init__()
        self.floor = 0
        self.subprotocols = ["xrpc.v1.json"]  # section 5.2: negotiated, and also the default without negotiation

    def refusal(self, request: Request) -> tuple[int, str] | None:
        path, query = request.path.partition("?")[0], query_of(request.path)
        if path != self.path:
            return 404, error("NotFound", path)
        # Section 5.2: the names of version 1 are refused, and so are filters that can never match.
        if old := query.keys() & {"wantedCollections", "wantedDids"}:
            return 400, error("InvalidRequest", f"{min(old)} is now collections or dids")
        kinds = set(query.get("kinds", KINDS))
        if kinds - KINDS or ("collections" in query and "commit" not in kinds):
            return 400, error("InvalidRequest", "kinds")
        # Section 5.1: a number below the floor is refused, with the floor in the message.
        cursor = query.get("cursor", ["0"])[0]
        if not cursor.isdigit():
            return 400, error("InvalidRequest", "cursor")
        if "cursor" in query and int(cursor) < self.floor:
            return 400, error("CursorTooOld", f"the oldest is {self.floor}")
        return None

    async def converse(self, session: Session) -> None:
        start, cursor = len(self.log), session.query.get("cursor")
        if cursor is not None and int(cursor[0]) > self.next_seq:
            # Lexicon: a number beyond the next one starts live, behind a notice.
            await session.send(message("info", {"name": "FutureCursor", "message": "starting at the tip"}))
        elif cursor is not None:
            key = "us" if int(cursor[0]) >= TIMESTAMP else "seq"
            start = self.first_at(key, int(cursor[0]))
        await self.follow(session, start, lambda event: self.frame(event, session))

    async def on_message(self, session: Session, message: str | bytes) -> None:  # noqa: ARG002
        await session.close(1008, "server-push only")  # section 5.2: any data of the client closes the connection

    def frame(self, event: dict[str, Any], session: Session) -> str | None:
        """The frame of an event; None if the filters of the query exclude it (lexicon: they are ANDed)."""
        query, kind = session.query, event["kind"]
        if kind not in query.get("kinds", KINDS):
            return None
        if kind == "commit" and "collections" in query and event["collection"] not in query["collections"]:
            return None
        time = datetime.fromtimestamp(event["us"] / 1e6, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        payload = {"seq": event["seq"], "did": event["did"], "time": time, "witnessedAt": time}
        if kind != "commit":
            return message(kind, payload | {kind: {"did": event["did"]}})
        fields = {name: event[name] for name in ("operation", "collection", "rkey", "record") if event[name]}
        return message(kind, payload | {"rev": "3kaaa"} | fields)

    def compact(self, rkey: str) -> None:
        """Remove a deleted record from the archive (section 3.3)."""
        self.log[:] = [event for event in self.log if event.get("rkey") != rkey]

    def reject_slow(self) -> None:
        """End all connections with an error frame, as for a consumer that is too slow (section 5.2)."""

        async def reject() -> None:
            for session in [*self.sessions]:
                await session.send(json.dumps({"$type": "error", "error": "ConsumerTooSlow", "message": "too slow"}))
                await session.close(1008)

        self.wait_for(reject())


class JetstreamV1(Jetstream):
    """Section 5.1. floor: the oldest time that the server keeps, in microseconds."""

    path = "/subscribe"

    def __init__(self) -> None:
        super().__init__()
        self.floor = 0

    def refusal(self, request: Request) -> tuple[int, str] | None:
        if request.path.partition("?")[0] != self.path:
            return 404, "not found\n"
        cursor = query_of(request.path).get("cursor", ["0"])[0]
        return None if cursor.lstrip("-").isdigit() else (400, "invalid cursor\n")

    async def converse(self, session: Session) -> None:
        start, cursor = len(self.log), session.query.get("cursor")
        if cursor is not None and int(cursor[0]) <= microseconds():
            # Section 5.1: a cursor that is too old is silently clamped; one in the future starts live.
            start = self.first_at("us", max(int(cursor[0]), self.floor))
        wanted = session.query.get("wantedCollections")
        await self.follow(session, start, lambda event: self.frame(event, wanted))

    def frame(self, event: dict[str, Any], wanted: list[str] | None) -> dict[str, Any] | None:
        """Section 4.5: identity and account events come regardless of wantedCollections."""
        frame = {"did": event["did"], "time_us": event["us"], "kind": event["kind"]}
        if event["kind"] != "commit":
            return frame | {event["kind"]: {"did": event["did"]}}
        if wanted is not None and event["collection"] not in wanted:
            return None
        commit = {name: event[name] for name in ("operation", "collection", "rkey", "record") if event[name]}
        return frame | {"commit": {"rev": "3kaaa"} | commit}


def message(kind: str, payload: dict[str, Any]) -> str:
    return json.dumps({"$type": "message", "payload": {"$type": f"{LEXICON}#{kind}"} | payload})


def error(name: str, text: str) -> str:
    """The body of a refusal, an XRPC error."""
    return json.dumps({"error": name, "message": text})
