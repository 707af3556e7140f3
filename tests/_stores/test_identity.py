"""Two filesystems are one only if endpoint, account and login are; a login that is renewed works in this process."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pickle
import shutil
import subprocess
import sys
import uuid
import weakref
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import idfkit.simulation
import pytest
from fsspec.config import set_conf_env
from fsspec.spec import AbstractFileSystem
from small_office import failing_model, one_zone, weather
from support import servers
from support.servers import BUCKET, HOST, Store, boto_client
from support.waiting import wait_until

from idfkit_fs import AsyncFsspecFileSystem, FsspecFileSystem, find_energyplus, open_result, publish
from idfkit_fs._stores.instances import identity_of, renewed
from idfkit_fs._stores.make import make_filesystem
from idfkit_fs.errors import PermissionDeniedError, StorageOptionsError


def filesystem(url: str, **options: Any) -> AbstractFileSystem:
    return make_filesystem(url, options)[0]


def endpoint_of(fs: Any) -> str:
    """Where requests go, as the connected client says."""
    endpoint: str = fs.s3.meta.endpoint_url
    return endpoint


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory of AWS's files, which the environment names; files and keys are written by the tests."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return tmp_path


def use(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """Name a store and its login in the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", store.storage_options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", store.storage_options["secret"])


@pytest.fixture
def name(moto: Store, seaweed: Store) -> str:
    """A key that holds another text in each store."""
    key = f"{uuid.uuid4().hex}/a.txt"
    moto.raw.put(key, b"moto")
    seaweed.raw.put(key, b"seaweed")
    return key


# --- the environment names the store -----------------------------------------------------------------------------------


def test_the_endpoint_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store, seaweed: Store, name: str
) -> None:
    use(monkeypatch, moto)
    first = FsspecFileSystem.from_url(f"s3://{BUCKET}")
    unconnected = FsspecFileSystem.from_url(f"s3://{BUCKET}", version_aware=False)
    assert first.read_bytes(name) == b"moto"
    use(monkeypatch, seaweed)
    second = FsspecFileSystem.from_url(f"s3://{BUCKET}")
    assert second.read_bytes(name) == b"seaweed"
    assert first.read_bytes(name) == b"moto"
    assert endpoint_of(unconnected.fs) == moto.endpoint
    assert first != second
    assert first.identity != second.identity
    use(monkeypatch, moto)
    assert FsspecFileSystem.from_url(f"s3://{BUCKET}") == first


def test_a_filesystem_that_has_not_connected_stays_with_amazon(
    monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store
) -> None:
    use(monkeypatch, moto)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    fs = filesystem(f"s3://{BUCKET}")
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    assert endpoint_of(fs).endswith("amazonaws.com")
    assert endpoint_of(filesystem(f"s3://{BUCKET}")) == moto.endpoint
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert endpoint_of(filesystem(f"s3://{BUCKET}")) == endpoint_of(fs)


def test_the_profile_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store, seaweed: Store, name: str
) -> None:
    (aws / "config").write_text(
        f"[profile one]\nendpoint_url = {moto.endpoint}\n"
        f"[profile two]\nservices = local\nendpoint_url = http://{HOST}:1\n"
        f"[services local]\ns3 =\n  endpoint_url = {seaweed.endpoint}\n"
    )
    logins = {"one": moto.storage_options, "two": seaweed.storage_options}
    (aws / "credentials").write_text(
        "".join(
            f"[{profile}]\naws_access_key_id = {login['key']}\naws_secret_access_key = {login['secret']}\n"
            for profile, login in logins.items()
        )
    )
    monkeypatch.setenv("AWS_PROFILE", "one")
    first = FsspecFileSystem.from_url(f"s3://{BUCKET}")
    monkeypatch.setenv("AWS_PROFILE", "two")
    second = FsspecFileSystem.from_url(f"s3://{BUCKET}")
    assert second.read_bytes(name) == b"seaweed"
    assert first.read_bytes(name) == b"moto"
    assert first.identity != second.identity
    by_option = FsspecFileSystem.from_url(f"s3://{BUCKET}", profile="one")
    assert by_option.read_bytes(name) == b"moto"
    assert by_option.identity == first.identity
    first.fs.connect(refresh=True)
    assert first.read_bytes(name) == b"moto"


