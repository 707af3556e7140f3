"""Parquet datasets of many cases: few files, a row group a case, complete or not there, and read by everybody."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from support.places import Place
from support.servers import Store
from support.variants import variant
from support.workers import CONTEXT

from idfkit_fs import Case, FsspecFileSystem, Study
from idfkit_fs.errors import LocationError, NotReportedError
from idfkit_fs.studies import export
from idfkit_fs.studies.export import files_of, is_broken_off

TEMPERATURE = "Zone Mean Air Temperature"
METER = "DistrictHeatingWater:Facility"
COLUMN = f"ROOM:{TEMPERATURE} [C](Hourly)"
HOURS = 48
ONE, FIRST, SECOND, THIRD = (
    f"part-{number:05}-of-{count:05}.parquet" for number, count in ((0, 1), (0, 3), (1, 3), (2, 3))
)

pytestmark = pytest.mark.filterwarnings("ignore:2 of 5 cases")


def names_in(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


@pytest.fixture
def ok(collected: Study) -> list[str]:
    return list(collected.status().ok)


def test_files_have_many_cases_each() -> None:
    sizes = {f"case-{number:03}": 1_000_000 for number in range(300)}
    files = files_of(sizes, export.BYTES_PER_FILE)
    assert [len(cases) for cases in files] == [134, 134, 32]
    assert [case for cases in files for case in cases] == [*sizes]
    assert files_of({"large": 10**12, "small": 1}, 10) == [["large"], ["small"]]
    assert files_of({}, 10) == []


def test_names_show_what_was_broken_off() -> None:
    assert is_broken_off([FIRST, THIRD])
    for names in ([FIRST, SECOND, THIRD], [ONE], [FIRST, ONE], [FIRST, "case-1.parquet"], ["a.parquet"], []):
        assert not is_broken_off(names)


def test_a_dataset_has_the_values_of_the_cases(collected: Study, ok: list[str], s3_place: Place) -> None:
    collected.to_parquet(s3_place.url)
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    assert fs.glob("", "**") == [ONE]
    frame = pd.read_parquet(s3_place.url, storage_options=s3_place.options)
    assert list(frame.columns[:3]) == ["case", "environment", "time"]
    assert set(frame.columns[-3:]) == {"insulation_m", "note", "storeys"}
    assert list(frame["case"]) == [case for case in ok for _ in range(HOURS)]
    expected = collected.timeseries()
    for case in ok:
        mine = frame[frame["case"] == case].set_index("time")[list(expected.columns)]
        np.testing.assert_array_equal(mine, expected.loc[case])
    assert dict(frame.groupby("case")["insulation_m"].first().dropna()) == {"thick": 0.2, "thin 1": 0.05}


@pytest.fixture(scope="module")
def dataset(collected: Study, seaweed: Store) -> Place:
    """A dataset of two files."""
    place = Place(f"{seaweed.url}/{uuid.uuid4().hex}", dict(seaweed.storage_options))
    with pytest.warns(UserWarning, match="2 of 5 cases have no data"):
        collected.to_parquet(place.url, storage_options=place.options, bytes_per_file=1)
    return place


@pytest.fixture(scope="module")
def mean(collected: Study) -> dict[str, float]:
    """The mean temperature of each case that has the room, by this package's own reader."""
    frame = collected.timeseries(TEMPERATURE, keys="ROOM", cases=["thick", "thin 1"])
    return dict(frame[COLUMN].groupby("case").mean())


@pytest.fixture(params=["", "safecache::"], ids=["store", "cache"])
def fs(request: pytest.FixtureRequest, dataset: Place) -> FsspecFileSystem:
    """The dataset in the store itself, and through the cache."""
    options = {"s3": dataset.options} if request.param else dataset.options
    return FsspecFileSystem.from_url(f"{request.param}{dataset.url}", **options)


# The lines of docs/results.md.


def test_dask_reads_a_dataset(fs: FsspecFileSystem, mean: dict[str, float]) -> None:
    frame = dd.read_parquet(fs.url(), storage_options=fs.storage_options)
    assert frame.groupby("case")[COLUMN].mean().compute().dropna().to_dict() == pytest.approx(mean)


