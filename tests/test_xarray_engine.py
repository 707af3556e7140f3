"""The engine of xarray: what it shows of real runs, and how little it reads."""

from __future__ import annotations

import pickle
import subprocess
import sys
import uuid
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from idfkit.simulation import EnergyPlusConfig, SimulationResult, simulate
from small_office import one_zone, small_office
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store
from upath import UPath

from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs.errors import NotReportedError, UnreadableDatabaseError

TEMPERATURE = "Zone Mean Air Temperature"
LOAD = "Zone Ideal Loads Supply Air Total Heating Energy"
ZONES = ["OFFICE CORE", *(f"OFFICE PERIMETER_{side}" for side in ("EAST", "NORTH", "SOUTH", "WEST"))]


@pytest.fixture(scope="session")
def office(epw: Path, eplus: EnergyPlusConfig, tmp_path_factory: pytest.TempPathFactory) -> SimulationResult:
    """A year of the small office, with series of each hour and each month."""
    model = small_office()
    for variable in (TEMPERATURE, "Surface Inside Face Temperature"):
        model.add("Output:Variable", key_value="*", variable_name=variable, reporting_frequency="Monthly")
    model.add(
        "Output:Variable",
        key_value="*",
        variable_name="Surface Inside Face Temperature",
        reporting_frequency="Hourly",
    )
    return simulate(model, epw, output_dir=tmp_path_factory.mktemp("office"), annual=True, energyplus=eplus)


@pytest.fixture(scope="session")
def office_url(office: SimulationResult, moto: Store) -> str:
    url = f"{moto.url}/{uuid.uuid4().hex}"
    publish(office, url, storage_options=moto.storage_options)
    return url


@pytest.fixture
def published(office_url: str, moto: Store, proxy: FaultProxy) -> Place:
    """That run, behind a proxy that counts."""
    return Place(office_url, dict(moto.through(proxy.endpoint).storage_options))


def opened(place: Place, **options: object) -> xr.Dataset:
    return xr.open_dataset(place.url, engine="energyplus", storage_options=place.options, **options)


def test_a_run_is_a_dataset(published: Place) -> None:
    dataset = opened(published, frequency="hourly")
    result = open_result(published.url, storage_options=published.options)
    assert dataset[TEMPERATURE].dims == ("key", "time")
    assert dataset["Electricity:Facility"].dims == dataset["Site Outdoor Air Drybulb Temperature"].dims == ("time",)
    assert dataset[TEMPERATURE].attrs == {
        "units": "degC",
        "long_name": TEMPERATURE,
        "cell_methods": "time: mean",
        "reporting_frequency": "Hourly",
    }
    assert dataset[LOAD].attrs["cell_methods"] == "time: sum" and dataset[LOAD].attrs["units"] == "J"
    assert dataset["time"].attrs["standard_name"] == "time"
    for name in (TEMPERATURE, LOAD, "Electricity:Facility", "Site Outdoor Air Drybulb Temperature"):
        frame = result.timeseries(name, frequency="hourly")
        own = dataset[name].dropna("key", how="all") if "key" in dataset[name].dims else dataset[name]
        np.testing.assert_array_equal(np.atleast_2d(own), frame.to_numpy().T)
        assert (dataset.indexes["time"] == frame.index).all()
    assert list(dataset[TEMPERATURE].dropna("key", how="all")["key"].values) == ZONES


def test_arrays_are_indexed_as_others_are(published: Place) -> None:
    lazy = opened(published, frequency="hourly")[TEMPERATURE]
    whole = lazy.copy().load()
    zone = whole.get_index("key").get_loc("OFFICE PERIMETER_SOUTH")
    for chosen in (
        {"key": zone},
        {"time": -1},
        {"key": zone, "time": slice(None, None, -24)},
        {"key": [zone, 0, zone], "time": [5, 3]},
        {"key": slice(0, 0)},
        {"key": slice(zone, None, -2), "time": 7},
        {"key": xr.DataArray([zone, zone], dims="x"), "time": xr.DataArray([1, 2], dims="x")},
    ):
        xr.testing.assert_equal(opened(published, frequency="hourly")[TEMPERATURE].isel(chosen), whole.isel(chosen))
    summer = lazy.sel(key="OFFICE CORE", time="2007-07").mean()
    assert 20 < summer < 30


