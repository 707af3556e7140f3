"""Publishing: what is uploaded, in which order, and what happens if that fails."""

from __future__ import annotations

import hashlib
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from idfkit.simulation import ErrorReport, SimulationResult
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store

import idfkit_fs
from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs._outputs.sidecars import SIDECARS
from idfkit_fs._util import files, retry
from idfkit_fs.errors import DamagedRunError, PublishError, RunExistsError, RunNotFoundError
from idfkit_fs.runs import sidecars, transfer
from idfkit_fs.runs.draft import DRAFT_NAME
from idfkit_fs.runs.publish import Publication
from idfkit_fs.runs.record import RunRecord

NEW = RunRecord(success=True, exit_code=0, runtime_seconds=1.0)


def names_at(place: Place) -> list[str]:
    return FsspecFileSystem.from_url(place.url, **place.options).glob("", "**")


def test_a_published_run_opens_on_every_store(place: Place, local_run: SimulationResult) -> None:
    case = place.joinpath("case [1] a#b %20 é+&")
    publish(local_run, case.url, storage_options=case.options)

    result = open_result(case.url, storage_options=case.options)
    assert isinstance(result, SimulationResult)
    assert (result.success, result.exit_code, result.stdout) == (True, 0, local_run.stdout)
    assert result.runtime_seconds == local_run.runtime_seconds
    assert result.sql is not None and local_run.sql is not None
    ours = result.sql.get_timeseries("Zone Mean Air Temperature")
    assert ours.values == local_run.sql.get_timeseries("Zone Mean Air Temperature").values
    assert len(ours.values) == 8760
    # idfkit itself takes eplusSqlite.err for the error file of a local run.
    assert result.errors == ErrorReport.from_file(Path(local_run.run_dir) / "eplus.err")
    assert result.html is not None and result.html.tables
    assert result.csv is not None and result.eso is not None and result.mtr is not None
    assert result.variables is not None
    result.close()
    local_run.close()


def test_the_record_tells_every_file(s3_place: Place, local_run: SimulationResult) -> None:
    result = publish(local_run, s3_place.url, storage_options=s3_place.options)
    assert result.record is not None
    published = {entry.name: entry for entry in result.record.files}
    assert set(names_at(s3_place)) == {*published, "run.json"}
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    for name, entry in published.items():
        data = fs.read_bytes(name)
        assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert name in SIDECARS or (Path(local_run.run_dir) / name).read_bytes() == data
    assert {name for name in published if name in SIDECARS} == {"tabular.parquet", "timeseries-hourly.parquet"}


def test_inputs_stay_at_home_unless_asked_for(s3_place: Place, local_run: SimulationResult) -> None:
    assert not [name for name in names_at(s3_place) if name.endswith(".epw")]
    publish(local_run, s3_place.joinpath("default").url, storage_options=s3_place.options)
    assert not {"model.idf"} & set(names_at(s3_place.joinpath("default")))
    publish(local_run, s3_place.joinpath("all").url, storage_options=s3_place.options, include=["**"])
    names = names_at(s3_place.joinpath("all"))
    assert "model.idf" in names and any(name.endswith(".epw") for name in names)


def test_include_and_exclude_choose_outputs(s3_place: Place, local_run: SimulationResult) -> None:
    publish(local_run, s3_place.url, storage_options=s3_place.options, include=["eplus*"], exclude=["*.sql", "*.eso"])
    names = names_at(s3_place)
    assert "eplus.err" in names and "eplus.sql" not in names and "eplus.eso" not in names
    result = open_result(s3_place.url, storage_options=s3_place.options)
    assert result.sql is None and result.eso is None


def test_a_single_pattern_is_not_taken_for_a_sequence(s3_place: Place, local_run: SimulationResult) -> None:
    with pytest.raises(TypeError, match=r"\['\*\.sql'\]"):
        publish(local_run, s3_place.url, storage_options=s3_place.options, include="*.sql")


