"""The contract on Azure Blob Storage."""

from __future__ import annotations

from support.contracts import Async, OnServer, Sync
from support.servers import AZURE_KEY


class Azure(OnServer):
    server = "azurite_blob"
    # adlfs takes the slash off the end of a name, so a marker cannot be told from an empty file
    has_markers = False
    secrets = (AZURE_KEY,)


class TestAzure(Azure, Sync):
    pass


class TestAzureAsync(Azure, Async):
    pass
