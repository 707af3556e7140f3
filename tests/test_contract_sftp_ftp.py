"""The contract on servers of files: sftp and ftp, which bear one thread."""

from __future__ import annotations

from support.places import Async, OnServer, Sync
from support.servers import FILE_PASSWORD


class Files(OnServer):
    has_directories = True
    writes_whole = False  # fsspec has no way to move a file into its place that holds for all servers
    secrets = (FILE_PASSWORD,)


class TestSftp(Files, Sync):
    server = "sftp"


class TestSftpAsync(Files, Async):
    server = "sftp"


class TestFtp(Files, Sync):
    server = "ftp"


class TestFtpAsync(Files, Async):
    server = "ftp"
