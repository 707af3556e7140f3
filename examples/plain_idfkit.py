"""Use plain idfkit with outputs on any store: one run and a small batch, through an idfkit-fs filesystem.

    python plain_idfkit.py s3://my-bucket/study-001
    python plain_idfkit.py results

Code that already uses idfkit changes in one line: the filesystem. `idfkit_fs.simulate` does more (see `one_run.py`): it
publishes a record with each run, so that readers can distinguish a complete run from an incomplete one.

Needs `pip install "idfkit-fs[energyplus]"` and the extra of your store: `s3`, `gcs` or `azure`.
"""

from __future__ import annotations

import sys

from idfkit.simulation import SimulationJob, simulate, simulate_batch
from small_office import one_zone, small_office, weather

from idfkit_fs import FsspecFileSystem, find_energyplus


def main(url: str) -> None:
    """Run one case, then two in parallel, and read their results through the filesystem."""
    fs = FsspecFileSystem.from_url(url)
    print(fs)

    result = simulate(one_zone(), weather(), output_dir="case-42", annual=True, energyplus=find_energyplus(), fs=fs)
    print(f"case-42: {'succeeded' if result.success else 'failed'} in {result.runtime_seconds:.1f} s")
    print(f"  at {fs.url('case-42/eplus.sql')}")

    ratios = {"glazing-20": 0.2, "glazing-60": 0.6}
    jobs = [
        SimulationJob(small_office(window_to_wall_ratio=ratio), weather(), label=name, output_dir=name, annual=True)
        for name, ratio in ratios.items()
    ]
    batch = simulate_batch(jobs, max_workers=2, energyplus=find_energyplus(), fs=fs)

    for name, case in zip(ratios, batch, strict=True):
        if case.sql is None:
            sys.exit(f"{name} has no SQLite output: {case.stderr}")
        report = "AnnualBuildingUtilityPerformanceSummary"
        cooling = case.sql.get_tabular_value(report, "End Uses", "Cooling", "District Cooling")
        print(f"{name}: cooling {float(cooling) / 0.0036:,.0f} kWh")

    print(f"{len(fs.glob('', '*/*'))} files in {fs.url()}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
