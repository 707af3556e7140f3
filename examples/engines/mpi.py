"""Run the pending cases of a study on the processes of an MPI job.

    mpiexec -n 9 python -m mpi4py.futures mpi.py s3://my-bucket/windows

One process distributes, and eight run cases. Prepare the study with `study.py` first. It needs an MPI (the cluster's
own, or `pip install mpich` on one machine) and `pip install "idfkit-fs[s3,energyplus,pandas]" mpi4py`.
"""

from __future__ import annotations

import sys

from mpi4py.futures import MPIPoolExecutor

from idfkit_fs import Study


def main(url: str) -> None:
    """Run the pending cases."""
    study = Study(url)
    with MPIPoolExecutor() as pool:
        print(study.run(executor=pool))
    print(study.status())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
