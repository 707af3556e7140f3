"""Peak memory of what reads many cases: series of 1,000 real cases on a local disk, which are copies of one run."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

from rows import Row
from small_office import one_zone, weather
from watch import Peak, peak, ready

from idfkit_fs import Case, Study

CASES = 1_000
HOURS = 8_760
VARIABLE = "Site Outdoor Air Drybulb Temperature"
VALUES_MB = CASES * HOURS * 8 / 1e6
TIMES_OF_VALUES = 2.5
TOTAL_MB = 300


def measure() -> list[Row]:
    """Read one hourly series of all cases in each way, each time in a fresh process."""
    with TemporaryDirectory(prefix="idfkit-fs-bench-") as directory:
        url = str(Path(directory) / "study")
        _fill(url)
        peaks = {what: peak(_read, what, url) for what in ("timeseries()", "to_xarray()", "to_xarray(chunks='auto')")}
    lazy = peaks.pop("to_xarray(chunks='auto')")
    values = f"{VALUES_MB:.0f} MB of values"
    return [
        *(_row(what, found) for what, found in peaks.items()),
        Row(
            f"memory in all of a mean by to_xarray(chunks='auto'), three series of {CASES:,} cases",
            f"{lazy.total:.0f} MB, {lazy.seconds:.1f} s",
            f"3 x {values}",
            f"{lazy.total / (3 * VALUES_MB):.2f}",
            f"<= {TOTAL_MB} MB",
            lazy.total <= TOTAL_MB,
        ),
    ]


def _row(what: str, found: Peak) -> Row:
    ratio = found.grown / VALUES_MB
    return Row(
        f"memory of {what}, one hourly series of {CASES:,} cases",
        f"{found.grown:.0f} MB, {found.seconds:.1f} s",
        f"{VALUES_MB:.0f} MB of values",
        f"{ratio:.2f}",
        f"<= {TIMES_OF_VALUES}",
        ratio <= TIMES_OF_VALUES,
    )


def _fill(url: str) -> None:
    """One case is simulated, and its run copied for the others."""
    model = one_zone()
    model.add("Output:Variable", key_value="*", variable_name=VARIABLE, reporting_frequency="Hourly")
    study = Study(url)
    study.add_cases(
        Case(
            f"case-{number:04}", model, weather(), {"number": number}, include=["*.sql", "*.parquet", "*.end", "*.err"]
        )
        for number in range(CASES)
    )
    study.run()


def _read(what: str, url: str, pipe: Connection) -> None:
    study = Study(url)
    study.to_xarray(cases=["case-0000"], chunks=1).mean().compute()  # what is imported is not what is measured
    study.timeseries(cases=["case-0000"])
    ready(pipe)
    if what == "timeseries()":
        kept: object = study.timeseries(VARIABLE)
    elif what == "to_xarray()":
        kept = study.to_xarray(VARIABLE)
    else:
        kept = study.to_xarray(chunks="auto").mean("case").compute()
    pipe.send(None)
    del kept