def test_the_configuration_of_fsspec(
    monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store, seaweed: Store, name: str
) -> None:
    saved = dict(fsspec.config.conf)
    read = {}
    try:
        for store in (moto, seaweed):
            monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", store.endpoint)
            monkeypatch.setenv("FSSPEC_S3_KEY", store.storage_options["key"])
            monkeypatch.setenv("FSSPEC_S3_SECRET", store.storage_options["secret"])
            monkeypatch.setenv("FSSPEC_S3_CONFIG_KWARGS", json.dumps({"read_timeout": 7}))
            set_conf_env(fsspec.config.conf)
            read[store.name] = FsspecFileSystem.from_url(f"s3://{BUCKET}")
    finally:
        fsspec.config.conf.clear()
        fsspec.config.conf.update(saved)
    assert [fs.read_bytes(name) for fs in read.values()] == [b"moto", b"seaweed"]
    assert len({fs.identity for fs in read.values()}) == 2
    config = read["moto"].storage_options["config_kwargs"]
    assert config["read_timeout"] == 7
    assert config["max_pool_connections"] == 50
    assert config["request_checksum_calculation"] == "when_required"


@pytest.fixture
def other_gcs() -> Iterator[Store]:
    with servers.fake_gcs() as store:
        yield store


def test_the_emulator_of_the_environment(monkeypatch: pytest.MonkeyPatch, gcs: Store, other_gcs: Store) -> None:
    name = f"{uuid.uuid4().hex}.txt"
    found = []
    for store in (gcs, other_gcs):
        store.raw.put(name, store.endpoint.encode())
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", store.endpoint)
        found.append(FsspecFileSystem.from_url(f"gs://{BUCKET}", token="anon", project="test"))
    assert [fs.read_bytes(name).decode() for fs in found] == [gcs.endpoint, other_gcs.endpoint]
    assert found[0].identity != found[1].identity


def test_the_connection_string_of_the_environment(monkeypatch: pytest.MonkeyPatch, azurite_blob: Store) -> None:
    name = f"{uuid.uuid4().hex}.txt"
    with servers.azurite() as other:
        found = []
        for store in (azurite_blob, other):
            store.raw.put(name, store.endpoint.encode())
            monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", store.storage_options["connection_string"])
            found.append(FsspecFileSystem.from_url(f"az://{BUCKET}"))
        assert [fs.read_bytes(name).decode() for fs in found] == [azurite_blob.endpoint, other.endpoint]
    assert found[0].identity != found[1].identity
    assert servers.AZURE_KEY not in str(found[0].identity)


def test_the_account_of_a_connection_string(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "DefaultEndpointsProtocol=https;AccountName={};AccountKey={};EndpointSuffix=core.windows.net"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text.format("one", "Zmlyc3Q="))
    first = filesystem("az://c")
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text.format("two", "Zmlyc3Q="))
    second = filesystem("az://c")
    assert identity_of(first).store != identity_of(second).store
    assert renewed(first) is None
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", text.format("one", "c2Vjb25k"))
    third = filesystem("az://c")
    assert identity_of(third).store == identity_of(first).store
    assert third is not first
    assert renewed(first) is third
    assert not any(secret in repr(identity_of(fs)) for fs in (first, third) for secret in ("Zmlyc3Q", "c2Vjb25k"))


