"""The contract of a filesystem as tests, for anybody's ``FileSystem`` or ``AsyncFileSystem``.

Subclass a contract in a test module, define how to make the filesystem and how to reach its bytes without it, and run
pytest:

    from idfkit_fs import FsspecFileSystem
    from idfkit_fs.testing import FileSystemContract

    class TestMyStore(FileSystemContract):
        @pytest.fixture
        def fs(self, tmp_path):
            self.root = tmp_path
            return FsspecFileSystem(MyFsspecFileSystem(), str(tmp_path))

        def put_raw(self, key, data):
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

        def get_raw(self, key):
            return (self.root / key).read_bytes()

        def delete_raw(self, key):
            (self.root / key).unlink()

This package needs pytest; nothing else in idfkit-fs does.
"""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("idfkit_fs.testing.contract", "idfkit_fs.testing.async_contract")

from idfkit_fs.testing.async_contract import AsyncFileSystemContract  # noqa: E402 - after the line above
from idfkit_fs.testing.contract import FileSystemContract  # noqa: E402 - as above

__all__ = ["AsyncFileSystemContract", "FileSystemContract"]
