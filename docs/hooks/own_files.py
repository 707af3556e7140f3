"""Refuses a page that would load anything from another host: readers may be offline, and are nobody else's business."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.pages import Page

LOADED = re.compile(
    r"""<(?:script|img|iframe|source|link(?=[^>]*rel=["']?(?:stylesheet|preconnect|icon)))\b[^>]*"""
    r"""(?:src|href)=["']?(?:https?:)?//[^>]*>"""
)


def on_post_page(output: str, page: Page, **_: Any) -> None:
    """Look at the page as it is written."""
    foreign = LOADED.search(output)
    if foreign:
        raise PluginError(f"{page.file.src_uri} loads from another host: {foreign[0]}")
