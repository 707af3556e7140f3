"""Run one annual simulation, publish it at a URL, and open it again from the URL alone.

    python one_run.py s3://my-bucket/study-001/case-42
    python one_run.py gs://my-bucket/study-001/case-42
    python one_run.py results/case-42

Needs `pip install "idfkit-fs[energyplus,progress]"` and the extra of your store: `s3`, `gcs` or `azure`. Credentials
are found as the store's own tools find them. For S3 these are `AWS_PROFILE`, `AWS_ACCESS_KEY_ID` and so on;
`AWS_ENDPOINT_URL` sets the endpoint of an S3-compatible store.
"""

from __future__ import annotations

import sys

from small_office import small_office, weather

import idfkit_fs


def main(url: str) -> None:
    """Run an annual simulation, publish it, and read it back."""
    idfkit_fs.simulate(
        small_office(),
        weather(),
        output_dir=url,
        annual=True,
        overwrite=True,  # replaces a run that already exists there; without this, that is an error
        progress=True,
    )

    # From here on only the URL is needed: this could be another machine, a year later.
    result = idfkit_fs.open_result(url)
    if not result.success or result.sql is None:
        sys.exit(result.errors.summary())
    print(f"{result.url}: {result.runtime_seconds:.1f} s in EnergyPlus\n")

    print("Energy use of the year")
    for cell in result.sql.get_tabular_data("AnnualBuildingUtilityPerformanceSummary", "End Uses"):
        if cell.units == "GJ" and cell.row_name not in ("", "Total End Uses") and float(cell.value):
            print(f"  {cell.row_name:20} {cell.column_name:22} {float(cell.value) / 0.0036:8,.0f} kWh")

    # Only the files that are read are fetched; the local cache keeps the database for the next time.
    series = result.sql.get_timeseries("Zone Mean Air Temperature", "OFFICE CORE")
    print(f"\n{series.variable_name} of {series.key_value}, 2 January")
    for hour in range(29, 44, 2):
        print(f"  {series.timestamps[hour]:%H:%M} {series.values[hour]:6.1f} °{series.units}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
