"""What may be called a success: what EnergyPlus leaves when it completes, fails, crashes, or is killed."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from idfkit.simulation import EnergyPlusConfig, ErrorReport, SimulationResult
from support.endings import ENDINGS, Ended, end, long_run, only_on, umlaut

from idfkit_fs import FsspecFileSystem, open_result, publish
from idfkit_fs._outputs.ending import Ending, read_counts, read_local_ending

Made = Callable[[str], Ended]
COMPLETED = "EnergyPlus Completed Successfully-- 3 Warning; 1 Severe Errors; Elapsed Time=00hr 00min  0.23sec\n"
TERMINATED = (
    "EnergyPlus Terminated--Fatal Error Detected. 3 Warning; 1 Severe Errors; Elapsed Time=00hr 00min  0.23sec\n"
)
LED_TO = ". First severe error: "
SURFACE = 'BuildingSurface:Detailed="ROOM WALL 1", invalid Construction Name="NO SUCH CONSTRUCTION".'
STARTED = "   ************* Beginning Simulation\n"


@pytest.fixture(scope="module")
def made(eplus: EnergyPlusConfig, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run by its name in ENDINGS, made once; a test that changes its files takes a copy."""
    done: dict[str, Ended] = {}

    def run(name: str) -> Ended:
        if name not in done:
            model, arguments = ENDINGS[name]
            done[name] = end(model(), tmp_path_factory.mktemp("ended"), eplus, *arguments)
        return done[name]

    return run


def ending(run: Ended, prefix: str = "eplus") -> Ending:
    return read_local_ending(run.directory, prefix, run.exit_code, run.printed)


def found_later(run: Ended, prefix: str = "eplus") -> Ending:
    """What is known of it where its exit code, and what it printed, are unknown."""
    return read_local_ending(run.directory, prefix)


def copied(run: Ended, directory: Path) -> Path:
    return Path(shutil.copytree(run.directory, directory))


def of_texts(**texts: str) -> Ending:
    """How a run ended that has only text files."""
    with TemporaryDirectory() as directory:
        for suffix, text in texts.items():
            Path(directory, f"eplus.{suffix}").write_bytes(text.encode())
        return read_local_ending(Path(directory), "eplus")


# What EnergyPlus itself calls a success.


@pytest.mark.parametrize("name", ["completed", "series", "no end", "no sql", "no end, no sql"])
def test_a_run_that_completes_is_a_success(made: Made, name: str) -> None:
    run = made(name)
    assert run.exit_code == 0
    assert ending(run) == found_later(run) == Ending(True, False, None, 0, 0)


def test_energyplus_leaves_the_flags_of_its_database_false_when_it_completes(made: Made) -> None:
    """Since 9.4. What it commits last are the indexes, so these are what shows that a database is whole."""
    for name, flags, indexes in (("completed", ("FALSE", "FALSE"), True), ("failed", (1, 0), False)):
        with closing(sqlite3.connect(made(name).directory / "eplus.sql")) as database:
            assert database.execute("SELECT Completed, CompletedSuccessfully FROM Simulations").fetchall() == [flags]
            found = database.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql != ''").fetchall()
            assert bool(found) == indexes


def test_flags_of_older_versions_count(made: Made, tmp_path: Path) -> None:
    directory = copied(made("completed"), tmp_path / "run")
    with closing(sqlite3.connect(directory / "eplus.sql")) as database:
        for (index,) in database.execute("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE INDEX%'").fetchall():
            database.execute(f"DROP INDEX {index}")
        database.commit()
        unfinished = read_local_ending(directory, "eplus", 0)
        assert unfinished.cut and "did not finish eplus.sql" in str(unfinished.message)
        database.execute("UPDATE Simulations SET Completed = 1, CompletedSuccessfully = 1")
        database.commit()
        assert read_local_ending(directory, "eplus", 0).success
        database.execute("UPDATE Simulations SET CompletedSuccessfully = 0")
        database.commit()
        failed = read_local_ending(directory, "eplus", 0)
    assert not failed.success and not failed.cut and "did not complete successfully" in str(failed.message)


