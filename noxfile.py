"""The project's tasks. ``nox -s demo`` shows the product, ``nox -s tests`` tests it; CI runs ``.ci/run``."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lint", "types"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = True

# The tests start many processes: without bytecode, each of them would compile every module again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]
# Each worker starts the servers that its tests need. Four on two processors too, because tests wait.
SIDE_BY_SIDE = ["--numprocesses=4", "--dist=worksteal"]
AZURITE = "azurite@3.35.0"
# The tests that need no servers but moto, and not much time; and those that need others too, but not node.
ORDINARY = "not servers and not engines and not slurm and not faults"
WITH_SERVERS = "not azurite and not engines and not slurm and not faults"
ENGINES = ["kubernetes>=37", "loky", "mpi4py", "mpich", "parsl", "ray", "submitit"]
SLURM = ["munged", "sbatch", "slurmctld", "slurmd"]
PYTHONS = ["3.11", "3.12", "3.13"]
# What depends on the versions of others; the rest depends on our own code.
LOWEST = [
    f"tests/{name}"
    for name in (
        "_cache/test_cache.py",
        "_cache/test_cached_stores.py",
        "_cli/test_cache_commands.py",
        "_cli/test_choosing.py",
        "_cli/test_run_commands.py",
        "_fs/test_contract_local.py",
        "_fs/test_contract_s3.py",
        "_fs/test_create_exclusive.py",
        "_fs/test_plain_idfkit.py",
        "_fs/test_swap.py",
        "_outputs",
        "runs/test_existing.py",
        "runs/test_listed.py",
        "runs/test_publish.py",
        "runs/test_record.py",
        "runs/test_result.py",
        "runs/test_simulate.py",
        "studies/test_add_table.py",
        "studies/test_adopt.py",
        "studies/test_cases.py",
        "studies/test_choose.py",
        "studies/test_collect.py",
        "studies/test_consolidate.py",
        "studies/test_consolidate_tabular.py",
        "studies/test_export.py",
        "studies/test_lazy.py",
        "studies/test_metrics.py",
        "studies/test_parameters.py",
        "studies/test_plots.py",
        "studies/test_removal.py",
        "studies/test_study.py",
        "studies/test_summary.py",
        "test_package.py",
        "test_xarray_engine.py",
    )
]
# Where the sources lie beside the tests, only this tells that what is tested is the wheel.
FROM_WHEEL = "import idfkit_fs as m, sysconfig; assert m.__file__.startswith(sysconfig.get_path('purelib')), m"


def interpreter(version: str) -> str:
    """The Python of a version: pyenv's if it has one, because its shims find only those that are selected."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    return next((str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python")), version)


def groups(*names: str) -> list[str]:
    return list(nox.project.dependency_groups(PROJECT, *names))


def install_wheel(session: nox.Session, extras: str, *others: str) -> None:
    """Build the wheel and install it, again even where the version is the same."""
    target = f".[{extras}]" if extras else "."
    session.install(target, *others)
    session.install("--force-reinstall", "--no-deps", ".")
    session.run("python", "-P", "-c", FROM_WHEEL)


@nox.session
def tests(session: nox.Session) -> None:
    """Test the built wheel against real servers and with EnergyPlus; arguments go to pytest."""
    install_wheel(session, "all", *groups("test"))
    others = () if session.posargs else ("--ignore=tests/examples", "--ignore=tests/docs")
    session.run("pytest", "-m", ORDINARY, *others, *SIDE_BY_SIDE, *session.posargs)


# Each Python by its own name, so that plain ``nox -s tests`` is one run, with the Python that nox itself has.
for version in PYTHONS:
    nox.session(tests, python=interpreter(version), name=f"tests-{version}")


