"""A study on a laptop: three window ratios in two climates, run in parallel, and collected as a table.

    python study.py s3://my-bucket/windows
    python study.py results/windows

Run it again: finished cases are not simulated again. It needs `pip install "idfkit-fs[energyplus,progress,pandas]"` and
the extra for your store, and uses the same credentials as the store's own tools.
"""

from __future__ import annotations

import sys

import pandas as pd
from small_office import small_office, weather

from idfkit_fs import Study

# A row a case; the columns are its parameters.
CASES = pd.MultiIndex.from_product(
    [["chicago", "tampa"], [0.2, 0.4, 0.6]], names=["city", "window_to_wall_ratio"]
).to_frame(index=False)
PEAK = ("DemandEndUseComponentsSummary", "End Uses", "Total End Uses", "District Cooling")


def main(url: str) -> None:
    """Prepare, run, collect."""
    study = Study(url, metrics={"peak_cooling_w": PEAK})
    study.add_table(
        CASES,
        lambda row: small_office(window_to_wall_ratio=row["window_to_wall_ratio"]),
        weather=lambda row: weather(row["city"]),
        name="{city}-{window_to_wall_ratio}",
        annual=True,
        progress=True,
    )
    print(study.run(progress=True))

    # The rest needs only the URL: it could run on another machine, next year.
    study = Study(url)
    summary = study.summary()
    print(summary.pivot_table("eui_kwh_m2", "window_to_wall_ratio", "city").round(1).to_string())
    worst = summary["peak_cooling_w"].idxmax()
    print(f"\nThe largest peak: {worst}, {summary.loc[worst, 'peak_cooling_w'] / 1000:.1f} kW")
    sql = study.result(worst).sql  # downloads a result file into the cache
    if sql is not None:
        series = sql.get_timeseries("Zone Mean Air Temperature", "OFFICE CORE", environment="annual")
        print(f"Warmest hour in its core: {max(series.values):.1f} °{series.units}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