@pytest.mark.parametrize(
    ("name", "message", "counts"),
    [
        ("failed", f"GetSurfaceData: Errors discovered, program terminates{LED_TO}{SURFACE}", (0, 1)),
        ("failed, no end", f"GetSurfaceData: Errors discovered, program terminates{LED_TO}{SURFACE}", (0, 1)),
        ("no weather", f"Due to previous error condition, simulation terminated{LED_TO}GetNextEnv", (1, 1)),
        ("burnt", f"Program terminates due to preceding condition{LED_TO}CalcHeatBalanceInsideSurf: The", (0, 1)),
    ],
)
def test_a_run_that_energyplus_ends_has_its_own_message(
    made: Made, name: str, message: str, counts: tuple[int, int]
) -> None:
    run = made(name)
    assert run.exit_code == 1
    found = ending(run)
    assert found == found_later(run)
    assert (found.success, found.cut, (found.warnings, found.severe_errors)) == (False, False, counts)
    assert str(found.message).startswith(message)
    assert "\n" not in str(found.message) and "~~~" not in str(found.message)


def test_severe_errors_without_a_fatal_one_are_counted_as_energyplus_counts(made: Made) -> None:
    assert ending(made("one severe")) == Ending(True, False, None, 0, 1)
    run = made("many severe")
    found, report = ending(run), ErrorReport.from_file(run.directory / "eplus.err")
    assert found.success and found.message is None
    assert found.severe_errors is not None and found.severe_errors > 1000 > report.severe_count
    assert found.warnings is not None and found.warnings > report.warning_count
    names = [path.name for path in run.directory.iterdir()]
    counts = read_counts(names, "eplus", lambda name: (run.directory / name).read_bytes())
    assert counts == (found.warnings, found.severe_errors)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_message_in_any_encoding(eplus: EnergyPlusConfig, tmp_path: Path, encoding: str) -> None:
    run = end(umlaut(), tmp_path / "run", eplus, "-D", encoding=encoding)
    assert "MöRTEL" in str(ending(run).message) or "MÖRTEL" in str(ending(run).message)


def test_exit_code_0_is_not_enough(made: Made) -> None:
    converted = made("converted")
    assert converted.exit_code == 0 and "Completed Successfully" in (converted.directory / "eplus.end").read_text()
    assert "simulated nothing" in str(ending(converted).message) and not ending(converted).cut


def test_a_program_that_gives_up_is_not_cut(made: Made, tmp_path: Path) -> None:
    """As a Python plugin can end EnergyPlus; running it again would end in the same way."""
    directory = copied(made("completed"), tmp_path / "run")
    (directory / "eplus.end").unlink()
    (directory / "eplus.err").write_text(STARTED)
    found = read_local_ending(directory, "eplus", 3)
    assert found == Ending(False, False, "EnergyPlus ended with exit code 3; read what it printed", None, None)


def test_arguments_that_energyplus_does_not_know(made: Made) -> None:
    run = made("wrong argument")
    assert run.exit_code and ending(run) == Ending(False, False, "Run with --help for more information.", None, None)
    assert found_later(run).cut  # as it is unknown by then what happened


# What is cut.


def killed(directory: Path, eplus: EnergyPlusConfig, epw: Path, text: str, number: signal.Signals) -> Ended:
    """A run that is killed when it has printed a text; one that had ended before, on a busy machine, does not count."""
    for attempt in range(20):
        run = end(long_run(), directory / f"run-{attempt}", eplus, "-w", str(epw), kill=(text, number))
        if run.exit_code == -number:
            return run
        assert run.exit_code == 0
        shutil.rmtree(run.directory)
    raise AssertionError("EnergyPlus ended before each signal")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Warming up {2}", signal.SIGTERM),
        ("Continuing Simulation at 06", signal.SIGKILL),
        ("Writing tabular output", signal.SIGKILL),
        ("Writing final SQL", signal.SIGKILL),
    ],
)
def test_a_run_that_is_killed_is_cut(
    installed_energyplus: EnergyPlusConfig, epw: Path, tmp_path: Path, text: str, number: signal.Signals
) -> None:
    run = killed(tmp_path, installed_energyplus, epw, text, number)
    assert ending(run).cut and f"was killed by {number.name} (exit code -{number:d})" in str(ending(run).message)
    assert (ending(run).warnings, ending(run).severe_errors) == (None, None)
    later = found_later(run)
    if later.success:  # the signal came after EnergyPlus's last word: the outputs are whole, and show no kill
        assert "Completed Successfully" in (run.directory / "eplus.end").read_text()
    else:
        assert later.cut and "did not finish eplus.e" in str(later.message)


