"""The Slurm script, on one machine: `srun` and `scontrol` are stand-ins, the nodes are real raylets."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "cluster/slurm/train.sbatch"

pytestmark = pytest.mark.timeout(600)

SRUN = """\
#!{python}
# Runs the step's command here, once, and passes SIGTERM on to all its processes, as srun does.
import os, signal, subprocess, sys
step = subprocess.Popen(sys.argv[sys.argv.index("bash"):], start_new_session=True)
signal.signal(signal.SIGTERM, lambda *_: os.killpg(step.pid, signal.SIGTERM))
sys.exit(step.wait())
"""
SCONTROL = """\
#!/usr/bin/env bash
case "$1 $2" in
  "show hostnames") tr , '\\n' <<<"$3" ;;
  "requeue "*) touch requeued ;;
esac
"""
# In place of the command line: connects as it does, uses all nodes, then ends or works on until it is interrupted.
TRAIN = """\
#!{python}
import os, signal, sys, time
from pathlib import Path
from credit_ray.cluster import ray_session
from credit_ray.config.training import Resources
if sys.argv[2] == "fail":
    sys.exit(7)
with ray_session(Resources()):
    import ray
    where = ray.remote(num_cpus=2)(lambda: (time.sleep(1), ray.get_runtime_context().get_node_id())[1])
    nodes = set(ray.get([where.remote() for _ in range(4)]))
    token = os.stat(os.environ["RAY_AUTH_TOKEN_PATH"])
    print(sys.argv[1:], "CPUs", ray.cluster_resources()["CPU"], "on", len(nodes), "nodes;", oct(token.st_mode & 0o777), flush=True)
    signal.signal(signal.SIGUSR1, lambda *_: (print("saved", flush=True), sys.exit(75)))
    Path("working").touch()
    time.sleep(600)
"""


@dataclass
class Allocation:
    """A folder and an environment in which the script finds what Slurm would give it.

    Parameters
    ----------
    folder : Path
        From which the job was submitted.
    nodes : Path
        Where the nodes' own disks are.
    environment : dict
        Of the script.
    """

    folder: Path
    nodes: Path
    environment: dict[str, str]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(SCRIPT), *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def processes(self) -> list[int]:
        """Everything that runs with the environment of this job."""
        mark = f"SLURM_SUBMIT_DIR={self.folder}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
            except OSError:  # it has just ended, or is another user's
                continue
        return found


def job_with_free_ports() -> int:
    """A job id whose ten ports, by the script's rule, nobody uses."""
    while True:
        job = secrets.randbelow(1000)
        with socket.socket() as one, socket.socket() as two, socket.socket() as three:
            if all(s.connect_ex(("127.0.0.1", 20000 + 10 * job + i)) for i, s in enumerate((one, two, three))):
                return job


@pytest.fixture
def allocate(tmp_path: Path) -> Iterator[Callable[[str], Allocation]]:
    """Makes an allocation of some nodes; nothing of it runs on after the test, whatever happens in it."""
    programs = {"srun": SRUN, "scontrol": SCONTROL, "credit-ray": TRAIN}
    for name, text in programs.items():
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text.replace("{python}", sys.executable))
        program.chmod(0o755)
    nodes = Path(tempfile.mkdtemp(prefix="crs", dir="/tmp"))  # short, since the path of a socket is
    made: list[Allocation] = []

    def allocate(nodelist: str) -> Allocation:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_"))}
        search = [str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        slurm = {
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_ID": str(job_with_free_ports()),
            "SLURM_JOB_NODELIST": nodelist,
            "SLURM_CPUS_PER_TASK": "2",
            "SLURM_MEM_PER_NODE": "400",
        }
        ours = {
            "PATH": ":".join(search),
            "PYTHONPATH": str(PROJECT),
            "RAY_NODE_ROOT": str(nodes),
            "CREDIT_RAY_VENV": "none",
        }
        made.append(Allocation(tmp_path, nodes, {**kept, **slurm, **ours}))
        return made[-1]

    yield allocate
    for allocation in made:
        for process in allocation.processes():
            os.kill(process, signal.SIGKILL)
    shutil.rmtree(nodes, ignore_errors=True)


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """The test's own time limit bounds it."""
    while not what():
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.2)


def traces(allocation: Allocation) -> list[str]:
    """Files and processes of the job."""
    files = [*allocation.folder.glob(".ray-*"), *allocation.nodes.iterdir()]
    return [*map(str, files), *map(str, allocation.processes())]


def test_the_script_is_sound() -> None:
    subprocess.run(["bash", "-n", str(SCRIPT)], check=True)
    if checker := shutil.which("shellcheck"):
        found = subprocess.run(
            [checker, "--severity=warning", str(SCRIPT)], capture_output=True, text=True, check=False
        )
        assert found.returncode == 0, found.stdout
    assert os.access(SCRIPT, os.X_OK)


def test_without_a_config_nothing_starts(allocate: Callable[[str], Allocation]) -> None:
    allocation = allocate("localhost")
    job = allocation.start()
    said, _ = job.communicate(timeout=30)
    assert job.returncode == 2
    assert "Which config?" in said
    assert traces(allocation) == []


@pytest.mark.slow
def test_near_the_time_limit_training_saves_itself_and_is_queued_again(allocate: Callable[[str], Allocation]) -> None:
    allocation = allocate("localhost,127.0.0.1")
    job = allocation.start("my.yaml", "--set", "seed=1")
    wait_for((allocation.folder / "working").exists, job)
    job.send_signal(signal.SIGUSR1)
    said, _ = job.communicate()
    assert "['train', 'my.yaml', '--set', 'seed=1'] CPUs 4.0 on 2 nodes; 0o600" in said
    assert "saved" in said
    assert job.returncode == 75
    assert (allocation.folder / "requeued").exists()
    assert traces(allocation) == []


@pytest.mark.slow
def test_a_head_that_can_not_start_ends_the_job_at_once(allocate: Callable[[str], Allocation]) -> None:
    allocation = allocate("localhost")
    with socket.create_server(("127.0.0.1", 20000 + 10 * int(allocation.environment["SLURM_JOB_ID"]))):
        job = allocation.start("my.yaml")
        said, _ = job.communicate()
    assert job.returncode == 1
    assert "Ray ended as soon as it was started" in said
    assert not (allocation.folder / "working").exists()
    assert traces(allocation) == []


@pytest.mark.slow
def test_a_failure_is_passed_on_and_not_repeated(allocate: Callable[[str], Allocation]) -> None:
    allocation = allocate("localhost")
    job = allocation.start("fail")
    said, _ = job.communicate()
    assert job.returncode == 7, said
    assert not (allocation.folder / "requeued").exists()
    assert traces(allocation) == []
