"""The operator's triggers. It watches nothing yet: it starts, answers its health check and ends on SIGTERM."""

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: object) -> None:
    """Never look for kinds or namespaces in the whole cluster: the operator's rights end at its namespace."""
    settings.scanning.disabled = True
