"""Every file that a model reads is found, named by its content, and laid where EnergyPlus looks."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from idfkit import IDFDocument, get_schema, load_idf, new_document, write_idf
from idfkit.simulation import EnergyPlusConfig, SimulationCache
from idfkit.versions import ENERGYPLUS_VERSIONS
from support.external import plugged, read_value, reads, write_plugin, write_series
from support.places import Place
from support.variants import variant

from idfkit_fs import FsspecFileSystem, async_simulate, simulate
from idfkit_fs.errors import ModelError
from idfkit_fs.runs.external import External, gather, lay, stat_beside

FMU = "ExternalInterface:FunctionalMockupUnitImport"
SINCE_ALWAYS = {
    "Construction:WindowDataFile",
    "Schedule:File",
    "Schedule:File:Shading",
    FMU,
    f"{FMU}:From:Variable",
    f"{FMU}:To:Actuator",
    f"{FMU}:To:Schedule",
    f"{FMU}:To:Variable",
}


@pytest.fixture
def output(tmp_path: Path) -> FsspecFileSystem:
    return FsspecFileSystem.from_url(tmp_path / "output")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without anything in it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def gathered(model: IDFDocument, directory: object = None, energyplus: Path | None = None) -> External:
    return gather(
        model, None if directory is None else str(directory), FsspecFileSystem.from_url("memory://x"), energyplus
    )


def names_of(external: External) -> list[str]:
    return [name.split("/", 2)[2] for name in external.files]


@pytest.mark.parametrize("version", ENERGYPLUS_VERSIONS)
def test_each_field_of_each_version_that_names_a_file(version: tuple[int, int, int], here: Path) -> None:
    schema, found = get_schema(version), set()
    write_series(here / "file.csv", 1)
    for kind in schema.object_types:
        fields = (schema.get_inner_schema(kind) or {}).get("properties", {})
        for name in (name for name in fields if name.endswith("file_name")):
            model = new_document(version=version, strict=False)
            model.add(kind, "Any" if schema.has_name(kind) else "", {name: "file.csv"}, validate=False)
            if gathered(model).files:
                found.add(kind)
    tables = {"Table:MultiVariableLookup", "Table:TwoIndependentVariables"}
    expected = SINCE_ALWAYS | (tables if version < (9, 2) else {"Table:IndependentVariable", "Table:Lookup"})
    expected |= {"Chiller:Electric:ASHRAE205"} if version >= (22, 2) else set()
    expected |= {"Coil:DX:ASHRAE205:Performance"} if version >= (25, 2) else set()
    assert found == expected


def test_the_text_of_the_model_changes_with_the_content_and_with_nothing_else(tmp_path: Path, here: Path) -> None:
    one = write_series(tmp_path / "one" / "Büro, 1; 東京!.csv", 0.25)
    model = reads(one)
    before = write_idf(model)
    first = gathered(model)
    assert write_idf(model) == before
    (name,) = first.files
    assert name.startswith("input-files/") and name.isascii() and not {*name} & {*",;!"}
    assert f"{name}," in write_idf(first.document)

    two = write_series(tmp_path / "two" / "Büro, 1; 東京!.csv", 0.25)
    assert write_idf(gathered(reads(two)).document) == write_idf(first.document)
    assert write_idf(gathered(reads(two.name), tmp_path / "one").document) == write_idf(first.document)
    for value in (0.5, 0.75):  # of one size, within one tick of the clock
        write_series(two, value)
        assert write_idf(gathered(reads(two)).document) != write_idf(first.document)
        assert gathered(reads(two)).inputs != first.inputs


def test_a_document_that_keeps_its_formatting_is_rewritten_too(tmp_path: Path, here: Path) -> None:
    write_series(tmp_path / "a.csv", 1)
    (tmp_path / "model.idf").write_text(write_idf(reads("a.csv", model=plugged(write_plugin(tmp_path / "p", 1)))))
    external = gathered(load_idf(tmp_path / "model.idf", preserve_formatting=True), tmp_path)
    text = write_idf(external.document)
    assert text.count("input-files/") == 2 and str(tmp_path) not in text
    assert sorted(names_of(external)) == [
        "a.csv",
        "modules/deep/__init__.py",
        "modules/deep/helper.py",
        "modules/plugin.py",
    ]


def test_beside_the_model_comes_before_the_working_directory(tmp_path: Path, here: Path) -> None:
    write_series(here / "a.csv", 1)
    beside = write_series(tmp_path / "models" / "a.csv", 2)
    assert list(gathered(reads("a.csv"), tmp_path / "models").files.values()) == [beside]
    assert list(gathered(reads(".\\a.csv"), "../models").files.values()) == [tmp_path / "models" / "a.csv"]
    assert list(gathered(reads("a.csv")).files.values()) == [here / "a.csv"]


def test_files_of_one_name_do_not_meet_and_equal_files_are_one(tmp_path: Path, here: Path) -> None:
    for directory, value in (("a", 1.0), ("b", 2.0), ("c", 1.0)):
        write_series(tmp_path / directory / "x.csv", value)
    model = variant()
    for directory in "abc":
        reads(tmp_path / directory / "x.csv", directory, model)
    external = gathered(model)
    assert names_of(external) == ["x.csv", "x.csv"]
    run = tmp_path / "run"
    lay(external.files, external.inputs, run)
    fields = [each.file_name for each in external.document["Schedule:File"]]
    assert [(run / name).read_text()[:3] for name in fields] == ["1.0", "2.0", "1.0"]


def test_a_blank_field_names_no_file(here: Path) -> None:
    model = variant()
    model.add("Table:IndependentVariable", "V", external_file_name="  ", validate=False)
    assert not gathered(model).files
    model.add("Construction:WindowDataFile", "DoubleClear")  # but here it means a file in the working directory
    with pytest.raises(ModelError, match=r"'DoubleClear', field file_name: 'Window5DataFile\.dat' is missing"):
        gathered(model)
    write_series(here / "Window5DataFile.dat", 1)
    assert names_of(gathered(model)) == ["Window5DataFile.dat"]


@pytest.mark.parametrize(
    "name", ["nowhere.csv", "/nowhere/at/all.csv", "C:\\nowhere\\at all.csv", "a/b/../c.csv", "x" * 300]
)
def test_a_missing_file_is_an_error_that_says_where_it_was_looked_for(name: str, tmp_path: Path, here: Path) -> None:
    with pytest.raises(ModelError) as caught:
        gathered(reads(name), tmp_path / "models")
    text = str(caught.value)
    assert "Schedule:File 'From file', field file_name: " in text
    assert text.endswith('or pass external_files="leave" if the workers have it at this path')
    if not name.startswith(("/", "C:", "x")):
        assert f"looked for {tmp_path / 'models' / name}, {here / name}; put a file there" in text


def test_what_is_no_file_is_refused(tmp_path: Path, here: Path) -> None:
    (here / "directory").mkdir()
    os.mkfifo(here / "pipe")
    (here / "loop").symlink_to("loop")
    for name, problem in (("directory", "is a directory"), ("pipe", "not a regular file"), ("loop", "cannot be read")):
        with pytest.raises(ModelError, match=f"{problem}.*external_files"):
            gathered(reads(name))


def test_a_file_of_energyplus_itself_is_left_to_it(eplus: EnergyPlusConfig, here: Path) -> None:
    model = variant()
    model.add("Construction:WindowDataFile", "DoubleClear", file_name="DataSets\\Window5DataFile.dat")
    external = gathered(model, energyplus=eplus.install_dir)
    assert not external.files and "DataSets\\Window5DataFile.dat" in write_idf(external.document)
    with pytest.raises(ModelError, match="is missing"):
        gathered(model)


def test_a_model_at_a_url_names_what_lies_beside_it(s3_place: Place, tmp_path: Path, here: Path) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    fs.upload(write_series(tmp_path / "a.csv", 3), "data/a.csv")
    for module in ("plugin.py", "deep/__init__.py", "deep/helper.py"):
        fs.upload(write_plugin(tmp_path / module.replace("/", "-"), 7) / module, f"models/mine/{module}")
    model = reads("../data/a.csv", model=plugged("mine"))
    external = gather(model, f"{s3_place.url}/models", fs, None)
    modules = ["modules/deep/__init__.py", "modules/deep/helper.py", "modules/plugin.py"]
    assert sorted(names_of(external)) == ["a.csv", *modules]
    with pytest.raises(ModelError, match=rf"looked for {s3_place.url}/models/b\.csv, {here}/b\.csv"):
        gather(reads("b.csv"), f"{s3_place.url}/models", fs, None)


# Python plugins.


def test_of_a_search_path_all_modules_are_taken(tmp_path: Path, here: Path) -> None:
    write_plugin(tmp_path / "plugins", 1)
    (tmp_path / "plugins" / "notes.txt").touch()
    (tmp_path / "plugins" / ".git").mkdir()
    (tmp_path / "plugins" / ".git" / "hook.py").touch()
    external = gathered(plugged(tmp_path / "plugins"))
    modules = ["modules/deep/__init__.py", "modules/deep/helper.py", "modules/plugin.py"]
    assert names_of(external) == modules
    shutil.copytree(tmp_path / "plugins", tmp_path / "moved")
    assert gathered(plugged(tmp_path / "moved")).inputs == external.inputs
    (tmp_path / "moved" / "deep" / "helper.py").write_text("ANSWER = 2\n")
    assert not {*gathered(plugged(tmp_path / "moved")).files} & {*external.files}


def test_beside_the_model_what_the_plugin_imports_is_taken(tmp_path: Path, here: Path) -> None:
    models = write_plugin(tmp_path / "models", 1)
    (models / "run_the_study.py").write_text("PASSWORD = 'secret'\n")
    external = gathered(plugged(), models)
    modules = ["modules/deep/__init__.py", "modules/deep/helper.py", "modules/plugin.py"]
    assert names_of(external) == modules
    (paths,) = external.document["PythonPlugin:SearchPaths"]
    assert paths.py_search_paths[0].search_path == next(iter(external.files)).rpartition("/deep")[0]

    other = tmp_path / "other"
    other.mkdir()
    shutil.move(models / "plugin.py", other / "plugin.py")
    external = gathered(plugged(other), models)
    (paths,) = external.document["PythonPlugin:SearchPaths"]
    assert len(paths.py_search_paths) == 2  # the last one is searched first
    assert f"{paths.py_search_paths[1].search_path}/plugin.py" in external.files

    model = plugged(other)
    next(iter(model["PythonPlugin:SearchPaths"])).add_input_file_directory_to_search_path = "No"
    assert names_of(gathered(model, models)) == ["modules/plugin.py"]


def test_a_plugin_that_cannot_travel_is_refused(tmp_path: Path, here: Path) -> None:
    with pytest.raises(ModelError, match="'Plugin', field python_module_name: 'plugin' is missing; looked for"):
        gathered(plugged())
    with pytest.raises(ModelError, match="'Paths', field search_path: 'nowhere' is not a directory; looked for"):
        gathered(plugged("nowhere"))
    packages = write_plugin(tmp_path / "venv" / "site-packages", 1)
    with pytest.raises(ModelError, match="more than the modules of a plugin.*install packages on the workers"):
        gathered(plugged(packages))
    many = write_plugin(tmp_path / "many", 1)
    for number in range(1001):
        (many / f"module{number}.py").touch()
    with pytest.raises(ModelError, match="over 1000 modules"):
        gathered(plugged(many))


def test_version_9_3_has_five_search_paths(tmp_path: Path, here: Path) -> None:
    model = new_document(version=(9, 3, 0), strict=False)
    model.add("PythonPlugin:SearchPaths", "P", search_path_1="", search_path_2=str(write_plugin(tmp_path / "p", 1)))
    model.add("PythonPlugin:Instance", "I", python_module_name="plugin", plugin_class_name="Plugin")
    external = gathered(model)
    (paths,) = external.document["PythonPlugin:SearchPaths"]
    assert f"{paths.search_path_1}/plugin.py" in external.files and not paths.search_path_2


# With EnergyPlus.


def test_what_energyplus_reads(tmp_path: Path, epw: Path, eplus: EnergyPlusConfig, here: Path) -> None:
    """Of all kinds in one model, which lies elsewhere; and of the weather file its statistics."""
    there = tmp_path / "models"
    write_series(there / "x.csv", 0.25)
    absolute = write_series(tmp_path / "é" / "x.csv", 0.75)
    model = reads(absolute, "Absolute", reads("x.csv", "Relative", plugged(write_plugin(there / "my plugins", 42))))
    shading = there / "shading.csv"
    shading.write_text("Surface Name,Nothing\n" + "00:00,1\n" * 35040)
    model.add("Schedule:File:Shading", file_name="shading.csv")
    shutil.copy(eplus.install_dir / "DataSets" / "Window5DataFile.dat", there / "mine.dat")
    model.add("Construction:WindowDataFile", "DoubleClear", file_name="mine.dat")
    model.add("Site:WaterMainsTemperature", calculation_method="CorrelationFromWeatherFile")
    model.add("Output:Variable", variable_name="Site Mains Water Temperature", reporting_frequency="Hourly")
    (there / "model.idf").write_text(write_idf(model))

    result = simulate(load_idf(there / "model.idf"), epw, output_dir=tmp_path / "run", energyplus=eplus, include=["**"])

    assert read_value(result, "Relative") == 0.25 and read_value(result, "Absolute") == 0.75
    assert result.files.read_text("answer.txt") == "42"
    assert result.record is not None
    laid = {entry.name for entry in result.record.inputs}
    assert {name.split("/")[-1] for name in laid} == {
        *("x.csv", "shading.csv", "mine.dat", "plugin.py", "__init__.py", "helper.py"),
        epw.with_suffix(".stat").name,
    }
    audit = result.files.read_text("eplus.audit")
    for name in ("shading.csv", "mine.dat", "x.csv"):
        assert any(f"{each}\n" in audit for each in laid if each.endswith(f"/{name}")), name
    published = {entry.name for entry in result.record.files}
    assert not published & laid and not [name for name in published if name.startswith("input-files/")]

    bare = tmp_path / "bare.epw"
    shutil.copy(epw, bare)
    shutil.copy(epw.with_suffix(".ddy"), bare.with_suffix(".ddy"))
    without = simulate(load_idf(there / "model.idf"), bare, output_dir=tmp_path / "bare", energyplus=eplus)
    mains = "Site Mains Water Temperature"
    assert without.timeseries(mains).iloc[0, 0] != result.timeseries(mains).iloc[0, 0]
    assert without.record is not None and "bare.ddy" not in {entry.name for entry in without.record.inputs}


def test_an_fmu_lies_where_energyplus_looks_for_it(
    tmp_path: Path, epw: Path, eplus: EnergyPlusConfig, here: Path
) -> None:
    shutil.copy(eplus.install_dir / "DataSets" / "FMUs" / "MoistAir.fmu", here / "MoistAir.fmu")
    model = variant()
    model.add("ExternalInterface", name_of_external_interface="FunctionalMockupUnitImport")
    model.add(FMU, fmu_file_name="MoistAir.fmu", fmu_timeout=15.0, fmu_loggingon=0)
    variable: dict[str, Any] = {"fmu_file_name": "MoistAir.fmu", "fmu_instance_name": "Model1"}
    model.add(f"{FMU}:To:Schedule", "S", fmu_variable_name="QSensible", initial_value=0.0, **variable)
    external = gathered(model)
    (name,) = external.files
    assert name.endswith("/MoistAir.fmu")
    assert [each.fmu_file_name for kind in (FMU, f"{FMU}:To:Schedule") for each in external.document[kind]] == [
        name
    ] * 2
    result = simulate(model, epw, output_dir=tmp_path / "run", energyplus=eplus)  # whether it runs is EnergyPlus's
    audit = result.files.read_text("eplus.audit")
    assert f"{name}\n" in audit and "found (Current Working Directory)" in audit


async def test_simulate_refuses_before_it_publishes(
    tmp_path: Path, epw: Path, eplus: EnergyPlusConfig, here: Path
) -> None:
    options: dict[str, Any] = {"output_dir": tmp_path / "run", "energyplus": eplus}
    with pytest.raises(ModelError, match="'nowhere.csv' is missing"):
        simulate(reads("nowhere.csv"), epw, **options)
    with pytest.raises(ModelError, match="'nowhere.csv' is missing"):
        await async_simulate(reads("nowhere.csv"), epw, **options)
    with pytest.raises(ValueError, match="external_files can be 'copy' and 'leave', not 'link'"):
        simulate(reads("nowhere.csv"), epw, external_files="link", **options)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="cache="):
        simulate(reads("x"), epw, external_files="leave", cache=SimulationCache(tmp_path / "cache"), **options)
    assert not (tmp_path / "run").exists()
    left = simulate(reads(write_series(here / "a.csv", 0.5)), epw, external_files="leave", **options)
    assert read_value(left) == 0.5 and left.record is not None
    assert [entry.name for entry in left.record.inputs] == [epw.with_suffix(".stat").name]


def test_idfkits_cache_sees_that_a_file_has_changed(
    tmp_path: Path, epw: Path, eplus: EnergyPlusConfig, here: Path
) -> None:
    weather = tmp_path / "chicago.epw"
    shutil.copy(epw, weather)
    shutil.copy(epw.with_suffix(".stat"), weather.with_suffix(".stat"))
    options: dict[str, Any] = {"energyplus": eplus, "cache": SimulationCache(tmp_path / "cache")}

    def run(name: str) -> tuple[float, float | None]:
        result = simulate(reads("a.csv"), weather, output_dir=tmp_path / name, **options)
        assert result.record is not None
        assert not [file for file in result.record.files if "input-files" in file.name]
        return read_value(result), result.runtime_seconds

    write_series(here / "a.csv", 0.25)
    first = run("one")
    assert run("two") == first
    write_series(here / "a.csv", 0.75)
    assert run("three")[0] == 0.75
    write_series(here / "a.csv", 0.25)
    with weather.with_suffix(".stat").open("ab") as file:
        file.write(b"\n")
    assert run("four")[1] != first[1]


def test_the_statistics_beside_a_weather_file(s3_place: Place, tmp_path: Path, epw: Path) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    fs.write_text("a.b.epw", "LOCATION,")
    assert stat_beside(f"{s3_place.url}/a.b.epw", fs) is None
    fs.write_text("a.b.stat", "statistics")
    found = stat_beside(f"{s3_place.url}/a.b.epw", fs)
    assert found is not None and found.read_text() == "statistics"
    assert stat_beside(epw, fs) == epw.with_suffix(".stat")
    (tmp_path / "link.epw").symlink_to(epw)
    assert stat_beside(tmp_path / "link.epw", fs) == epw.with_suffix(".stat")
