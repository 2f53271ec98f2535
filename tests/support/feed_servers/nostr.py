"""A stand-in for a Nostr relay. Sources: NIP-01, NIP-11 and NIP-42 of https://github.com/nostr-protocol/nips."""

import hashlib
import json
import time
from typing import Any

from tests.support.feed_servers.base import FeedServer, Session


class NostrRelay(FeedServer):
    """max_limit: most stored notes in an answer. challenge: it asks for a login, which the collector does not have.

    hangs_up: it closes the connection behind CLOSED.
    """

    def __init__(self, max_limit: int = 500, *, challenge: str = "", hangs_up: bool = False) -> None:
        super().__init__()
        self.max_limit = max_limit
        self.challenge = challenge
        self.hangs_up = hangs_up

    def note(self, content: str, ago: float = 0, kind: int = 1) -> str:
        """Publish a note that its author dated so many seconds back, and return its id."""
        created = int(time.time() - ago)
        identity = hashlib.sha256(f"{created} {content}".encode()).hexdigest()
        event = {"id": identity, "pubkey": "a" * 64, "created_at": created, "kind": kind, "tags": [], "sig": "b" * 128}
        self.log.append(event | {"content": content})
        return identity

    async def converse(self, session: Session) -> None:
        if self.challenge:  # NIP-42: the relay may ask at any time
            await session.send(json.dumps(["AUTH", self.challenge]))
        await session.wait_closed()

    async def on_message(self, session: Session, message: str | bytes) -> None:
        try:
            what, name, *filters = json.loads(message)
        except ValueError:
            await session.send(json.dumps(["NOTICE", "not a message"]))
            return
        if what != "REQ" or session.subscribed:
            return
        # NIP-01: a subscription's name has 1 to 64 characters, and a REQ has filters.
        if not 1 <= len(name) <= 64 or not filters:
            await self.refuse(session, name, "invalid: bad subscription")
        elif self.challenge:  # NIP-42: CLOSED with this prefix
            await self.refuse(session, name, "auth-required: log in first")
        else:
            await self.answer(session, name, filters[0])

    async def refuse(self, session: Session, name: str, why: str) -> None:
        await session.send(json.dumps(["CLOSED", name, why]))
        if self.hangs_up:
            await session.close()

    async def answer(self, session: Session, name: str, wanted: dict[str, Any]) -> None:
        """Stored notes, newest first and within the limits, EOSE, and then those that come."""

        def matches(event: dict[str, Any]) -> bool:
            # NIP-01: `since` is inclusive.
            return event["kind"] in wanted.get("kinds", [event["kind"]]) and event["created_at"] >= wanted.get(
                "since", 0
            )

        end = len(self.log)
        # NIP-01: the newest first, and of the same second the lowest id first. NIP-11: a limit is clamped silently.
        stored = sorted(filter(matches, self.log), key=lambda event: (-event["created_at"], event["id"]))
        for event in stored[: min(wanted.get("limit", self.max_limit), self.max_limit)]:
            await session.send(json.dumps(["EVENT", name, event]))
        await session.send(json.dumps(["EOSE", name]))
        # NIP-01: `limit` does not hold for what comes later; the rest of the filter does.
        session.subscribed = True
        self.spawn(session, self.follow(session, end, lambda event: ["EVENT", name, event] if matches(event) else None))
