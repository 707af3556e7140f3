"""Run the pending cases of a study on Ray.

    python ray_executor.py s3://my-bucket/windows                 # processes of this machine
    RAY_ADDRESS=auto python ray_executor.py s3://my-bucket/windows   # the cluster that this machine belongs to

Prepare the study with `study.py` first. The nodes need `pip install "idfkit-fs[s3,energyplus,pandas]" ray`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import ray

from idfkit_fs import Study


class RayExecutor(Executor):
    """What `Study.run(executor=...)` needs of Ray: a case is a task of one processor.

    Ray runs the case of a worker or a node that died again, up to three times.
    """

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Start a task."""
        future: Future[Any] = ray.remote(num_cpus=1, max_retries=3)(fn).remote(*args, **kwargs).future()
        return future


def main(url: str) -> None:
    """Run the pending cases."""
    study = Study(url)
    with ray.init(include_dashboard=False, log_to_driver=False):
        print(study.run(executor=RayExecutor()))
    print(study.status())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
