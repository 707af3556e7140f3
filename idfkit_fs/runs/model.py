"""A model as it is stored and run: read from a path or URL, written once as IDF text, and read back to compare."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

from idfkit import IDFDocument, get_schema, load_epjson, write_idf
from idfkit.exceptions import DuplicateObjectError, IdfKitError, IDFParseError
from idfkit.idf_parser import IDFParser
from idfkit.objects import IDFObject
from idfkit.schema import EpJSONSchema
from idfkit.simulation import EnergyPlusConfig
from idfkit.simulation.expand import needs_ground_heat_preprocessing
from idfkit.versions import MINIMUM_VERSION, find_closest_version, version_string
from idfkit.writers import DEFAULT_COMMENT_COLUMN

from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.files import temporary_errors
from idfkit_fs._util.messages import did_you_mean, redact
from idfkit_fs._util.urls import Location, to_text
from idfkit_fs.errors import IsDirectoryError, ModelError, NotFoundError, StoreError
from idfkit_fs.runs.locate import local_input
from idfkit_fs.runs.model_text import Statement, beside, decode, expand_includes, fault_of, is_cut, restore, split

__all__ = ["Model", "check_version", "load_model", "parse_model", "version_of", "write_model"]

# What EnergyPlus's own converter adds to the objects of an epJSON: the places of fields in the IDF it came from.
_PLACES = frozenset({"idf_order", "idf_max_fields", "idf_max_extensible_fields"})


@dataclass(frozen=True)
class Model:
    """A model as it is stored and run.

    Attributes:
        document: The model for looking into it: its names are real Unicode.
        text: IDF text in UTF-8 without BOM: what is stored and hashed, and what EnergyPlus reads.

    Examples:
        >>> model = parse_model("Version,25.2;Zone,Büro;".encode())
        >>> model.document["Zone"].first().name, model.version
        ('Büro', (25, 2, 0))
    """

    document: IDFDocument
    text: bytes

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the text."""
        return hashlib.sha256(self.text).hexdigest()

    @property
    def version(self) -> tuple[int, int, int]:
        """The version of EnergyPlus that the model is written for."""
        version: tuple[int, int, int] = self.document.version
        return version

    def to_run(self, energyplus: EnergyPlusConfig, options: Mapping[str, Any]) -> IDFDocument:
        """The model for idfkit's ``simulate``, which writes documents in Latin-1.

        Args:
            energyplus: The EnergyPlus that will run it.
            options: The keywords for ``simulate``.

        Returns:
            A document in which each character is one byte of the text, so that idfkit writes exactly
            [text][idfkit_fs.runs.model.Model]. It is the document itself if the text is ASCII.

        Raises:
            ModelError: If that EnergyPlus cannot run it; or if idfkit would read the model again, and cut bytes off a
                value.
        """
        check_version(self.document, energyplus, options)
        if self.version != energyplus.version and energyplus.version_updater_dir is None:
            raise ModelError(
                f"{_versions(self.document, energyplus)} without the transition programs that auto_migrate needs "
                f"(PreProcess/IDFVersionUpdater); migrate it with idfkit.migrate on a machine that has them"
            )
        if self.text.isascii():
            return self.document
        document = _converted(self.document, _as_bytes)
        migrated = options.get("auto_migrate", False) and self.version != energyplus.version
        if migrated or (options.get("expand_objects", True) and needs_ground_heat_preprocessing(document)):
            # What a migration or a preprocessor wrote, idfkit reads as Latin-1, in which these two are blanks.
            for obj in document.all_objects:
                if any(isinstance(value, str) and value.endswith(("\x85", "\xa0")) for _, value in _values(obj)):
                    raise ModelError(
                        f"{obj.obj_type} {restore(obj.name)!r}: idfkit would cut off the last letter of a value after "
                        f"its migration or preprocessing; use names that do not end with it"
                    )
        return document


