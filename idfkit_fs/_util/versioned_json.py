"""JSON objects with a format and a version, and a strict reader for them."""

from __future__ import annotations

import json
from importlib.metadata import version as package_version
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from idfkit_fs.errors import RecordError

__all__ = ["VersionedJson"]


class VersionedJson(BaseModel):
    """A versioned JSON object; what is read may have been written by anybody.

    A later release may add fields to a version; other changes make another version, which older releases refuse.

    Attributes:
        format: What kind of object it is.
        version: Version of its format.
        idfkit_fs_version: Version of idfkit-fs that wrote it.
    """

    model_config = ConfigDict(frozen=True)

    kind: ClassVar[str]
    """What a person calls it, such as "the record of a run"."""

    format: str
    version: int = 1
    idfkit_fs_version: str = Field(default_factory=lambda: package_version("idfkit-fs"))

    def to_json(self) -> bytes:
        """The bytes to store."""
        return self.model_dump_json(indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, url: str) -> Self:
        """Read what was stored.

        Args:
            data: The bytes.
            url: Where they were found, for messages.

        Returns:
            The object.

        Raises:
            RecordError: If they are something else, damaged, unsafe, or of a newer format.
        """
        expected = cls.model_fields["format"].default
        try:
            content = json.loads(data)
        except (ValueError, RecursionError) as exc:
            raise RecordError(f"{url} is not {cls.kind}: it is no JSON ({exc})") from exc
        if not isinstance(content, dict) or content.get("format") != expected:
            raise RecordError(f"{url} is not {cls.kind}: its format is not {expected!r}")
        _check_version(content, cls, url)
        try:
            return cls.model_validate(content)
        except ValidationError as exc:
            first = exc.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise RecordError(f"{url} is a damaged record: {field}: {first['msg']}") from exc


def _check_version(content: dict[str, Any], cls: type[VersionedJson], url: str) -> None:
    version = content.get("version")
    if type(version) is not int:
        raise RecordError(f"{url} is a damaged record: its version is no number")
    known = cls.model_fields["version"].default
    if version > known:
        raise RecordError(
            f"{url} was written in format {version} by a newer idfkit-fs "
            f"({content.get('idfkit_fs_version', 'unknown')}); this one reads up to {known}: "
            "pip install --upgrade idfkit-fs"
        )
