"""Storage options for a URL that was given without any, beside another one that has some."""

from __future__ import annotations

from typing import Any

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._stores.backends import url_protocols
from idfkit_fs._util.urls import chain_protocols

__all__ = ["options_beside"]


def options_beside(url: str, output: FsspecFileSystem) -> dict[str, Any]:
    """Choose storage options for a URL that was given without any.

    Args:
        url: The URL.
        output: A filesystem that was given with its storage options.

    Returns:
        The options of *output* if the URL is on the same kind of store; else no options.
    """
    chain = chain_protocols(url)
    protocols = url_protocols(output.store)
    if len(chain) > 1 or chain[0] not in protocols:
        return {}
    options = output.storage_options
    nested = next((options[protocol] for protocol in protocols if isinstance(options.get(protocol), dict)), None)
    return options if nested is None else nested