@pytest.fixture(scope="session")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The directories of a run that succeeded and of one that failed."""
    directory = tmp_path_factory.mktemp("runs")
    for label, model in (("good", one_zone()), ("bad", failing_model())):
        idfkit.simulation.simulate(model, weather(), output_dir=directory / label, energyplus=find_energyplus())
    return directory / "good", directory / "bad"


def test_the_record_of_one_store_is_never_taken_for_the_others(
    monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store, seaweed: Store, two_runs: tuple[Path, Path], tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url = f"s3://{BUCKET}/{uuid.uuid4().hex}"
    for store, run in zip((moto, seaweed), two_runs, strict=True):
        use(monkeypatch, store)
        publish(shutil.copytree(run, tmp_path / store.name), url)
    for store, success in ((moto, True), (seaweed, False), (moto, True)):
        use(monkeypatch, store)
        assert open_result(url, immutable=True).success is success
        assert open_result(f"simplecache::{url}", immutable=True).success is success


# --- a renewed login ---------------------------------------------------------------------------------------------------


class Users:
    """Access keys of the server that checks them; deleting one is how a login expires."""

    def __init__(self, store: Store) -> None:
        login = (store.storage_options["key"], store.storage_options["secret"])
        self._iam = boto_client("iam", store.endpoint, *login)
        self._used: list[tuple[str, str]] = []

    def login(self) -> tuple[str, str]:
        made = self._iam.create_access_key(UserName="tester")["AccessKey"]
        self._used.append((made["AccessKeyId"], made["SecretAccessKey"]))
        return self._used[-1]

    def expire(self, login: tuple[str, str]) -> None:
        self._used.remove(login)
        self._iam.delete_access_key(UserName="tester", AccessKeyId=login[0])

    def expire_all(self) -> None:
        """A user may have two keys."""
        for login in list(self._used):
            self.expire(login)


@pytest.fixture
def users(moto_auth: Store) -> Iterator[Users]:
    moto_auth.raw.put("renewed.txt", b"seen")
    users = Users(moto_auth)
    yield users
    users.expire_all()


class Shell:
    """Where a login comes from: the environment, the shared credentials file, or a profile in it."""

    def __init__(self, kind: str, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self._kind, self._monkeypatch, self._directory = kind, monkeypatch, directory
        if kind == "profile":
            monkeypatch.setenv("AWS_PROFILE", "work")

    def log_in(self, login: tuple[str, str]) -> None:
        if self._kind == "environment":
            self._monkeypatch.setenv("AWS_ACCESS_KEY_ID", login[0])
            self._monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", login[1])
            return
        section = "work" if self._kind == "profile" else "default"
        text = f"[{section}]\naws_access_key_id = {login[0]}\naws_secret_access_key = {login[1]}\n"
        (self._directory / "credentials").write_text(text)


@pytest.fixture(params=["environment", "file", "profile"])
def shell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, aws: Path, moto_auth: Store) -> Shell:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_auth.endpoint)
    (aws / "config").write_text("[profile work]\nregion = us-east-1\n")
    return Shell(request.param, monkeypatch, aws)


def test_a_renewed_login_works_in_this_process(shell: Shell, users: Users) -> None:
    old = users.login()
    shell.log_in(old)
    first = FsspecFileSystem.from_url(f"s3://{BUCKET}")
    assert first.read_bytes("renewed.txt") == b"seen"
    refused = first.fs
    assert renewed(refused) is None
    users.expire(old)
    with pytest.raises((PermissionDeniedError, PermissionError)):
        refused.cat_file(f"{BUCKET}/renewed.txt")
    assert renewed(refused) is None
    new = users.login()
    shell.log_in(new)
    with_new_login = renewed(refused)
    assert with_new_login is not None
    assert with_new_login.cat_file(f"{BUCKET}/renewed.txt") == b"seen"
    assert renewed(with_new_login) is None
    assert identity_of(with_new_login).store == identity_of(refused).store
    assert identity_of(with_new_login) != identity_of(refused)
    second = FsspecFileSystem.from_url(f"s3://{BUCKET}")
    assert second.fs is with_new_login
    assert second.read_bytes("renewed.txt") == b"seen"
    assert not any(secret in repr(identity_of(fs)) for fs in (refused, second.fs) for secret in (*old, *new))


@pytest.mark.parametrize("prefix", ["", "simplecache::"])
def test_objects_that_exist_go_on_with_a_renewed_login(shell: Shell, users: Users, prefix: str) -> None:
    place = uuid.uuid4().hex
    old = users.login()
    shell.log_in(old)
    fs = FsspecFileSystem.from_url(f"{prefix}s3://{BUCKET}/{place}")
    twin = AsyncFsspecFileSystem.from_url(f"{prefix}s3://{BUCKET}/{place}")
    fs.write_bytes("a.csv", b"1")
    before = fs.store
    users.expire(old)
    with pytest.raises(PermissionDeniedError):
        fs.exists("a.csv")
    assert fs.store is before
    shell.log_in(users.login())
    assert fs.read_bytes("a.csv") == b"1"
    assert asyncio.run(twin.glob("", "*")) == ["a.csv"]
    with fs.open("a.csv") as file:
        assert file.read() == b"1"
    fs.write_bytes("b.csv", b"2")
    assert fs.glob("", "*") == ["a.csv", "b.csv"]
    assert fs.store is not before
    assert fs.url() == (f"safecache::s3://{BUCKET}/{place}" if prefix else f"s3://{BUCKET}/{place}")


def test_a_renewed_login_leads_to_no_other_store(
    monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store, seaweed: Store
) -> None:
    use(monkeypatch, moto)
    fs = filesystem(f"s3://{BUCKET}")
    use(monkeypatch, seaweed)
    assert renewed(fs) is None
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto.endpoint)
    assert renewed(fs) is not None
    (aws / "config").write_text("[profile other]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_PROFILE", "other")
    assert renewed(fs) is None
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert renewed(fs) is None


def test_a_borrowed_filesystem_is_known_by_where_it_connected(
    monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store, seaweed: Store
) -> None:
    use(monkeypatch, moto)
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    assert identity_of(fs).store == identity_of(filesystem(f"s3://{BUCKET}")).store
    fs.connect()
    use(monkeypatch, seaweed)
    other = identity_of(filesystem(f"s3://{BUCKET}"))
    assert identity_of(fs).store != other.store
    assert renewed(fs) is None
    use(monkeypatch, moto)
    assert identity_of(fs).store == identity_of(filesystem(f"s3://{BUCKET}")).store


def test_a_borrowed_azure_filesystem_is_known_by_what_it_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "one")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    fs = fsspec.filesystem("az", skip_instance_cache=True)
    before = identity_of(fs).store
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "two")
    assert identity_of(fs).store == before
    assert identity_of(filesystem("az://c")).store != before


def test_a_token_in_a_file_is_renewed(gcs: Store, tmp_path: Path) -> None:
    account = {"type": "authorized_user", "client_id": "x", "client_secret": "x", "refresh_token": "first"}
    token = tmp_path / "token.json"
    token.write_text(json.dumps(account))
    options = {**gcs.storage_options, "token": str(token)}
    fs = filesystem(f"gs://{BUCKET}", **options)
    assert filesystem(f"gs://{BUCKET}", **options) is fs
    token.write_text(json.dumps({**account, "refresh_token": "the second"}))
    again = renewed(fs)
    assert again is not None
    assert again is not fs


def living(seen: list[tuple[weakref.ref[Any], weakref.ref[Any]]]) -> tuple[list[bool], list[bool]]:
    """Which filesystems, and which of their clients, are still referenced."""
    gc.collect()
    return [fs() is not None for fs, _ in seen], [client() is not None for _, client in seen]


def test_replaced_logins_are_let_go(monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store) -> None:
    use(monkeypatch, moto)
    moto.raw.put("let-go.txt", b"1")
    seen = []
    for number in range(20):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"login-{number}")
        fs = filesystem(f"s3://{BUCKET}")
        assert fs.cat_file(f"{BUCKET}/let-go.txt") == b"1"
        seen.append((weakref.ref(fs), weakref.ref(fs.s3)))
    # fsspec's own thread may just be ending what it did with one.
    wait_until(lambda: living(seen) == ([False] * 19 + [True],) * 2, "those that were replaced to go")
    assert fs not in type(fs)._cache.values()


@pytest.mark.parametrize(
    "options",
    [
        {"url": "az://c", "account_name": "a", "account_key": "c2VjcmV0"},
        {"url": f"gs://{BUCKET}", "token": "anon"},
        {"url": f"s3://{BUCKET}", "key": "k", "secret": "long-secret"},
    ],
    ids=lambda options: options["url"].partition(":")[0],
)
def test_filesystems_that_nobody_uses_are_let_go(options: dict[str, Any]) -> None:
    first = weakref.ref(filesystem(**options))
    assert filesystem(**options) is first()
    for number in range(20):
        filesystem(f"s3://{BUCKET}", key=f"key-{number}", secret="secret")

    def is_gone() -> bool:
        gc.collect()
        return first() is None

    wait_until(is_gone, "the unused one to go")


def test_one_that_is_used_is_shared_however_many_come_after() -> None:
    fs = filesystem(f"s3://{BUCKET}", key="used", secret="secret")
    for number in range(20):
        filesystem(f"s3://{BUCKET}", key=f"key-{number}", secret="secret")
    assert filesystem(f"s3://{BUCKET}", key="used", secret="secret") is fs


# --- processes and threads ---------------------------------------------------------------------------------------------


def test_threads_share_one_filesystem(moto: Store) -> None:
    moto.raw.put("threads.txt", b"1")
    options = {**moto.storage_options, "default_block_size": 5 * 2**20 + os.getpid()}

    def read(_: int) -> tuple[bytes, AbstractFileSystem]:
        fs = FsspecFileSystem.from_url(moto.url, **options)
        return fs.read_bytes("threads.txt"), fs.fs

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(read, range(64)))
    assert {data for data, _ in found} == {b"1"}
    assert len({id(fs) for _, fs in found}) == 1


_FORKED = """
import os, sys
from idfkit_fs import FsspecFileSystem
from idfkit_fs._stores.make import make_filesystem