def test_polars_reads_a_dataset(fs: FsspecFileSystem, dataset: Place, mean: dict[str, float]) -> None:
    arrow = pyarrow.dataset.dataset(fs.key(""), filesystem=fs.fs)
    frame = pl.scan_pyarrow_dataset(arrow).filter(pl.col("case") == "thick").select(pl.col(COLUMN).mean())
    assert frame.collect().item() == pytest.approx(mean["thick"])


def test_polars_reads_a_dataset_by_its_own_client(dataset: Place, mean: dict[str, float]) -> None:
    options = {
        "aws_access_key_id": dataset.options["key"],
        "aws_secret_access_key": dataset.options["secret"],
        "aws_endpoint_url": dataset.options["endpoint_url"],
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }
    frame = pl.scan_parquet(f"{dataset.url}/*.parquet", storage_options=options)
    told = frame.filter(pl.col("case") == "thick").select(pl.col(COLUMN).mean()).collect()
    assert told.item() == pytest.approx(mean["thick"])


def test_duckdb_reads_a_dataset(fs: FsspecFileSystem, mean: dict[str, float]) -> None:
    with duckdb.connect() as connection:
        connection.register_filesystem(fs.fs)
        table = connection.sql(f"FROM read_parquet('{fs.fs.unstrip_protocol(fs.key(''))}/*.parquet')")
        told = table.aggregate(f'"case", avg("{COLUMN}")').fetchall()
    assert {case: value for case, value in told if value is not None} == pytest.approx(mean)


def test_a_filter_reads_the_row_group_of_a_case(collected: Study, ok: list[str], tmp_path: Path) -> None:
    collected.to_parquet(tmp_path / "dataset")
    metadata = pq.read_metadata(tmp_path / "dataset" / ONE)
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    assert [(group.column(0).statistics.min, group.column(0).statistics.max, group.num_rows) for group in groups] == [
        (case, case, HOURS) for case in ok
    ]
    (fragment,) = pyarrow.dataset.dataset(tmp_path / "dataset").get_fragments()
    (piece,) = fragment.split_by_row_group(pyarrow.dataset.field("case") == "thin 1")
    assert [group.id for group in piece.row_groups] == [ok.index("thin 1")]
    assert len(pd.read_parquet(tmp_path / "dataset", filters=[("case", "==", "thin 1")])) == HOURS


