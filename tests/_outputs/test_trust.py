"""Sidecars that an attacker changed, and runs that claim to have another run's files."""

from __future__ import annotations

import json
import operator
import shutil
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.models import METER, TEMPERATURE
from support.places import Place

from idfkit_fs import FsspecFileSystem, RunResult, open_result, publish
from idfkit_fs._outputs.parquet import footer_sha256, packed_end
from idfkit_fs._outputs.sidecars import ENVIRONMENT, TABULAR, TIME, Contents, column_digests, when_digests
from idfkit_fs.errors import DamagedRunError, SidecarError

LARGE, SMALL = "timeseries-timestep.parquet", "timeseries-daily.parquet"
Whole = Callable[[str], Path]
SERIES = {"variables": TEMPERATURE, "frequency": "timestep"}
RUNS = {"large": (LARGE, SERIES), "everything": (SMALL, {"variables": METER, "frequency": "daily"})}
"""For a run by its name, one of its sidecars, and what is read from it: by ranges, or whole."""


def forge(path: Path) -> None:
    """Double all values of a sidecar, with digests that fit these values, and in a file of the same size."""
    size = path.stat().st_size
    table = pq.read_table(path)
    columns = {name: column.to_numpy() for name, column in zip(table.column_names, table.columns, strict=True)}
    series = [name for name in columns if name not in (TIME, ENVIRONMENT)]
    columns |= {name: columns[name] * 2 for name in series}
    contents = Contents.of(pq.read_schema(path).metadata) or Contents.of(pq.read_metadata(path).metadata)
    assert contents is not None
    when = when_digests(columns[TIME], columns[ENVIRONMENT].astype(object))
    digests = [*when, *column_digests(columns[name] for name in series)]
    forged = Contents(contents.sql_sha256, contents.environments, contents.sidecars, contents.has_cells, tuple(digests))
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in series else table[field.name]
        for field in table.schema
    ]
    schema = pa.schema(list(table.schema))
    with pq.ParquetWriter(
        path, schema, compression="zstd", compression_level=19, use_dictionary=[ENVIRONMENT],
        column_encoding={TIME: "DELTA_BINARY_PACKED", **dict.fromkeys(series, "BYTE_STREAM_SPLIT")},
        write_statistics=False,
    ) as writer:  # fmt: skip
        writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=len(table))
        writer.add_key_value_metadata(forged.to_metadata())
    data = path.read_bytes()
    footer = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    path.write_bytes(data[:footer] + bytes(size - len(data)) + data[footer:])
    assert path.stat().st_size == size and pq.read_table(path, columns=series[:1]).num_rows == len(table)


def forge_cells(path: Path) -> None:
    """Change the cells, and nothing of what the file says about itself."""
    size = path.stat().st_size
    table = pq.read_table(path)
    table = table.set_column(table.column_names.index("value"), "value", pa.array(["0"] * len(table)))
    pq.write_table(table, path, compression="zstd", compression_level=19)
    data = path.read_bytes()
    footer = len(data) - int.from_bytes(data[-8:-4], "little") - 8
    path.write_bytes(data[:footer] + bytes(size - len(data)) + data[footer:])


def opened(place: Place) -> RunResult:
    return open_result(place.url, storage_options=place.options)


def published(directory: Path, place: Place) -> Place:
    """The files of a published run, copied to a place as they are."""
    fs = FsspecFileSystem.from_url(place.url, **place.options)
    for path in directory.iterdir():
        fs.upload(path, path.name)
    return place


@pytest.fixture(params=["here", "in a store"])
def target(request: pytest.FixtureRequest, s3_place: Place, tmp_path: Path) -> Place:
    """A new place, on this disk or in a store."""
    return Place(str(tmp_path / "target")) if request.param == "here" else s3_place


@pytest.mark.parametrize("model", RUNS)
@pytest.mark.parametrize("with_database", [True, False], ids=["with the database", "without"])
def test_changed_values_with_a_footer_that_fits_are_refused(
    whole: Whole, target: Place, tmp_path: Path, model: str, with_database: bool
) -> None:
    name, question = RUNS[model]
    expected = open_result(whole(model)).timeseries(**question)
    run = Path(shutil.copytree(whole(model), tmp_path / "run"))
    forge(run / name)
    if not with_database:
        record = open_result(run).record
        assert record is not None
        files = tuple(file for file in record.files if file.name != "eplus.sql")
        (run / "run.json").write_bytes(record.model_copy(update={"files": files}).to_json())
    result = opened(published(run, target))
    if with_database:
        with pytest.warns(UserWarning, match="Reading the whole database of ") as caught:
            found = result.timeseries(**question)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        assert [warning.filename for warning in caught] == [__file__]  # the line of the caller
    else:
        refused, why = (SidecarError, "cannot be used") if name == LARGE else (DamagedRunError, "record")
        with pytest.raises(refused, match=why):
            result.timeseries(**question)