url, first, second = sys.argv[1:]
os.environ["AWS_ENDPOINT_URL"] = first
fs = FsspecFileSystem.from_url(url)
assert fs.read_bytes("forked.txt") == b"1"
parents = fs.fs
child = os.fork()
if child == 0:
    ok = fs.read_bytes("forked.txt") == b"1" and fs.fs is not parents
    ok = ok and make_filesystem(url, {})[0] is fs.fs
    os._exit(0 if ok else 1)
assert os.waitpid(child, 0)[1] == 0
assert fs.read_bytes("forked.txt") == b"1" and fs.fs is parents
child = os.fork()
if child == 0:
    os.environ["AWS_ENDPOINT_URL"] = second
    try:
        fs.read_bytes("forked.txt")
    except Exception as exc:
        os._exit(0 if "another store" in str(exc) else 2)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
assert fs.read_bytes("forked.txt") == b"1"
"""


def test_a_forked_process_makes_its_own(aws: Path, moto: Store, seaweed: Store) -> None:
    moto.raw.put("forked.txt", b"1")
    login = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    command = [sys.executable, "-c", _FORKED, moto.url, moto.endpoint, seaweed.endpoint]
    done = subprocess.run(command, env={**os.environ, **login}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_they_are_pickled_by_their_options(monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store) -> None:
    use(monkeypatch, moto)
    fs = FsspecFileSystem.from_url(f"s3://{BUCKET}")
    moto.raw.put("pickled.txt", b"1")
    copy = pickle.loads(pickle.dumps(fs))
    assert copy.read_bytes("pickled.txt") == b"1"
    assert copy == fs
    assert "skip_instance_cache" not in str(fs.storage_options)
    assert moto.endpoint not in str(fs.storage_options)


# --- settings and errors -----------------------------------------------------------------------------------------------


def checksums(fs: Any) -> tuple[str, str]:
    config = fs.s3.meta.config
    return config.request_checksum_calculation, config.response_checksum_validation


def test_checksums_of_a_custom_endpoint_are_those_that_every_store_takes(
    monkeypatch: pytest.MonkeyPatch, aws: Path, moto: Store
) -> None:
    use(monkeypatch, moto)
    assert checksums(filesystem(f"s3://{BUCKET}")) == ("when_required", "when_required")
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported")
    assert checksums(filesystem(f"s3://{BUCKET}")) == ("when_supported", "when_required")
    (aws / "config").write_text("[default]\nresponse_checksum_validation = when_supported\n")
    assert checksums(filesystem(f"s3://{BUCKET}")) == ("when_supported", "when_supported")
    option = {"response_checksum_validation": "when_required"}
    assert checksums(filesystem(f"s3://{BUCKET}", config_kwargs=option)) == ("when_supported", "when_required")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    (aws / "config").unlink()
    assert checksums(filesystem(f"s3://{BUCKET}")) == ("when_supported", "when_supported")


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("s3://b", {"endpoint_url": "not a url"}, "endpoint_url"),
        ("s3://b", {"config_kwargs": {"read_timeot": 5}}, "read_timeot"),
        ("s3://b", {"config_kwargs": 5}, "config_kwargs"),
        ("s3://b", {"client_kwargs": "x"}, "client_kwargs"),
        ("s3://b", {"max_concurrency": 0}, "'max_concurrency'"),
        ("s3://b", {"key": "abcd", "username": "efgh", "secret": "very-secret"}, "'key'"),
        ("gs://b", {"access": "none", "token": "anon"}, "'access'"),
        ("az://b", {}, "connection_string"),
        ("az://b", {"connection_string": "AccountKey=very-secret"}, "connection"),
    ],
)
def test_a_backend_that_refuses_its_options(url: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(StorageOptionsError) as caught:
        FsspecFileSystem.from_url(url, **options)
    text = "".join(map(str, (caught.value, caught.value.__cause__)))
    assert message in str(caught.value)
    assert "very-secret" not in text


def test_an_option_that_contradicts_the_url() -> None:
    with pytest.raises(StorageOptionsError, match="'account_name'"):
        FsspecFileSystem.from_url("abfss://c@one.dfs.core.windows.net/x", account_name="two", account_key="c2VjcmV0")


def test_chained_filesystems_are_made_anew(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("a.txt", text)
        fs, key, options = make_filesystem(f"zip://a.txt::file://{tmp_path}/a.zip", {})
        assert fs.cat_file(key) == text.encode()
        assert "skip_instance_cache" not in str(options)
        assert identity_of(fs).store is not None


def test_a_missing_profile_is_reported_when_the_filesystem_is_made(aws: Path) -> None:
    with pytest.raises(PermissionDeniedError, match="missing-profile"):
        FsspecFileSystem.from_url("s3://b", profile="missing-profile")
