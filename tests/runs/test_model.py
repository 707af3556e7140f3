"""A model is text once: whatever it is given as, it is read right, stored as UTF-8, and read back; or it is refused."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from idfkit import IDFDocument, load_idf, new_document, save_epjson, save_idf, write_epjson, write_idf
from idfkit.simulation import EnergyPlusConfig
from support.models import silent
from upath import UPath

from idfkit_fs import FsspecFileSystem, async_simulate, find_energyplus, simulate
from idfkit_fs.errors import ModelError, UnreachableError
from idfkit_fs.runs.installation import find_installation
from idfkit_fs.runs.model import Model, load_model, parse_model, write_model
from idfkit_fs.runs.model_text import decode, fault_of, restore, split

FS = FsspecFileSystem.from_url("memory://models")
NAME = "Büro Süd 日本語 à"


def read(source: Any) -> Model:
    return write_model(load_model(source, FS)[0], source)


def named(name: str = NAME) -> IDFDocument:
    model = silent()
    model.rename("Zone", "Room", name)
    return model


def to_run(model: Model, **options: Any) -> IDFDocument:
    return model.to_run(find_energyplus(), options)


def refused(source: Any) -> str:
    with pytest.raises(ModelError) as caught:
        read(source)
    return str(caught.value)


# Encodings.


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("Büro 日本".encode(), "Büro 日本"),
        ("Büro 日本".encode("utf-8-sig"), "Büro 日本"),
        ("Büro 日本".encode("utf-16"), "Büro 日本"),
        (b"\xfe\xff" + "Büro 日本".encode("utf-16-be"), "Büro 日本"),
        ("Büro é".encode("latin-1"), "Büro é"),
        ("Büro “x”".encode("cp1252"), "Büro “x”"),
        ("Büro, é".encode() + b", S\xfcd", "Büro, é, Süd"),
        (b"\xef\xbb\xbfB\xc3\xbcro S\xfcd", "Büro Süd"),
        ("BÃ¼ro".encode(), "BÃ¼ro"),
    ],
)
def test_the_text_of_a_file(data: bytes, text: str) -> None:
    assert decode(data) == text


@given(st.text())
def test_utf8_that_was_read_as_latin1_is_restored(text: str) -> None:
    assert restore(text.encode().decode("latin-1")) == text


@given(st.text(alphabet=st.characters(min_codepoint=0x100, exclude_categories=["Cs"]) | st.sampled_from("aü é;")))
def test_real_characters_stay(text: str) -> None:
    assert restore(text) == text


def test_each_way_to_give_a_model_is_the_same_text(tmp_path: Path) -> None:
    model, text = named(), write_idf(named())
    given: list[Any] = [model]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.idf"
        path.write_bytes(text.encode(encoding))
        given += [path, str(path)]
    (tmp_path / "crlf.idf").write_bytes(text.replace("\n", "\r\n").encode())
    (tmp_path / "bare.idf").write_text(write_idf(model, output_type="compressed"), encoding="utf-8")
    save_epjson(model, tmp_path / "model.epJSON")
    (tmp_path / "bom.json").write_text(write_epjson(model), encoding="utf-8-sig")
    FS.write_bytes("model.idf", text.encode())
    given += [tmp_path / "crlf.idf", tmp_path / "bare.idf", tmp_path / "model.epJSON", tmp_path / "bom.json"]
    given += [FS.url("model.idf"), UPath(FS.url("model.idf"))]
    texts = {read(each).text for each in given}
    assert len(texts) == 1
    assert NAME.encode() in texts.pop()


def test_a_document_that_was_loaded_as_latin1_is_restored_and_stays_as_it_is(tmp_path: Path) -> None:
    name = "Büro Süd 日本語"
    (tmp_path / "model.idf").write_text(write_idf(named(name)), encoding="utf-8")
    loaded = load_idf(str(tmp_path / "model.idf"))
    loaded.add("Zone", "Küche 南")
    before = write_idf(loaded)
    model = read(loaded)
    assert sorted(zone.name for zone in model.document["Zone"]) == [name, "Küche 南"]
    assert write_idf(loaded) == before


def test_a_byte_that_load_idf_has_cut_off_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "model.idf").write_text(write_idf(named("Unità")), encoding="utf-8")
    assert "pass the path of the file" in refused(load_idf(str(tmp_path / "model.idf")))
    assert read(tmp_path / "model.idf").document["Zone"].first().name == "Unità"
    assert read(named("MAÇÃ")).document["Zone"].first().name == "MAÇÃ"


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).filter(
    lambda name: fault_of(name) is None and restore(name) == name
)


@settings(max_examples=60, deadline=None)
@given(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.upper), st.floats(allow_nan=False, allow_infinity=False))
@example(["Unità", "Å", "ß"], 0.1)
def test_whatever_a_name_is_idfkit_writes_the_very_text_and_reads_the_name(names: list[str], number: float) -> None:
    document = new_document(version=(25, 2, 0), strict=False)
    for name in names:
        document.add("Zone", name, validate=False)
    document["Zone"].first().data["x_origin"] = number
    try:
        model = read(document)
    except ModelError as exc:
        assert "cut the last byte" in str(exc) or "control character" in str(exc)  # noqa: PT017 - some are refused
        return
    assert [zone.name for zone in model.document["Zone"]] == names
    assert model.document["Zone"].first().x_origin == number
    assert write_idf(to_run(model), preserve_formatting=False).encode("latin-1") == model.text
    assert to_run(parse_model(model.text))["Zone"].first().name.encode("latin-1").decode() == names[0]


def test_what_numpy_and_users_make_of_numbers_is_written(tmp_path: Path) -> None:
    model = silent()
    zone = model["Zone"].first()
    zone.data.update(
        x_origin=np.float64(0.123456789), y_origin=np.float32(0.1), z_origin="0.50", multiplier=np.int64(2)
    )
    back = read(model).document["Zone"].first()
    assert (back.x_origin, back.z_origin, back.multiplier) == (0.123456789, 0.5, 2)
    assert back.y_origin == pytest.approx(0.1)


def test_a_name_that_idfkit_would_cut_after_a_preprocessor_is_refused() -> None:
    model = named("Unità")
    model.add("GroundHeatTransfer:Control", run_slab_preprocessor="Yes", validate=False)
    model.add("GroundHeatTransfer:Slab:Materials", validate=False)
    with pytest.raises(ModelError, match="idfkit would cut off the last letter"):
        to_run(read(model))
    assert to_run(read(model), expand_objects=False)["Zone"].first().name == "UnitÃ\xa0"


# What is not a model.


BASE = write_idf(silent())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no object"),
        ("! only a comment\n", "no object"),
        (b"PK\x03\x04" + bytes(100), "binary file"),
        (bytes(range(256)), "binary file"),
        ("<!DOCTYPE html>\n<html></html>", "HTML"),
        ("A sentence, and no model.\n", "does not end with a semicolon"),
        (BASE[: BASE.rindex(";")], "does not end with a semicolon"),
        (BASE + "Zone,\n  One,\n  0\nZone,\n  Two;\n", "'0' is followed by another line .* in the object 'Zone'"),
        (BASE + "Zone,\n  One  ! a comment\n  more;\n", "'One' is followed by another line"),
        (BASE + "Zone,\n  One,\n  0,\nMaterial,\n  Two,Rough,1,1,1,1;\n", "semicolon is missing .* 'Material'"),
        (BASE + "Zone,One,0,0,0,0,1,1,1,1,,,,,Zone,Two;\n", "more fields than its type"),
        (BASE + "Zoone,One;\n", "'Zoone'"),
        (BASE + "x.Zone,One;\n", "no object type 'x.Zone'"),
        (
            BASE + "AirTerminal:SingleDuct:Uncontrolled,One;\n",
            "line .* EnergyPlus 25.2.0 has no object type .* migrate",
        ),
        (BASE + "Zone,ROOM;\n", "Duplicate Zone .* ignores case"),
        (BASE + "Output:SQLite;\n", "has no fields"),
        (BASE + ",One;\n", "no type"),
        (BASE + "Zone,O\x02ne;\n", r"control character '\\x02'"),
        (BASE.replace("25.2;", "8.1;"), "does not know EnergyPlus 8.1"),
        (BASE.replace("25.2;", "new;"), "'new' is not a version"),
        (BASE + "Version,25.2;\n", "2 Version objects"),
        ("Zone,One;\n", "no Version object"),
        ('{"Zone": {"One": {}, "One": {}}}', "'One' occurs twice"),
        ('{"Zone": {"One": {', "may have been cut"),
        ("[1, 2]", "not an epJSON model"),
        ('{"Zone": {"One": 1}}', "Zone 'One' is not an object"),
        ('{"Zone": {"One": {}}}', "one Version object"),
        ('{"Version": {"V": {"version_identifier": "25.2"}}, "Zone": {"One": {"colour": 1}}}', "'colour' .* remove it"),
        # EnergyPlus 25.2 ignores such a field, and calculates with 0 W/m2 of lights.
        (
            '{"Version": {"V": {"version_identifier": "25.2"}}, "Lights": {"One": {"watts_per_zone_floor_area": 9}}}',
            "'One': the value 9 .* would be lost: EnergyPlus 25.2.0 has no such field; rename .*'watts_per_floor_area'",
        ),
        ('{"Version": {"V": {"version_identifier": "25.2"}}, "Zoone": {"One": {}}}', "no object type 'Zoone'"),
        ('{"Version": {"V": {"version_identifier": "25.2"}}, "Zone": {"One": {}, "ONE": {}}}', "ignores case"),
        ('{"Version": {"V": {"version_identifier": "25.2"}}, "Zone": {"One, two": {}}}', "contains ','"),
    ],
)
def test_what_is_no_model_is_refused_quickly(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "given.model"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    start = time.process_time()
    with pytest.raises(ModelError, match=f"(?s)^The model '.*given.model' cannot be used: .*{message}"):
        read(path)
    assert time.process_time() - start < 60  # minutes, if idfkit reads it


def test_the_line_of_a_fault_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.idf").write_text("Version,25.2; ! of EnergyPlus\n\n!\nZone,\n  One;\n;Zoone,\n  Two;\n")
    assert "line 6: " in refused(tmp_path / "model.idf")
    (tmp_path / "model.idf").write_text("Version,25.2;\n\nZone,\n  One,\n  Two\n  three;\n")
    assert "line 5: 'Two' is followed" in refused(tmp_path / "model.idf")


@pytest.mark.parametrize("location", ["missing.idf", "memory://models/missing.idf", "."])
def test_what_is_no_file_is_refused(location: str) -> None:
    assert "no such file" in refused(location) or "it is a directory" in refused(location)


def test_a_store_that_does_not_answer_is_no_fault_of_the_model(shaky_place: Any, proxy: Any) -> None:
    proxy.refuse()
    fs = FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options)
    with pytest.raises(UnreachableError):
        load_model(fs.url("model.idf"), fs)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda model: model.add("Zone", "One, two"), "Zone 'One, two': the value 'One, two' of 'name' contains ','"),
        (lambda model: model.add("Zone", "One; two"), "contains ';'"),
        (lambda model: model.add("Zone", "One! two"), "contains '!'"),
        (lambda model: model.add("Zone", "One\ntwo"), "line break"),
        (lambda model: model.add("Zone", "One\x07"), "control character"),
        (lambda model: model.add("Zone", " One"), "begins or ends with a blank"),
        (lambda model: model.add("Zone", "One\u3000"), "begins or ends with a blank"),
        (lambda model: setattr(model.add("Zone", "One"), "name", "ROOM"), "ignores case"),
        (lambda model: model["Material"].first().data.update(roughness="Rough, very"), "'roughness' contains ','"),
        (lambda model: model["Zone"].first().data.update(x_origin=float("inf")), "'x_origin' is not a number"),
        (lambda model: model["Zone"].first().data.update(x_origin=float("nan")), "'x_origin' is not a number"),
        (lambda model: model["Zone"].first().data.update(x_origin={"a": 1}), "type dict"),
        (lambda model: model["Zone"].first().data.update(colour="red"), "'colour' .* no such field"),
        (lambda model: model["Version"].first().data.update(version_identifier="24.1"), "Version object says 24.1"),
    ],
)
def test_what_an_idf_cannot_hold_is_refused(spoil: Callable[[IDFDocument], Any], message: str) -> None:
    model = silent()
    spoil(model)
    with pytest.raises(ModelError, match=f"^The model cannot be used: .*{message}"):
        read(model)


# A file that was cut.

CUT = write_idf(named()).encode()
WHOLE = list(split(CUT.decode()))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(CUT)))
def test_a_file_that_was_cut_is_refused_or_holds_whole_objects_only(end: int) -> None:
    """A cut between two objects leaves a model with fewer of them, and nothing in the file shows it."""
    start = time.process_time()
    try:
        model = parse_model(CUT[:end])
    except ModelError:
        assert end < len(CUT.rstrip())
    else:
        kept = [statement[1:] for statement in split(decode(CUT[:end]))]
        assert kept == [statement[1:] for statement in WHOLE[: len(kept)]]
        assert len(model.document) == len(kept)
        if end >= CUT.rindex(b";"):
            assert kept == [statement[1:] for statement in WHOLE]
    assert time.process_time() - start < 60  # minutes, if idfkit reads it


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(CUT) - 1), st.integers(1, 40))
def test_a_file_with_a_hole_takes_no_time_and_raises_nothing_else(begin: int, length: int) -> None:
    start = time.process_time()
    try:
        model = parse_model(CUT[:begin] + CUT[begin + length :])
    except ModelError:
        pass
    else:
        assert len(model.document) > 0
    assert time.process_time() - start < 60  # minutes, if idfkit reads it


@pytest.mark.parametrize(
    "content",
    [
        b"a" * 5_000_000,
        b" \n" * 2_500_000 + b"x",
        b"a," * 2_500_000,
        b"a \n" * 1_700_000,
        b"Version,25.2;Zone," + b"a \t" * 1_700_000 + b";",
        b"Version,25.2;" + b";" * 2_500_000,
        b"Zone," + b" " * 5_000_000 + b"a;",
        b"a" + b"\n \n" * 1_700_000 + b",;",
        b"\xc3" * 2_500_000,
        b"{" * 2_500_000,
        b"##" * 2_500_000,
        b"# " * 2_500_000 + b"#[",
    ],
    ids=lambda content: content[:20].decode("latin-1"),
)
def test_millions_of_characters_take_seconds(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.idf").write_bytes(content)
    start = time.process_time()
    with contextlib.suppress(ModelError):
        load_model(tmp_path / "model.idf", FS)
    assert time.process_time() - start < 60


# Included files.


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """A model in several files, with names that need an encoding."""
    parts = BASE.split("\n\n")
    zone = [part for part in parts if part.startswith("Zone,")]
    material = [part for part in parts if part.startswith("Material,")]
    rest = [part for part in parts if part not in zone + material]
    (tmp_path / "parts" / "deep").mkdir(parents=True)
    (tmp_path / "main.imf").write_text(
        "\n\n".join(rest) + "\n! ##include nowhere.idf\n##list\n##fileprefix parts/\n  ##include  materials.idf  \n"
        "##IncludeSilent zones.idf\n##fileprefix ./\n##! the end\nZone,Last;\n",
        encoding="utf-8",
    )
    (tmp_path / "parts" / "materials.idf").write_text("\n\n".join(material) + "\n", encoding="utf-8")
    (tmp_path / "parts" / "zones.idf").write_text("##include deep/zone.idf\nZone,Middle;\n", encoding="utf-8")
    (tmp_path / "parts" / "deep" / "zone.idf").write_text("\n\n".join(zone), encoding="utf-8")
    return tmp_path


def test_included_files_are_those_that_epmacro_includes(parts: Path, eplus: EnergyPlusConfig) -> None:
    program = parts / "EPMacro"
    shutil.copy(eplus.install_dir / "EPMacro", program)
    program.chmod(0o700)
    shutil.copy(parts / "main.imf", parts / "in.imf")
    subprocess.run([program], cwd=parts, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert "Output:PreprocessorMessage" not in (parts / "out.idf").read_text()
    model = read(parts / "main.imf")
    assert {zone.name for zone in model.document["Zone"]} == {"Room", "Middle", "Last"}
    assert model.text == read(parts / "out.idf").text


def test_included_files_change_the_model_and_lie_beside_it_in_a_store(parts: Path) -> None:
    model = read(parts / "main.imf")
    place = FS.joinpath(uuid.uuid4().hex)
    for path in parts.rglob("*.i?f"):
        place.upload(path, path.relative_to(parts).as_posix())
    assert read(place.url("main.imf")).text == model.text
    assert read(UPath(place.url("main.imf"))).text == model.text
    (parts / "parts" / "zones.idf").write_bytes(b"##include deep/zone.idf\nZone,S\xfcd;\n")
    assert "Süd".encode() in read(parts / "main.imf").text


def test_an_included_file_is_found_beside_the_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "model.idf").write_text(f"{BASE}\n##include lib/one.idf\n")
    (tmp_path / "lib" / "one.idf").write_text("##include two.idf\n")
    (tmp_path / "lib" / "two.idf").write_text("Zone,Two;\n")
    assert "Two" in [zone.name for zone in read(tmp_path / "model.idf").document["Zone"]]
    (tmp_path / "two.idf").write_text("Zone,Another;\n")
    message = refused(tmp_path / "model.idf")
    assert "line 1 of" in message and "which differ; rename one" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("##include nowhere.idf\n", r"line 2: the included file 'nowhere\.idf' does not exist; looked for '.*nowhere"),
        ("##include\n", "line 2: the included file '' does not exist"),
        ("##include model.idf\n", "line 2: '.*model.idf' includes itself"),
        ("##include loop.idf\n", "line 1 of '.*loop.idf': '.*model.idf' includes itself"),
        ("##set1 x[] 1\n", r"line 2: ##set1 is a command that only EPMacro runs; run EPMacro, and give the \.idf"),
        ("Zone,One,#[ 1 + 2 ];\n##list\n", "an expression of EPMacro"),
    ],
)
def test_what_cannot_be_included_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.idf").write_text(f"Version,25.2;\n{text}")
    (tmp_path / "loop.idf").write_text("##include model.idf\n")
    with pytest.raises(ModelError, match=message):
        read(tmp_path / "model.idf")


# Runs.


def test_the_installation_of_the_models_version_is_preferred(
    eplus: EnergyPlusConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("24-1-0", "23-2-0"):
        directory = tmp_path / ".local" / f"EnergyPlus-{version}"
        directory.mkdir(parents=True)
        (directory / "energyplus").touch()
        (directory / "Energy+.idd").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ENERGYPLUS_DIR", str(eplus.install_dir))
    assert find_installation((24, 1, 0)).version == (24, 1, 0)
    assert find_installation((23, 2, 0)).version == (23, 2, 0)
    assert find_installation((22, 1, 0)).version == find_installation().version == eplus.version


async def test_names_come_back_whatever_the_model_is_given_as(tmp_path: Path, epw: Path, eplus: Any) -> None:
    model = named()
    model.add("Output:Variable", key_value="*", variable_name="Zone Mean Air Temperature", reporting_frequency="Hourly")
    save_idf(model, tmp_path / "utf8.idf", encoding="utf-8-sig")
    options: Any = {"energyplus": eplus}
    results = [
        simulate(tmp_path / "utf8.idf", epw, output_dir=tmp_path / "file", **options),
        await async_simulate(model, epw, output_dir=tmp_path / "document", **options),
    ]
    for result in results:
        assert result.success and result.record is not None
        (key,) = {column.split(":")[0] for column in result.timeseries("Zone Mean Air Temperature").columns}
        assert key.casefold() == NAME.casefold()
        rows = result.tabular("*", "Zone Summary")["row"]
        assert NAME.casefold() in {row.casefold() for row in rows}
    hashes = {result.record.model_sha256 for result in results if result.record}
    assert hashes == {read(tmp_path / "utf8.idf").sha256}
