"""The audit of the running demo."""

from jobs.audit import __main__ as audit
from local.process import inherited_environment
from local.settings import Settings


def on_demo(settings: Settings) -> int:
    """Run the audit on the demo; returns its exit status."""
    return audit.main({**inherited_environment(), **demo_environment(settings)})


def demo_environment(settings: Settings) -> dict[str, str]:
    """The settings of the demo's aggregator, and its feed. The audit also reads documents of another WINDOW_SECONDS."""
    return {
        "FEED": settings.feed_file.read_text() if settings.feed_file.exists() else settings.feed,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka,
        "MONGODB_URI_FILE": str(settings.store_uri_file),
        "WINDOW_SECONDS": str(settings.window_seconds),
    }
