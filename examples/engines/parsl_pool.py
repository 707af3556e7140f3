"""Run the pending cases of a study with Parsl.

    python parsl_pool.py s3://my-bucket/windows

Prepare the study with `study.py` first. It needs `pip install "idfkit-fs[s3,energyplus,pandas]" parsl`. The workers are
on this machine; for a cluster, replace `LocalProvider` with one of Parsl's others, such as `SlurmProvider`.
"""

from __future__ import annotations

import os
import sys

from parsl.concurrent import ParslPoolExecutor
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from idfkit_fs import Study


def main(url: str) -> None:
    """Run the pending cases."""
    workers = HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=os.cpu_count(),  # EnergyPlus uses a whole processor
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    # Parsl runs the case of a worker that died again if it may try twice.
    config = Config(executors=[workers], retries=2, usage_tracking=0)
    study = Study(url)
    with ParslPoolExecutor(config) as pool:
        print(study.run(executor=pool))
    print(study.status())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
