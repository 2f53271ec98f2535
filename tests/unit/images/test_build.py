"""Which engine builds, what counts as an image's content, and what is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from images import build
from images.build import (
    ENGINES,
    REPOSITORY,
    BuildError,
    Image,
    choose_engine,
    content_hash,
    copied_paths,
    in_registry,
    last_step,
    main,
    project_images,
    project_version,
    push_as,
)

DOCKERFILE = """\
FROM base AS build
COPY --chmod=755 one.sh two/ /build/
RUN make \\
    && make install
COPY a \\
     b /there/
FROM base
COPY --from=build /build /opt
copy jobs /jobs
"""


def answering(*names: str) -> object:
    def run(command: Sequence[str]) -> int:
        return 0 if command[0] in names else 127

    return run


@pytest.mark.parametrize(
    ("there", "chosen"),
    [(("buildah", "docker"), "docker"), (("buildah", "podman"), "podman"), (("buildah",), "buildah")],
)
def test_first_engine_that_answers(there: tuple[str, ...], chosen: str) -> None:
    assert choose_engine(answering(*there)).name == chosen  # type: ignore[arg-type]


def test_docker_whose_daemon_is_down_is_skipped() -> None:
    assert choose_engine(lambda command: int(command[0] == "docker")).name == "podman"


def test_no_engine() -> None:
    with pytest.raises(BuildError, match="neither docker, podman nor buildah answers"):
        choose_engine(lambda _: 127)


def test_copied() -> None:
    assert copied_paths(DOCKERFILE) == ["one.sh", "two/", "a", "b", "jobs"]


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM base\nCOPY jobs one.sh /there/\n")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "a.py").write_text("a")
    (tmp_path / "one.sh").write_text("one")
    (tmp_path / "other").write_text("no part of it")
    return tmp_path


def digest(context: Path) -> str:
    return content_hash(context / "Dockerfile", "1", context)


def test_content_is_the_same_for_the_same_files(context: Path) -> None:
    before = digest(context)
    (context / "other").write_text("changed")
    (context / "jobs" / "__pycache__").mkdir()
    (context / "jobs" / "__pycache__" / "a.pyc").write_text("left by a run")
    assert digest(context) == before
    assert len(before) == 12


@pytest.mark.parametrize("change", ["edit", "add", "rename", "mode", "dockerfile"])
def test_content_changes_with_what_is_copied(context: Path, change: str) -> None:
    before = digest(context)
    match change:
        case "edit":
            (context / "jobs" / "a.py").write_text("b")
        case "add":
            (context / "jobs" / "b.py").write_text("")
        case "rename":
            (context / "jobs" / "a.py").rename(context / "jobs" / "c.py")
        case "mode":
            (context / "one.sh").chmod(0o755)
        case _:
            with (context / "Dockerfile").open("a") as file:
                file.write("USER 1\n")
    assert digest(context) != before


def test_content_changes_with_the_version(context: Path) -> None:
    assert content_hash(context / "Dockerfile", "2", context) != digest(context)


def test_a_copied_path_that_is_missing_is_named(context: Path) -> None:
    (context / "one.sh").unlink()
    with pytest.raises(BuildError, match=r"copies one\.sh, which does not exist"):
        digest(context)


def test_project_images() -> None:
    images = {image.folder.name: image for image in project_images()}
    assert set(images) == {"console", "flink", "simulator", "watchdog"}
    flink = images["flink"]
    assert flink.references("localhost:5000") == [
        f"localhost:5000/data-collection/flink:{project_version()}-{flink.content}",
        f"localhost:5000/data-collection/flink:{project_version()}",
    ]


@pytest.mark.parametrize("image", project_images(), ids=lambda image: image.folder.name)
def test_every_dockerfile(image: Image) -> None:
    """Nothing runs as root or through a shell, the base is pinned in one form, and the labels are there."""
    text = (image.folder / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert {line.split()[1] for line in text.splitlines() if line.startswith("FROM ")} == {"debian:bookworm-slim"}
    user = next(line for line in last.splitlines() if line.startswith("USER "))
    assert user.removeprefix("USER ").partition(":")[0].isdigit()
    assert 'ENTRYPOINT ["' in last
    for label in ("title", "description", "version", "licenses"):
        assert f"org.opencontainers.image.{label}=" in last
    for tool in ("maven", "jdk", "python3-venv", "pip "):
        assert tool not in last


@pytest.mark.parametrize("image", project_images(), ids=lambda image: image.folder.name)
def test_requirements_are_the_locked_ones(image: Image) -> None:
    lock = set((REPOSITORY / "requirements.lock").read_text().splitlines())
    pinned = [line for line in (image.folder / "requirements.txt").read_text().splitlines() if "==" in line]
    assert pinned
    assert [line for line in pinned if line not in lock] == []


def test_last_step() -> None:
    assert last_step("[1/2] STEP 1/3: FROM x\nnoise\n[2/2] STEP 2/3: RUN y\nmore\n") == "[2/2] STEP 2/3: RUN y"
    assert last_step("#5 [python 2/4] RUN pip\n#5 0.7 text\n") == "#5 [python 2/4] RUN pip"
    assert last_step("") == "starting"


def test_a_registry_that_does_not_answer_has_nothing() -> None:
    assert not in_registry(project_images()[0], "localhost:1")
    assert not in_registry(project_images()[0], "registry.example.com")


@pytest.mark.parametrize(
    ("engine", "target", "commands"),
    [
        ("docker", "localhost:5000/a:1", ["docker tag {image} {target}", "docker push {target}"]),
        ("podman", "localhost:5000/a:1", ["podman tag {image} {target}", "podman push --tls-verify=false {target}"]),
        ("buildah", "localhost:5000/a:1", ["buildah push --quiet --tls-verify=false {image} docker://{target}"]),
        ("buildah", "registry.example.com/a:1", ["buildah push --quiet {image} docker://{target}"]),
    ],
)
def test_push_as(monkeypatch: pytest.MonkeyPatch, engine: str, target: str, commands: list[str]) -> None:
    run: list[str] = []
    monkeypatch.setattr(build, "_run", lambda *command: run.append(" ".join(command)))
    image = project_images()[0]
    push_as(next(each for each in ENGINES if each.name == engine), image, target, lambda _: None)
    assert run == [command.format(image=image.reference(), target=target) for command in commands]


def test_what_is_pushed_has_the_tag_that_the_chart_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[str] = []
    monkeypatch.setattr(build, "_run", lambda *command: run.append(command[-1]))
    monkeypatch.setattr(build, "build", lambda *_: None)
    monkeypatch.setattr(build, "choose_engine", lambda _: next(each for each in ENGINES if each.name == "buildah"))
    monkeypatch.setattr("sys.argv", ["images.build", "--push", "registry.example.com/team"])
    assert main() == 0
    names = [f"docker://{each}" for image in project_images() for each in image.references("registry.example.com/team")]
    assert run == names
    chart = YAML(typ="safe").load(REPOSITORY / "helm" / "data-collection" / "Chart.yaml")
    assert f"docker://registry.example.com/team/data-collection/flink:{chart['appVersion']}" in run


@pytest.mark.parametrize("names", [[], ["flink", "simulator"]])
def test_push_as_takes_one_image(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], names: list[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["images.build", "--push-as", "localhost:1/a:1", *names])
    assert main() == 1
    assert "--push-as pushes one image" in capsys.readouterr().err


def test_engines_are_three() -> None:
    assert [engine.name for engine in ENGINES] == ["docker", "podman", "buildah"]
