"""The examples and the demo, run as a reader runs them: each in a process of its own, against real servers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from idfkit.simulation import EnergyPlusConfig
from small_office import small_office, weather
from support.killing import Gate
from support.servers import Store
from support.signals import inherited_signals

from idfkit_fs import Study

EXAMPLES = Path(__file__).parents[2] / "examples"
COOLING_KWH = 18_692
HEATING_KWH = 20_706


class Desk:
    """A reader's machine: a working directory, a temporary and a home directory, and environment variables."""

    def __init__(self, directory: Path) -> None:
        self.work = directory / "work"
        self.temporary = directory / "tmp"
        self.environment = {**os.environ, "PYTHONUTF8": "1"}
        for path in (self.work, self.temporary, directory / "home"):
            path.mkdir()
        for name in ("TMPDIR", "TEMP", "TMP"):
            self.environment[name] = str(self.temporary)
        # The cache of results and matplotlib's cache of fonts are for this machine only.
        for name in ("HOME", "USERPROFILE", "LOCALAPPDATA", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
            self.environment[name] = str(directory / "home")

    def command(self, example: str, *arguments: str) -> list[str]:
        return [sys.executable, str(EXAMPLES / f"{example}.py"), *arguments]

    def run(self, example: str, *arguments: str, **variables: str) -> str:
        """Run an example that must end well, and return what it printed."""
        result = self.try_to_run(self.command(example, *arguments), **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def try_to_run(self, command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.work,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=600,
            check=False,
        )

    def assert_clean(self) -> None:
        assert [path.name for path in self.temporary.iterdir()] == []


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def aws_variables(store: Store) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": store.endpoint,
        "AWS_ACCESS_KEY_ID": store.storage_options["key"],
        "AWS_SECRET_ACCESS_KEY": store.storage_options["secret"],
    }


def test_one_run(desk: Desk, moto: Store) -> None:
    prefix = f"{moto.url}/examples/one"
    printed = desk.run("one_run", f"{prefix}/small-office", **aws_variables(moto))
    assert f"{COOLING_KWH:,} kWh" in printed
    assert f"{HEATING_KWH:,} kWh" in printed
    assert re.search(r"12:00 +21\.0 °C", printed)
    desk.assert_clean()


def test_demo_on_a_store_of_your_own_runs_what_is_missing(desk: Desk, moto: Store) -> None:
    prefix = f"{moto.url}/examples/demo"
    study = Study(f"{prefix}/windows", storage_options=moto.storage_options)
    model, ratio = small_office(window_to_wall_ratio=0.33), {"window_to_wall_ratio": 0.33}
    study.add("wwr-0.33", model, weather(), annual=True, parameters=ratio)
    study.run()
    first = study.result("wwr-0.33")

    printed = desk.run("demo", prefix, "--png", "own.png", **aws_variables(moto))

    assert_demo(printed, desk.work / "own.png")
    assert "12 cases: 1 ok, 0 failed, 11 pending" in printed
    assert "11 cases: 11 simulated" in printed
    assert f"--open {prefix}/windows" in printed
    assert study.result("wwr-0.33").record == first.record
    desk.assert_clean()


def test_demo_on_an_endpoint_of_its_own(desk: Desk) -> None:
    # What a reader's shell may hold must not lead the demo to the reader's account.
    printed = desk.run("demo", AWS_PROFILE="no-such-profile", AWS_ENDPOINT_URL_S3="http://127.0.0.1:9")
    assert_demo(printed, desk.work / "idfkit-fs-demo.png")
    assert "s3://demo-bucket/idfkit-fs-demo/windows" in printed
    assert "12 cases: 12 simulated" in printed
    assert_refused(port_in(printed))
    desk.assert_clean()


def assert_demo(printed: str, png: Path) -> None:
    """Check what the second process printed, and the picture."""
    _, _, second = printed.partition("second process")
    assert "12 cases: 12 ok, 0 failed, 0 pending" in second
    assert re.search(r"wwr-0\.33 +33\.6 +24\.8 +41\.4 +38\.7 +138\.4", second)
    assert len(re.findall(r"wwr-0\.\d\d +33\.6 +24\.8", second)) == 12
    assert str(png) in second

    from matplotlib.image import imread

    pixels: Any = imread(png)
    height, width, _ = pixels.shape
    assert (width, height) == (1170, 715)
    colours = Counter(map(tuple, pixels[::3, ::3].reshape(-1, pixels.shape[2]).round(2)))
    areas = [count for colour, count in colours.most_common(5) if min(colour) < 0.99]
    assert len(areas) == 4  # the end uses
    assert min(areas) > width * height / 9 / 50


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends a process without telling it")
def test_demo_ends_its_server_when_it_is_told_to_stop(desk: Desk, eplus: EnergyPlusConfig, tmp_path: Path) -> None:
    # However late the signal comes, it cannot have ended by itself.
    desk.environment["ENERGYPLUS_DIR"] = Gate(eplus, tmp_path / "gate").installation
    with inherited_signals():
        process = subprocess.Popen(
            desk.command("demo"),
            cwd=desk.work,
            env=desk.environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process:
        port = next(found for found in map(port_in, process.stdout) if found)
        next(line for line in process.stdout if line.startswith("3. Running"))
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(600) != 0
    assert_refused(port)
    desk.assert_clean()


def port_in(text: str) -> int:
    found = re.search(r"http://127\.0\.0\.1:(\d+)", text)
    return int(found[1]) if found else 0


def assert_refused(port: int) -> None:
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", port)) != 0


def test_demo_says_what_to_install(desk: Desk) -> None:
    blocked = "import runpy, sys; sys.modules['matplotlib'] = None; sys.argv[0] = {0!r}; runpy.run_path({0!r}, run_name='__main__')"
    result = desk.try_to_run([sys.executable, "-c", blocked.format(str(EXAMPLES / "demo.py"))])
    assert result.returncode == 1
    assert result.stderr.startswith("The demo needs packages that are not installed: matplotlib. Install them with")
    assert "pip install" in result.stderr


def test_demo_says_what_is_wrong_with_a_bucket(desk: Desk, moto: Store) -> None:
    result = desk.try_to_run(desk.command("demo", "s3://no-such-bucket/x"), **aws_variables(moto))
    assert result.returncode == 1
    assert "no-such-bucket" in result.stderr
    assert "Traceback" not in result.stderr
    desk.assert_clean()  # it was said before EnergyPlus ran: no run is left that cannot be published


def test_study_on_a_laptop_and_on_a_cluster(desk: Desk, moto: Store) -> None:
    url = f"{moto.url}/examples/study"
    printed = desk.run("study", url, **aws_variables(moto))
    assert "6 cases: 6 simulated" in printed
    assert re.search(r"0\.2 +130\.5 +155\.1", printed)
    assert "The largest peak: tampa-0.6, 52.7 kW" in printed
    assert re.search(r"Warmest hour in its core: \d\d\.\d °C", printed)

    study = Study(url, storage_options=moto.storage_options)
    study.remove(["tampa-0.4", "chicago-0.2"])
    study.add("tampa-0.4", small_office(window_to_wall_ratio=0.4), weather("tampa"), annual=True)
    printed = desk.run("study_dask", url, **aws_variables(moto))
    assert "5 cases: 4 ok, 0 failed, 1 pending" in printed
    assert "1 case: 1 simulated" in printed
    assert "5 cases: 5 ok, 0 failed, 0 pending" in printed


def test_plain_idfkit(desk: Desk, moto: Store) -> None:
    printed = desk.run("plain_idfkit", f"{moto.url}/examples/plain", **aws_variables(moto))
    assert "case-42: succeeded" in printed
    low, high = (int(kwh.replace(",", "")) for kwh in re.findall(r"cooling ([\d,]+) kWh", printed))
    assert low < COOLING_KWH < high
    assert moto.raw.get("examples/plain/case-42/eplus.sql").startswith(b"SQLite format 3")


def test_minio(desk: Desk, seaweed: Store) -> None:
    keys = {name: value for name, value in aws_variables(seaweed).items() if name != "AWS_ENDPOINT_URL"}
    printed = desk.run("minio", seaweed.endpoint, seaweed.url.removeprefix("s3://"), **keys)
    assert "success=True" in printed
    assert "by-class/eplus.sql" in printed
    assert_sizing(printed)
    assert "minio-example/by-url/run.json" in seaweed.raw.keys("minio-example/")


def test_gcs(desk: Desk, gcs: Store) -> None:
    url = f"{gcs.url}/examples/gcs"
    printed = desk.run("gcs", url, "--token", "anon", STORAGE_EMULATOR_HOST=gcs.endpoint)
    assert f"RunResult({url!r}, success=True" in printed
    assert_sizing(printed)
    desk.assert_clean()


def test_azure_blob(desk: Desk, azurite_blob: Store) -> None:
    url = f"{azurite_blob.url}/examples/azure"
    text = azurite_blob.storage_options["connection_string"]
    printed = desk.run("azure_blob", url, AZURE_STORAGE_CONNECTION_STRING=text)
    assert f"RunResult({url!r}, success=True" in printed
    assert_sizing(printed)
    desk.assert_clean()


def assert_sizing(printed: str) -> None:
    """Check the table that pandas read."""
    assert re.search(r"WINTER:Des Heat Load \[W\]: 5,\d{3}", printed)
    assert re.search(r"SUMMER:Des Sens Cool Load \[W\]: 3,\d{3}", printed)


def test_asynchronous(desk: Desk, moto: Store) -> None:
    url = f"{moto.url}/examples/async"
    printed = desk.run("asynchronous", url, **aws_variables(moto))
    assert f"{url}/office: succeeded, 0 warnings, 0 severe errors" in printed
    assert f"{url}/broken: failed" in printed
    assert "NO SUCH CONSTRUCTION" in printed
    assert "2 of 3 succeeded" in printed
    desk.assert_clean()
