"""What a study really has in its store, seen past this package."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pandas as pd
from support.servers import BUCKET, Store

from idfkit_fs import Study

__all__ = ["Ledger", "numbers"]


class Ledger:
    """A study as the store's own client sees it."""

    def __init__(self, store: Store, study: Study) -> None:
        self.raw: Any = store.raw
        self.prefix = study.url.removeprefix(f"{store.url}/")
        self._seen: dict[str, tuple[str, dict[str, Any]]] = {}

    def names(self, below: str = "") -> list[str]:
        return [key.removeprefix(f"{self.prefix}/") for key in self.raw.keys(f"{self.prefix}/{below}")]

    def read(self, name: str) -> Any:
        return json.loads(self.raw.get(f"{self.prefix}/{name}"))

    def put(self, name: str, data: bytes) -> None:
        self.raw.put(f"{self.prefix}/{name}", data)

    def edit(self, name: str, **changes: Any) -> None:
        self.put(name, json.dumps({**self.read(name), **changes}).encode())

    def delete(self, name: str) -> None:
        self.raw.delete(f"{self.prefix}/{name}")

    def outcome(self, case: str, state: str = "ok") -> str:
        names = self.names(f"_study/{state}/{case}.")
        (name,) = [name for name in names if self.raw.get(f"{self.prefix}/{name}")]  # others are void
        return name

    def whole_runs(self) -> dict[str, dict[str, Any]]:
        """The record of each case that has one, after a look at every file that it names."""
        found = {name.partition("/")[0]: self.read(name) for name in self.names() if name.endswith("/run.json")}
        records = {case: record for case, record in found.items() if record["format"] == "idfkit-fs run"}  # or a claim
        tags = self._tags()
        for case, record in records.items():
            for entry in record["files"]:
                name = "/".join(filter(None, (case, record["directory"], entry["name"])))
                if self._seen.get(name, ("",))[0] != tags.get(name, "gone"):
                    data = self.raw.get(f"{self.prefix}/{name}")
                    digest = hashlib.sha256(data).hexdigest()
                    self._seen[name] = tags[name], {"name": entry["name"], "size": len(data), "sha256": digest}
                assert self._seen[name][1] == entry, case
        return records

    def _tags(self) -> dict[str, str]:
        """Each object's ETag, so that what was looked at once need not be again."""
        pages = self.raw._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{self.prefix}/")
        found = (item for page in pages for item in page.get("Contents", ()))
        return {item["Key"].removeprefix(f"{self.prefix}/"): item["ETag"] for item in found}

    def check(self) -> dict[str, dict[str, Any]]:
        """Every run that exists is whole, and every outcome is that of a run which answers the same job."""
        records = self.whole_runs()
        for state in ("ok", "failed"):
            for name in self.names(f"_study/{state}/"):
                if not self.raw.get(f"{self.prefix}/{name}"):
                    continue  # void
                outcome = self.read(name)
                case, key, run, _ = name.rpartition("/")[2].rsplit(".", 3)
                assert (outcome["case"], outcome["state"], outcome["key"][:16]) == (case, state, key)
                assert records[case]["id"].startswith(run)
                assert records[case]["job"] == outcome["key"]
                assert records[case]["success"] == (state == "ok")
        return records


def numbers(study: Study) -> pd.DataFrame:
    """What the workers noted, but for what depends on the machine."""
    return study.summary().select_dtypes("number").drop(columns="runtime_seconds")