def test_subdirectories_that_are_named_are_kept(s3_place: Place, local_run: SimulationResult) -> None:
    (Path(local_run.run_dir) / "maps").mkdir()
    (Path(local_run.run_dir) / "maps" / "a b.csv").write_text("x")
    publish(local_run, s3_place.url, storage_options=s3_place.options, include=["eplus*", "maps/**"])
    assert "maps/a b.csv" in names_at(s3_place)


def test_the_record_goes_last(shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult) -> None:
    publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    puts = [line.split()[1] for line in proxy.request_lines if line.startswith("PUT")]
    named = [number for number, put in enumerate(puts) if put.endswith("/run.json")]
    assert named == [0, len(puts) - 1]  # the claim, and the record


def test_an_existing_run_is_not_replaced_unasked(s3_place: Place, local_run: SimulationResult) -> None:
    first = publish(local_run, s3_place.url, storage_options=s3_place.options)
    with pytest.raises(RunExistsError, match="overwrite=True"):
        publish(local_run, s3_place.url, storage_options=s3_place.options)
    again = open_result(s3_place.url, storage_options=s3_place.options)
    assert again.record == first.record


def test_overwriting_leaves_nothing_of_the_old_run(s3_place: Place, local_run: SimulationResult) -> None:
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    fs.write_text("notes.txt", "mine")
    publish(local_run, s3_place.url, storage_options=s3_place.options, include=["*.err", "*.end"], overwrite=True)
    assert names_at(s3_place) == ["eplus.end", "eplus.err", "eplusSqlite.err", "notes.txt", "run.json"]


def test_overwriting_a_study_leaves_its_cases(s3_place: Place, local_run: SimulationResult) -> None:
    """A run published, by mistake, at a URL with other runs below it must not take them away."""
    publish(local_run, s3_place.joinpath("case-1").url, storage_options=s3_place.options)
    before = set(names_at(s3_place))
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    publish(local_run, s3_place.url, storage_options=s3_place.options, overwrite=True)
    assert before <= set(names_at(s3_place))


def test_lost_connections_are_made_up_for(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "ENOUGH_SECONDS", 600.0)  # however busy the machine is
    proxy.answer_status(503, count=2, on=r"^PUT .*\.err")
    proxy.lose_reply(count=2, on=r"^PUT .*\.sql")
    publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    result = open_result(shaky_place.url, storage_options=shaky_place.options)
    assert result.sql is not None
    result.close()


def test_publishing_that_breaks_off_keeps_the_run(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult
) -> None:
    proxy.answer_status(503, count=None, on=r"^PUT .*\.mtr")
    with pytest.raises(PublishError) as caught:
        publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    assert caught.value.local_dir == str(local_run.run_dir)
    assert str(local_run.run_dir) in str(caught.value) and "publish(" in str(caught.value)
    assert isinstance(caught.value, OSError)

    with pytest.raises(RunNotFoundError, match="require_record=False"):
        open_result(shaky_place.url, storage_options=shaky_place.options)

    proxy.heal()
    assert publish(caught.value.local_dir, shaky_place.url, storage_options=shaky_place.options).success
    assert open_result(shaky_place.url, storage_options=shaky_place.options).success


def test_an_overwrite_that_broke_off_leaves_nothing_of_the_old_run(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult, tmp_path: Path
) -> None:
    publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "eplus.err").write_text("the new run")
    (kept / DRAFT_NAME).write_bytes(NEW.to_json())
    proxy.answer_status(503, count=None, on=r"^PUT .*\.err")
    with pytest.raises(PublishError):
        publish(kept, shaky_place.url, storage_options=shaky_place.options, overwrite=True)
    proxy.heal()
    publish(kept, shaky_place.url, storage_options=shaky_place.options)
    assert names_at(shaky_place) == ["eplus.err", "run.json"]
    assert not kept.exists()


