"""Uploads in parts on S3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.places import Place
from support.proxy import FaultProxy
from support.servers import BUCKET, Store

from idfkit_fs import FsspecFileSystem
from idfkit_fs._stores.s3 import QuickS3FileSystem

MIB = 2**20


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    with path.open("wb") as file:
        for number in range(40):
            file.write(bytes([number]) * MIB)
    return path


def test_a_file_in_parts_is_the_same(moto: Store, s3_place: Place, large: Path) -> None:
    fs = FsspecFileSystem.from_url(s3_place.url, **s3_place.options)
    fs.upload(large, "large.bin")
    assert fs.read_bytes("large.bin") == large.read_bytes()


def test_no_part_is_under_way_when_an_upload_is_aborted(
    moto: Store, shaky_place: Place, proxy: FaultProxy, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: set[int] = set()
    sent: list[int] = []
    at_abort: list[set[int]] = []
    call_s3 = QuickS3FileSystem._call_s3

    async def watch(self: QuickS3FileSystem, method: str, *args: Any, **kwargs: Any) -> Any:
        number = kwargs.get("PartNumber")
        if method == "abort_multipart_upload":
            at_abort.append({*parts})
        if number is None:
            return await call_s3(self, method, *args, **kwargs)
        parts.add(number)
        sent.append(number)
        try:
            return await call_s3(self, method, *args, **kwargs)
        finally:
            parts.discard(number)

    monkeypatch.setattr(QuickS3FileSystem, "_call_s3", watch)
    proxy.stall(60, None, on=r"partNumber=[134]\b")
    proxy.answer_status(403, None, on=r"partNumber=2\b")
    fs = FsspecFileSystem.from_url(shaky_place.url, **shaky_place.options)
    with pytest.raises(PermissionError):
        fs.upload(large, "large.bin")
    assert (sorted(sent), at_abort) == ([1, 2, 3, 4], [set()])
    client: Any = moto.raw
    uploads = client._client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    assert [upload["Key"] for upload in uploads if upload["Key"] in fs.key("large.bin")] == []