def check_version(document: IDFDocument, energyplus: EnergyPlusConfig, options: Mapping[str, Any]) -> None:
    """Refuse a model of another version than an EnergyPlus, unless it is to be migrated to a later one.

    Args:
        document: The model.
        energyplus: The EnergyPlus that is to run it.
        options: The keywords for ``simulate``.

    Raises:
        ModelError: If it is of another version.

    Examples:
        >>> check_version(document, find_energyplus(), {"auto_migrate": True})  # doctest: +SKIP
    """
    if document.version == energyplus.version:
        return
    install = f"install EnergyPlus {version_string(document.version)} here"
    if document.version > energyplus.version:
        raise ModelError(f"{_versions(document, energyplus)}, which is older; {install}")
    if not options.get("auto_migrate"):
        raise ModelError(
            f"{_versions(document, energyplus)}; migrate it with idfkit.migrate, pass auto_migrate=True, or {install}"
        )


def _versions(document: IDFDocument, energyplus: EnergyPlusConfig) -> str:
    own, here = version_string(document.version), version_string(energyplus.version)
    return f"The model is of EnergyPlus {own}, and this machine has {here}"


def load_model(source: IDFDocument | Location, output: FsspecFileSystem) -> tuple[IDFDocument, str | None]:
    """Read a model, in any form that is accepted, as a document with real Unicode names.

    It can be changed before [write_model][idfkit_fs.runs.model.write_model] writes it as text, once. A model that is
    given as an IDF file, as an epJSON file and as a document becomes the same text.

    Args:
        source: A document; or a local path, a URL or a ``UPath`` of an IDF, epJSON or macro (``.imf``) file.
        output: The filesystem of the outputs, whose storage options are used for a URL on the same kind of store.

    Returns:
        A document of its own, and the directory that the model came from: a path or a URL; None for a document that
        came from no file.

    Raises:
        ModelError: If the model cannot be read.
        StoreError: If the store failed, refused access, or did not answer.

    Examples:
        >>> document, directory = load_model("models/office.idf", fs)  # doctest: +SKIP
        >>> write_model(document, "models/office.idf").version  # doctest: +SKIP
        (25, 2, 0)
    """
    with _naming(source):
        if not isinstance(source, IDFDocument):
            return _load(source, output), to_text(beside(source, "")).rstrip("/") or "."
        directory = None if source.filepath is None else to_text(source.filepath.absolute().parent)
        for obj in source.all_objects:
            for field, value in _values(obj):
                if isinstance(value, str) and is_cut(value):
                    raise ModelError(
                        f"{obj.obj_type} {obj.name!r}: load_idf has cut the last byte off the value of {field!r}, "
                        f"which is UTF-8; pass the path of the file instead of the document"
                    )
        document = _converted(source, restore)
        if document.version[:2] != source.version[:2]:  # the copy has taken its version from the Version object
            raise ModelError(
                f"it is a document of EnergyPlus {version_string(source.version)} whose Version object says "
                f"{version_string(document.version)}; change the version with idfkit.migrate"
            )
        return document, directory


def write_model(document: IDFDocument, source: IDFDocument | Location) -> Model:
    """Write a document as text, and compare what idfkit reads in the text with the document.

    Args:
        document: A document with real Unicode names.
        source: What the user gave, for messages.

    Returns:
        The model.

    Raises:
        ModelError: If something would not be the same when it is read again.
    """
    with _naming(source):
        return _written(document)


def parse_model(text: bytes) -> Model:
    """Read a model that was stored as [text][idfkit_fs.runs.model.Model].

    Args:
        text: The text.

    Returns:
        The model.

    Raises:
        ModelError: If the text is not a model that idfkit can read.
    """
    return Model(_parse(list(split(decode(text)))), text)


def version_of(text: bytes) -> tuple[int, int, int]:
    """The version of EnergyPlus that a stored model is written for; what comes after it is not looked at.

    Raises:
        ModelError: If the text is not whole, or has no such version.

    Examples:
        >>> version_of(b"Version,25.2;")
        (25, 2, 0)
    """
    found = (statement for statement in split(decode(text)) if statement.kind.casefold() == "version")
    return _version_of(list(islice(found, 1)))


