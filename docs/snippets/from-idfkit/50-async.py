import asyncio

from idfkit import load_idf
from idfkit.simulation import async_simulate

from idfkit_fs import AsyncS3FileSystem, find_energyplus


async def main() -> None:
    fs = AsyncS3FileSystem(bucket="my-bucket", prefix="batch-46/")  # `async with` works too, and is not needed
    model = load_idf("office.idf")
    options = {"design_day": True, "energyplus": find_energyplus()}
    result = await async_simulate(model, output_dir="run-001", fs=fs, **options)
    report = await result.async_errors()
    print(report.simulation_complete, len(await fs.glob("run-001", "*")), "files")


asyncio.run(main())