def test_only_what_is_asked_for_is_read(published: Place, proxy: FaultProxy) -> None:
    record = open_result(published.url, storage_options=published.options).record
    assert record is not None
    sidecar = record.file("timeseries-hourly.parquet")
    assert sidecar is not None and sidecar.size > 2**20
    proxy.reset_counters()
    dataset = opened(published, frequency="hourly")
    assert proxy.bytes_down < sidecar.size / 8 and proxy.requests == 1  # the record
    before = proxy.bytes_down
    dataset[TEMPERATURE].sel(key="OFFICE CORE").load()
    assert proxy.bytes_down - before < 2**17
    proxy.reset_counters()
    opened(published, frequency="hourly")[TEMPERATURE].sel(key="OFFICE CORE").load()
    assert proxy.requests == 1  # the record


def test_a_tree_has_a_group_for_each_frequency(published: Place) -> None:
    tree = xr.open_datatree(published.url, engine="energyplus", storage_options=published.options)
    assert tree.groups == ("/", "/hourly", "/monthly")
    assert dict(tree["monthly"].sizes)["time"] == 12
    xr.testing.assert_identical(tree["hourly"].to_dataset(), opened(published, frequency="hourly"))
    groups = xr.open_groups(published.url, engine="energyplus", storage_options=published.options)
    assert set(groups) == {"/", "/hourly", "/monthly"}


def test_several_frequencies_need_a_choice(published: Place) -> None:
    with pytest.raises(ValueError, match=r"hourly, monthly; choose one with frequency="):
        opened(published)
    with pytest.raises(ValueError, match="did you mean 'hourly'"):
        opened(published, frequency="hurly")
    with pytest.raises(
        NotReportedError, match=r"is not reported at the frequency 'daily'; it is reported at hourly, monthly"
    ):
        opened(published, frequency="daily")


def test_variables_that_are_dropped_take_their_keys_along(published: Place) -> None:
    dataset = opened(published, frequency="hourly", drop_variables=["Surface Inside Face Temperature", LOAD])
    cooling = "Zone Ideal Loads Supply Air Total Cooling Energy"
    assert list(dataset.drop_vars(cooling)[TEMPERATURE].dropna("key", how="all")["key"].values) == ZONES
    assert LOAD not in dataset and dataset.sizes["key"] == 2 * len(ZONES)
    others = {*opened(published, frequency="hourly")} - {"Electricity:Facility"}
    only = opened(published, frequency="hourly", drop_variables=others)
    assert {*only.data_vars} == {"Electricity:Facility"} and "key" not in only.coords


def test_many_cases_and_dask(published: Place) -> None:
    dataset = xr.open_mfdataset(
        [published.url, published.url],
        engine="energyplus",
        combine="nested",
        concat_dim="case",
        frequency="hourly",
        storage_options=published.options,
    )
    expected = opened(published, frequency="hourly")[TEMPERATURE].mean("time")
    assert dataset[TEMPERATURE].chunks is not None
    for scheduler in ("threads", "sync"):
        xr.testing.assert_allclose(
            dataset[TEMPERATURE].mean("time").isel(case=1).compute(scheduler=scheduler), expected
        )
    assert opened(published, frequency="hourly", chunks={})[TEMPERATURE].chunks is not None


def test_workers_of_dask_read_for_themselves(published: Place, tmp_path: Path) -> None:
    expected = opened(published, frequency="hourly")["Electricity:Facility"].sum().item()
    options = {"n_workers": 1, "host": "127.0.0.1", "dashboard_address": None, "worker_dashboard_address": None}
    with (
        dask.config.set(temporary_directory=str(tmp_path)),
        LocalCluster(**options) as cluster,  # type: ignore[no-untyped-call]  # dask's types are partial
        Client(cluster),  # type: ignore[no-untyped-call]  # dask's types are partial
    ):
        total = opened(published, frequency="hourly", chunks={})["Electricity:Facility"].sum().compute()
    assert total.item() == pytest.approx(expected)
    again = pickle.loads(pickle.dumps(opened(published, frequency="hourly")))
    assert again["Electricity:Facility"].sum().item() == expected