def test_a_published_run_is_mirrored_as_it_is(s3_place: Place, local_run: SimulationResult, tmp_path: Path) -> None:
    mine = publish(local_run, tmp_path / "mine", include=["**"])
    copy = publish(tmp_path / "mine", s3_place.url, storage_options=s3_place.options)
    assert copy.record == mine.record
    (tmp_path / "mine" / "eplus.sql").unlink()
    with pytest.raises(DamagedRunError, match=r"eplus\.sql"):
        publish(tmp_path / "mine", s3_place.joinpath("again").url, storage_options=s3_place.options)
    part = publish(
        tmp_path / "mine", s3_place.joinpath("part").url, storage_options=s3_place.options, exclude=["*.sql"]
    )
    assert part.sql is None


def test_a_selection_of_nothing_is_refused(s3_place: Place, local_run: SimulationResult) -> None:
    with pytest.raises(PublishError, match="none of the run's"):
        publish(local_run, s3_place.url, storage_options=s3_place.options, include=["*.sqlite"])
    assert names_at(s3_place) == []


def test_a_run_is_not_published_into_itself(local_run: SimulationResult) -> None:
    with pytest.raises(ValueError, match="its own directory"):
        publish(local_run, Path(local_run.run_dir) / "published", include=["**"])


def test_stopping_writes_no_record(s3_place: Place, local_run: SimulationResult) -> None:
    stop = threading.Event()
    stop.set()
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    with pytest.raises(PublishError, match="stopped"):
        Publication(fs, None, (), False, False).send(Path(local_run.run_dir), NEW, stop)
    assert names_at(s3_place) == []


def test_any_directory_of_energyplus_can_be_published(s3_place: Place, local_run: SimulationResult) -> None:
    result = publish(local_run.run_dir, s3_place.url, storage_options=s3_place.options)
    assert result.success and result.exit_code is None
    assert Path(local_run.run_dir).exists()


