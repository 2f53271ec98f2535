"""What ships knows nothing of the tests: import-linter holds the imports, this the paths."""

import re

import pytest

from local.settings import REPOSITORY
from tests.support.files import repository_files

PRODUCT = ["deploy", "dev", "images", "jobs", "k8s", "local", "simulator", "skaffold.yaml", ".dockerignore"]
CHART = ["helm/data-collection/files", "helm/data-collection/templates", "helm/data-collection/values.yaml"]


@pytest.mark.parametrize("room", [*PRODUCT, *CHART])
def test_no_product_file_names_a_path_of_the_tests(room: str) -> None:
    path = REPOSITORY / room
    files = repository_files(path) if path.is_dir() else [path]
    assert files
    texts = {file: file.read_text() for file in files if file.suffix != ".md"}
    assert [str(file) for file, text in texts.items() if re.search(r"\btests[/.]\w|[\"']tests[\"']", text)] == []
