"""A cluster of SLURM on this machine: Debian's packages, without systemd, in a directory and on ports of its own."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from support.servers import HOST, ServerError, free_ports
from support.waiting import wait_until

__all__ = ["Cluster", "slurm_cluster"]

_INSTALL = "SLURM is not installed; on Debian or Ubuntu: apt-get install -y slurm-wlm munge"
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
_CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}({address})
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ctld_port}
SlurmdPort={d_port}
AuthType=auth/munge
# A task that is requeued waits until its old credential has expired.
AuthInfo=socket={directory}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
ReturnToService=2
SlurmdTimeout=15
# The node says that it is larger than this machine, so that all tasks of an example run at the same time.
SlurmdParameters=config_overrides
NodeName=node1 NodeHostname={host} NodeAddr={address} CPUs=12 RealMemory=32768
PartitionName=all Nodes=node1 Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """One node, and the commands that a user of it has.

    Attributes:
        environment: What the commands need.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        scripts = sysconfig.get_path("scripts")  # where the command idfkit-fs is
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))},
            "PATH": os.pathsep.join([scripts, os.environ["PATH"], "/usr/sbin", "/sbin"]),
            "SLURM_CONF": str(directory / "slurm.conf"),
        }

    def start(self) -> None:
        """Start munged, slurmctld and slurmd, and wait until the node takes jobs."""
        missing = [name for name in _PROGRAMS if not shutil.which(name, path=self.environment["PATH"])]
        if missing:
            raise ServerError(f"{_INSTALL} (missing: {', '.join(missing)})")
        self._directory.chmod(0o755)  # munge refuses a socket below a directory that others may not enter
        for name in ("munge", "state", "spool"):
            (self._directory / name).mkdir(mode=0o755)
        munge = self._directory / "munge"
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o400)
        ctld_port, d_port = free_ports(2)
        text = _CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            address=HOST,
            user=getpass.getuser(),
            directory=self._directory,
            ctld_port=ctld_port,
            d_port=d_port,
        )
        (self._directory / "slurm.conf").write_text(text)
        files = {name: munge / name for name in ("socket", "key-file", "log-file", "pid-file", "seed-file")}
        files["key-file"] = munge / "key"
        self._start("munged", "--foreground", *(f"--{name}={path}" for name, path in files.items()))
        wait_until(files["socket"].exists, "munged")
        self._start("slurmctld", "-D")
        self.start_node()

    def start_node(self) -> None:
        """Start the node's daemon."""
        self._start("slurmd", "-D", "-N", "node1")
        wait_until(lambda: self._said("sinfo", "-h", "-o", "%T") in ("idle", "mixed", "allocated"), "the node")

    def kill_node_daemon(self) -> None:
        """Kill the node's daemon alone: the tasks go on."""
        self._end("slurmd", kill=True)

    def kill_node(self) -> None:
        """Kill the node's daemon and everything that it started, as when the machine loses its power, until it is missed."""
        self.kill_node_daemon()
        gone = self.processes()
        parents = [parent for process in gone if (parent := process.parent())]
        gone += {parent for parent in parents if parent.name().startswith("slurmstepd")}  # they hide their environment
        for end in (psutil.Process.suspend, psutil.Process.kill):  # so that none of them reports the end of another
            for process in gone:
                with suppress(psutil.NoSuchProcess):
                    end(process)
        psutil.wait_procs(gone, timeout=10)
        wait_until(lambda: self._said("sinfo", "-h", "-o", "%T").startswith("down"), "SLURM to miss the node")

    def end(self) -> None:
        """End the jobs and the daemons, and nothing else."""
        if "slurmctld" in self._daemons:
            with suppress(subprocess.SubprocessError):
                self.run("scancel", "--full", "--signal=KILL", f"--user={getpass.getuser()}")
        for name in reversed(self._daemons):
            self._end(name)
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def processes(self, task: int | None = None, name: str = "") -> list[psutil.Process]:
        """The processes of the node, or of a task, but for the daemons: they have the configuration's name from us."""
        found, daemons = [], {daemon.pid for daemon in self._daemons.values()} | {os.getpid()}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()
                ours = environment.get("SLURM_CONF") == self.environment["SLURM_CONF"] and process.pid not in daemons
                of_task = task is None or environment.get("SLURM_ARRAY_TASK_ID") == str(task)
                if ours and of_task and name in process.name():
                    found.append(process)
        return found

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command of SLURM, which must succeed; what it printed."""
        environment = {**self.environment, **(env or {})}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def states(self, job: str) -> dict[int, str]:
        """The state of each task of an array job."""
        lines = self.run("squeue", "-h", "-r", "-t", "all", "-j", job, "-o", "%K %T").splitlines()
        return {int(task): state for task, state in map(str.split, lines)}

    def wait(self, job: str) -> dict[int, str]:
        """Wait until all tasks have ended; their states."""
        live = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED", "SUSPENDED"}
        wait_until(lambda: not live & {*self.states(job).values()}, f"job {job}")
        return self.states(job)

    def _said(self, *command: str) -> str:
        try:
            return self.run(*command)
        except AssertionError:
            return ""  # the controller does not answer yet

    def _start(self, name: str, *arguments: str) -> None:
        program = shutil.which(name, path=self.environment["PATH"])
        assert program is not None
        with (self._directory / f"{name}.output").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                cwd=self._directory,
            )

    def _end(self, name: str, kill: bool = False) -> None:
        daemon = self._daemons[name]
        daemon.kill() if kill else daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@contextmanager
def slurm_cluster(directory: Path) -> Iterator[Cluster]:
    """Run a cluster of one node.

    Args:
        directory: Where it keeps everything, with a short path: a socket's may have 107 bytes.

    Raises:
        ServerError: If SLURM is not installed; it names the packages.
    """
    cluster = Cluster(directory)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
