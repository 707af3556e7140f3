"""A login that may read and write, but not list: S3 then refuses access to a missing file too."""

from __future__ import annotations

import pytest
from idfkit.simulation import SimulationResult
from support.places import Place
from support.proxy import FaultProxy

from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs.errors import PermissionDeniedError


@pytest.fixture
def may_not_list(shaky_place: Place, proxy: FaultProxy) -> Place:
    proxy.answer_status(403, count=None, on="list-type=2|missing")
    return shaky_place


def test_files_that_exist_are_read_and_written(may_not_list: Place) -> None:
    fs = FsspecFileSystem.from_url(may_not_list.url, **may_not_list.options)
    fs.write_bytes("case-1/a.csv", b"1")
    assert fs.read_bytes("case-1/a.csv") == b"1"
    assert fs.exists("case-1/a.csv") is True
    with fs.open("case-1/a.csv") as file:
        assert file.read() == b"1"
    assert fs.local_path("case-1/a.csv").read_bytes() == b"1"
    fs.copy("case-1/a.csv", "case-1/b.csv")
    fs.remove("case-1/b.csv")


@pytest.mark.parametrize("prefix", ["", "simplecache::"])
def test_a_refusal_is_never_taken_for_an_answer(may_not_list: Place, prefix: str) -> None:
    options = may_not_list.options if not prefix else {"s3": may_not_list.options}
    fs = FsspecFileSystem.from_url(f"{prefix}{may_not_list.url}", **options)
    for call in (lambda: fs.glob("", "*"), lambda: fs.glob("case-1", "**/*")):
        with pytest.raises(
            PermissionDeniedError, match="allow s3:ListBucket on arn:aws:s3:::test-bucket, with the pre"
        ):
            call()
    for call in (
        lambda: fs.exists("missing.csv"),
        lambda: fs.read_bytes("missing.csv"),
        lambda: fs.remove("missing.csv"),
        lambda: fs.copy("missing.csv", "a.csv"),
    ):
        with pytest.raises(PermissionDeniedError, match="or the file is missing: only a login with s3:Li") as caught:
            call()
        assert caught.value.may_be_missing


def test_a_run_is_opened_and_read(shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult) -> None:
    publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    proxy.answer_status(403, count=None, on="list-type=2")
    result = open_result(shaky_place.url, storage_options=shaky_place.options)
    assert result.success
    assert len(result.timeseries(frequency="hourly")) == 8760
    assert result.sql is not None and result.sql.list_variables()
