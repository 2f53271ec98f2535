"""Fetches the jars of a POM with Maven, once."""

import hashlib
import shutil
import subprocess
from pathlib import Path

from local.process import StackError, owned_environment

SECONDS = 600


def fetch_jars(pom: Path, folder: Path, log: Path, owner: Path = Path()) -> Path:
    """Copy the runtime jars of `pom` into `folder` and return it. Does nothing when the folder has this POM's jars.

    The folder is replaced as a whole, so that an interrupted download never looks complete.
    owner: state folder of the stack that runs Maven. Raises StackError.
    """
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()
    stamp = folder / "pom.sha256"
    if stamp.is_file() and stamp.read_text() == digest:
        return folder
    fresh = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    command = ["mvn", "--batch-mode", "--no-transfer-progress", "--strict-checksums", "--file", str(pom)]
    command += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={fresh}"]
    with log.open("wb") as out:
        try:
            result = subprocess.run(
                command,
                env=owned_environment(owner),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise StackError(f"Maven did not fetch the jars of {pom} within {SECONDS} s (log: {log})") from None
    if result.returncode != 0:
        errors = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("[ERROR]")]
        reason = errors[0].removeprefix("[ERROR] ") if errors else f"exit status {result.returncode}"
        raise StackError(f"Maven could not fetch the jars of {pom}: {reason[:300]} (log: {log})")
    (fresh / stamp.name).write_text(digest)
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder
