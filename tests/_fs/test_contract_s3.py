"""The contract on S3: an AWS-like server, a durable one, an odd one; by s3fs, by obstore, and by the drop-ins."""

from __future__ import annotations

from typing import Any

import pytest
from support.contracts import Async, AsyncAlone, OnServer, Sync

from idfkit_fs import AsyncS3FileSystem, S3FileSystem
from idfkit_fs.testing import FileSystemContract


class Moto(OnServer):
    server = "moto"
    has_markers = True
    secrets = ("testing",)


class TestMoto(Moto, Sync):
    pass


class TestMotoAsync(Moto, Async):
    pass


class Seaweed(OnServer):
    server = "seaweed"
    has_markers = True
    secrets = ("seaweedsecret", "seaweedkey")


class TestSeaweed(Seaweed, Sync):
    pass


class TestSeaweedAsync(Seaweed, AsyncAlone):
    pass


class Rclone(OnServer):
    server = "rclone_s3"  # has no markers: refuses a key that ends in a slash
    writes_whole = False  # now and then it says of a file that is being replaced that it is not there
    secrets = ("rclone-secret-key-0001",)


class TestRclone(Rclone, Sync):
    pass


class TestRcloneAsync(Rclone, AsyncAlone):
    pass


# --- idfkit's names and arguments ------------------------------------------------------------------------------------


class DropIn(OnServer):
    server = "seaweed"
    secrets = ("seaweedsecret",)
    drop_in: Any

    @pytest.fixture
    def fs(self, place: str) -> Any:
        bucket, prefix = place.removeprefix("s3://").split("/", 1)
        return self.drop_in(
            bucket,
            prefix,
            endpoint_url=self.store.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.store.storage_options["key"],
            aws_secret_access_key=self.store.storage_options["secret"],
        )


class TestS3DropIn(DropIn, FileSystemContract):
    drop_in = S3FileSystem


class TestS3DropInAsync(DropIn, AsyncAlone):
    drop_in = AsyncS3FileSystem


# --- other ways to the same store ------------------------------------------------------------------------------------


class Obstore(OnServer):
    server = "moto"
    has_markers = False  # obstore takes the slash off the end of a name, so a marker looks like an empty file
    may_fork = False  # obstore's threads do not exist in a forked child, which waits for them forever

    @pytest.fixture
    def fs(self, place: str) -> Any:
        from obstore.fsspec import FsspecStore

        options = self.store.storage_options
        store = FsspecStore(
            "s3",
            endpoint=self.store.endpoint,
            access_key_id=options["key"],
            secret_access_key=options["secret"],
            region="us-east-1",
            client_options={"allow_http": True},
        )
        return self.adapter(store, place)


@pytest.mark.servers
class TestObstore(Obstore, Sync):
    pass


@pytest.mark.servers
class TestObstoreAsync(Obstore, AsyncAlone):
    pass


class SimpleCache(OnServer):
    """The cache of results in front of the store."""

    server = "seaweed"
    has_markers = True
    secrets = ("seaweedsecret",)

    @pytest.fixture
    def fs(self, place: str, tmp_path: Any) -> Any:
        options = {"s3": self.options, "simplecache": {"cache_storage": str(tmp_path)}}
        return self.adapter.from_url(f"simplecache::{place}", **options)


class TestSimpleCache(SimpleCache, Sync):
    pass


class TestSimpleCacheAsync(SimpleCache, AsyncAlone):
    pass
