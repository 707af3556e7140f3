"""Simulate and publish several cases in parallel from an asyncio program, and read the errors of each.

    python asynchronous.py s3://my-bucket/study-001
    python asynchronous.py results

The event loop is not blocked while EnergyPlus runs or while files are uploaded. Cancelling a task stops its EnergyPlus.

Needs `pip install "idfkit-fs[energyplus]"` and the extra of your store: `s3`, `gcs` or `azure`.
"""

from __future__ import annotations

import asyncio
import sys

from idfkit import IDFDocument
from small_office import failing_model, one_zone, small_office, weather

import idfkit_fs

PARALLEL = asyncio.Semaphore(2)  # about the number of cores of the machine


async def run(url: str, model: IDFDocument) -> idfkit_fs.RunResult:
    """Simulate and publish one case, then print its errors."""
    async with PARALLEL:
        result = await idfkit_fs.async_simulate(model, weather(), output_dir=url, annual=True, overwrite=True)
    report = await result.async_errors()
    state = "succeeded" if result.success else "failed"
    print(f"{url}: {state}, {len(report.warnings)} warnings, {len(report.severe)} severe errors")
    for message in report.severe:
        print(f"  {message.message}")
    return result


async def main(study: str) -> None:
    """Run three cases; one of them fails on purpose, which does not affect the others."""
    cases = {"office": small_office(), "room": one_zone(), "broken": failing_model()}
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(f"{study}/{name}", model)) for name, model in cases.items()]

    results = [task.result() for task in tasks]
    print(f"{sum(result.success for result in results)} of {len(results)} succeeded")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1].rstrip("/")))