@pytest.mark.parametrize("kind", [str, Path, UPath])
def test_the_database_itself(office: SimulationResult, kind: type) -> None:
    path = kind(str(office.sql_path))
    dataset = xr.open_dataset(path, frequency="hourly")  # nothing else opens an .sql
    expected = office.sql.get_timeseries(TEMPERATURE, "OFFICE CORE", "Hourly")  # type: ignore[union-attr]  # it exists
    np.testing.assert_array_equal(dataset[TEMPERATURE].sel(key="OFFICE CORE"), expected.values)
    assert [*pd.to_datetime(dataset["time"].values)] == [*map(pd.Timestamp, expected.timestamps)]


def test_a_key_that_is_selected_twice(office: SimulationResult, published: Place) -> None:
    for dataset in (xr.open_dataset(office.sql_path, frequency="hourly"), opened(published, frequency="hourly")):
        twice = dataset[TEMPERATURE].sel(key=["OFFICE CORE", "OFFICE CORE"]).values
        assert (twice == dataset[TEMPERATURE].sel(key="OFFICE CORE").values).all()


def test_the_database_in_a_store(published: Place, proxy: FaultProxy) -> None:
    for _ in range(2):
        proxy.reset_counters()
        dataset = xr.open_dataset(
            f"{published.url}/eplus.sql", engine="energyplus", frequency="monthly", storage_options=published.options
        )
        xr.testing.assert_identical(dataset, opened(published, frequency="monthly"))
    assert proxy.bytes_down < 2**20  # the second time it is here


def test_a_run_in_a_directory_and_by_upath(published: Place, office: SimulationResult, tmp_path: Path) -> None:
    publish(office, tmp_path / "run")
    here = xr.open_dataset(tmp_path / "run", engine="energyplus", frequency="hourly")
    there = xr.open_dataset(UPath(published.url, **published.options), engine="energyplus", frequency="hourly")
    xr.testing.assert_identical(here.load(), there.load())


def test_several_environments_are_a_coordinate(epw: Path, eplus: EnergyPlusConfig, tmp_path: Path) -> None:
    model = one_zone()
    first = next(iter(model["RunPeriod"]))
    first.end_month, first.end_day_of_month = 1, 1
    model.add("RunPeriod", "July", begin_month=7, begin_day_of_month=1, end_month=7, end_day_of_month=1)
    run = simulate(model, epw, output_dir=tmp_path / "run", energyplus=eplus)
    dataset = xr.open_dataset(run.sql_path, engine="energyplus")
    assert dict(dataset.groupby("environment").count()[TEMPERATURE].to_series().groupby("environment").max()) == {
        "JULY": 24,
        "YEAR": 24,
    }
    july = xr.open_dataset(run.sql_path, engine="energyplus", environment="july")
    assert "environment" not in july.coords and july.sizes["time"] == 24


def test_what_is_no_run_is_told(s3_place: Place, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="Nothing exists here"):
        opened(s3_place)
    (tmp_path / "foreign.sql").write_bytes(b"SQLite format 3\0" + b"x" * 2000)
    with pytest.raises(UnreadableDatabaseError, match=r"foreign\.sql"):
        xr.open_dataset(tmp_path / "foreign.sql")
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    fs.write_bytes("eplus.err", b"")
    with pytest.raises(FileNotFoundError, match="without a run's record"):
        opened(s3_place)


def test_what_opens_other_files_does_not_wait_for_us() -> None:
    # xarray imports every engine with the first file that it opens.
    ours = ("fsspec", "idfkit", "idfkit_fs._fs.sync", "pyarrow", "pydantic")
    program = f"""
import sys, xarray as xr
before = {{*sys.modules}}
assert "idfkit_fs" not in before
assert "energyplus" in xr.backends.list_engines()
print([name for name in {ours!r} if name in sys.modules and name not in before])
"""
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
