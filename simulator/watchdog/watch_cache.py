"""The objects that the watches have delivered, and a check for stale watches: a watch can stop without an error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Resource:
    """A resource type of the API, and which of its objects are watched."""

    group: str  # "" for the core group
    version: str
    plural: str
    selector: Mapping[str, str] = field(hash=False)  # query parameters: labelSelector or fieldSelector

    def path(self, namespace: str, name: str = "") -> str:
        """The URL path of the collection, or of one object in it."""
        root = f"/apis/{self.group}" if self.group else "/api"
        return f"{root}/{self.version}/namespaces/{namespace}/{self.plural}{'/' if name else ''}{name}"


class WatchCache:
    """Objects by resource and name. All times are seconds of a monotonic clock."""

    def __init__(self, resources: tuple[Resource, ...], now: float) -> None:
        self._objects: dict[Resource, dict[str, Mapping[str, Any]]] = {resource: {} for resource in resources}
        self._last_event = dict.fromkeys(resources, now)
        self._last_match: dict[Resource, float] = {}
        self._stale_since: dict[Resource, float] = {}
        self._begin = now

    def record(self, resource: Resource, event: Mapping[str, Any], now: float) -> None:
        """Store a watch event. Events of the initial listing have no type."""
        self._last_event[resource] = now
        name = event["object"]["metadata"]["name"]
        if event["type"] == "DELETED":
            self._objects[resource].pop(name, None)
        else:
            self._objects[resource][name] = event["object"]

    def all(self, resource: Resource) -> list[Mapping[str, Any]]:
        return list(self._objects[resource].values())

    def one(self, resource: Resource) -> Mapping[str, Any] | None:
        return next(iter(self._objects[resource].values()), None)

    def matches(self, resource: Resource, listed: Mapping[str, str], listed_at: float) -> bool:
        """Whether the cache equals the API's listing of `listed_at`, or the watch has delivered an event since.

        listed: resource versions by name.
        """
        shown = {name: each["metadata"].get("resourceVersion") for name, each in self._objects[resource].items()}
        return shown == dict(listed) or self._last_event[resource] >= listed_at

    def mark_compared(self, resource: Resource, matches: bool, listed_at: float) -> None:
        """Note the result of a comparison with the listing of the time `listed_at`."""
        if matches:
            self._last_match[resource] = listed_at
            self._stale_since.pop(resource, None)
        else:
            self._stale_since.setdefault(resource, listed_at)

    def complete(self) -> bool:
        """Whether each watch has matched a listing at least once."""
        return len(self._last_match) == len(self._objects)

    def age(self, now: float) -> float:
        """Seconds since all watches were last known to match the API: the age of the oldest match."""
        return now - min(self._last_match.get(resource, self._begin) for resource in self._objects)

    def most_stale(self, now: float) -> tuple[str, float]:
        """(plural of the resource that has been stale for longest, seconds); ("", 0) when none is stale."""
        resource, since = min(self._stale_since.items(), key=lambda item: item[1], default=(None, now))
        return (resource.plural if resource else "", now - since)
