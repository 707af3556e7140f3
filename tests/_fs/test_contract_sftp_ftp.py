"""The contract on file servers: sftp and ftp, which one thread only may use; the async twin is the same in threads."""

from __future__ import annotations

from support.contracts import OnServer, Sync
from support.servers import FILE_PASSWORD


class Files(OnServer):
    has_directories = True
    writes_whole = False  # fsspec has no way to move a file into its place that holds for all servers
    secrets = (FILE_PASSWORD,)


class TestSftp(Files, Sync):
    server = "sftp"


class Ftp(Files):
    server = "ftp"
    # Servers answer LIST for a file with the file, which fsspec takes for what is in it.
    deviations = dict.fromkeys(
        ("test_file_is_no_directory", "test_glob_of_a_missing_directory_is_empty[case-1/a.csv]"),
        "fsspec lists a file below itself",
    )


class TestFtp(Ftp, Sync):
    pass
