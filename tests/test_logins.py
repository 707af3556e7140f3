"""Logins with few rights, on stores that enforce them: the policies of the docs, identities, letters of a SAS."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import servers
from support.operations import FILES
from support.rights import gate_before, policy
from support.servers import AZURE_ACCOUNT, AZURE_KEY, BUCKET, REPOSITORY, Store, boto_client
from support.variants import variant

from idfkit_fs import FsspecFileSystem, Study, open_result, publish, run_case, simulate
from idfkit_fs.errors import IncompleteRunError, PermissionDeniedError, PublishError, RunExistsError, RunNotFoundError

Options = Callable[[str], dict[str, Any]]


def documented_policy(name: str, prefix: str) -> dict[str, Any]:
    """A policy of the docs, for another bucket and study."""
    text = (REPOSITORY / "docs" / "permissions.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- policy: {name} -->\n```json\n(.*?)```", text, re.DOTALL)
    assert found is not None
    document: dict[str, Any] = json.loads(found[1].replace(":::bucket", f":::{BUCKET}").replace("study-001", prefix))
    return document


@pytest.fixture
def prefix() -> str:
    return f"study-{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["by the rules of Amazon's documentation", "by moto's IAM"])
def login(request: pytest.FixtureRequest, prefix: str) -> Iterator[Options]:
    """The storage options of the login with a policy of the docs, and who enforces it."""
    if request.param == "by moto's IAM":
        yield lambda name: _iam_login(request.getfixturevalue("moto_auth"), documented_policy(name, prefix))
        return
    with gate_before(request.getfixturevalue("moto")) as gate:

        def options(name: str) -> dict[str, Any]:
            gate.reset(policy(documented_policy(name, prefix), BUCKET))
            return dict(gate.store.storage_options)

        yield options


def _iam_login(store: Store, document: dict[str, Any]) -> dict[str, Any]:
    """A new user with a policy; moto knows no conditions on prefixes."""
    for statement in document["Statement"]:
        statement.pop("Condition", None)
    iam = boto_client("iam", store.endpoint, store.storage_options["key"], store.storage_options["secret"])
    user = uuid.uuid4().hex
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="docs", PolicyDocument=json.dumps(document))
    access = iam.create_access_key(UserName=user)["AccessKey"]
    return {**store.storage_options, "key": access["AccessKeyId"], "secret": access["SecretAccessKey"]}


def test_the_policies_of_the_docs(login: Options, prefix: str) -> None:
    url = f"s3://{BUCKET}/{prefix}"
    Study(url, storage_options=login("owner")).add("case-1", variant(0.05), include=FILES, design_day=True)

    worker = login("worker")
    assert tuple(run_case(url, "case-1", worker)) == ("case-1", "ok", "simulated")
    assert tuple(run_case(url, "case-1", worker)) == ("case-1", "ok", "found")
    study = Study(url, storage_options=worker)
    assert study.run(["case-1"]).found == ("case-1",) and [*study.results(["case-1"])] == ["case-1"]
    with pytest.raises((IncompleteRunError, PermissionDeniedError), match="case-9"):
        study.run(["case-9"])
    with pytest.raises(
        PermissionDeniedError, match=rf"s3:ListBucket on arn:aws:s3:::{BUCKET}, with the prefix '{prefix}/_s"
    ):
        study.status()
    with pytest.raises(PermissionDeniedError):
        study.fs.write_bytes("_study/jobs/case-1.json", b"{}")
    with pytest.raises(PermissionDeniedError, match="s3:PutObject"):
        FsspecFileSystem.from_url(f"s3://{BUCKET}", **worker).write_bytes(f"{prefix}-2/a.csv", b"1")

    study = Study(url, storage_options=login("reader"))
    assert study.status().states() == {"case-1": "ok"}
    assert len(study.summary()) == 1 and len(study.tabular()) > 100
    with pytest.raises(PermissionDeniedError, match=r"s3:PutObject on arn:aws:s3:::.*_study/(jobs|inputs)"):
        study.add("case-2", variant(0.06), design_day=True)

    study = Study(url, storage_options=login("owner"))
    study.remove("case-1")
    assert study.cases() == []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published run on this disk."""
    directory = tmp_path_factory.mktemp("logins") / "run"
    simulate(variant(0.05), None, output_dir=str(directory), include=FILES, design_day=True)
    return directory


def test_a_run_that_is_hidden_is_not_overwritten(moto: Store, prefix: str, run: Path, tmp_path: Path) -> None:
    """A login that may put, but not get, gets the same answer whether a run exists or not."""
    url = f"s3://{BUCKET}/{prefix}"
    publish(run, url, storage_options=moto.storage_options)
    before = {key: moto.raw.get(key) for key in moto.raw.keys(prefix)}
    other = tmp_path / "other"
    simulate(variant(0.06), None, output_dir=str(other), include=FILES, design_day=True)
    with gate_before(moto) as gate:
        gate.reset(lambda need: need.right == "put")
        options = dict(gate.store.storage_options)
        with pytest.raises(RunExistsError):
            publish(other, url, storage_options=options)
        with pytest.raises(PublishError, match="s3:GetObject"):
            publish(other, url, storage_options=options, overwrite=True)
    assert {key: moto.raw.get(key) for key in moto.raw.keys(prefix)} == before


