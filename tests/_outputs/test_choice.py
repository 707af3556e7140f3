"""Which files a run is published with, and that its series are the same whichever these are."""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from idfkit.simulation import EnergyPlusConfig
from small_office import one_zone
from support.models import LIGHTS, METER, TEMPERATURE, Ran, Twins, period
from support.places import Place

import idfkit_fs
from idfkit_fs import RunResult, open_result, publish
from idfkit_fs.errors import MissingExtraError, NotReportedError, SidecarError

# Unless a test waits for one.
pytestmark = pytest.mark.filterwarnings("error::UserWarning")

FREQUENCIES = ("daily", "detailed", "hourly", "monthly", "runperiod", "timestep")


def sidecars_of(result: RunResult) -> list[str]:
    assert result.record is not None
    return [file.name for file in result.record.files if file.name.endswith(".parquet")]


@pytest.fixture
def equal(twins: Twins) -> Callable[[RunResult], None]:
    """That a result of everything gives the frame and the cells that its twins give."""

    def check(result: RunResult) -> None:
        told, _ = twins("everything")
        for question in ({"variables": METER, "frequency": "hourly", "environment": "*"}, {"frequency": "daily"}):
            pd.testing.assert_frame_equal(result.timeseries(**question), told.timeseries(**question), check_exact=True)
        pd.testing.assert_frame_equal(result.tabular(), told.tabular(), check_exact=True)

    return check


def test_every_sidecar_is_written(ran: Ran, tmp_path: Path, equal: Callable[[RunResult], None]) -> None:
    result = publish(ran("everything"), tmp_path / "run")
    expected = {f"{kind}-{frequency}.parquet" for kind in ("timeseries", "sizing") for frequency in FREQUENCIES}
    assert {*sidecars_of(result)} == {*expected, "timeseries-annual.parquet", "tabular.parquet"}
    equal(result)
    equal(open_result(tmp_path / "run"))


def test_simulating_to_a_url_writes_them_too(
    s3_place: Place, epw: Path, eplus: EnergyPlusConfig, empty_cache: Path
) -> None:
    model = period(one_zone(), (1, 1), (1, 1))
    result = idfkit_fs.simulate(
        model, epw, output_dir=s3_place.url, storage_options=s3_place.options, energyplus=eplus, exclude=["*.sql"]
    )
    assert sidecars_of(result) == ["tabular.parquet", "timeseries-hourly.parquet"]
    assert len(result.timeseries(TEMPERATURE)) == 24


def test_sidecars_are_not_written_unless_wanted(ran: Ran, tmp_path: Path, equal: Callable[[RunResult], None]) -> None:
    for number, options in enumerate(({"sidecars": False}, {"exclude": ["*.parquet"]}, {"exclude": ["*-*", "tab*"]})):
        result = publish(ran("everything"), tmp_path / str(number), **options)  # type: ignore[arg-type]  # as given
        assert sidecars_of(result) == [] and (tmp_path / str(number) / "eplus.sql").exists()
        equal(result)


def test_sidecars_alone_are_enough(ran: Ran, tmp_path: Path, equal: Callable[[RunResult], None]) -> None:
    result = publish(ran("everything"), tmp_path / "run", include=["*.parquet", "*.err"])
    names = [path.name for path in (tmp_path / "run").iterdir()]
    assert {name.rpartition(".")[2] for name in names} == {"parquet", "err", "json"}
    equal(result)
    assert result.sql is None


@pytest.mark.parametrize("left_out", ["timeseries-*", "timeseries-hourly*", "sizing-hourly*", "tabular*"])
def test_what_was_left_out_is_read_from_the_database(
    ran: Ran, tmp_path: Path, equal: Callable[[RunResult], None], left_out: str
) -> None:
    result = publish(ran("everything"), tmp_path / "run", exclude=[left_out])
    with pytest.warns(UserWarning, match=r"Reading the whole database of file://.*\.parquet was not published"):
        equal(result)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        equal(result)  # the warning is given once


@pytest.mark.parametrize(
    ("left_out", "question"),
    [
        ("timeseries-hourly*", {"frequency": "daily"}),
        ("tabular*", {"frequency": "hourly"}),
        ("sizing-*", {"frequency": "hourly", "environment": "year"}),
    ],
)
def test_what_is_there_is_read_without_the_database(
    ran: Ran, twins: Twins, tmp_path: Path, left_out: str, question: dict[str, Any]
) -> None:
    result = publish(ran("everything"), tmp_path / "run", exclude=[left_out, "*.sql"])
    expected = twins("everything")[0].timeseries(**question)
    pd.testing.assert_frame_equal(result.timeseries(**question), expected, check_exact=True)


