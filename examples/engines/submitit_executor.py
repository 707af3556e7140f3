"""Run the pending cases of a study with submitit: each case becomes a SLURM job, or a process where SLURM is missing.

    python submitit_executor.py s3://my-bucket/windows
    python submitit_executor.py s3://my-bucket/windows local     # processes, even where there is a SLURM

Prepare the study with `study.py` first. It needs `pip install "idfkit-fs[s3,energyplus,pandas]" submitit`. For many
short cases an array job is quicker: `array_jobs/slurm.sh`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import submitit

from idfkit_fs import Study


class SubmititExecutor(ThreadPoolExecutor):
    """What `Study.run(executor=...)` needs of submitit, whose jobs have no callbacks: threads wait for them."""

    def __init__(self, jobs: submitit.Executor, max_waiting: int = 64) -> None:
        super().__init__(max_waiting)
        self._jobs = jobs

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Submit a job."""
        return super().submit(self._jobs.submit(fn, *args, **kwargs).result)


def main(url: str, cluster: str | None = None) -> None:
    """Run the pending cases."""
    jobs = submitit.AutoExecutor(folder="submitit-logs", cluster=cluster)
    jobs.update_parameters(timeout_min=60, cpus_per_task=1)
    study = Study(url)
    with SubmititExecutor(jobs) as pool:
        print(study.run(executor=pool))
    print(study.status())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
