"""The chart's scripts as modules: they live beside the templates that run them, in no package."""

import importlib.util
from pathlib import Path
from types import ModuleType

CHART = Path(__file__).resolve().parents[3] / "helm" / "data-collection"


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CHART / "files" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