def test_a_directory_without_a_run_is_refused(s3_place: Place, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(RunNotFoundError, match="holds no run"):
        publish(tmp_path, s3_place.url, storage_options=s3_place.options)
    assert names_at(s3_place) == []


def test_a_run_at_a_url_is_copied_as_the_same_run(s3_place: Place, local_run: SimulationResult) -> None:
    run = publish(local_run, s3_place.joinpath("run").url, storage_options=s3_place.options)
    for number, source in enumerate([run.url, run]):
        copy = publish(source, s3_place.joinpath(f"copy-{number}").url, storage_options=s3_place.options)
        assert copy.record == run.record and copy.errors == run.errors


def test_a_file_url_names_a_local_directory(s3_place: Place, local_run: SimulationResult) -> None:
    result = publish(Path(local_run.run_dir).as_uri(), s3_place.url, storage_options=s3_place.options)
    assert result.record is not None and result.record.file("eplus.sql") is not None


def test_a_run_with_a_damaged_record_is_replaced_only_when_asked(s3_place: Place, local_run: SimulationResult) -> None:
    FsspecFileSystem.from_url(s3_place.url, **s3_place.options).write_text("run.json", "{")
    with pytest.raises(RunExistsError, match=r"record cannot be used .*overwrite=True"):
        publish(local_run, s3_place.url, storage_options=s3_place.options)
    assert publish(local_run, s3_place.url, storage_options=s3_place.options, overwrite=True).success


def test_the_database_is_hashed_once(
    tmp_path: Path, local_run: SimulationResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []

    def digest_of(local: Path) -> tuple[int, str]:
        hashed.append(local.name)
        return files.digest_of(local)

    monkeypatch.setattr(transfer, "digest_of", digest_of)
    published = publish(local_run, tmp_path / "published").record
    assert published is not None
    assert sorted(hashed) == [entry.name for entry in published.files]


def test_a_copy_within_a_store_is_a_run_of_its_own(place: Place, local_run: SimulationResult) -> None:
    source = publish(local_run, place.joinpath("case-1").url, storage_options=place.options)
    target = FsspecFileSystem.from_url(place.joinpath("case-2").url, **place.options)
    copy = Publication(target, None, (), False, False).copy(source)
    assert source.record is not None and copy.record is not None
    assert copy.record.id != source.record.id and copy.record.files == source.record.files
    assert copy.errors == source.errors


def test_a_missing_bucket_is_named(moto: Store, local_run: SimulationResult) -> None:
    with pytest.raises(PublishError, match="no-such-bucket"):
        publish(local_run, "s3://no-such-bucket/case", storage_options=moto.storage_options)


def test_a_file_that_is_not_the_recorded_one_is_not_handed_out(s3_place: Place, local_run: SimulationResult) -> None:
    result = publish(local_run, s3_place.url, storage_options=s3_place.options)
    FsspecFileSystem.from_url(s3_place.url, **s3_place.options).write_bytes("eplus.sql", b"another run's")
    FsspecFileSystem.from_url(s3_place.url, **s3_place.options).write_bytes("eplus.err", b"another run's")
    with pytest.raises(DamagedRunError, match="published over"):
        _ = result.sql
    with pytest.raises(DamagedRunError, match="published over"):
        _ = result.errors


def test_two_at_once_are_never_mixed_unnoticed(s3_place: Place, local_run: SimulationResult, tmp_path: Path) -> None:
    """What exists is one record, and each file either fits it or is refused."""
    other = tmp_path / "other-run"
    shutil.copytree(local_run.run_dir, other)
    (other / "eplus.err").write_text(f"Another run\n{(other / 'eplus.err').read_text()}")
    threads = [
        threading.Thread(
            target=publish, args=(run, s3_place.url), kwargs={"storage_options": s3_place.options, "overwrite": True}
        )
        for run in (local_run.run_dir, other) * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result = open_result(s3_place.url, storage_options=s3_place.options)
    assert result.record is not None
    assert isinstance(result.fs, FsspecFileSystem)
    for entry in result.record.files:
        try:
            data = result.fs.read_bytes(entry.name)
        except DamagedRunError:
            continue
        assert hashlib.sha256(data).hexdigest() == entry.sha256


def test_the_package_names_what_is_published() -> None:
    assert idfkit_fs.publish is publish


# --- sidecars, which are written while files are sent -----------------------------------------------------------------


def held(monkeypatch: pytest.MonkeyPatch, until: threading.Event) -> None:
    """Have sidecars be written only when something has happened."""
    real = sidecars.write_sidecars

    def write(*args: Any) -> Any:
        assert until.wait(600)
        return real(*args)

    monkeypatch.setattr(sidecars, "write_sidecars", write)


def test_sidecars_are_written_while_files_are_sent(
    local_run: SimulationResult, shaky_place: Place, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = threading.Event()
    held(monkeypatch, sent)
    real = FsspecFileSystem.upload

    def upload(fs: FsspecFileSystem, local: Any, path: Any, **options: Any) -> None:
        real(fs, local, path, **options)
        if path == "eplus.sql":
            sent.set()

    monkeypatch.setattr(FsspecFileSystem, "upload", upload)
    record = publish(local_run, shaky_place.url, storage_options=shaky_place.options).record
    assert record is not None and {file.name for file in record.files} >= {"eplus.sql", "tabular.parquet"}
    assert not [line for line in proxy.request_lines if line.startswith("DELETE")]  # what might have been written
    assert record.sidecar_footers.keys() == SIDECARS & {file.name for file in record.files}


def test_nobody_waits_for_sidecars_when_a_file_cannot_be_sent(
    local_run: SimulationResult, shaky_place: Place, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    abandoned = threading.Event()
    real = sidecars.Sidecars.abandon
    monkeypatch.setattr(sidecars.Sidecars, "abandon", lambda self: (real(self), abandoned.set()))
    held(monkeypatch, abandoned)
    proxy.answer_status(403, count=None, on=r"^PUT .*eplus\.err")
    with pytest.raises(PublishError):
        publish(local_run, shaky_place.url, storage_options=shaky_place.options)
    assert not [path for path in local_run.run_dir.iterdir() if path.name.startswith(sidecars.TEMPORARY_PREFIX)]


def test_a_database_is_hashed_once(
    local_run: SimulationResult, s3_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = transfer.digest_of
    monkeypatch.setattr(transfer, "digest_of", lambda path: (hashed.append(path.name), real(path))[1])
    publish(local_run, s3_place.url, storage_options=s3_place.options)
    assert len(hashed) == len({*hashed}) and "eplus.sql" in hashed
