"""Snippets for Google Cloud Storage and Azure, each on a server of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import servers
from support.pages import SNIPPETS, run_page
from support.world import World


def pages(ending: str) -> list[str]:
    return sorted(path.name for path in SNIPPETS.iterdir() if path.name.endswith(ending))


@pytest.mark.parametrize("page", pages("-gcs"))
def test_snippets_for_google_run_in_their_order(page: str, tmp_path: Path, results: Path) -> None:
    with servers.fake_gcs() as server:
        store = server.bucket("my-bucket")
        # Else gcsfs asks Google itself what kind of bucket it is.
        variables = {"STORAGE_EMULATOR_HOST": store.endpoint, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
        run_page(page, World(tmp_path, store, results, variables))


@pytest.mark.azurite
@pytest.mark.servers
@pytest.mark.parametrize("page", pages("-azure"))
def test_snippets_for_azure_run_in_their_order(page: str, tmp_path: Path, results: Path) -> None:
    with servers.azurite() as server:
        store = server.bucket("my-bucket")
        variables = {"AZURE_STORAGE_CONNECTION_STRING": store.storage_options["connection_string"]}
        run_page(page, World(tmp_path, store, results, variables))
