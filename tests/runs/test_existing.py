"""Runs that exist already: what EnergyPlus, OpenStudio, EP-Launch and plain idfkit leave, published as it is."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import socket
from pathlib import Path

import idfkit.simulation
import pytest
from idfkit import IDFDocument
from idfkit.simulation import EnergyPlusConfig, SimulationResult
from support.fixtures_existing import Left
from support.places import Place
from support.proxy import FaultProxy

from idfkit_fs import FsspecFileSystem, RunResult, open_result, publish
from idfkit_fs._outputs.naming import outputs_of, prefix_of, stem_of, stems_in
from idfkit_fs._outputs.sidecars import SIDECARS
from idfkit_fs.errors import (
    LocationError,
    NotFoundError,
    PublishError,
    RecordError,
    RunExistsError,
    RunNotFoundError,
    UnfinishedRunError,
)

STYLES = [("eplus", "L"), ("office", "C"), ("office", "D"), ("layout", "C"), ("in", "L")]


def names_in(directory: Path) -> set[str]:
    return {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}


def recorded(result: RunResult) -> set[str]:
    assert result.record is not None
    return {entry.name for entry in result.record.files}


def cut(directory: Path, stem: str = "eplusout") -> Path:
    """Leave a run as it is while EnergyPlus runs."""
    (directory / f"{stem}.end").unlink()
    err = directory / f"{stem}.err"
    err.write_text(err.read_text("latin-1").partition("Testing Individual Branch")[0])
    return directory


# Which files are a run's.


@pytest.mark.parametrize(("prefix", "style"), STYLES)
def test_every_file_that_energyplus_writes_is_known(left: Left, prefix: str, style: str) -> None:
    names = names_in(left(prefix, style))
    (stem,) = stems_in(names)
    assert set(outputs_of(names, stem, [stem])) == names
    assert stem_of(prefix_of(stem, [stem]), [stem]) == stem


@pytest.mark.parametrize(("prefix", "style"), STYLES)
def test_runs_of_each_style_are_published_whole(left: Left, s3_place: Place, prefix: str, style: str) -> None:
    directory = left(prefix, style)
    before = names_in(directory)
    publish(directory, s3_place.url, storage_options=s3_place.options)
    result = open_result(s3_place.url, storage_options=s3_place.options)
    assert result.success and recorded(result) - SIDECARS == before == names_in(directory)
    assert len(result.timeseries("Zone Mean Air Temperature")) == 48
    assert result.err_path is not None and not result.err_path.name.lower().endswith("sqlite.err")
    assert result.sql is not None and result.html is not None and result.html.tables
    assert result.csv is not None and result.eso is not None
    result.close()


def test_outputs_of_two_styles_in_one_directory_are_not_mixed(left: Left, tmp_path: Path) -> None:
    ours = names_in(left("eplus", "C", into="apart"))
    both = left("eplus", "C", into="both")
    left("eplus", "L", into="both")
    for prefix, err in (("eplus", "eplus.err"), ("eplusout", "eplusout.err")):
        result = publish(both, tmp_path / prefix, output_prefix=prefix)
        assert result.err_path is not None and result.err_path.name == err
        assert result.sql_path is not None and result.sql_path.name == err.replace(".err", ".sql")
    assert recorded(open_result(tmp_path / "eplus")) - SIDECARS == ours


@pytest.mark.parametrize(
    "name", ["notes.txt", "eplusout.xlsx", "eplus.idf", "in.idf", "office.osm", ".git/HEAD", "a.csv"]
)
def test_names_of_other_files_are_no_outputs(name: str) -> None:
    assert outputs_of([name, "eplusout.err"], "eplusout", ["eplusout"]) == ["eplusout.err"]


def test_a_project_directory_gives_only_the_outputs(
    left: Left, s3_place: Place, tmp_path: Path, epw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = left()
    outputs = names_in(directory)
    for name in (".git/config", "node_modules/x/index.js", "notes.md", "in.idf", "office.osm", "schedule.csv", ".env"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("private")
    shutil.copy(epw, directory)
    (directory / "tabular.parquet").write_text("of an older run")
    with caplog.at_level(logging.INFO, "idfkit_fs"):
        result = publish(directory, s3_place.url, storage_options=s3_place.options)
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    assert {*fs.glob("", "**")} - SIDECARS == {*outputs, "run.json"}
    assert fs.read_bytes("tabular.parquet") != b"of an older run"
    assert not result.tabular().empty
    assert "notes.md" in caplog.text and "office.osm" in caplog.text


def test_openstudio_leaves_more_that_can_be_asked_for(left: Left, tmp_path: Path) -> None:
    directory = left(into="run")
    outputs = names_in(directory)
    for name in ("in.osm", "in.idf", "stdout-energyplus", "run.log", "data_point_out.json", "reports/eplustbl.html"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text("x")
    assert recorded(publish(directory, tmp_path / "usual")) - SIDECARS == outputs
    wanted = ["eplus*", "data_point_out.json", "reports/**"]
    more = recorded(publish(directory, tmp_path / "more", include=[*wanted, *SIDECARS]))
    assert more - SIDECARS == {*outputs, "data_point_out.json", "reports/eplustbl.html"} - {"sqlite.err"}


# Which of several runs.


def test_several_runs_in_a_directory_are_listed(left: Left, tmp_path: Path) -> None:
    directory = left("office", "C")
    left("tower", "C")
    with pytest.raises(RunNotFoundError, match=r"Several runs .*'office', 'tower'; .*output_prefix="):
        publish(directory, tmp_path / "published")
    with pytest.raises(RunNotFoundError, match=r"Several runs"):
        open_result(directory, require_record=False)
    with pytest.raises(RunNotFoundError, match=r"output_prefix='towr'.*'office', 'tower'"):
        publish(directory, tmp_path / "published", output_prefix="towr")
    result = publish(directory, tmp_path / "published", output_prefix="tower")
    assert {name[:5] for name in recorded(result) - SIDECARS} == {"tower"}
    everything = publish(directory, tmp_path / "everything", output_prefix="tower", include=["**"])
    assert {name[:5] for name in recorded(everything) - SIDECARS} == {"tower"}


def test_the_one_run_that_is_finished_is_taken(left: Left, tmp_path: Path) -> None:
    directory = left("office", "C")
    left()
    cut(directory)
    result = publish(directory, tmp_path / "published")
    assert result.output_prefix == "office" and result.success
    assert open_result(directory, require_record=False).output_prefix == "office"
    cut(directory, "office")
    with pytest.raises(RunNotFoundError, match=r"none of them finished"):
        publish(directory, tmp_path / "again")


# What the outputs say.


def test_facts_come_from_the_outputs_and_the_rest_is_unknown(left: Left, tmp_path: Path, epw: Path) -> None:
    directory = left()
    record = publish(directory, tmp_path / "published").record
    assert record is not None
    elapsed = re.search(r"00hr 00min +([\d.]+)sec", (directory / "eplusout.end").read_text())
    header = re.search(r"YMD=([\d.]+ [\d:]+)", (directory / "eplusout.err").read_text())
    assert elapsed is not None and record.runtime_seconds == float(elapsed[1])
    assert header is not None and f"{record.started_local:%Y.%m.%d %H:%M}" == header[1]
    assert record.energyplus_version == "25.2.0" and record.message is None
    unknown = (record.exit_code, record.idfkit_version, record.finished, record.model_sha256, record.weather_sha256)
    assert unknown == (None,) * 5 and record.flags == {} and record.job is None


def test_the_version_is_found_without_the_error_file(left: Left, tmp_path: Path) -> None:
    directory = left()
    (directory / "eplusout.err").unlink()
    record = publish(directory, tmp_path / "from-eso").record
    assert record is not None and record.energyplus_version == "25.2.0" and record.started_local is not None
    for name in ("eplusout.eso", "eplusout.mtr"):
        (directory / name).unlink()
    record = publish(directory, tmp_path / "from-sql").record
    assert record is not None and record.energyplus_version == "25.2.0" and record.started_local is not None


def test_the_weather_is_known_only_if_it_is_sure(left: Left, tmp_path: Path, epw: Path) -> None:
    directory = left()
    shutil.copy(epw, directory / "in.epw")
    record = publish(directory, tmp_path / "known").record
    assert record is not None and record.weather_sha256 == hashlib.sha256(epw.read_bytes()).hexdigest()
    (directory / "in.epw").write_bytes(epw.read_bytes().replace(b"Chicago", b"Boston", 1))
    record = publish(directory, tmp_path / "another-city").record
    assert record is not None and record.weather_sha256 is None
    shutil.copy(epw, directory / "a.epw")
    record = publish(directory, tmp_path / "two").record
    assert record is not None and record.weather_sha256 is None


def test_a_failed_run_is_published_as_failed(left: Left, tmp_path: Path) -> None:
    result = publish(left(fails=True), tmp_path / "published")
    assert not result.success and result.record is not None
    assert result.record.message is not None and "Construction" in result.record.message
    assert not recorded(result) & SIDECARS


def test_an_unfinished_run_is_refused(left: Left, s3_place: Place) -> None:
    directory = cut(left())
    with pytest.raises(UnfinishedRunError, match=r"unfinished: .*; nothing was published"):
        publish(directory, s3_place.url, storage_options=s3_place.options)
    assert FsspecFileSystem.from_url(s3_place.url, **s3_place.options).glob("", "**") == []


# What is not a run.


def test_what_is_no_run_is_refused(tmp_path: Path, left: Left, s3_place: Place) -> None:
    (tmp_path / "empty").mkdir()
    file = left() / "eplusout.sql"
    for run, words in (
        (tmp_path / "empty", "holds no run"),
        (tmp_path / "missing", "Nothing exists here"),
        (file, "This is a file"),
        (s3_place.url, "Nothing exists here"),
    ):
        with pytest.raises(RunNotFoundError, match=words):
            publish(run, s3_place.joinpath("published").url, storage_options=s3_place.options)
    with pytest.raises(RunNotFoundError, match="no EnergyPlus outputs"):
        publish(tmp_path / "empty", s3_place.url, storage_options=s3_place.options, output_prefix="eplus")


def test_a_file_that_is_called_as_the_record_is_not_overwritten(left: Left) -> None:
    directory = left()
    (directory / "run.json").write_text('{"of": "another program"}')
    with pytest.raises(RecordError):
        publish(directory, directory)
    assert (directory / "run.json").read_text() == '{"of": "another program"}'


def test_a_run_is_not_published_below_itself(left: Left) -> None:
    directory = left()
    with pytest.raises(LocationError, match="its own directory"):
        publish(directory, directory / "published", include=["**"])
    outputs = names_in(directory)
    assert recorded(publish(directory, directory / "published")) - SIDECARS == outputs


def test_a_result_that_idfkit_made_of_a_directory_has_no_facts_of_its_own(left: Left, tmp_path: Path) -> None:
    found = SimulationResult.from_directory(left(fails=True))
    record = publish(found, tmp_path / "published").record
    assert record is not None and not record.success
    assert (record.exit_code, record.idfkit_version) == (None, None) and record.runtime_seconds


# From a URL.


@pytest.fixture
def by_idfkit(place: Place, model: IDFDocument, epw: Path, eplus: EnergyPlusConfig, no_leftovers: Path) -> Place:
    """A run that plain idfkit wrote to a store; it leaves its temporary directory behind."""
    fs = FsspecFileSystem.from_url(place.url, **place.options)
    idfkit.simulation.simulate(model, epw, output_dir="case-1", fs=fs, design_day=True, energyplus=eplus)
    for directory in no_leftovers.glob("idfkit_sim_*"):
        shutil.rmtree(directory)
    return place.joinpath("case-1")


def test_a_run_in_a_store_gets_its_record_in_place(by_idfkit: Place) -> None:
    fs = FsspecFileSystem.from_url(by_idfkit.url, **by_idfkit.options)
    before = {*fs.glob("", "**")}
    publish(by_idfkit.url, by_idfkit.url, storage_options=by_idfkit.options)
    result = open_result(by_idfkit.url, storage_options=by_idfkit.options)
    assert result.success and result.record is not None
    assert {*fs.glob("", "**")} == before | (recorded(result) & SIDECARS) | {"run.json"}
    assert "model.idf" in before and "model.idf" not in recorded(result)
    for entry in result.record.files:
        assert hashlib.sha256(fs.read_bytes(entry.name)).hexdigest() == entry.sha256
    assert not result.tabular("AnnualBuilding*").empty
    again = publish(by_idfkit.url, by_idfkit.url, storage_options=by_idfkit.options)
    assert again.record == result.record


def test_publishing_in_place_sends_no_output(
    shaky_place: Place, proxy: FaultProxy, local_run: SimulationResult
) -> None:
    fs = FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options)
    for path in Path(local_run.run_dir).iterdir():
        fs.write_bytes(path.name, path.read_bytes())
    proxy.reset_counters()
    publish(shaky_place.url, shaky_place.url, storage_options=shaky_place.options)
    sent = {line.split()[1].rpartition("/")[2] for line in proxy.request_lines if line.startswith(("PUT", "POST"))}
    assert sent - SIDECARS == {"run.json"}
    got = [line.split()[1].rpartition("/")[2] for line in proxy.request_lines if line.startswith("GET")]
    assert got.count("eplus.sql") == 1


def test_a_run_of_one_store_is_published_in_another(s3_place: Place, left: Left, tmp_path: Path) -> None:
    directory = left()
    source = FsspecFileSystem.from_url(s3_place.joinpath("source").url, **s3_place.options)
    for path in directory.iterdir():
        source.write_bytes(path.name, path.read_bytes())
    opened = open_result(source.url(), storage_options=s3_place.options, require_record=False)
    beside = publish(source.url(), s3_place.joinpath("beside").url, storage_options=s3_place.options)
    here = publish(opened, tmp_path / "here")
    assert recorded(beside) == recorded(here)
    assert here.timeseries("Zone Mean Air Temperature").equals(beside.timeseries("Zone Mean Air Temperature"))
    assert not source.exists("run.json")


def test_a_run_is_not_replaced_unasked(s3_place: Place, left: Left, local_run: SimulationResult) -> None:
    first = publish(local_run, s3_place.url, storage_options=s3_place.options)
    with pytest.raises(RunExistsError, match="overwrite=True"):
        publish(left(), s3_place.url, storage_options=s3_place.options)
    assert open_result(s3_place.url, storage_options=s3_place.options).record == first.record
    publish(left(), s3_place.url, storage_options=s3_place.options, overwrite=True)
    names = FsspecFileSystem.from_url(s3_place.url, **s3_place.options).glob("", "*")
    assert "eplusout.err" in names and "eplus.err" not in names


# A run for offline use.


def test_a_downloaded_run_opens_offline(
    s3_place: Place, left: Left, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = publish(left(), s3_place.url, storage_options=s3_place.options)
    assert published.download(tmp_path / "mine") == tmp_path / "mine"
    assert published.download(tmp_path / "part", include=["*.err"]) == tmp_path / "part"
    with pytest.raises(LocationError, match="local directory"):
        published.download("s3://bucket/x")
    expected = published.timeseries("Zone Mean Air Temperature")
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it asked the network"))
    mine = open_result(tmp_path / "mine")
    assert mine.record == published.record
    assert mine.timeseries("Zone Mean Air Temperature").equals(expected)
    assert names_in(tmp_path / "part") == {"eplusout.err", "sqlite.err", "run.json"}
    assert open_result(tmp_path / "part").errors.warning_count == mine.errors.warning_count


def test_a_download_keeps_what_the_directory_has_of_the_same_run_and_refuses_another(
    left: Left, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    good = publish(left(), tmp_path / "good")
    good.download(mine, include=["*.sql"])
    good.download(mine, include=["*.err"])
    assert (
        recorded(open_result(mine)) == {"eplusout.sql", "eplusout.err", "sqlite.err"} == names_in(mine) - {"run.json"}
    )
    good.download(mine)
    assert open_result(mine).record == good.record
    failed = publish(left(fails=True, into="failed"), tmp_path / "bad")
    with pytest.raises(RunExistsError, match="another run; remove it"):
        failed.download(mine)
    assert open_result(mine).record == good.record
    (mine / "run.json").write_text("{}")
    with pytest.raises(RunExistsError):
        good.download(mine)


def test_patterns_that_match_nothing_are_told(left: Left, tmp_path: Path) -> None:
    published = publish(left(), tmp_path / "good")
    with pytest.raises(NotFoundError, match=r"None of the \d+ files matches '\*.nope'"):
        published.download(tmp_path / "mine", include=["*.nope"])
    assert not (tmp_path / "mine").exists()
    with pytest.raises(ValueError, match=r"match none of the run's \d+ files"):
        publish(publish(left(), "memory://all-of-it"), "memory://nothing-of-it", include=["*.nope"])
    with pytest.raises(PublishError, match=r"match none of the run's \d+ files"):
        publish(tmp_path / "good", "memory://nothing-of-it", include=["*.nope"])
    with pytest.raises(RunNotFoundError, match="Nothing exists here"):
        open_result("memory://nothing-of-it")


def test_a_run_without_a_record_cannot_be_downloaded(left: Left, tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match=r"publish\(url, url\)"):
        open_result(left(), require_record=False).download(tmp_path / "mine")
