"""More than fits into memory: datasets of Dask arrays, which the workers read that need them."""

from __future__ import annotations

import pickle
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
from support.fixtures_studies import OUTDOORS
from support.places import Place
from support.variants import variant
from support.workers import CONTEXT

from idfkit_fs import Case, RunResult, Study
from idfkit_fs.errors import DamagedRunError, MissingExtraError
from idfkit_fs.runs import data
from idfkit_fs.studies.chunks import Chunks, cases_per_chunk

TEMPERATURE = "Zone Mean Air Temperature"
METER = "DistrictHeatingWater:Facility"
VARIABLES = [TEMPERATURE, OUTDOORS, METER]

pytestmark = pytest.mark.filterwarnings("ignore:2 of 5 cases")


@pytest.mark.parametrize(
    ("chunks", "sizes"),
    [(1, (1, 1, 1)), (2, (2, 1)), ({"case": 2}, (2, 1)), (-1, (3,)), ("auto", (3,)), ({}, (3,)), (100, (3,))],
    ids=str,
)
def test_a_lazy_dataset_has_the_values_of_one_in_memory(
    collected: Study, chunks: Chunks, sizes: tuple[int, ...]
) -> None:
    expected = collected.to_xarray(VARIABLES)
    dataset = collected.to_xarray(VARIABLES, chunks=chunks)
    for name in VARIABLES:
        assert dataset[name].chunks == (sizes, *((length,) for length in dataset[name].shape[1:]))
    xr.testing.assert_identical(dataset.load(), expected)
    assert isinstance(expected[TEMPERATURE].data, np.ndarray)


def test_chunks_divide_cases_only(collected: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunResult, "data", property(lambda _run: pytest.fail("a run was opened")))
    for wrong in (0, -2, True, 1.5, "all", {"case": 0}):
        with pytest.raises(ValueError, match="chunks must be a number of cases"):
            collected.to_xarray(TEMPERATURE, chunks=wrong)  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ValueError, match=r"cannot divide the dimension 'time'.* divide it with Dataset.chunk"):
        collected.to_xarray(TEMPERATURE, chunks={"time": 24})


def test_automatic_chunks_are_of_a_few_megabytes() -> None:
    year = 8 * 8760
    assert cases_per_chunk("auto", 100_000, year) * year <= 2**23 < (cases_per_chunk("auto", 100_000, year) + 1) * year
    assert cases_per_chunk("auto", 100_000, 2**30) == 1
    assert cases_per_chunk("auto", 3, 0) == 3


def test_opening_reads_no_values_and_equal_times_once(collected: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    columns = data.read_columns
    monkeypatch.setattr(data, "read_columns", lambda *args: read.append(args[-1]) or columns(*args))
    monkeypatch.setattr(data, "_recent_times", {})
    with monkeypatch.context() as one_by_one:
        one_by_one.setattr("idfkit_fs.studies.collect.THREADS", 1)
        dataset = collected.to_xarray(VARIABLES, chunks=1)
    assert read == [["time", "environment"]]
    read.clear()
    dataset[METER].sel(case="thick").load()
    (wanted,) = read
    assert len(wanted) == 1 and wanted[0].startswith(METER)


def test_other_processes_read_chunks(collected: Study) -> None:
    expected = collected.to_xarray(TEMPERATURE).mean("time")
    dataset = collected.to_xarray(TEMPERATURE, chunks=1).mean("time")
    with ProcessPoolExecutor(1, CONTEXT) as pool, dask.config.set(scheduler="processes", pool=pool):
        xr.testing.assert_allclose(dataset.compute(), expected)


def test_a_task_is_small_and_shows_no_secret(s3_place: Place, epw: Path) -> None:
    secret = "do-not-show-this-9471"
    options = {**s3_place.options, "secret": secret}
    study = Study(s3_place.url, storage_options=options)
    study.add_cases(Case(f"case-{number}", variant(), epw) for number in range(2))
    study.run()
    graph = dict(study.to_xarray(TEMPERATURE, chunks=1)[TEMPERATURE].__dask_graph__())
    assert len(graph) == 2
    assert secret not in repr(graph)
    for task in graph.values():
        assert len(pickle.dumps(task)) < 5_000


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.filterwarnings("ignore:Reading the whole database")
def test_a_case_that_changed_since_is_an_error_that_names_it(
    study: Study, epw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add_cases(Case(f"case-{number}", variant(0.1 + number / 10), epw) for number in range(3))
    study.run()
    dataset = study.to_xarray(TEMPERATURE, chunks=1)
    expected = study.to_xarray(TEMPERATURE)
    study.add("case-1", variant(0.01), epw, overwrite=True)
    study.remove("case-2")
    study.run()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of another machine"))
    for case in ("case-1", "case-2"):
        with pytest.raises(DamagedRunError, match=f"The case '{case}' changed after to_xarray"):
            dataset.sel(case=case).load()
    xr.testing.assert_identical(dataset.sel(case=["case-0"]).load(), expected.sel(case=["case-0"]))


def test_cases_with_other_times_and_without_sidecars(study: Study, epw: Path) -> None:
    longer = variant(0.2)
    next(iter(longer["RunPeriod"])).end_day_of_month = 4
    later = variant(0.3)
    period = next(iter(later["RunPeriod"]))
    period.begin_day_of_month, period.end_day_of_month = 4, 5
    study.add_cases(
        [
            Case("short", variant(), epw),
            Case("longer", longer, epw, exclude=["*.parquet"]),
            Case("later", later, epw, exclude=["*.sql"]),
        ]
    )
    study.run()
    expected = study.to_xarray()
    # EnergyPlus chooses the year by the day of the week, so the last case has another one.
    assert dict(expected.sizes) == {"case": 3, "key": 1, "time": 4 * 24 + 2 * 24}
    assert [int(count) for count in expected[TEMPERATURE].count(["key", "time"])] == [48, 96, 48]
    xr.testing.assert_identical(study.to_xarray(chunks=2).load(), expected)
    frame = study.timeseries()
    for case in ("short", "longer", "later"):
        np.testing.assert_array_equal(frame.loc[case], study.result(case).timeseries())


def test_one_case_and_none(collected: Study, study: Study) -> None:
    one = collected.to_xarray(TEMPERATURE, cases="thick", chunks="auto")
    xr.testing.assert_identical(one.load(), collected.to_xarray(TEMPERATURE, cases="thick"))
    study.add_cases([])
    for chunks in (None, "auto"):
        with pytest.raises(LookupError, match="The study has no cases"):
            study.to_xarray(TEMPERATURE, chunks=chunks)


@pytest.mark.parametrize("place", ["seaweed", "local"], indirect=True)
@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_to_zarr(collected: Study, place: Place) -> None:
    url, options = f"{place.url}/all.zarr", place.options or None
    # Zarr 2 knows no missing texts.
    expected = collected.to_xarray(VARIABLES).drop_vars("note")
    collected.to_xarray(VARIABLES, chunks=2).drop_vars("note").to_zarr(url, storage_options=options)
    with xr.open_zarr(url, storage_options=options) as stored:
        xr.testing.assert_equal(stored.load(), expected)


def test_dask_is_asked_for(collected: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask.array", None)
    with pytest.raises(MissingExtraError, match=r"chunks=...\) needs .* pip install 'idfkit-fs\[dask\]'"):
        collected.to_xarray(TEMPERATURE, chunks="auto")
