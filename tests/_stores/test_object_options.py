"""What storage options say of each object: encryption, storage class, tags, ACL; seen past this package."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs
from support.rights import Gate, gate_before
from support.servers import BUCKET, Store, boto_client
from support.variants import variant

from idfkit_fs import FsspecFileSystem, Study, open_result, publish, simulate
from idfkit_fs.errors import IdfkitFsError, StorageOptionsError

GIVEN = {
    "ServerSideEncryption": "aws:kms",
    "SSEKMSKeyId": "my-key",
    "StorageClass": "STANDARD_IA",
    "Tagging": "project=office&phase=design",
    "ACL": "public-read",
    "Metadata": {"owner": "me"},
}
CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(range(32))}


@pytest.fixture
def client(moto: Store) -> Any:
    return boto_client("s3", moto.endpoint, "testing", "testing")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.sql"
    with path.open("wb") as file:
        file.truncate(17 * 2**20)  # in parts
    return path


def with_options(store: Store, given: dict[str, Any]) -> dict[str, Any]:
    return {**store.storage_options, "s3_additional_kwargs": given}


def facts(client: Any, key: str) -> dict[str, Any]:
    """What the store says of an object, in the words of the options."""
    head = client.head_object(Bucket=BUCKET, Key=key)
    tags = client.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"]
    grants = client.get_object_acl(Bucket=BUCKET, Key=key)["Grants"]
    is_public = any(grant["Permission"] == "READ" and "AllUsers" in str(grant["Grantee"]) for grant in grants)
    return {
        **{name: head.get(name) for name in GIVEN},
        "Tagging": "&".join(f"{tag['Key']}={tag['Value']}" for tag in tags),
        "ACL": "public-read" if is_public else "private",
    }


def test_each_object_has_what_the_options_say(
    moto: Store, client: Any, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = f"{moto.url}/{uuid.uuid4().hex}"
    plain = FsspecFileSystem.from_url(root, **moto.storage_options)
    plain.upload(__file__, "plain")
    plain.upload(large, "plain-large")
    fs = FsspecFileSystem.from_url(root, **with_options(moto, GIVEN))
    fs.write_bytes("written", b"1")
    fs.create_exclusive("exclusive", b"1")
    fs.upload(large, "uploaded-large")
    fs.copy("plain", "copied")
    fs.copy("plain-large", "copied-large")
    monkeypatch.setattr("s3fs.core.MANAGED_COPY_THRESHOLD", 2**20)
    fs.copy("plain-large", "copied-in-parts")
    monkeypatch.undo()
    with fs.open("opened", "wb") as file:
        file.write(b"1")
    study = Study(f"{root}/study", storage_options=with_options(moto, GIVEN))
    study.add("one", variant(0.05), design_day=True)
    study.add("same", variant(0.05), design_day=True)
    assert str(study.run(max_workers=1)) == "2 cases: 1 simulated, 1 reused"

    keys = [key for key in moto.raw.keys(f"{fs.key('').partition('/')[2]}/") if "/plain" not in key]
    assert {"run.json", "study.json", "one.json", "copied-large", "eplus.sql"} <= {
        key.rpartition("/")[2] for key in keys
    }
    assert {key: facts(client, key) for key in keys} == dict.fromkeys(keys, GIVEN)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published run on this disk."""
    directory = tmp_path_factory.mktemp("object-options") / "run"
    simulate(variant(0.05), None, output_dir=str(directory), design_day=True)
    return directory


@pytest.fixture
def gate(moto: Store) -> Iterator[Gate]:
    with gate_before(moto) as running:
        yield running


def test_a_key_of_the_customer_goes_with_each_request_for_an_object(
    gate: Gate, large: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = with_options(gate.store, CUSTOMER)
    root = f"{gate.store.url}/{uuid.uuid4().hex}"
    fs = FsspecFileSystem.from_url(root, **options)
    fs.upload(large, "large")
    assert fs.read_bytes("large") == large.read_bytes() and fs.local_path("large").stat().st_size == 17 * 2**20
    fs.copy("large", "copied")
    monkeypatch.setattr("s3fs.core.MANAGED_COPY_THRESHOLD", 2**20)
    fs.copy("large", "copied-in-parts")
    result = publish(run, f"{root}/run", storage_options=options)
    assert len(open_result(result.url, storage_options=options).tabular()) > 100
    publish(result.url, f"{root}/copy", storage_options=options)

    key, source = "x-amz-server-side-encryption-customer-key", "x-amz-copy-source"
    seen = [(method, path, headers) for method, path, headers in gate.seen if "list-type" not in path]
    without = [
        (method, path)
        for method, path, headers in seen
        # The two that S3 takes no key for, or not again.
        if key not in headers and method != "DELETE" and "uploads" not in path
    ]
    assert [path for method, path in without if not (method == "POST" and "uploadId" in path)] == []
    copies = [headers for _, _, headers in seen if source in headers]
    assert len(copies) > 10
    assert all("x-amz-copy-source-server-side-encryption-customer-key" in headers for headers in copies)


def test_a_key_of_the_customer_encrypts(seaweed: Store, large: Path) -> None:
    root = f"{seaweed.url}/{uuid.uuid4().hex}"
    fs = FsspecFileSystem.from_url(root, **with_options(seaweed, CUSTOMER))
    fs.write_bytes("small", b"secret")
    fs.create_exclusive("exclusive", b"secret")
    fs.upload(large, "large")
    fs.copy("small", "copied")
    assert fs.read_bytes("copied") == fs.read_bytes("exclusive") == b"secret"
    assert fs.read_bytes("large") == large.read_bytes()
    assert fs.read_ranges("large", [(3, 9)]) == [bytes(6)]
    with pytest.raises(IdfkitFsError, match="SSE-C"):
        FsspecFileSystem.from_url(root, **seaweed.storage_options).read_bytes("small")
    for other in ({}, {**CUSTOMER, "SSECustomerKey": bytes(32)}):
        stranger = FsspecFileSystem.from_url(root, **with_options(seaweed, other))
        assert not stranger.is_same_store(fs)  # so that a run is copied through this machine
        for name in ("small", "exclusive", "large", "copied"):
            with pytest.raises(IdfkitFsError):
                stranger.read_bytes(name)
        with pytest.raises(IdfkitFsError):
            stranger.copy_from(fs, "small", "stolen")


def test_a_misspelt_parameter_of_a_borrowed_filesystem_is_refused(moto: Store) -> None:
    borrowed = s3fs.S3FileSystem(**with_options(moto, {"ServerSideEncription": "aws:kms"}))
    with pytest.raises(StorageOptionsError, match="ServerSideEncryption"):
        FsspecFileSystem(borrowed, BUCKET)
