"""Builds the container images: ``python -m images.build [--push REGISTRY | --push-as REFERENCE] [FOLDER...]``.

An image is built only when there is none of the same content. It has two tags: ``VERSION-CONTENT``, where CONTENT is a
hash of the Dockerfile and of all files that it copies, and ``VERSION``, which the newest image has. The engine is the
first of Docker, Podman and buildah that answers. Exit status: 0, or 1 with a reason.
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
REGISTRY = "docker.io"  # in the images' names when no other registry is given; nothing is pushed there
PROJECT = "data-collection"
BASE = "docker.io/library/debian:bookworm-slim"
BUILD_SECONDS = 1800
PROGRESS_SECONDS = 15
TRANSFER_SECONDS = 600  # for a push, a pull or a save
MANIFEST_TYPES = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"

Run = Callable[[Sequence[str]], int]


class BuildError(RuntimeError):
    """An image cannot be built, pushed or saved. The text is for the user."""


@dataclass(frozen=True)
class Engine:
    """A program that builds images, and the commands that differ between the three."""

    name: str
    answers: tuple[str, ...]  # exits with 0 when the engine can be used
    build: tuple[str, ...]
    inspect: tuple[str, ...]  # exits with 0 when the image exists


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
        # Without a daemon there is no container network: the build steps use the host's.
        ("buildah", "build", "--layers", "--network=host"),
        ("buildah", "inspect", "--type=image"),
    ),
)


@dataclass(frozen=True)
class Image:
    """One image of the project."""

    folder: Path  # with the Dockerfile
    name: str  # without registry and tag
    version: str  # of the project
    content: str  # hash, see `content_hash`

    def reference(self, registry: str = REGISTRY) -> str:
        """The reference of exactly this content, on every machine."""
        return f"{registry}/{self.name}:{self.version}-{self.content}"

    def references(self, registry: str = REGISTRY) -> list[str]:
        """Both references: with VERSION-CONTENT and with VERSION."""
        return [self.reference(registry), f"{registry}/{self.name}:{self.version}"]


def copied_paths(dockerfile: str) -> list[str]:
    """The paths in the build context that a Dockerfile copies, in its order, without copies between stages."""
    joined = re.sub(r"\\\n", " ", dockerfile)
    paths = []
    for line in joined.splitlines():
        words = line.split()
        if words and words[0].upper() in {"COPY", "ADD"}:
            flags = [word for word in words[1:] if word.startswith("--")]
            if not any(flag.startswith("--from=") for flag in flags):
                paths += [word for word in words[1:-1] if not word.startswith("--")]
    return paths


def content_hash(dockerfile: Path, version: str, context: Path = REPOSITORY) -> str:
    """Twelve hexadecimal digits: a hash of the Dockerfile, the version and every file that the Dockerfile copies.

    Raises BuildError when a copied path does not exist.
    """
    digest = hashlib.sha256()
    for path in [dockerfile, *_files(context, copied_paths(dockerfile.read_text()))]:
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
    """The image of a folder; its name is data-collection/, `prefix` and the folder's name."""
    version = project_version()
    return Image(folder, f"{PROJECT}/{prefix}{folder.name}", version, content_hash(folder / "Dockerfile", version))


def project_images() -> list[Image]:
    return [image(file.parent) for file in sorted((REPOSITORY / "images").glob("*/Dockerfile"))]


def choose_engine(run: Run) -> Engine:
    """The first engine that answers: not a Docker whose daemon is down. Raises BuildError."""
    for engine in ENGINES:
        if run(engine.answers) == 0:
            return engine
    raise BuildError("neither docker, podman nor buildah answers: start Docker, or install buildah and run as root")