@contextlib.contextmanager
def _naming(source: IDFDocument | Location) -> Iterator[None]:
    """Have errors say which model they are about."""
    shown = "" if isinstance(source, IDFDocument) else f" {redact(to_text(source))!r}"
    try:
        yield
    except DuplicateObjectError as exc:
        raise ModelError(f"The model{shown} cannot be used: {_duplicate(str(exc))}") from exc
    except (ModelError, IdfKitError) as exc:
        raise ModelError(f"The model{shown} cannot be used: {' '.join(str(exc).split())}") from exc


def _duplicate(message: str) -> str:
    return f"{message}; EnergyPlus ignores case in names: rename one of the objects"


# Reading.


def _load(source: Location, output: FsspecFileSystem) -> IDFDocument:
    text = _read_text(source, output)
    if text is None:
        raise ModelError("no such file; check the path")
    if text.lstrip()[:1] in ("{", "["):
        return _parse_epjson(text)

    def read(location: Location) -> str | None:
        return _read_text(location, output)

    return _parse(list(split(expand_includes(text, source, read))))


def _read_text(location: Location, output: FsspecFileSystem) -> str | None:
    """The text of a file, local or at a URL; None if it does not exist."""
    try:
        return decode(local_input(location, output).read_bytes())
    except (FileNotFoundError, NotFoundError):
        return None
    except (IsADirectoryError, IsDirectoryError) as exc:
        raise ModelError("it is a directory; give the file") from exc
    except StoreError:
        raise
    except OSError as exc:
        raise ModelError(f"{exc.strerror or exc}; check the file") from exc


def _parse(statements: list[Statement]) -> IDFDocument:
    """Have idfkit parse statements, one a line: its patterns are then quick, and its line is the statement's number."""
    if not statements:
        raise ModelError("it contains no object; check the file")
    version = _version_of(statements)
    content = "".join(f"{statement.text};\n" for statement in statements)
    with temporary_errors(), tempfile.TemporaryDirectory(prefix="idfkit-fs-model-") as directory:
        path = Path(directory) / "model.idf"
        path.write_bytes(content.encode())
        parser = IDFParser(path, encoding="utf-8")
        try:
            document = parser.parse(version)
        except IDFParseError as exc:
            found = exc.diagnostics[0]
            raise ModelError(_message(found.message, statements, found.line, version)) from exc
    document.filepath = None
    _check_types(statements, document)
    for found in parser.diagnostics:
        _check_number(found.message, document, _where(statements, found.line))
    return document


def _where(statements: list[Statement], line: int | None) -> str:
    return f"line {statements[(line or 1) - 1].line}"


def _message(message: str, statements: list[Statement], line: int | None, version: tuple[int, int, int]) -> str:
    kind = statements[(line or 1) - 1].kind
    reason = message.removeprefix("Failed to parse object: ")
    if reason.startswith("Unknown object type"):
        reason = _no_type(kind, get_schema(version))
    elif reason.startswith("Duplicate "):
        reason = _duplicate(reason)
    elif "extra field" in reason:
        reason = f"the object {kind!r} has more fields than its type; perhaps a semicolon is missing: {reason}"
    return f"{_where(statements, line)}: {reason}"


def _version_of(statements: list[Statement]) -> tuple[int, int, int]:
    found = [statement for statement in statements if statement.kind.casefold() == "version"]
    if len(found) != 1:
        what = "no Version object" if not found else f"{len(found)} Version objects"
        raise ModelError(f"it contains {what}; it must have one, such as 'Version,25.2;'")
    identifier = found[0].text.partition(",")[2].strip()
    numbers = identifier.split(".")
    if not 2 <= len(numbers) <= 3 or not all(number.isdecimal() for number in numbers):
        raise ModelError(f"line {found[0].line}: {identifier!r} is not a version of EnergyPlus, such as 25.2")
    major, minor, patch = map(int, (*numbers, "0")[:3])
    if find_closest_version((major, minor, patch)) is None:
        raise ModelError(
            f"idfkit does not know EnergyPlus {identifier}; migrate the model to {version_string(MINIMUM_VERSION)} or "
            "later"
        )
    return major, minor, patch


def _no_type(kind: str, schema: EpJSONSchema) -> str:
    return f"EnergyPlus {version_string(schema.version)} has no object type {kind!r}: correct it, or migrate the model"


