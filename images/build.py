"""Builds the container images: ``python -m images.build [--push REGISTRY | --push-as REFERENCE] [FOLDER...]``.

An image is built when no image of the same content is there: the tag ``VERSION-CONTENT`` ends with a hash of all that
its Dockerfile copies; the tag ``VERSION`` names the newest. Docker, Podman or buildah does the work, the first that
answers. Exit status: 0, or 1 with a reason.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
LOGS = REPOSITORY / ".state" / "images"
REGISTRY = "docker.io"  # of the images' names as long as no other is given; nothing is pushed there
PROJECT = "data-collection"
BASE = "docker.io/library/debian:bookworm-slim"
BUILD_SECONDS = 1800
PROGRESS_SECONDS = 15
MOVE_SECONDS = 600
MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

Run = Callable[[Sequence[str]], int]


class BuildError(RuntimeError):
    """An image cannot be built; the text is for the user."""


@dataclass(frozen=True)
class Engine:
    """A program that builds images, and the commands in which the three differ."""

    name: str
    answers: tuple[str, ...]
    build: tuple[str, ...]
    inspect: tuple[str, ...]


ENGINES = (
    Engine("docker", ("docker", "info"), ("docker", "build"), ("docker", "image", "inspect")),
    Engine(
        "podman",
        ("podman", "info"),
        ("podman", "build", "--layers"),
        ("podman", "image", "inspect"),
    ),
    Engine(
        "buildah",
        ("buildah", "info"),
        # Without a daemon there is no network of containers to be had: the steps use the machine's own.
        ("buildah", "build", "--layers", "--network=host"),
        ("buildah", "inspect", "--type=image"),
    ),
)


@dataclass(frozen=True)
class Image:
    """One image: its folder with the Dockerfile, the name without registry, and its two tags."""

    folder: Path
    name: str
    version: str
    content: str

    def reference(self, registry: str = REGISTRY) -> str:
        """The name that stands for exactly this content, whoever built it."""
        return f"{registry}/{self.name}:{self.version}-{self.content}"

    def references(self, registry: str = REGISTRY) -> list[str]:
        return [self.reference(registry), f"{registry}/{self.name}:{self.version}"]


def copied(dockerfile: str) -> list[str]:
    """The paths in the build context that a Dockerfile copies, in its order; copies between stages don't count."""
    joined = re.sub(r"\\\n", " ", dockerfile)
    paths = []
    for line in joined.splitlines():
        words = line.split()
        if words and words[0].upper() in {"COPY", "ADD"}:
            flags = [word for word in words[1:] if word.startswith("--")]
            if not any(flag.startswith("--from=") for flag in flags):
                paths += [word for word in words[1:-1] if not word.startswith("--")]
    return paths


def content(dockerfile: Path, version: str, context: Path = REPOSITORY) -> str:
    """Twelve hex digits of a hash over the Dockerfile, the version and every file that it copies.

    Raises BuildError when a copied path does not exist.
    """
    digest = hashlib.sha256()
    for path in [dockerfile, *_files(context, copied(dockerfile.read_text()))]:
        executable = path.stat().st_mode & 0o100
        data = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(context).as_posix()} {executable} {data}\n".encode())
    digest.update(version.encode())
    return digest.hexdigest()[:12]


def _files(context: Path, paths: Iterable[str]) -> Iterable[Path]:
    for name in paths:
        path = context / name
        if not path.exists():
            raise BuildError(f"a Dockerfile copies {name}, which does not exist in {context}")
        inside = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (file for file in inside if file.is_file() and "__pycache__" not in file.parts)


def project_version() -> str:
    return str(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"])


def image(folder: Path, prefix: str = "") -> Image:
    """The image of a folder; its name is the project's, a slash, `prefix` and the folder's name."""
    version = project_version()
    return Image(folder, f"{PROJECT}/{prefix}{folder.name}", version, content(folder / "Dockerfile", version))


def project_images() -> list[Image]:
    return [image(file.parent) for file in sorted((REPOSITORY / "images").glob("*/Dockerfile"))]


def choose_engine(run: Run) -> Engine:
    """The first engine that answers; an installed Docker whose daemon is down does not."""
    for engine in ENGINES:
        if run(engine.answers) == 0:
            return engine
    raise BuildError("neither docker, podman nor buildah answers: start Docker, or install buildah and run as root")


def silently(command: Sequence[str]) -> int:
    """The exit status; 127 when there is no such program."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        ).returncode
    except OSError:
        return 127


def ensure_base(engine: Engine, say: Callable[[str], None] = print) -> None:
    """Where buildah can pull the base image from no registry, make it from Debian's packages. Raises BuildError.

    An engine with a daemon pulls by itself, and says so when it cannot.
    """
    if engine.name != "buildah" or silently([*engine.inspect, BASE]) == 0 or silently(["buildah", "pull", BASE]) == 0:
        return
    say(f"no registry answers for {BASE}: making it from Debian's packages")
    scripts = REPOSITORY / "tests" / "cluster" / "node"
    _run(str(scripts / "build.sh"), "packages", "base", seconds=BUILD_SECONDS)
    archive = _run("bash", "-c", '. "$0/settings.sh"; echo "$IMAGES/base.tar"', str(scripts)).strip()
    _run("buildah", "pull", "--quiet", f"docker-archive:{archive}")


def build(engine: Engine, image: Image, say: Callable[[str], None] = print) -> None:
    """Build the image unless its content is there already. Raises BuildError, with the log's place."""
    if silently([*engine.inspect, image.reference()]) == 0:
        say(f"{image.name}: up to date ({image.version}-{image.content})")
        return
    ensure_base(engine, say)
    tags = [part for reference in image.references() for part in ("--tag", reference)]
    arguments = ["--file", str(image.folder / "Dockerfile"), "--build-arg", f"VERSION={image.version}", *tags, "."]
    log = LOGS / f"{image.folder.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*engine.build, *arguments],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        while process.poll() is None:
            try:
                process.wait(PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - start
                if seconds > BUILD_SECONDS:
                    raise BuildError(f"{image.name} was not built within {BUILD_SECONDS} s (log: {log})") from None
                say(f"{image.name}: {seconds:.0f} s, {last_step(log.read_text(errors='replace'))}")
    finally:
        process.kill()
    if process.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-5:])
        raise BuildError(f"{engine.name} could not build {image.name} (log: {log}):\n{tail}")
    say(f"{image.name}: built as {image.version}-{image.content} in {time.monotonic() - start:.0f} s")


