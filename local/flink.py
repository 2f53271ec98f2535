"""A Flink session cluster from the pip package, the submission of the jobs, and the REST API."""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyflink
import requests
from ruamel.yaml import YAML

from local.package import package_jobs
from local.process import Program, StackError, wait_until
from local.settings import Settings

FLINK_HOME = Path(pyflink.__file__).parent
SUBMIT_SECONDS = 240
# Main classes, after the options of their JVMs. The JVMs share the machine: heaps begin small, the serial garbage
# collector needs the least memory, and the first compiler suffices where little is computed. A TaskManager's posts
# cost the parallel collector a third less processor time than G1, and a fifth less than the serial one.
FRUGAL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
JOBMANAGER = (
    *("-Xms48m", "-Xmx448m", "-XX:MaxMetaspaceSize=256m", *FRUGAL),
    "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint",
)
TASKMANAGER = (
    *("-Xms128m", "-Xmx1280m", "-XX:MaxDirectMemorySize=256m", "-XX:MaxMetaspaceSize=256m", "-XX:+UseParallelGC"),
    "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
)
CLIENT = ("-Xmx512m", *FRUGAL, "org.apache.flink.client.cli.CliFrontend")
# At INFO, this class logs the whole environment of the process that submits a job.
LOGGING = """
logger.pythonenv.name = org.apache.flink.client.python.PythonEnvUtils
logger.pythonenv.level = WARN
"""


class Flink:
    """A JobManager and one TaskManager. Both can be killed and started again."""

    def __init__(self, settings: Settings, *, slots: int = 6) -> None:
        self.settings = settings
        self.url = settings.flink_url
        self.home = settings.run / "flink"
        self.slots = slots
        self.arguments = self.home / "java.args"
        self.environment = {
            "FLINK_HOME": str(FLINK_HOME),
            "FLINK_CONF_DIR": str(self.home / "conf"),
            "FLINK_LIB_DIR": str(self.home / "lib"),
            "FLINK_OPT_DIR": str(FLINK_HOME / "opt"),
            "FLINK_PLUGINS_DIR": str(FLINK_HOME / "plugins"),
            "FLINK_LOG_DIR": str(settings.logs),
            "FLINK_PID_DIR": str(self.home),
        }
        conf = ["--configDir", str(self.home / "conf")]
        self.jobmanager = self._program("JobManager", JOBMANAGER, [*conf, "--executionMode", "cluster"])
        self.taskmanager = self._program("TaskManager", TASKMANAGER, conf)

    def _program(self, name: str, main: Sequence[str], arguments: Sequence[str]) -> Program:
        log = self.settings.logs / f"{name.lower()}.log"
        command = self._java("log4j-console.properties", log, main, arguments)
        return Program(name, command, log, self.environment, self.settings.state)

    def _java(self, logging: str, log: Path, main: Sequence[str], arguments: Sequence[str]) -> list[str]:
        """The command that Flink's scripts would run. Each script starts two more JVMs to find it out.

        main: JVM options, then the main class
        """
        properties = [f"-Dlog.file={log}", f"-Dlog4j.configurationFile=file:{self.home / 'conf' / logging}"]
        return ["java", f"@{self.arguments}", *properties, *main, *arguments]

    def configure(self) -> None:
        """Write the configuration, and a lib folder with links to the jars of the pip package and of the connectors.

        PyFlink's jar is among them. Each job brings it, too: without it in lib, Flink loaded its classes anew for each
        submission, and the TaskManager grew by 50 MiB each time.
        """
        conf, lib = self.home / "conf", self.home / "lib"
        conf.mkdir(parents=True, exist_ok=True)
        lib.mkdir(parents=True, exist_ok=True)
        (self.home / "tmp").mkdir(exist_ok=True)
        for jar in (
            *(FLINK_HOME / "lib").glob("*.jar"),
            *(FLINK_HOME / "opt").glob("flink-python-*.jar"),
            *(self.settings.jars / "flink").glob("*.jar"),
        ):
            link = lib / jar.name
            link.unlink(missing_ok=True)
            link.symlink_to(jar)
        for name in (
            "log4j.properties",
            "log4j-cli.properties",
            "log4j-console.properties",
            "log4j-session.properties",
        ):
            (conf / name).write_text(without_rolling((FLINK_HOME / "conf" / name).read_text()) + LOGGING)
        shipped = YAML(typ="safe").load(FLINK_HOME / "conf" / "config.yaml")
        java_options = shipped["env"]["java"]["opts"]["all"]
        self.arguments.write_text(f"{java_options}\n-classpath\n{classpath(lib)}\n")
        options = flink_options(self.settings, self.home, self.slots, java_options)
        with (conf / "config.yaml").open("w") as file:
            YAML().dump(options, file)

    def start(self) -> None:
        self.jobmanager.start()
        self.taskmanager.start()

    def stop(self) -> None:
        self.taskmanager.stop()
        self.jobmanager.stop()

    def await_ready(self, seconds: float = 90) -> None:
        """Wait until every slot has registered. Raises StackError."""
        wait_until(
            lambda: self.get("/overview").get("slots-total", 0) >= self.slots,
            f"the TaskManager to register at {self.url}",
            seconds,
            program=self.jobmanager,
        )

    def get(self, path: str) -> dict[str, Any]:
        """An answer of the REST API; {} when it does not answer, or with an error."""
        try:
            response = requests.get(f"{self.url}{path}", timeout=5)
            return dict(response.json()) if response.ok else {}
        except (requests.RequestException, ValueError):
            return {}

    def submit(
        self, module: str, environment: Mapping[str, str], parallelism: int = 1, savepoint: str | None = None
    ) -> str:
        """Run the main function of `module` against the cluster, which submits a job; returns the job's id.

        environment: the job's settings
        savepoint: path of the savepoint to start from

        Raises StackError.
        """
        name = module.rpartition(".")[2]
        log = self.settings.logs / f"submit-{name}.log"
        archive = package_jobs(self.home / f"{name}.zip")
        arguments = ["run", "--detached", "--parallelism", str(parallelism)]
        if savepoint:
            arguments += ["--fromSavepoint", savepoint]
        arguments += ["-pyfs", str(archive), "-pym", module]
        submit = Program(
            f"flink run {name}",
            self._java("log4j-cli.properties", self.settings.logs / f"client-{name}.log", CLIENT, arguments),
            log,
            {**self.environment, **environment},
            self.settings.state,
        )
        submit.start()
        process = submit.process
        if process is None:  # pragma: no cover - start() raises instead
            raise StackError(f"{name} cannot be submitted")
        try:
            process.wait(SUBMIT_SECONDS)
        except subprocess.TimeoutExpired:
            submit.stop(0)
            raise StackError(f"submitting {name} took more than {SUBMIT_SECONDS} s (log: {log})") from None
        text = log.read_text(errors="replace")
        marker = "Job has been submitted with JobID "
        if process.returncode != 0 or marker not in text:
            raise StackError(f"{name} cannot be submitted: {failure_reason(text)} (log: {log})")
        return text.rpartition(marker)[2].split()[0]

    def state(self, job: str) -> str:
        return str(self.get(f"/jobs/{job}").get("state", "UNKNOWN"))

    def all_running(self, job: str) -> bool:
        """Whether the job and each of its tasks are RUNNING."""
        answer = self.get(f"/jobs/{job}")
        tasks = [vertex["status"] for vertex in answer.get("vertices", [])]
        return answer.get("state") == "RUNNING" and bool(tasks) and all(task == "RUNNING" for task in tasks)

    def checkpoints(self, job: str) -> dict[str, Any]:
        return self.get(f"/jobs/{job}/checkpoints")

    def metric(self, job: str, name: str) -> float | None:
        """The sum of a metric over all operators and subtasks of a job; None while no value is known."""
        values: list[float] = []
        for vertex in self.get(f"/jobs/{job}").get("vertices", []):
            path = f"/jobs/{job}/vertices/{vertex['id']}/metrics"
            found = [each["id"] for each in self._list(path) if each["id"].rpartition(".")[2] == name]
            if found:
                values += [float(each["value"]) for each in self._list(path, get=",".join(found))]
        return sum(values) if values else None

    def restarts(self, job: str) -> int | None:
        """How often Flink has restarted a job since its submission; None while that is not known."""
        found = self._list(f"/jobs/{job}/metrics", get="numRestarts")
        return int(found[0]["value"]) if found else None

    def _list(self, path: str, **query: str) -> list[dict[str, str]]:
        try:
            response = requests.get(f"{self.url}{path}", params=query, timeout=5)
            return list(response.json()) if response.ok else []
        except (requests.RequestException, ValueError):
            return []

    def stop_with_savepoint(self, job: str, seconds: float = 60) -> str:
        """Stop a job; returns the path of the savepoint from which it can resume. Raises StackError."""
        trigger = requests.post(f"{self.url}/jobs/{job}/stop", json={"drain": False}, timeout=10).json()["request-id"]
        status: dict[str, Any] = {}

        def completed() -> bool:
            status.update(self.get(f"/jobs/{job}/savepoints/{trigger}"))
            return bool(status.get("status", {}).get("id") == "COMPLETED")

        wait_until(completed, f"a savepoint of {job}", seconds, program=self.jobmanager)
        operation = status["operation"]
        if "location" not in operation:
            raise StackError(f"no savepoint of {job}: {operation.get('failure-cause', {}).get('class')}")
        return str(operation["location"])

    def cancel(self, job: str) -> None:
        requests.patch(f"{self.url}/jobs/{job}?mode=cancel", timeout=10)


def failure_reason(text: str) -> str:
    """The line of a submission's output with the cause: the deepest error that is not only a wrapper."""
    wrappers = ("ProgramAbortException", "Python process exits", "Py4JJavaError")
    errors = re.findall(r"^(?:: |Caused by: )?([\w.$]+(?:Exception|Error): .+)", text, re.MULTILINE)
    named = [error for error in errors if not any(wrapper in error for wrapper in wrappers)]
    lines: list[str] = named or [line for line in text.splitlines() if line.strip()] or ["no output"]
    return lines[-1].strip()[:400]


def without_rolling(configuration: str) -> str:
    """A log4j configuration without the appender that writes to a file what goes to the console, too."""
    lines = configuration.splitlines(keepends=True)
    rolling = "appender.rolling.", "rootLogger.appenderRef.rolling."
    return "".join(line for line in lines if not line.startswith(rolling))


def classpath(lib: Path) -> str:
    """The jars in a folder in the order of Flink's scripts: Flink itself comes last."""
    return ":".join(map(str, sorted(lib.glob("*.jar"), key=lambda jar: (jar.name.startswith("flink-dist"), jar.name))))


def flink_options(settings: Settings, home: Path, slots: int, java_options: str) -> dict[str, Any]:
    """The options of config.yaml. java_options: JVM options that open the packages of JDK 17 that Flink needs."""
    return {
        "env.java.opts.all": java_options,  # of the SQL client; the other programs get them with `java.args`
        "jobmanager.rpc.address": "127.0.0.1",
        "jobmanager.rpc.port": settings.ports.flink_rpc,
        "jobmanager.bind-host": "127.0.0.1",
        "taskmanager.bind-host": "127.0.0.1",
        "taskmanager.host": "127.0.0.1",
        # A TaskManager that no script starts wants all of these. The JVM's options have the same sizes.
        "taskmanager.cpu.cores": slots,
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.framework.off-heap.size": "128m",
        "taskmanager.memory.task.heap.size": "1152m",
        "taskmanager.memory.task.off-heap.size": "0m",
        "taskmanager.memory.managed.size": "256m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
        "taskmanager.memory.network.min": "128m",
        "taskmanager.memory.network.max": "128m",
        # Posts are still read while a window is written: without these two options, 3,000 posts fit between two tasks.
        "taskmanager.network.memory.floating-buffers-per-gate": 512,
        "taskmanager.network.memory.max-buffers-per-channel": 512,
        # Load the Beam classes of PyFlink's jar from lib, once for all jobs: Flink's default patterns do not have them.
        "classloader.parent-first-patterns.additional": "org.apache.beam.",
        "taskmanager.numberOfTaskSlots": slots,
        "rest.address": "127.0.0.1",
        "rest.bind-address": "127.0.0.1",
        "rest.port": settings.ports.flink,
        # Milliseconds. By default the metrics on the live page and on Flink's pages would be up to 10 s old.
        "metrics.fetcher.update-interval": 1000,
        # A job can be submitted before the JobManager answers: the client asks twice a second, for two minutes.
        "rest.retry.delay": 500,
        "rest.retry.max-attempts": 240,
        # The JobManager notices a TaskManager killed with -9 within seconds, and restarts its tasks on another one.
        "heartbeat.interval": "1 s",
        "heartbeat.timeout": "10 s",
        "cluster.registration.initial-timeout": "100 ms",
        "execution.checkpointing.dir": f"file://{home / 'checkpoints'}",
        "execution.checkpointing.savepoint-dir": f"file://{home / 'savepoints'}",
        "io.tmp.dirs": str(home / "tmp"),
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
        "web.submit.enable": False,
    }