def test_a_publication_that_was_refused_goes_on_later(moto: Store, prefix: str, no_leftovers: Path) -> None:
    url = f"s3://{BUCKET}/{prefix}"
    with gate_before(moto) as gate:
        options = dict(gate.store.storage_options)
        gate.reset(lambda need: need.right == "get" or (need.right == "put" and not need.key.endswith(".sql")))
        with pytest.raises(PublishError, match=r"s3:PutObject on arn:aws:s3:::.*/eplus.sql") as caught:
            simulate(variant(0.05), None, output_dir=url, storage_options=options, include=FILES, design_day=True)
        with pytest.raises(RunNotFoundError, match="No run's record exists"):
            open_result(url, storage_options=options)
        gate.reset(lambda need: need.right in ("get", "put"))
        publish(caught.value.local_dir, url, storage_options=options, include=FILES)
        assert open_result(url, storage_options=options).success
    assert list(no_leftovers.glob("idfkit-fs-run-*")) == []


def test_a_study_that_is_hidden_keeps_its_runs(moto: Store, prefix: str, run: Path) -> None:
    """Whether a run is that of a study must be known before another one replaces it."""
    study = Study(f"s3://{BUCKET}/{prefix}", storage_options=moto.storage_options)
    study.add("case-1", variant(0.05), include=FILES, design_day=True)
    study.run(max_workers=1)
    with gate_before(moto) as gate:
        gate.reset(lambda need: need.key.startswith(f"{prefix}/case-1/"))
        with pytest.raises(PublishError, match=r"s3:GetObject on arn:aws:s3:::.*/_study/study.json"):
            publish(run, study.fs.url("case-1"), storage_options=gate.store.storage_options, overwrite=True)
    record = study.result("case-1").record
    assert record is not None and record.job is not None


def test_the_identities_of_seaweedfs(run: Path) -> None:
    rights = {"reader": [f"Read:{BUCKET}"], "worker": [f"Read:{BUCKET}", f"Write:{BUCKET}"], "stranger": ["Read:other"]}
    with servers.seaweedfs(rights) as store:
        reader, worker, stranger = ({**store.storage_options, "key": name, "secret": name} for name in rights)
        result = publish(run, f"{store.url}/run", storage_options=worker)
        assert len(open_result(result.url, storage_options=reader).tabular()) > 100
        for options in (reader, worker):
            with pytest.raises(PermissionDeniedError, match="s3:ListBucket"):
                FsspecFileSystem.from_url(store.url, **options).glob("run", "*")
        with pytest.raises(PublishError, match="s3:PutObject"):
            publish(run, f"{store.url}/other", storage_options=reader)
        with pytest.raises(PermissionDeniedError, match="s3:GetObject"):
            open_result(result.url, storage_options=stranger)


def sas(store: Store, letters: str) -> dict[str, Any]:
    """The storage options of a SAS with some letters."""
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    token = generate_container_sas(
        AZURE_ACCOUNT,
        BUCKET,
        account_key=AZURE_KEY,
        permission=ContainerSasPermissions.from_string(letters),
        expiry=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
    )
    text = f"BlobEndpoint={store.endpoint}/{AZURE_ACCOUNT};SharedAccessSignature={token}"
    return {**store.storage_options, "connection_string": text}


def test_the_letters_of_a_sas(azurite_blob: Store, prefix: str, run: Path) -> None:
    url = f"{azurite_blob.url}/{prefix}"
    Study(url, storage_options=sas(azurite_blob, "rwl")).add("case-1", variant(0.05), include=FILES, design_day=True)
    assert tuple(run_case(url, "case-1", sas(azurite_blob, "rw"))) == ("case-1", "ok", "simulated")
    assert Study(url, storage_options=sas(azurite_blob, "rl")).status().states() == {"case-1": "ok"}
    reader = sas(azurite_blob, "r")
    assert len(open_result(f"{url}/case-1", storage_options=reader).tabular()) > 100
    with pytest.raises(RunNotFoundError, match="letter 'l'"):
        open_result(f"{url}/case-2", storage_options=reader)
    with pytest.raises(PermissionDeniedError, match="letter 'l' \\(list\\)"):
        Study(url, storage_options=reader).status()
    with pytest.raises(PublishError, match="letter 'w' \\(write\\)"):
        publish(run, f"{url}-2", storage_options=reader)
    with pytest.raises(PermissionDeniedError, match="letter 'd' \\(delete\\)"):
        Study(url, storage_options=sas(azurite_blob, "rwl")).remove("case-1")