def test_a_run_that_crashes_is_not_cut(installed_energyplus: EnergyPlusConfig, epw: Path, tmp_path: Path) -> None:
    """Running it again would crash again."""
    run = killed(tmp_path, installed_energyplus, epw, "Continuing Simulation at 06", signal.SIGSEGV)
    assert ending(run) == Ending(False, False, "EnergyPlus was killed by SIGSEGV (exit code -11)", None, None)
    through_a_shell = read_local_ending(run.directory, "eplus", 128 + 11)
    assert through_a_shell.message == "EnergyPlus was killed by SIGSEGV (exit code 139)" and not through_a_shell.cut
    assert read_local_ending(run.directory, "eplus", 137).cut  # as Docker and shells report SIGKILL


def test_a_killed_run_is_no_success_though_energyplus_had_completed(made: Made) -> None:
    run = made("completed")
    found = read_local_ending(run.directory, "eplus", -9)
    assert found.cut and not found.success
    assert not read_local_ending(run.directory, "eplus", 1).success


def test_every_cut_of_what_says_that_it_completed(made: Made, tmp_path: Path) -> None:
    """Only the line break at the end of the file may be missing."""
    directory = copied(made("completed"), tmp_path / "run")
    for name in ("eplus.end", "eplus.err"):
        whole = (directory / name).read_bytes()
        sentence = len(whole.rstrip())
        for size in range(len(whole)):
            (directory / name).write_bytes(whole[:size])
            found = read_local_ending(directory, "eplus", 0)
            assert found.success == (size >= sentence), (name, size)
            assert found.success or (found.cut and name in str(found.message) and found.warnings is None)
        (directory / name).write_bytes(whole)


