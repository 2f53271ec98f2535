"""The copy of the chart that can be rendered without its dependencies."""

from pathlib import Path

from ruamel.yaml import YAML

from deploy.chart import CHART, copy_without_dependencies


def test_copy(tmp_path: Path) -> None:
    copy = copy_without_dependencies(tmp_path)
    yaml = YAML(typ="safe")
    for dependency in yaml.load(CHART / "Chart.yaml")["dependencies"]:
        stub = yaml.load(copy / "charts" / dependency["name"] / "Chart.yaml")
        assert (stub["name"], stub["version"]) == (dependency["name"], dependency["version"])
    assert (copy / "values.yaml").read_bytes() == (CHART / "values.yaml").read_bytes()
    assert (copy / "templates" / "_helpers.tpl").is_file()
