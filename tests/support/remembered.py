"""An installation of EnergyPlus that simulates the same thing once, and from then on gives back what it wrote."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from idfkit.simulation import EnergyPlusConfig

__all__ = ["remembering"]

_REAL = "energyplus-itself"
# The quickest model takes half a second of the processor's time, and its outputs from here a tenth of that.
_PROGRAM = """#!{python} -IS
import hashlib, json, os, sys, tempfile

PROGRAM, MEMORY = {program!r}, {memory!r}


def files():
    found = (os.path.join(place, name) for place, _, names in os.walk(".") for name in names)
    return sorted(filter(os.path.isfile, found))  # a pipe could be read forever


def copied(source, target):
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(source, "rb") as reading, open(target, "wb") as writing:
        writing.write(reading.read())


def answer(ended):
    for stream, text in ((sys.stdout, ended["stdout"]), (sys.stderr, ended["stderr"])):
        stream.write(text)
        stream.flush()
    sys.exit(ended["code"])


arguments = sys.argv[1:]
inputs = files()
key = hashlib.sha256(repr([argument.replace(os.getcwd(), "") for argument in arguments]).encode())
elsewhere = False
for name in inputs:
    with open(name, "rb") as file:
        data = file.read()
    key.update(os.fsencode(name) + hashlib.sha256(data).digest())
    elsewhere |= name.endswith(".idf") and any(line.count(b"/") > 1 for line in data.splitlines())
# A long run is asked for by tests that stop it; a model that names a file elsewhere may find another one there.
if "-a" in arguments or elsewhere:
    os.execv(PROGRAM, [PROGRAM, *arguments])

home = os.path.join(MEMORY, key.hexdigest())
if os.path.isdir(home):
    with open(os.path.join(home, "ended.json")) as file:
        ended = json.load(file)
    for name in ended["files"]:
        copied(os.path.join(home, "files", name), name)
    answer(ended)

import subprocess

done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, errors="replace")
if done.returncode < 0:  # it was killed
    os.kill(os.getpid(), -done.returncode)
outputs = [name for name in files() if name not in inputs]
ended = dict(code=done.returncode, stdout=done.stdout, stderr=done.stderr, files=outputs)
made = tempfile.mkdtemp(dir=MEMORY)
for name in outputs:
    copied(name, os.path.join(made, "files", name))
with open(os.path.join(made, "ended.json"), "w") as file:
    json.dump(ended, file)
try:
    os.rename(made, home)
except OSError:
    pass  # another process was first
answer(ended)
"""


def remembering(energyplus: EnergyPlusConfig, directory: Path) -> Path:
    """Make the installation, unless another process has made it.

    What it gives back are the real program's outputs, output and exit code for the same arguments and the same files.
    Annual runs, and those of models that name files outside of their directory, are run each time.

    Args:
        energyplus: The real EnergyPlus.
        directory: Where it keeps what it has seen, for all processes of a session of tests.

    Returns:
        What ``ENERGYPLUS_DIR`` is to be.
    """
    installation = directory / "EnergyPlus"
    if installation.is_dir():
        return installation
    memory = directory / "EnergyPlus-memory"
    memory.mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=directory))
    for path in energyplus.install_dir.iterdir():
        if path != energyplus.executable:
            (made / path.name).symlink_to(path)
    # A copy, because the package ends only processes whose program is of the installation that it was told.
    shutil.copy(energyplus.executable, made / _REAL)
    program = made / energyplus.executable.name
    program.write_text(_PROGRAM.format(python=sys.executable, program=str(installation / _REAL), memory=str(memory)))
    program.chmod(0o755)
    with suppress(OSError):  # another process was first
        os.rename(made, installation)
    return installation
