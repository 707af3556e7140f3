"""The contract on Google Cloud Storage."""

from __future__ import annotations

from support.contracts import Async, OnServer, Sync


class Gcs(OnServer):
    server = "gcs"
    has_markers = True


class TestGcs(Gcs, Sync):
    pass


class TestGcsAsync(Gcs, Async):
    pass
