"""The contract on Google Cloud Storage."""

from __future__ import annotations

from support.contracts import AsyncAlone, OnServer, Sync


class Gcs(OnServer):
    server = "gcs"
    has_markers = True


class TestGcs(Gcs, Sync):
    pass


class TestGcsAsync(Gcs, AsyncAlone):
    pass