def exit_status(command: Sequence[str]) -> int:
    """Run a command without its output; returns its exit status, or 127 when the program does not exist."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        ).returncode
    except OSError:
        return 127


def ensure_base(engine: Engine, say: Callable[[str], None] = print) -> None:
    """Build the base image from Debian's packages when buildah cannot pull it. Raises BuildError.

    Docker and Podman pull it themselves, and their output says when they cannot.
    """
    if (
        engine.name != "buildah"
        or exit_status([*engine.inspect, BASE]) == 0
        or exit_status(["buildah", "pull", BASE]) == 0
    ):
        return
    say(f"{BASE} cannot be pulled: building it from Debian's packages")
    scripts = REPOSITORY / "dev" / "cluster"
    _run(str(scripts / "build.sh"), "packages", "base", seconds=BUILD_SECONDS)
    archive = _run("bash", "-c", '. "$0/settings.sh"; echo "$IMAGES/base.tar"', str(scripts)).strip()
    _run("buildah", "pull", "--quiet", f"docker-archive:{archive}")


def build(engine: Engine, image: Image, say: Callable[[str], None] = print) -> None:
    """Build the image unless one of the same content exists. Raises BuildError, with the path of the log."""
    if exit_status([*engine.inspect, image.reference()]) == 0:
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
    """The last build step in an engine's output."""
    steps = re.findall(r"^(?:.*STEP \d+.*|#\d+ \[.*)$", log, re.MULTILINE)
    return steps[-1][:100] if steps else "starting"


def push(engine: Engine, image: Image, registry: str, say: Callable[[str], None] = print) -> None:
    """Push the image to a registry unless the registry has its content. Raises BuildError."""
    if in_registry(image, registry):
        say(f"{image.name}: in {registry} already")
    else:
        push_as(engine, image, image.reference(registry), say)


def push_as(engine: Engine, image: Image, target: str, say: Callable[[str], None] = print) -> None:
    """Push the image as `target`, without TLS to a registry on this machine. Raises BuildError."""
    start = time.monotonic()
    # Docker needs no flag for a registry on the loopback interface.
    flags = ["--tls-verify=false"] if engine.name != "docker" and target.startswith("localhost") else []
    if engine.name == "buildah":
        _run("buildah", "push", "--quiet", *flags, image.reference(), f"docker://{target}")
    else:
        _run(engine.name, "tag", image.reference(), target)
        _run(engine.name, "push", *flags, target)
    say(f"{image.name}: in {target.partition('/')[0]} after {time.monotonic() - start:.0f} s")


def in_registry(image: Image, registry: str) -> bool:
    """Whether a registry on this machine has the image's content. A registry elsewhere is not asked: False."""
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
    """Save the image as an archive, which the caller deletes; returns its path. Raises BuildError."""
    archive = LOGS / f"{image.folder.name}-{image.content}.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.unlink(missing_ok=True)
    if engine.name == "buildah":
        _run("buildah", "push", "--quiet", image.reference(), f"docker-archive:{archive}:{image.reference()}")
    else:
        _run(engine.name, "save", "--output", str(archive), image.reference())
    return archive


def remove(engine: Engine, image: Image) -> None:
    """Delete the image's tags, where they exist."""
    for reference in image.references():
        exit_status([engine.name, "rmi", reference])


def _run(*command: str, seconds: float = TRANSFER_SECONDS) -> str:
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
    parser.add_argument(
        "--push", metavar="REGISTRY", help="also push the images there, for example to localhost:5000 or host/team"
    )
    parser.add_argument("--push-as", metavar="REFERENCE", help="also push the one named image under this name")
    parser.add_argument("names", nargs="*", help="folders of images/; without any, all of them")
    arguments = parser.parse_args()
    try:
        images = project_images()
        known = [each.folder.name for each in images]
        if wrong := [name for name in arguments.names if name not in known]:
            raise BuildError(f"there is no image {', '.join(wrong)}: the images are {', '.join(known)}")
        if arguments.push_as and len(arguments.names) != 1:
            raise BuildError("--push-as pushes one image: name it")
        engine = choose_engine(exit_status)
        print(f"building with {engine.name}")
        for each in images:
            if not arguments.names or each.folder.name in arguments.names:
                build(engine, each)
                if arguments.push:
                    push(engine, each, arguments.push)
                    push_as(engine, each, each.references(arguments.push)[1])  # the tag that the chart uses
                if arguments.push_as:
                    push_as(engine, each, arguments.push_as)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
