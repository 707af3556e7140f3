"""A study has every file that its models read, and a worker needs nothing else to run a case."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from idfkit import write_epjson, write_idf
from idfkit.exceptions import EnergyPlusNotFoundError
from idfkit.simulation import SimulationJob
from support.external import plugged, read_value, reads, write_plugin, write_series
from support.ledger import Ledger
from support.places import Place
from support.proxy import FaultProxy
from support.variants import variant

from idfkit_fs import Case, FsspecFileSystem, Study, run_case
from idfkit_fs.errors import IncompleteRunError, ModelError, RecordError
from idfkit_fs.studies import worker
from idfkit_fs.studies.job import Job
from idfkit_fs.studies.stored import read_job

GIGABYTE = 2**30
MAINS = "Site Mains Water Temperature"


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of models that is not the working directory."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "there"


def test_a_case_runs_without_what_it_was_made_from(study: Study, ledger: Ledger, epw: Path, there: Path) -> None:
    """Files of one name in two directories, a name that no IDF can hold, plugins; all of it is gone, or has changed."""
    first = write_series(there / "东京, Büro" / "x.csv", 0.25)
    second = write_series(there / "b" / "x.csv", 0.75)
    model = reads(first, "First", reads("b/x.csv", "Second", plugged(write_plugin(there / "plugins", 42))))
    model.add("Site:WaterMainsTemperature", calculation_method="CorrelationFromWeatherFile")
    model.add("Output:Variable", variable_name=MAINS, reporting_frequency="Hourly")
    (there / "model.epJSON").write_text(write_epjson(model), encoding="utf-8")
    for suffix in (".epw", ".stat"):
        shutil.copy(epw.with_suffix(suffix), there / f"weather{suffix}")
    study.add("case", there / "model.epJSON", there / "weather.epw")
    study.add("twin", there / "model.epJSON", there / "weather.epw")
    second.write_text("changed")
    shutil.rmtree(there)

    assert str(study.run()) == "2 cases: 1 simulated, 1 reused"

    result = study.result("case")
    assert read_value(result, "First") == 0.25 and read_value(result, "Second") == 0.75
    assert result.files.read_text("answer.txt") == "42"
    assert abs(result.timeseries(MAINS).iloc[0, 0] - 8.4507) < 1e-4  # it would be 8.4368 without the statistics
    job = read_job(study.fs, "case")
    assert job.weather is not None
    assert {path.rpartition("/")[2] for path in job.files} == {
        *("x.csv", "plugin.py", "helper.py", "__init__.py"),
        f"{job.weather.sha256}.stat",
    }
    for record in ledger.check().values():
        assert {each["name"]: each["sha256"] for each in record["inputs"]} == {
            path: file.sha256 for path, file in job.files.items()
        }
        assert not {each["name"] for each in record["inputs"]} & {each["name"] for each in record["files"]}
    stored = ledger.names("_study/inputs/")
    assert len(stored) == len({*stored}) == 2 + len(job.files)
    for name in stored:
        assert hashlib.sha256(study.fs.read_bytes(name)).hexdigest() == Path(name).stem


def test_a_changed_file_is_another_case_and_another_result(study: Study, epw: Path, there: Path) -> None:
    model = reads(write_series(there / "x.csv", 0.25))
    study.add("before", model, epw)
    study.run()
    write_series(there / "x.csv", 0.75)
    study.add("after", model, epw)
    assert str(study.run()) == "1 case: 1 simulated"
    assert [read_value(study.result(case)) for case in ("before", "after")] == [0.25, 0.75]
    # The same change of the statistics of the weather.
    for suffix in (".epw", ".stat"):
        shutil.copy(epw.with_suffix(suffix), there / f"weather{suffix}")
    study.add("weather", variant(), there / "weather.epw")
    with (there / "weather.stat").open("a") as file:
        file.write("\n")
    other = Study(study.url, storage_options=study.fs.storage_options)
    other.add("statistics", variant(), there / "weather.epw")
    keys = {read_job(study.fs, case).key for case in study.cases()}
    assert len(keys) == 4


def test_machines_that_keep_a_file_elsewhere_ask_for_the_same_run(study: Study, epw: Path, there: Path) -> None:
    for directory in ("a", "b"):
        write_series(there / directory / "x.csv", 0.5)
        (there / directory / "model.idf").write_text(write_idf(reads("x.csv")))
    study.add("relative", there / "a" / "model.idf", epw)
    study.add("absolute", reads(there / "b" / "x.csv"), epw)
    study.add_jobs([SimulationJob(reads(there / "a" / "x.csv"), epw, label="job")])
    assert len({read_job(study.fs, case).key for case in study.cases()}) == 1


def test_a_model_at_a_url_has_its_files_beside_it(study: Study, epw: Path, there: Path) -> None:
    memory = FsspecFileSystem.from_url(f"memory://{uuid.uuid4().hex}")
    bucket = FsspecFileSystem.from_url(f"{study.url}-models", **study.fs.storage_options)
    for fs in (memory, bucket):
        fs.write_text("model.idf", write_idf(reads("data/x.csv")))
        fs.upload(write_series(there / "x.csv", 0.125), "data/x.csv")
        fs.upload(epw, "weather.epw")
        fs.upload(epw.with_suffix(".stat"), "weather.stat")
        study.add(fs.url()[:3].strip("/:"), fs.url("model.idf"), fs.url("weather.epw"))
    shutil.rmtree(there)
    assert str(study.run()) == "2 cases: 1 simulated, 1 reused"
    assert read_value(study.result("mem")) == 0.125


@pytest.mark.parametrize("wrong", ["missing.csv", "directory"])
def test_a_file_that_cannot_be_taken_uploads_nothing(
    shaky_place: Place, proxy: FaultProxy, epw: Path, there: Path, wrong: str
) -> None:
    (there / "directory").mkdir()
    (there / "model.idf").write_text(write_idf(reads(wrong)))
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    with pytest.raises(ModelError) as caught:
        study.add("case", there / "model.idf", epw)
    assert str(caught.value).startswith("Case 'case': Schedule:File 'From file', field file_name: ")
    assert str(there / wrong) in str(caught.value) and 'external_files="leave"' in str(caught.value)
    assert not [line for line in proxy.request_lines if not line.startswith(("GET", "HEAD"))]


def test_files_that_only_the_workers_have(study: Study, epw: Path, there: Path) -> None:
    model = reads(there / "x.csv")
    study.add("one", model, epw, external_files="leave")
    study.add_cases([Case("two", model, epw, external_files="leave")])
    study.add_jobs([SimulationJob(model, epw, label="three")], external_files="leave")
    write_series(there / "x.csv", 0.25)
    assert str(study.run(["one", "two"])) == "2 cases: 2 simulated"
    write_series(there / "x.csv", 0.75)
    elsewhere = Study(f"{study.url}-2", storage_options=study.fs.storage_options)
    elsewhere.add("one", model, epw, external_files="leave")
    assert str(elsewhere.run(reuse=study)) == "1 case: 1 simulated"
    assert [read_value(each.result("one")) for each in (study, elsewhere)] == [0.25, 0.75]
    with pytest.raises(ValueError, match="external_files"):
        study.add("four", model, epw, external_files="link")  # type: ignore[arg-type]  # that is the point


def test_copying_is_switched_off(study: Study, epw: Path) -> None:
    study.add_cases([Case("a", variant(), epw), Case("b", variant(), epw)])
    study.run(["a"])
    study.add("c", variant(), epw)
    assert str(study.run(reuse=False)) == "2 cases: 2 simulated"


def test_a_run_of_another_energyplus_is_not_copied(
    study: Study, ledger: Ledger, epw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.add_cases([Case("a", variant(), epw), Case("b", variant(), epw), Case("c", variant(), epw)])
    study.run(["a"])
    ledger.edit("a/run.json", energyplus_version="24.1.0")
    assert str(study.run(["b"])) == "1 case: 1 simulated"
    ledger.edit("a/run.json", energyplus_version="25.2.0")

    def none_installed(*_version: object) -> Any:
        raise EnergyPlusNotFoundError([])

    monkeypatch.setattr(worker, "find_installation", none_installed)
    assert str(study.run(["c"])) == "1 case: 1 reused"
    study.add("d", variant(), epw)
    for case in "abc":
        ledger.edit(f"{case}/run.json", energyplus_version="24.1.0")
    with pytest.raises(IncompleteRunError, match="EnergyPlus"):
        study.run(["d"])


@pytest.mark.parametrize(
    "name", ["../x.csv", "/x.csv", "input-files/../../x", "eplus.end", "input-files\\x", "C:/x.csv"]
)
def test_a_job_lays_nothing_outside_or_among_the_outputs(study: Study, ledger: Ledger, epw: Path, name: str) -> None:
    study.add("case", variant(), epw)
    file = ledger.read("_study/jobs/case.json")["model"]
    ledger.edit("_study/jobs/case.json", files={name: file})
    with pytest.raises(RecordError):
        run_case(study.url, "case", study.fs.storage_options)


def test_an_input_that_was_damaged_in_the_store_is_not_used(
    study: Study, ledger: Ledger, epw: Path, there: Path
) -> None:
    study.add("case", reads(write_series(there / "x.csv", 0.5)), epw)
    (name,) = (name for name in ledger.names("_study/inputs/") if name.endswith(".csv"))
    ledger.put(name, b"0.9\n" * 8760)
    with pytest.raises(IncompleteRunError, match="differs"):
        study.run()
    assert study.status().states() == {"case": "pending"}


def test_a_file_that_changes_while_it_is_added_is_an_error(
    shaky_place: Place, proxy: FaultProxy, epw: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It changes as the request arrives that sends it, and that is not answered before."""
    large = there / "large.csv"
    large.write_text("0.5\n" * 2_000_000)
    study = Study(shaky_place.url, storage_options=shaky_place.options)
    study.add("first", variant(), epw)
    count, changed = proxy._count, []

    def counted(**seen: Any) -> None:
        count(**seen)
        line = seen.get("line") or ""
        if line.startswith(("PUT", "POST")) and ".csv" in line and not changed:
            changed.append(line)
            with large.open("r+") as file:
                file.write("0.7\n")

    monkeypatch.setattr(proxy, "_count", counted)
    with pytest.raises(ModelError, match="changed while it was added"):
        study.add("case", reads(large), epw)
    assert changed
    assert not study.fs.glob("_study/inputs", "*.csv") and study.cases() == ["first"]
    study.add("case", reads(large), epw)
    job = read_job(study.fs, "case")
    (file,) = (file for path, file in job.files.items() if path.endswith(".csv"))
    assert hashlib.sha256(study.fs.read_bytes(f"_study/inputs/{file.name}")).hexdigest() == file.sha256


def test_an_input_of_a_gigabyte_is_never_held_in_memory(tmp_path: Path, epw: Path, there: Path) -> None:
    with (there / "large.csv").open("wb") as file:
        file.write(b"0.5\n" * 8760)
        file.truncate(GIGABYTE)
    (there / "model.idf").write_text(write_idf(reads("large.csv")))
    program = """
import resource, sys
from idfkit_fs import Study
study, model, weather = sys.argv[1:]
study = Study(study)
study.add("small", model.replace("model.idf", "small.idf"), weather)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
study.add("case", model, weather)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    (there / "small.idf").write_text(write_idf(variant()))
    arguments = [str(tmp_path / "study"), str(there / "model.idf"), str(epw)]
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True)
    assert int(ran.stdout) < 64 * 1024  # KiB
    job = read_job(FsspecFileSystem.from_url(tmp_path / "study"), "case")
    assert GIGABYTE in {file.size for file in job.files.values()}
    shutil.rmtree(tmp_path / "study")


def test_the_same_key_in_another_process(study: Study, epw: Path, there: Path) -> None:
    study.add("case", reads(write_series(there / "x.csv", 0.5)), epw)
    job = read_job(study.fs, "case")
    assert Job.model_validate_json(job.to_json()).key == job.key