def test_a_frequency_that_was_left_out_everywhere_is_told(ran: Ran, tmp_path: Path) -> None:
    result = publish(ran("everything"), tmp_path / "run", exclude=["*-hourly*", "*.sql"])
    with pytest.raises(SidecarError, match=r"-hourly\.parquet was not published"):
        result.timeseries(METER, frequency="hourly")


def test_what_was_left_out_everywhere_is_told(ran: Ran, tmp_path: Path) -> None:
    result = publish(ran("everything"), tmp_path / "run", exclude=["tabular*", "*.sql"])
    with pytest.raises(SidecarError, match=r"tabular\.parquet was not published"):
        result.tabular()
    result = publish(ran("everything"), tmp_path / "none", exclude=["*.parquet", "*.sql"])
    for read in (result.timeseries, result.tabular):
        with pytest.raises(NotReportedError, match="has no SQLite output: the model needs .*; or include and exclude"):
            read()


@pytest.mark.parametrize("left_out", [["timeseries-hourly*"], ["sizing-*"]])
def test_half_of_a_frequency_that_was_left_out_is_told(ran: Ran, tmp_path: Path, left_out: list[str]) -> None:
    result = publish(ran("everything"), tmp_path / "run", exclude=[*left_out, "*.sql"])
    environment = "chicago winter" if left_out == ["sizing-*"] else None
    with pytest.raises(SidecarError, match=r"-hourly\.parquet was not published"):
        result.timeseries(METER, frequency="hourly", environment=environment)


def test_a_period_that_reports_nothing_at_a_frequency(twins: Twins) -> None:
    for result in twins("several_periods"):
        for environment in ("year", "chicago winter", ["july", "cold day"]):
            with pytest.raises(NotReportedError, match="Nothing is reported at the frequency .annual. for '"):
                result.timeseries(frequency="annual", environment=environment)
        assert len(result.timeseries(frequency="annual", environment=["year", "last"])) == 1


def test_sidecars_of_another_run_in_its_directory_are_not_taken(
    ran: Ran, twins: Twins, copied: Callable[[str], Path], tmp_path: Path, equal: Callable[[RunResult], None]
) -> None:
    stale, _ = twins("office")
    directory = copied("everything")
    for name in sidecars_of(stale):
        shutil.copy(Path(stale.run_dir, name), directory)
    equal(publish(directory, tmp_path / "again", include=["**"]))
    without = publish(directory, tmp_path / "without", sidecars=False)
    assert sidecars_of(without) == []
    equal(without)
    assert (directory / "timeseries-hourly.parquet").exists()  # the directory is left as it is


def test_a_mirror_keeps_the_sidecars(
    ran: Ran, s3_place: Place, tmp_path: Path, equal: Callable[[RunResult], None]
) -> None:
    first = publish(ran("everything"), tmp_path / "run")
    mirror = publish(tmp_path / "run", s3_place.url, storage_options=s3_place.options)
    assert mirror.record == first.record
    equal(mirror)


def test_overwriting_takes_the_old_sidecars_away(ran: Ran, s3_place: Place, twins: Twins) -> None:
    publish(ran("everything"), s3_place.url, storage_options=s3_place.options)
    new = publish(ran("office"), s3_place.url, storage_options=s3_place.options, overwrite=True)
    assert sidecars_of(new) == ["tabular.parquet", "timeseries-hourly.parquet"]
    assert new.files.glob("", "*.parquet") == sidecars_of(new)
    expected = twins("office")[0].timeseries(LIGHTS)
    pd.testing.assert_frame_equal(
        open_result(s3_place.url, storage_options=s3_place.options).timeseries(LIGHTS), expected, check_exact=True
    )


@pytest.mark.parametrize("package", ["pyarrow", "adbc_driver_sqlite"])
def test_without_the_packages_for_it_no_sidecars_are_written(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    run = ran("everything")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"sidecars=True needs .*: pip install 'idfkit-fs\[pandas\]'"):
        publish(run, tmp_path / "run", sidecars=True)
    assert not (tmp_path / "run").exists()
    result = publish(run, tmp_path / "run")
    assert sidecars_of(result) == []
    with pytest.raises(MissingExtraError, match=r"reading results needs .*: pip install 'idfkit-fs\[pandas\]'"):
        result.timeseries(METER, frequency="hourly")


def test_publishing_imports_no_pandas(ran: Ran, tmp_path: Path) -> None:
    """Importing it takes a second of each worker's time."""
    program = f"""
import sys
from idfkit_fs import publish
publish({str(ran("everything").run_dir)!r}, {str(tmp_path / "run")!r}, sidecars=True)
print([name for name in ("pandas", "polars", "xarray") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "run" / "timeseries-detailed.parquet").exists()
