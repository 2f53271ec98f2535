"""The rejections of the running demo."""

import os

from jobs.rejected import __main__ as rejected
from local.audit import demo_environment
from local.process import inherited_environment
from local.settings import Settings


def on_demo(settings: Settings) -> int:
    """List, replay or discard rejections of the demo; returns the exit status."""
    # A feed that the user names is the mapping to replay with.
    feed = {"FEED": settings.feed} if os.environ.get("FEED") else {}
    return rejected.main({**inherited_environment(), **demo_environment(settings), **feed})
