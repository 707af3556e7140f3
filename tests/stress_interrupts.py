"""Cancel many simulations, each at another moment and twice, and count what lives while a directory is removed.

Not a test, because it takes minutes: `python tests/stress_interrupts.py [150]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

sys.path[:0] = [str(Path(__file__).parents[1] / "examples"), str(Path(__file__).parent)]

from small_office import one_zone, weather

from idfkit_fs import async_simulate

SEEN: Counter[str] = Counter()
_REMOVE = shutil.rmtree


def living_in(directory: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(directory):
                found.append(process)
    return found


def remove(directory: Any, *args: Any, **kwargs: Any) -> None:
    if "idfkit-fs-run-" in str(directory):
        SEEN["removals"] += 1
        SEEN["removals while EnergyPlus lived"] += bool(living_in(str(directory)))
    _REMOVE(directory, *args, **kwargs)


async def cancel_one(number: int) -> None:
    chance = random.Random(number)
    task = asyncio.create_task(
        async_simulate(one_zone(), weather(), output_dir=f"memory://stress/{number}", annual=True, sidecars=False)
    )
    # Up to the end of a run, but most often while EnergyPlus starts, and is running.
    deadline = chance.choice([0.3, 0.8, 1.6, 2.5])
    await asyncio.wait([task], timeout=chance.uniform(0, deadline))
    SEEN["cancelled while EnergyPlus lived"] += bool(living_in(tempfile.gettempdir()))
    task.cancel()
    for _ in range(chance.randrange(4)):
        await asyncio.sleep(chance.choice([0, 0, 0.001, 0.01]))
        task.cancel()
        SEEN["further cancellations"] += 1
    try:
        await task
        SEEN["finished before"] += 1
    except asyncio.CancelledError:
        SEEN["cancelled"] += 1


async def main(count: int) -> None:
    for number in range(count):
        await cancel_one(number)


if __name__ == "__main__":
    shutil.rmtree = remove  # type: ignore[assignment]  # replaced on purpose
    with tempfile.TemporaryDirectory() as directory:
        tempfile.tempdir = str(Path(directory).resolve())
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 150))
        SEEN["processes left"] = len(living_in(tempfile.tempdir))
        SEEN["directories left"] = len(list(Path(tempfile.tempdir).glob("id*")))
    for what, times in SEEN.items():
        print(f"{times:5} {what}")