def _check_types(statements: list[Statement], document: IDFDocument) -> None:
    """Be sure that idfkit took each statement for what it is: it searches types with a pattern."""
    schema = document.schema
    for kind in {statement.kind for statement in statements}:
        if schema is None or schema.get_parsing_cache(kind) is None:
            line = next(statement.line for statement in statements if statement.kind == kind)
            raise ModelError(f"line {line}: {_no_type(kind, schema or get_schema(document.version))}")
    if len(document) != len(statements):
        raise ModelError(f"idfkit reads {len(document)} of its {len(statements)} objects; check the commas")


def _check_number(message: str, document: IDFDocument, where: str) -> None:
    """An object type in the place of a number: the semicolon of the object before it became a comma."""
    value = message.rpartition("got ")[2].strip("'\"")
    if document.schema is not None and document.schema.get_parsing_cache(value) is not None:
        raise ModelError(f"{where}: a semicolon is missing before the object {value!r}: {message}")


def _parse_epjson(text: str) -> IDFDocument:
    try:
        data = json.loads(text, object_pairs_hook=_unique)
        if not isinstance(data, dict) or not all(isinstance(objects, dict) for objects in data.values()):
            raise ModelError("it is JSON but not an epJSON model, which has object types with objects by their names")
        for kind, objects in data.items():
            wrong = [name for name, fields in objects.items() if not isinstance(fields, dict)]
            if wrong:
                raise ModelError(f"{kind} {wrong[0]!r} is not an object with fields; correct the file")
        if len(data.get("Version", ())) != 1:
            raise ModelError("it must contain one Version object, as in {'Version 1': {'version_identifier': '25.2'}}")
        with temporary_errors(), tempfile.TemporaryDirectory(prefix="idfkit-fs-model-") as directory:
            path = Path(directory) / "model.epJSON"
            path.write_bytes(text.encode())
            document = load_epjson(str(path))
    except (json.JSONDecodeError, RecursionError) as exc:
        raise ModelError(f"it is not valid JSON, and may have been cut: {exc}") from exc
    except (AttributeError, TypeError, ValueError) as exc:
        if isinstance(exc, ModelError):
            raise
        raise ModelError(f"it is not an epJSON model: {exc}") from exc
    document.filepath = None
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members of a JSON object; JSON itself would silently take the last of two with one name."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ModelError(f"{twice!r} occurs twice in the same JSON object; rename or remove one of them")
    return found


# Writing.


def _written(document: IDFDocument) -> Model:
    """Write a document as text, until reading and writing it again changes nothing more."""
    for kind, collection in document.collections.items():
        if collection and (document.schema is None or document.schema.get_parsing_cache(kind) is None):
            raise ModelError(_no_type(kind, document.schema or get_schema(document.version)))
        for obj in collection:
            _check_values(obj)
    model = parse_model(_text_of(document))
    while (again := _text_of(model.document)) != model.text:  # a number that was given as a string is read as a number
        model = parse_model(again)
    _compare(document, model.document)
    model.document.filepath = document.filepath
    return model


_PADDED = re.compile(r"^([^!\n]*?[^ !\n]) *(!-[^\n]*)$", re.MULTILINE)


def _text_of(document: IDFDocument) -> bytes:
    """The text that idfkit writes of the document in which each character is one byte."""
    text = write_idf(document, preserve_formatting=False)
    if text.isascii():
        return text.encode()
    # The values are the same, but idfkit aligns comments by the number of characters.
    return "\n".join(line if line.isascii() else _PADDED.sub(_aligned, line) for line in text.split("\n")).encode()


def _aligned(match: re.Match[str]) -> str:
    value, comment = match[1], match[2]
    more = len(value.encode()) - len(value)
    return value.ljust(max(DEFAULT_COMMENT_COLUMN - 1 - more, len(value) + 1)) + comment


def _as_bytes(text: str) -> str:
    """Text of which each character is one byte of its UTF-8."""
    return text if text.isascii() else text.encode().decode("latin-1")


