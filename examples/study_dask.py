"""Run the pending cases of a study on a Dask cluster.

    python study_dask.py s3://my-bucket/windows                          # a cluster on this machine
    python study_dask.py s3://my-bucket/windows tcp://scheduler:8786     # your cluster

Prepare the study with `study.py` first. The workers and this machine need
`pip install "idfkit-fs[energyplus,pandas,dask]"`, the extra for your store, and credentials for it.
"""

from __future__ import annotations

import sys

from dask.distributed import Client

from idfkit_fs import Study


def main(url: str, scheduler: str | None = None) -> None:
    """Run the pending cases on the cluster."""
    study = Study(url)
    print(study.status())
    # One thread per worker: EnergyPlus uses a whole processor.
    options = {"address": scheduler} if scheduler else {"threads_per_worker": 1, "dashboard_address": None}
    with Client(**options) as client:  # type: ignore[no-untyped-call]  # dask's types are partial
        print(study.run(executor=client.get_executor(), progress=True))
    print(study.status())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