@nox.session
def examples(session: nox.Session) -> None:
    """Run the examples, the notebook and the demo as a reader would, and check what they print."""
    install_wheel(session, "all", *groups("test"))
    session.run("pytest", "-m", ORDINARY, "tests/examples", *SIDE_BY_SIDE, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Run every snippet of the pages, and build the site, strictly; ``nox -s docs -- serve`` shows it."""
    install_wheel(session, "all", *groups("test", "docs"))
    if session.posargs:
        session.run("mkdocs", *session.posargs)
        return
    session.run("pytest", "-m", ORDINARY, "tests/docs", *SIDE_BY_SIDE)
    session.run("mkdocs", "build", "--strict", "--site-dir", str(Path(session.create_tmp()) / "site"))


@nox.session
def servers(session: nox.Session) -> None:
    """Test on SeaweedFS, rclone, Google's and Azure's emulators (Azurite needs node), SFTP and FTP."""
    install_wheel(session, "all", *groups("test"))
    modules = Path(session.create_tmp()).resolve()
    executable = modules / "node_modules" / ".bin" / "azurite-blob"
    if not executable.exists():
        quiet = ["--no-save", "--no-audit", "--no-fund", f"--prefix={modules}"]
        session.run("npm", "install", *quiet, AZURITE, external=True)
    selected = ("-m", "azurite or (servers and not faults and not engines and not slurm)")
    session.run("pytest", *selected, *SIDE_BY_SIDE, *session.posargs, env={"AZURITE_BIN": str(executable)})


@nox.session
def faults(session: nox.Session) -> None:
    """Test bad days: faults on each store, workers that are killed, interrupts, thousands of cases."""
    install_wheel(session, "all", *groups("test"))
    session.run("pytest", "-m", "faults and not azurite", *SIDE_BY_SIDE, *session.posargs)


@nox.session
def engines(session: nox.Session) -> None:
    """Test on engines that are large to install: MPI, Parsl, Ray, loky, submitit; and the fields of a Job."""
    install_wheel(session, "all", *groups("test"), *ENGINES)
    session.run("pytest", "-m", "engines", "tests/engines", *session.posargs)


@nox.session
def slurm(session: nox.Session) -> None:
    """Test array jobs on a real SLURM of one node on this machine, which ends with the session."""
    missing = [name for name in SLURM if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    if missing:
        packages = "slurm-wlm munge"
        session.error(f"{', '.join(missing)} not found; on Debian or Ubuntu, as root: apt-get install -y {packages}")
    install_wheel(session, "all", *groups("test"))
    session.run("pytest", "-m", "slurm", "tests/slurm", *session.posargs)


@nox.session
def interleavings(session: nox.Session) -> None:
    """Explore orders of steps of workers on one case, on all processors: ``nox -s interleavings -- 20000 [FIRST]``."""
    install_wheel(session, "pandas,energyplus", "pytest")
    count, first = [*session.posargs, "20000", "0"][:2] if len(session.posargs) != 1 else (session.posargs[0], "0")
    session.run("python", "tests/support/interleavings.py", first, count, f"--processes={os.cpu_count()}")


@nox.session
def lowest(session: nox.Session) -> None:
    """Test the lowest versions that the project declares."""
    session.install("uv")
    install = ("uv", "pip", "install", f"--python={session.virtualenv.location}")
    session.run(*install, "--resolution=lowest-direct", ".[all]")
    # What the tests need beside must not replace what is to be tested; that xarray does not know Zarr 3.
    lowest = Path(session.create_tmp()) / "lowest.txt"
    installed = str(session.run("uv", "pip", "freeze", f"--python={session.virtualenv.location}", silent=True))
    lowest.write_text("".join(f"{line}\n" for line in installed.splitlines() if "==" in line))
    session.run(*install, f"--constraint={lowest}", *groups("test"), "zarr<3")
    session.run("python", "-P", "-c", FROM_WHEEL)
    # pandas itself reads chained URLs since 3.0; for the rest, an older one does.
    chained = (
        "--ignore=tests/_cache/test_filesystem.py",
        "--deselect=tests/_cache/test_disk.py::test_pandas_reads_past_a_disk_that_is_full",
    )
    session.run("pytest", "-m", WITH_SERVERS, *chained, *SIDE_BY_SIDE, *(session.posargs or LOWEST))


@nox.session
@nox.parametrize("extra", ["", *EXTRAS])
def extras(session: nox.Session, extra: str) -> None:
    """Install each extra alone, and none, and try what it is for."""
    install_wheel(session, extra, "pytest")
    session.run("python", "-P", str(ROOT / "tests" / "smoke_extras.py"), extra)


@nox.session
def coverage(session: nox.Session) -> None:
    """Measure how much of the package a part of the tests reaches; fails below the floor in pyproject.toml."""
    install_wheel(session, "all", *groups("coverage"))
    session.run("pytest", "-m", ORDINARY, "--cov", *SIDE_BY_SIDE, *(session.posargs or LOWEST))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, format, spelling, and which subpackage imports which."""
    session.install(*groups("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("lint-imports", "--no-cache")


@nox.session
def package(session: nox.Session) -> None:
    """Build what a release uploads, and check what is in it and that an index can show the README."""
    session.install(*groups("package"))
    built = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(built, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(built))
    files = sorted(map(str, built.iterdir()))
    session.run("twine", "check", "--strict", *files)
    session.run("check-wheel-contents", *(file for file in files if file.endswith(".whl")))


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly, over package and examples."""
    session.install(".[all]", *groups("types"))
    session.run("mypy", "idfkit_fs", "examples", "tests/typing_protocols.py")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure beside idfkit's own classes and raw fsspec, and print ratios."""
    install_wheel(session, "all", *groups("test"))
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Run a study on bad days: ``nox -s soak -- MINUTES [--seed N]``; workers and the server are killed meanwhile."""
    install_wheel(session, "all", *groups("test"))
    session.run("python", "tests/soak.py", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Run a study of 12 variants, and collect it in another process: ``nox -s demo [-- s3://my-bucket/prefix]``."""
    install_wheel(session, "s3,energyplus,progress,pandas", *groups("demo"))
    session.run("python", "examples/demo.py", *session.posargs)
