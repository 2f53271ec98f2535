"""What the watches have shown, and whether they still show everything: a watch can go silent without an error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Kind:
    """Objects of one kind that are watched. selector: the API's query for them."""

    group: str
    version: str
    plural: str
    selector: Mapping[str, str] = field(hash=False)

    def path(self, namespace: str, name: str = "") -> str:
        root = f"/apis/{self.group}" if self.group else "/api"
        return f"{root}/{self.version}/namespaces/{namespace}/{self.plural}{'/' if name else ''}{name}"


class WatchCache:
    """Objects by kind and name. Moments are of a clock that never goes back, in seconds."""

    def __init__(self, kinds: tuple[Kind, ...], now: float) -> None:
        self._objects: dict[Kind, dict[str, Mapping[str, Any]]] = {kind: {} for kind in kinds}
        self._heard = dict.fromkeys(kinds, now)
        self._agreed: dict[Kind, float] = {}
        self._stale_since: dict[Kind, float] = {}
        self._begin = now

    def record(self, kind: Kind, event: Mapping[str, Any], now: float) -> None:
        """An event of the watch; the initial listing comes as events without a type."""
        self._heard[kind] = now
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED":
            self._objects[kind].pop(name, None)
        else:
            self._objects[kind][name] = event["object"]

    def all(self, kind: Kind) -> list[Mapping[str, Any]]:
        return list(self._objects[kind].values())

    def one(self, kind: Kind) -> Mapping[str, Any] | None:
        return next(iter(self._objects[kind].values()), None)

    def agrees(self, kind: Kind, listed: Mapping[str, str], asked: float) -> bool:
        """Whether the watch shows what the API listed (resource versions by name) when it was asked, or has told
        something since."""
        shown = {name: each["metadata"].get("resourceVersion") for name, each in self._objects[kind].items()}
        return shown == dict(listed) or self._heard[kind] >= asked

    def compared(self, kind: Kind, agrees: bool, asked: float) -> None:
        if agrees:
            self._agreed[kind] = asked
            self._stale_since.pop(kind, None)
        else:
            self._stale_since.setdefault(kind, asked)

    def complete(self) -> bool:
        """Whether each watch has shown everything at least once."""
        return len(self._agreed) == len(self._objects)

    def age(self, now: float) -> float:
        """How long ago each watch was last known to show everything."""
        return now - min(self._agreed.get(kind, self._begin) for kind in self._objects)

    def silent(self, now: float) -> tuple[str, float]:
        """The kind whose watch has missed something for longest, and for how long; 0 when none has."""
        kind, since = min(self._stale_since.items(), key=lambda item: item[1], default=(None, now))
        return (kind.plural if kind else "", now - since)
