"""The contract on a backend that somebody wrote themselves: the example's own tests."""

from __future__ import annotations

from test_custom_backend import TestSqlite, TestSqliteAsync

__all__ = ["TestSqlite", "TestSqliteAsync"]
