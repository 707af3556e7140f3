import asyncio

from idfkit_fs import AsyncFsspecFileSystem


async def main() -> None:
    fs = AsyncFsspecFileSystem.from_url("s3://my-bucket/windows")
    names = await fs.glob("", "*/eplus.err")
    texts = await asyncio.gather(*(fs.read_text(name, encoding="latin-1") for name in names))
    for name, text in zip(names, texts, strict=True):
        print(name, "EnergyPlus Completed Successfully" in text)


asyncio.run(main())
