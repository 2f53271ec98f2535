"""The audit of the running demo."""

from jobs.audit import __main__ as audit
from local.process import inherited_environment
from local.settings import Settings


def on_demo(settings: Settings) -> int:
    """Run the audit; returns its exit status."""
    return audit.main({**inherited_environment(), **demo_environment(settings)})


def demo_environment(settings: Settings) -> dict[str, str]:
    """What the demo's aggregator is told. Documents of another WINDOW_SECONDS are understood as well."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka,
        "MONGODB_URI_FILE": str(settings.store_uri_file),
        "WINDOW_SECONDS": str(settings.window_seconds),
    }