@pytest.fixture(params=["process", "thread"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    with ProcessPoolExecutor(1, CONTEXT) if request.param == "process" else ThreadPoolExecutor(2) as pool:
        yield pool


def test_an_executor_writes_the_same_files(
    collected: Study, executor: Executor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collected.to_parquet(tmp_path / "here", bytes_per_file=1)
    collected.to_parquet(tmp_path / "there", bytes_per_file=1, executor=executor, progress=True)
    assert names_in(tmp_path / "here") == names_in(tmp_path / "there") == [FIRST, SECOND, THIRD]
    for name in (FIRST, SECOND, THIRD):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert f"Writing {collected.url.rpartition('/')[2]}: 100 %" in capsys.readouterr().err


def test_a_dataset_is_replaced_only_when_asked(collected: Study, tmp_path: Path) -> None:
    target = tmp_path / "dataset"
    collected.to_parquet(target, TEMPERATURE, bytes_per_file=1)
    with pytest.raises(FileExistsError, match="3 Parquet files already exist; pass overwrite=True"):
        collected.to_parquet(target, TEMPERATURE, cases="thick")
    collected.to_parquet(target, METER, cases="thick", overwrite=True)
    assert names_in(target) == [ONE]
    assert METER in "".join(pd.read_parquet(target).columns)


@pytest.mark.parametrize("place", ["moto", "local"], indirect=True)
def test_a_dataset_stays_as_it_is_until_the_new_one_is_complete(
    collected: Study, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def table() -> pyarrow.Table:  # pandas's own filesystem believes an old listing
        return pyarrow.dataset.dataset(fs.key(""), filesystem=fs.fs).to_table()

    fs = FsspecFileSystem.from_url(place.url, **place.options)
    collected.to_parquet(place.url, METER, storage_options=place.options, bytes_per_file=1)
    before = {name: fs.read_bytes(name) for name in fs.glob("", "*")}
    assert [*before] == [FIRST, SECOND, THIRD]

    upload, sent = FsspecFileSystem.upload, []

    def fail_on_the_second(self: FsspecFileSystem, *args: object, **options: object) -> None:
        sent.append(args)
        if len(sent) == 2:
            raise PermissionError("the rights were taken away")
        upload(self, *args, **options)  # type: ignore[arg-type]  # as they came

    with monkeypatch.context() as patch:
        patch.setattr(FsspecFileSystem, "upload", fail_on_the_second)
        with pytest.raises(PermissionError, match="rights were taken away") as caught:
            collected.to_parquet(place.url, storage_options=place.options, overwrite=True, bytes_per_file=1)
    assert caught.value.__notes__ == [
        f"{SECOND} was not written, and the dataset is as it was; call to_parquet() again"
    ]
    assert {name: fs.read_bytes(name) for name in fs.glob("", "*")} == before
    assert len(table()) == 3 * HOURS and METER in "".join(table().column_names)

    collected.to_parquet(place.url, TEMPERATURE, storage_options=place.options, overwrite=True, bytes_per_file=1)
    assert fs.glob("", "**") == [FIRST, SECOND, THIRD]  # and nothing of the one that was broken off
    assert METER not in "".join(table().column_names)


def test_a_dataset_that_was_broken_off_at_its_end_is_written_again(collected: Study, tmp_path: Path) -> None:
    target = tmp_path / "dataset"
    collected.to_parquet(target, TEMPERATURE, bytes_per_file=1)
    (target / SECOND).unlink()
    collected.to_parquet(target, TEMPERATURE)
    assert names_in(target) == [ONE]


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.filterwarnings("ignore:Reading the whole database")
def test_a_case_that_is_lost_meanwhile_is_left_out(
    study: Study, epw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add_cases(Case(f"case-{number}", variant(0.1 + number / 10), epw) for number in range(2))
    study.run()

    class Late(ThreadPoolExecutor):
        """The case is removed after it was found."""

        def submit(self, *args: object, **options: object) -> object:  # type: ignore[override]  # as they come
            study.remove("case-1")
            monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of another machine"))
            return super().submit(*args, **options)  # type: ignore[arg-type]  # as they came

    with Late(1) as late, pytest.warns(UserWarning, match="1 of 2 cases have no data: case-1: "):
        study.to_parquet(tmp_path / "dataset", TEMPERATURE, executor=late)
    assert set(pd.read_parquet(tmp_path / "dataset")["case"]) == {"case-0"}


def test_half_of_the_cases_failed(collected: Study, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="1 of 2 cases have no data: broken: EnergyPlus ended it with an error"):
        collected.to_parquet(tmp_path / "dataset", cases=["broken", "thick"])
    assert set(pd.read_parquet(tmp_path / "dataset")["case"]) == {"thick"}


def test_nothing_is_written_where_no_case_has_data(collected: Study, study: Study, tmp_path: Path) -> None:
    with pytest.raises(NotReportedError, match="None of 2 cases has data"):
        collected.to_parquet(tmp_path / "dataset", cases=["broken", "later"])
    study.add_cases([])
    with pytest.raises(NotReportedError, match="The study has no cases"):
        study.to_parquet(tmp_path / "dataset")
    with pytest.raises(ValueError, match="bytes_per_file must be at least 1, not 0"):
        collected.to_parquet(tmp_path / "dataset", bytes_per_file=0)
    assert not (tmp_path / "dataset").exists()


def test_a_dataset_takes_no_place_of_a_run_or_a_study(collected: Study) -> None:
    for url in (collected.url, collected.fs.url("thick")):
        with pytest.raises(LocationError, match="A run or a study exists at s3://"):
            collected.to_parquet(url, TEMPERATURE, cases="thick", overwrite=True)
    assert collected.result("thick").timeseries(TEMPERATURE).notna().all(axis=None)


def test_what_the_place_of_a_dataset_refuses_is_not_taken_for_a_case_without_data(collected: Study) -> None:
    target = f"s3://no-such-bucket/{uuid.uuid4().hex}"
    with pytest.raises(FileNotFoundError, match="No bucket or container named 'no-such-bucket'"):
        collected.to_parquet(target, TEMPERATURE)