def _converted(document: IDFDocument, convert: Callable[[str], str]) -> IDFDocument:
    """A copy of a document with each name and each text converted, and with Python's numbers instead of NumPy's."""
    twin = IDFDocument(document.version, document.schema, document.filepath, strict=document.strict)
    for obj in document.all_objects:
        copied = obj.copy()
        copied.name = convert(obj.name or "")
        copied.data.update({field: _plain(value, convert) for field, value in copied.data.items()})
        twin.addidfobject(copied)
    return twin


def _plain(value: Any, convert: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return convert(str(value))
    if isinstance(value, PathLike):
        return convert(str(value))
    if isinstance(value, list | tuple):
        return [_plain(inner, convert) for inner in value]
    if isinstance(value, dict):
        return {field: _plain(inner, convert) for field, inner in value.items()}
    return value.item() if hasattr(value, "item") else value


def _values(obj: IDFObject) -> Iterator[tuple[str, Any]]:
    """The name of an object and each of its values, with its field; blank groups count for nothing, as for idfkit."""
    yield "name", obj.name
    for field, value in obj.data.items():
        if not isinstance(value, list):
            yield field, value
            continue
        groups = [group for group in value if not isinstance(group, dict) or any(map(_filled, group.values()))]
        for number, group in enumerate(groups, 1):
            if isinstance(group, dict):
                yield from ((f"{inner} {number}", filled) for inner, filled in group.items())
            else:
                yield f"{field} {number}", group


def _filled(value: Any) -> bool:
    return value is not None and value != ""


def _check_values(obj: IDFObject) -> None:
    for field, value in _values(obj):
        fault = None
        if isinstance(value, str):
            fault = fault_of(value)
        elif isinstance(value, float) and not math.isfinite(value):
            fault = "is not a number that EnergyPlus reads"
        elif value is not None and not isinstance(value, int | float):
            fault = f"is of type {type(value).__name__}, which an IDF cannot hold"
        if fault:
            raise ModelError(f"{obj.obj_type} {obj.name!r}: the value {value!r} of {field!r} {fault}; change it")


def _compare(given: IDFDocument, read: IDFDocument) -> None:
    """Be sure that a document is the same as what was read back of it: types, names, and every field."""
    for kind, collection in given.collections.items():
        found = list(read.collections.get(_spelling(kind, read), ()))
        if len(found) != len(collection):
            raise ModelError(f"{len(collection)} objects {kind} would be read back as {len(found)}; check them")
        named = given.schema is None or given.schema.has_name(kind)
        for expected, obj in zip(collection, found, strict=True):
            _compare_objects(expected, obj, named, given.version)


def _spelling(kind: str, document: IDFDocument) -> str:
    return next((known for known in document.collections if known.casefold() == kind.casefold()), kind)


def _compare_objects(given: IDFObject, read: IDFObject, named: bool, version: tuple[int, int, int]) -> None:
    expected, found = dict(_values(given)), dict(_values(read))
    for field in expected | found:
        if field in _PLACES or (field == "name" and not named):
            continue
        value = expected.get(field)
        if not _same(value, found.get(field)):
            if field in found or not _filled(value):
                text = f"would be read back as {found.get(field)!r}; correct it"
            else:  # EnergyPlus itself ignores such a field of an epJSON, and takes a default for the one that was meant
                near = did_you_mean(field.rpartition(" ")[0] or field, _field_names(given))
                text = (
                    f"would be lost: EnergyPlus {version_string(version)} has no such field; rename or remove it{near}"
                )
            raise ModelError(f"{given.obj_type} {given.name!r}: the value {value!r} of {field!r} {text}")


def _field_names(obj: IDFObject) -> Iterator[str]:
    """The fields that the schema gives an object, and those of its groups."""
    (inner,) = (obj.schema_dict or {}).get("patternProperties", {"": {}}).values()
    for name, spec in inner.get("properties", {}).items():
        yield from (name, *spec.get("items", {}).get("properties", ()))


def _same(given: Any, read: Any) -> bool:
    if not _filled(given) or not _filled(read):
        return _filled(given) == _filled(read)
    if isinstance(given, bool):
        given = "Yes" if given else "No"
    if isinstance(given, str) and isinstance(read, str):
        return given == read
    try:
        return float(given) == float(read)
    except ValueError:
        return False
