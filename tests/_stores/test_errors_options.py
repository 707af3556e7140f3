"""What is wrong before any store is asked: packages, options and roots."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from idfkit_fs import AsyncFsspecFileSystem, AsyncS3FileSystem, FsspecFileSystem, S3FileSystem
from idfkit_fs.errors import LocationError, StorageOptionsError

BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
import idfkit_fs
try:
    {statement}
except ImportError as exc:
    print(exc)
"""


@pytest.mark.parametrize(
    ("package", "statement", "extra"),
    [
        ("s3fs", "idfkit_fs.FsspecFileSystem.from_url('s3://b/x')", "s3"),
        ("s3fs", "idfkit_fs.S3FileSystem('b')", "s3"),
        ("s3fs", "idfkit_fs.AsyncFsspecFileSystem.from_url('simplecache::s3://b/x')", "s3"),
        ("gcsfs", "idfkit_fs.FsspecFileSystem.from_url('gs://b/x')", "gcs"),
        ("adlfs", "idfkit_fs.FsspecFileSystem.from_url('abfs://b/x')", "azure"),
        ("adlfs", "idfkit_fs.FsspecFileSystem.from_url('az://b/x')", "azure"),
    ],
)
def test_missing_extra_says_what_to_install(package: str, statement: str, extra: str) -> None:
    program = BLOCK.format(blocked={package}, statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"pip install 'idfkit-fs[{extra}]'" in done.stdout


@pytest.mark.parametrize("adapter", [FsspecFileSystem, AsyncFsspecFileSystem])
@pytest.mark.parametrize(
    ("url", "options", "hint"),
    [
        ("s3://b/x", {"endpoint_urll": "http://x"}, "endpoint_url"),
        ("s3://b/x", {"aws_access_key_id": "k"}, "aws_access_key_id"),
        ("s3://b/x", {"annon": True}, "anon"),
        ("gs://b/x", {"tokn": "anon"}, "token"),
        ("abfs://b/x", {"acount_name": "a", "account_key": "a"}, "account_name"),
        ("memory://x", {"size": 1}, "size"),
        ("/data/x", {"auto_mkdirs": True}, "auto_mkdir"),
        ("file:///data/x", {"key": "k"}, "key"),
        ("simplecache::s3://b/x", {"s3": {"secrett": "x"}}, "secret"),
        ("simplecache::s3://b/x", {"simplecache": {"cache_strage": "x"}}, "cache_storage"),
        ("simplecache::s3://b/x", {"secret": "x"}, "s3={'secret': ...}"),
    ],
)
def test_unknown_option_is_refused(adapter: Any, url: str, options: dict[str, Any], hint: str) -> None:
    with pytest.raises(StorageOptionsError) as caught:
        adapter.from_url(url, **options)
    assert hint in str(caught.value)


@pytest.mark.parametrize("adapter", [FsspecFileSystem, AsyncFsspecFileSystem])
@pytest.mark.parametrize(
    "url",
    [
        "",
        "/",
        "//",
        "s3://",
        "s3:/",
        "s3:///",
        "gs://",
        "memory://",
        "memory:///",
        "file:///",
        "simplecache::s3://",
        "s3://b/..",
    ],
)
def test_root_must_name_a_place(adapter: Any, url: str) -> None:
    with pytest.raises(LocationError):
        adapter.from_url(url, **({"token": "anon"} if url.startswith("gs") else {}))


@pytest.mark.parametrize("drop_in", [S3FileSystem, AsyncS3FileSystem])
def test_bucket_must_have_a_name(drop_in: Any) -> None:
    with pytest.raises(LocationError):
        drop_in("")
    with pytest.raises(TypeError):
        drop_in("bucket", endpoint_urll="http://x")
