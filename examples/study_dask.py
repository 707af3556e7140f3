"""The cases of a study on a Dask cluster: whatever is missing there is run by its workers.

    python study_dask.py s3://my-bucket/windows                          # a cluster of this machine's processors
    python study_dask.py s3://my-bucket/windows tcp://scheduler:8786     # your own

The workers need `pip install "idfkit-fs[energyplus,dask]"` with the extra of your store, and credentials of their own;
this machine needs the same, and `study.py` beside it has prepared the study.
"""

from __future__ import annotations

import sys

from dask.distributed import Client

from idfkit_fs import Study


def main(url: str, scheduler: str | None = None) -> None:
    """Run what is missing on the cluster."""
    study = Study(url)
    print(study.status())
    # One thread a worker: EnergyPlus takes a processor for itself.
    options = {"address": scheduler} if scheduler else {"threads_per_worker": 1, "dashboard_address": None}
    with Client(**options) as client:  # type: ignore[no-untyped-call]  # dask's types are partial
        print(study.run(executor=client.get_executor(), progress=True))
    print(study.status())


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