def test_changed_cells_are_refused(large_run: Path, target: Place, tmp_path: Path) -> None:
    expected = open_result(large_run).tabular()
    run = Path(shutil.copytree(large_run, tmp_path / "run"))
    forge_cells(run / TABULAR)
    with pytest.warns(UserWarning, match="Reading the whole database of "):
        found = opened(published(run, target)).tabular()
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_changed_database_is_refused(large_run: Path, target: Place, tmp_path: Path) -> None:
    run = Path(shutil.copytree(large_run, tmp_path / "run"))
    (run / LARGE).unlink()
    data = bytearray((run / "eplus.sql").read_bytes())
    data[len(data) // 2] ^= 1
    (run / "eplus.sql").write_bytes(data)
    with pytest.warns(UserWarning, match="Reading the whole database of "), pytest.raises(DamagedRunError):
        opened(published(run, target)).timeseries(**SERIES)


def test_a_sidecar_whose_footer_the_record_does_not_know_is_not_used(large_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(large_run, tmp_path / "run"))
    record = json.loads((run / "run.json").read_text())
    assert record["sidecar_footers"].pop(LARGE) == footer_sha256(run / LARGE)
    (run / "run.json").write_text(json.dumps(record))
    expected = open_result(large_run).timeseries(**SERIES)
    with pytest.warns(UserWarning, match=f"{LARGE} cannot be used: its footer differs from the run's record"):
        pd.testing.assert_frame_equal(open_result(run).timeseries(**SERIES), expected, check_exact=True)


def pair(whole: Whole, model: str, place: Place, directory: Path) -> tuple[Place, Place]:
    """A run without its database, and one with other values that claims the id of the first one and its hashes."""
    name, _ = RUNS[model]
    honest, hostile = place.joinpath("honest"), place.joinpath("hostile")
    publish(whole(model), honest.url, storage_options=honest.options, exclude=["*.sql"])
    run = Path(shutil.copytree(whole(model), directory, ignore=shutil.ignore_patterns("eplus.sql")))
    record = opened(honest).record
    assert record is not None
    forge(run / name)
    forge_cells(run / TABULAR)
    footers = {name: footer_sha256(run / name) for name in record.sidecar_footers}
    ends = {name: packed_end(run / name, (TIME, ENVIRONMENT)) for name in record.sidecar_ends}
    changes = {"sidecar_footers": footers, "sidecar_ends": ends}
    (run / "run.json").write_bytes(record.model_copy(update=changes).to_json())
    return honest, published(run, hostile)


def read_both(place: Place, question: dict[str, str]) -> list[pd.DataFrame | None]:
    """The series and the cells that a reader gets, by a new object each time; None for an error."""
    frames: list[pd.DataFrame | None] = []
    for read in (operator.methodcaller("timeseries", **question), operator.methodcaller("tabular")):
        try:
            frames.append(read(opened(place)))
        except (DamagedRunError, SidecarError):
            frames.append(None)
    return frames


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("model", RUNS)
@pytest.mark.parametrize("hostile_first", [True, False])
def test_a_run_that_claims_the_hashes_of_another_changes_nothing_of_it(
    whole: Whole, s3_place: Place, tmp_path: Path, model: str, hostile_first: bool
) -> None:
    name, question = RUNS[model]
    local = open_result(whole(model))
    expected = [local.timeseries(**question), local.tabular()]
    honest, hostile = pair(whole, model, s3_place, tmp_path / "run")
    if hostile_first:
        found = read_both(hostile, question)
        assert found[1] is None
        if name == SMALL:  # read whole, and its record claims another hash
            assert found[0] is None
        else:  # read by ranges, and its record does name this footer
            assert found[0] is not None
            pd.testing.assert_frame_equal(found[0], expected[0] * 2, check_exact=True)
    for _ in range(2):
        for frame, truth in zip(read_both(honest, question), expected, strict=True):
            assert frame is not None
            pd.testing.assert_frame_equal(frame, truth, check_exact=True)
        read_both(hostile, question)


def test_a_hostile_run_at_the_same_url_leaves_nothing_behind(
    large_run: Path, whole: Whole, s3_place: Place, tmp_path: Path
) -> None:
    """It was read while it was in the place of the run, under the same id and hashes; then the run was put back."""
    honest, _ = pair(whole, "large", s3_place, tmp_path / "run")
    fs = FsspecFileSystem.from_url(honest.url, **honest.options)
    good = {name: fs.fetch(name) for name in ("run.json", LARGE)}
    for name in good:
        fs.upload(tmp_path / "run" / name, name)
    expected = open_result(large_run).timeseries(**SERIES)
    doubled = opened(honest).timeseries(**SERIES)
    pd.testing.assert_frame_equal(doubled, expected * 2, check_exact=True)
    for name, data in good.items():
        fs.write_bytes(name, data)
    with warnings.catch_warnings(action="error"):
        pd.testing.assert_frame_equal(opened(honest).timeseries(**SERIES), expected, check_exact=True)


def test_two_stores_share_nothing_that_was_read_by_ranges(large_run: Path, s3_place: Place) -> None:
    """Even for the same run: a kept range belongs to one URL."""
    first, second = s3_place.joinpath(uuid.uuid4().hex), s3_place.joinpath(uuid.uuid4().hex)
    for place in (first, second):
        published(large_run, place)
    expected = opened(first).timeseries(**SERIES)
    FsspecFileSystem.from_url(second.url, **second.options).remove(LARGE)
    with pytest.warns(UserWarning, match="Reading the whole database of "):
        found = opened(second).timeseries(**SERIES)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