@pytest.fixture(scope="module")
def spoilt(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a completed run, whose database is written again by each example."""
    return copied(made("series"), tmp_path_factory.mktemp("spoilt") / "run")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_cut_database_is_one_of_a_success(made: Made, spoilt: Path, data: st.DataObject) -> None:
    whole = (made("series").directory / "eplus.sql").read_bytes()
    page = int.from_bytes(whole[16:18], "big")
    at_a_page = st.integers(0, len(whole) // page - 1).map(lambda number: number * page)
    size = data.draw(st.one_of(st.integers(0, len(whole) - 1), at_a_page))
    cut = whole[:size]
    if size < len(whole) - page and data.draw(st.booleans()):  # the last page is that of an index without rows
        cut += bytes(len(whole) - size)  # as some filesystems leave it after a crash
    (spoilt / "eplus.sql").write_bytes(cut)
    found = read_local_ending(spoilt, "eplus", 0)
    if cut == whole:
        assert found.success
    else:
        assert found.cut and not found.success and "eplus.sql" in str(found.message)


def test_outputs_that_end_in_the_middle(made: Made, tmp_path: Path) -> None:
    for name, mark in (("eplus.eso", b"End of Data"), ("eplus.mtr", b"End of Data"), ("eplusTable.htm", b"</html>")):
        directory = copied(made("series"), tmp_path / name)
        whole = (directory / name).read_bytes()
        (directory / name).write_bytes(whole[: whole.rindex(mark)])
        found = read_local_ending(directory, "eplus", 0)
        assert found.cut and f"did not finish {name}" in str(found.message)


def test_a_database_that_was_left_open(made: Made, tmp_path: Path) -> None:
    for suffix in ("-journal", "-wal"):
        directory = copied(made("completed"), tmp_path / suffix)
        (directory / f"eplus.sql{suffix}").write_bytes(b"x")
        assert "left open" in str(read_local_ending(directory, "eplus", 0).message)


# Which files count.


def test_an_empty_end_is_no_success(made: Made, tmp_path: Path) -> None:
    directory = copied(made("completed"), tmp_path / "run")
    (directory / "eplus.end").write_bytes(b"")
    assert read_local_ending(directory, "eplus", 0).cut


def test_the_end_of_an_earlier_run_is_not_believed(made: Made, tmp_path: Path) -> None:
    completed = made("completed").directory / "eplus.end"
    for name, cut in (("failed, no end", False), ("no end", False)):
        directory = copied(made(name), tmp_path / name)
        shutil.copy(completed, directory)
        found = read_local_ending(directory, "eplus")
        assert (found.success, found.cut) == (False, cut)
    assert "of different runs" in str(found.message)
    terminated = copied(made("no end"), tmp_path / "terminated")
    shutil.copy(made("failed").directory / "eplus.end", terminated)
    assert "of different runs" in str(read_local_ending(terminated, "eplus", 0).message)
    killed = copied(made("no end"), tmp_path / "killed")
    shutil.copy(completed, killed)
    (killed / "eplus.err").write_text(STARTED)
    found = read_local_ending(killed, "eplus")
    assert found.cut and "eplus.err" in str(found.message)


def test_the_database_of_an_earlier_run_is_not_believed(made: Made, tmp_path: Path) -> None:
    """EnergyPlus leaves it alone if the model switches the database off."""
    directory = copied(made("no sql"), tmp_path / "run")
    shutil.copy(made("completed").directory / "eplus.sql", directory)
    with closing(sqlite3.connect(directory / "eplus.sql")) as database:
        database.execute("UPDATE Simulations SET TimeStamp = ' YMD=2024.02.29 11:59'")
        database.commit()
    found = read_local_ending(directory, "eplus", 0)
    assert (found.success, found.cut) == (False, False) and "of another run" in str(found.message)


def test_each_prefix_is_a_run_of_its_own(made: Made, tmp_path: Path) -> None:
    directory = copied(made("completed"), tmp_path / "run")
    for path in made("failed").directory.glob("eplus*"):
        shutil.copy(path, directory / path.name.replace("eplus", "other"))
    shutil.copy(made("completed").directory / "eplus.end", directory / "third.end")
    shutil.copy(made("failed").directory / "eplus.err", directory / "third.err")
    assert read_local_ending(directory, "eplus").success
    assert "NO SUCH CONSTRUCTION" in str(read_local_ending(directory, "other").message)
    assert not read_local_ending(directory, "third").success
    assert read_local_ending(directory, "fourth").cut


def test_what_was_printed_counts_where_no_file_may_speak(made: Made, tmp_path: Path) -> None:
    directory = only_on(copied(made("completed"), tmp_path / "run"), "eplus.sql")
    printed = made("completed").printed
    assert read_local_ending(directory, "eplus", 0, printed) == Ending(True, False, None, None, None)
    assert read_local_ending(directory, "eplus", 0, printed[:-30]).cut
    assert read_local_ending(directory, "eplus").cut
    (directory / "eplus.err").write_bytes(b"")
    assert read_local_ending(directory, "eplus", 0, printed).cut


def test_wording_of_other_versions() -> None:
    stars = "   ************* "
    wrapped = (
        "EnergyPlus Terminated--Fatal Error Detected. 3 Warning; 1 Severe Errors; Elapse\n d Time=00hr 00min  0.23sec"
    )
    assert of_texts(end=COMPLETED, err=STARTED + stars + COMPLETED) == Ending(True, False, None, 3, 1)
    assert of_texts(end=COMPLETED.replace("\n", "\r\n"), err=STARTED + stars + COMPLETED).success
    assert of_texts(err=STARTED + stars + COMPLETED + "   ************* a later remark\n").success
    assert of_texts(end=wrapped, err=f"{STARTED}{stars}{TERMINATED}")[:2] == (False, False)
    severe = "   ** Severe  ** No\n   **   ~~~   ** such\n   **   ~~~   ** thing\n"
    message = of_texts(end=TERMINATED, err=severe + stars + TERMINATED).message
    assert message == "No such thing"


def test_a_long_message_is_bounded() -> None:
    err = "   **  Fatal  ** " + "x" * 5000 + "\n   ** Severe  ** " + "y" * 5000 + f"\n   ************* {TERMINATED}"
    message = str(of_texts(err=err).message)
    assert len(message) < 2100 and message.startswith("xxx") and message.endswith("yyy ...")


# At a URL, and in records.


def test_a_run_without_record_at_a_url(made: Made) -> None:
    fs = FsspecFileSystem.from_url("memory://test-ending/run")
    for name in ("failed", "series"):
        for path in made(name).directory.glob("eplus*"):
            fs.write_bytes(f"{name}/{path.name}", path.read_bytes())
    failed, good = (open_result(fs.url(name), require_record=False) for name in ("failed", "series"))
    assert good.success and good.message is None
    assert not failed.success and "NO SUCH CONSTRUCTION" in str(failed.message)
    for shown in (repr(failed), failed._repr_html_()):
        assert "GetSurfaceData: Errors discovered" in shown
    fs.write_bytes("series/eplus.eso", fs.read_bytes("series/eplus.eso")[:-100])
    assert not open_result(good.url, require_record=False).success


def test_a_published_run_has_the_message(made: Made, tmp_path: Path) -> None:
    run = made("failed")
    result = SimulationResult(run.directory, False, run.exit_code, "", run.printed, 1.0)
    published = publish(result, tmp_path / "published")
    assert published.record is not None and not published.record.success
    assert published.message == published.record.message == found_later(made("failed")).message
    assert "GetSurfaceData" in repr(open_result(published.url)) and "GetSurfaceData" in published._repr_html_()