def last_step(log: str) -> str:
    """What the engine is at, from its output so far."""
    steps = re.findall(r"^(?:.*STEP \d+.*|#\d+ \[.*)$", log, re.MULTILINE)
    return steps[-1][:100] if steps else "starting"


def push(engine: Engine, image: Image, registry: str, say: Callable[[str], None] = print) -> None:
    """Push the image's content into a registry, unless it is there already. Raises BuildError."""
    if in_registry(image, registry):
        say(f"{image.name}: in {registry} already")
    else:
        push_as(engine, image, image.reference(registry), say)


def push_as(engine: Engine, image: Image, target: str, say: Callable[[str], None] = print) -> None:
    """Push the image under the name `target`, without TLS into a registry on this machine. Raises BuildError."""
    start = time.monotonic()
    # Docker itself trusts a registry on the loopback interface.
    trusting = ["--tls-verify=false"] if engine.name != "docker" and target.startswith("localhost") else []
    if engine.name == "buildah":
        _run("buildah", "push", "--quiet", *trusting, image.reference(), f"docker://{target}")
    else:
        _run(engine.name, "tag", image.reference(), target)
        _run(engine.name, "push", *trusting, target)
    say(f"{image.name}: in {target.partition('/')[0]} after {time.monotonic() - start:.0f} s")


def in_registry(image: Image, registry: str) -> bool:
    """Whether a registry on this machine has the image's content; one elsewhere is not asked."""
    if not registry.startswith("localhost"):
        return False
    url = f"http://{registry}/v2/{image.name}/manifests/{image.version}-{image.content}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": MANIFEST_TYPES})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
            return True
    except OSError:
        return False


def save(engine: Engine, image: Image) -> Path:
    """The image as an archive, which the caller deletes. Raises BuildError."""
    archive = LOGS / f"{image.folder.name}-{image.content}.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.unlink(missing_ok=True)
    if engine.name == "buildah":
        _run("buildah", "push", "--quiet", image.reference(), f"docker-archive:{archive}:{image.reference()}")
    else:
        _run(engine.name, "save", "--output", str(archive), image.reference())
    return archive


def remove(engine: Engine, image: Image) -> None:
    """Delete the image's tags; one that is not there is fine."""
    for reference in image.references():
        silently([engine.name, "rmi", reference])


def _run(*command: str, seconds: float = MOVE_SECONDS) -> str:
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"{' '.join(command[:2])} was not done within {seconds:g} s") from None
    if result.returncode != 0:
        raise BuildError(f"{' '.join(command[:2])} failed: {result.stderr.strip()[-400:]}")
    return result.stdout


def main() -> int:
    parser = argparse.ArgumentParser(prog="images.build", description="Build the container images.")
    parser.add_argument("--push", metavar="REGISTRY", help="also push them there, for example host/team")
    parser.add_argument("--push-as", metavar="REFERENCE", help="also push the one that is named, under this name")
    parser.add_argument("names", nargs="*", help="folders of images/, all of them when none is named")
    arguments = parser.parse_args()
    try:
        images = project_images()
        known = [each.folder.name for each in images]
        if wrong := [name for name in arguments.names if name not in known]:
            raise BuildError(f"there is no image {', '.join(wrong)}: there are {', '.join(known)}")
        if arguments.push_as and len(arguments.names) != 1:
            raise BuildError("--push-as pushes one image: name it")
        engine = choose_engine(silently)
        print(f"building with {engine.name}")
        for each in images:
            if not arguments.names or each.folder.name in arguments.names:
                build(engine, each)
                if arguments.push:
                    push(engine, each, arguments.push)
                    push_as(engine, each, each.references(arguments.push)[1])  # the tag for which the chart asks
                if arguments.push_as:
                    push_as(engine, each, arguments.push_as)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
