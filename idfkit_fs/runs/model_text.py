"""The text of a model: how it is decoded, put together from its included files, and taken apart. No I/O of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import Location, UPathLike, is_url, repair, to_text
from idfkit_fs.errors import ModelError

__all__ = ["Statement", "beside", "decode", "expand_includes", "fault_of", "is_cut", "restore", "split"]

_LATIN = "".join(map(chr, range(0x80, 0x100)))
_HIGH = re.compile(r"[\x80-\xff]+")
_WINDOWS = {code: bytes([code]).decode("cp1252") for code in range(0x80, 0xA0) if code not in b"\x81\x8d\x8f\x90\x9d"}


def decode(data: bytes) -> str:
    """Decode a model file: UTF-8 with or without BOM, UTF-16 with a BOM, else Latin-1.

    A file that is not UTF-8 as a whole can be so in part: cut within a character, or joined from several files. So it
    is read as [restore][idfkit_fs.runs.model_text.restore] reads it.

    Args:
        data: The contents of the file.

    Returns:
        The text.

    Raises:
        ModelError: If the file is not a text.

    Examples:
        >>> decode("Büro".encode()), decode("Büro".encode("utf-8-sig")), decode("Büro".encode("latin-1"))
        ('Büro', 'Büro', 'Büro')
    """
    try:
        text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError:
        text = restore(data.decode("latin-1")).removeprefix("\ufeff")
    if "\0" in text or data.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        raise ModelError("it is a binary file, such as an archive, not text; give an IDF or epJSON file")
    return text


def restore(text: str) -> str:
    """Undo reading UTF-8 as Latin-1, which is what idfkit's ``load_idf`` does, and leave real characters alone.

    Each run of characters from U+0080 to U+00FF whose bytes are valid UTF-8 is decoded. Of the others, control
    characters become what they mean in Windows-1252, such as dashes and quotation marks.

    Args:
        text: Text that was read as Latin-1, or a part of such text among other characters.

    Returns:
        The text with real characters.

    Examples:
        >>> restore("BÃ¼ro Süd 南")
        'Büro Süd 南'
    """
    return text if text.isascii() else _HIGH.sub(_restored, text)


def _restored(match: re.Match[str]) -> str:
    run = match[0]
    try:
        return run.encode("latin-1").decode()
    except UnicodeDecodeError:
        return run.translate(_WINDOWS)


def is_cut(text: str) -> bool:
    """Whether a name or value, read as Latin-1, has lost the last byte of its UTF-8.

    idfkit's ``load_idf`` takes U+0085 and U+00A0 at the end of a value for blanks, and so ``Å`` and ``à`` become
    ``Ã``. A real ``Ã`` follows no small letter, and is not among characters that are UTF-8.

    Examples:
        >>> is_cut("UnitÃ"), is_cut("BÃ¼ro Ã"), is_cut("MAÇÃ")
        (True, True, False)
    """
    before = text.rstrip(_LATIN)
    run = text[len(before) :]
    completed = any(_is_utf8(run + lost) for lost in "\x85\xa0")
    return completed and bool(before[-1:].islower() or len(run) > 1 or restore(before) != before)


def _is_utf8(run: str) -> bool:
    try:
        return bool(run.encode("latin-1").decode())
    except UnicodeDecodeError:
        return False


# The statements of an IDF.


class Statement(NamedTuple):
    """One object of an IDF.

    Attributes:
        line: The number of its first line.
        kind: Its type, as it is written.
        text: Type and fields in one line, without comments and without the semicolon.
    """

    line: int
    kind: str
    text: str


_COMMENT = re.compile(r"![^\n]*")
# The end of a line, the end of a value on it, and the beginning of another one, without a comma between.
_SPANNING = re.compile(r"[^\s,][^\S\n]*\n\s*(?=[^\s,])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def split(text: str) -> Iterator[Statement]:
    """Take an IDF apart, in time that grows with its length only.

    EnergyPlus takes a value that goes on in the next line for one with a line break in it, or drops its first part if a
    comment is between: both mean that a comma or a semicolon is missing, and are refused.

    Args:
        text: The text of an IDF.

    Yields:
        The objects, in the order of the file.

    Raises:
        ModelError: If the text is not whole: an object without semicolon, a missing comma, control characters.

    Examples:
        >>> [statement.text for statement in split("Version,25.2;  !- of EnergyPlus")]
        ['Version,25.2']
    """
    if text.lstrip()[:1] == "<":
        raise ModelError("it is HTML or XML, not an IDF; perhaps the page of a download instead of the file")
    bare = _COMMENT.sub("", text.replace("\r\n", "\n")).rstrip("\x1a")
    control = _CONTROL.search(bare)
    if control:
        line = bare.count("\n", 0, control.start()) + 1
        raise ModelError(f"line {line} contains the control character {control[0]!r}; remove it")
    *parts, rest = bare.split(";")
    line = 1
    for part in parts:
        stripped = part.lstrip()
        if stripped:
            first = line + part.count("\n", 0, len(part) - len(stripped))
            yield _statement(stripped.rstrip(), first)
        line += part.count("\n")
    if rest.strip():
        begun = rest.lstrip()
        line += rest.count("\n", 0, len(rest) - len(begun))
        raise ModelError(
            f"line {line}: the object {_short(begun.partition(',')[0])!r} does not end with a semicolon; "
            f"complete the file, which may have been cut"
        )


def _statement(text: str, line: int) -> Statement:
    spanning = _SPANNING.search(text)
    kind, comma, _ = text.partition(",")
    kind = kind.strip()
    if spanning:
        before = re.split(r"[,\n]", text[: spanning.start() + 1])[-1]
        raise ModelError(
            f"line {line + text.count(chr(10), 0, spanning.start())}: {_short(before)!r} is followed by another line "
            f"without a comma or semicolon, in the object {_short(kind)!r}; add what is missing"
        )
    if "\r" in text and any("\r" in value.strip() for value in text.split(",")):
        raise ModelError(f"line {line}: the object {_short(kind)!r} contains the control character '\\r'; remove it")
    if not comma or not kind:
        what = f"the object {_short(kind)!r} has no fields" if kind else "an object has no type"
        raise ModelError(f"line {line}: {what}; complete it, or remove it")
    return Statement(line, kind, re.sub(r"[\r\n]+", " ", text))


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 60 else f"{words[:57]}..."


_UNSAFE = re.compile(r"[,;!\n\r]")


def fault_of(value: str) -> str | None:
    """What keeps a name or value from being written into an IDF; None if nothing does.

    Examples:
        >>> fault_of("Office, south"), fault_of("Office south")
        ("contains ',', which ends a value in an IDF", None)
    """
    unsafe = _UNSAFE.search(value)
    if unsafe and unsafe[0] in ",;!":
        return f"contains {unsafe[0]!r}, which {'begins a comment' if unsafe[0] == '!' else 'ends a value'} in an IDF"
    if unsafe:
        return "contains a line break"
    control = _CONTROL.search(value)
    if control:
        return f"contains the control character {control[0]!r}"
    if value != value.strip():
        return "begins or ends with a blank, which an IDF does not keep"
    return None


# The commands of EPMacro (EnergyPlus, Auxiliary Programs, "Using Macros").

_COMMAND = re.compile(r"^[^\S\n]*##[^\S\n]*(\S*)[^\S\n]*([^\n]*?)[^\S\n]*$", re.MULTILINE)
_INCLUDES = ("include", "includesilent")
_WITHOUT_EFFECT = ("list", "nolist", "nosilent")  # on the listing of EPMacro, not on the model
_EXPRESSION = re.compile(r"^[^!\n]*#\[", re.MULTILINE)

_DEPTH = 50
_LENGTH = 1_000_000_000


def beside(file: Location, name: str) -> Location:
    """The location of a file that another one names: relative to that one's directory, unless absolute or a URL.

    Examples:
        >>> beside("s3://bucket/models/office.idf", "parts/schedules.idf")
        's3://bucket/models/parts/schedules.idf'
        >>> beside("office.idf", "/data/schedules.idf")
        '/data/schedules.idf'
    """
    name = to_text(name)
    if is_url(name) or PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute():
        return name
    if isinstance(file, UPathLike):
        found: Any = file.parent
        for part in name.split("/"):
            found = found.parent if part == ".." else found / part if part not in ("", ".") else found
        return found  # type: ignore[no-any-return]  # a UPath, whose package need not be installed
    directory, slash, _ = repair(file).rpartition("/")
    while name.startswith(("./", "../")):
        up, _, name = name.partition("/")
        if up == ".." and directory.rpartition("/")[2] not in ("", ".", ".."):
            directory, slash, _ = directory.rpartition("/")
        elif up == "..":
            name = f"../{name}"
            break
    return f"{directory}{slash}{name}"


def expand_includes(text: str, file: Location, read: Callable[[Location], str | None]) -> str:
    """Put the included files into the text of an IDF, as EPMacro does.

    EPMacro looks for a file from the directory of the model, also if an included file names it; here the directory of
    that file is looked into as well. If both have one, and they differ, it is unknown which is meant.

    Args:
        text: The text of the model.
        file: Where the model was read.
        read: Reads the text at a location; None if no file exists there.

    Returns:
        The text without commands.

    Raises:
        ModelError: If a file is missing, includes itself, or is found twice; or if there are other commands, which
            need EPMacro.
    """
    if "##" not in text or not _COMMAND.search(text):
        return text
    expanded = _Expansion(file, read).expand(text, (file,))
    if _EXPRESSION.search(expanded):
        raise ModelError(f"it contains an expression of EPMacro, '#[...]'; {_RUN_EPMACRO}")
    return expanded


_RUN_EPMACRO = "run EPMacro, and give the .idf file that it writes"


class _Expansion:
    """The state of EPMacro: the prefix of file names, which holds from its command on, in all files."""

    def __init__(self, model: Location, read: Callable[[Location], str | None]) -> None:
        self._model = model
        self._read = read
        self._prefix = ""
        self._length = 0

    def expand(self, text: str, files: tuple[Location, ...]) -> str:
        text = text.replace("\r\n", "\n")
        self._length += len(text)
        if self._length > _LENGTH:
            raise ModelError(f"its included files are longer than {_LENGTH:,} characters; check for repeated includes")
        pieces, end = [], 0
        for match in _COMMAND.finditer(text):
            where = f"line {text.count(chr(10), 0, match.start()) + 1}"
            if len(files) > 1:
                where += f" of {_shown(files[-1])!r}"
            pieces += [text[end : match.start()], self._replaced(match[1].lower(), match[2], files, where)]
            end = match.end()
        return "".join([*pieces, text[end:]])

    def _replaced(self, command: str, argument: str, files: tuple[Location, ...], where: str) -> str:
        if command in _INCLUDES:
            found, included = self._find(argument, files, where)
            if to_text(found) in map(to_text, files):
                raise ModelError(f"{where}: {_shown(found)!r} includes itself; remove the ##{command}")
            if len(files) > _DEPTH:
                raise ModelError(f"{where}: files are included {_DEPTH} deep; check for a file that includes itself")
            return self.expand(included, (*files, found))
        if command == "fileprefix":
            self._prefix = argument or self._prefix
        elif command not in _WITHOUT_EFFECT and not command.startswith("!"):
            raise ModelError(f"{where}: ##{command} is a command that only EPMacro runs; {_RUN_EPMACRO}")
        return ""

    def _find(self, name: str, files: tuple[Location, ...], where: str) -> tuple[Location, str]:
        # EPMacro itself joins prefix and name as they are; its manual shows a prefix without a slash.
        names = (f"{self._prefix}{name}", f"{self._prefix}/{name}" if self._prefix else name)
        candidates = [beside(file, each) for file in (self._model, files[-1]) for each in names]
        places = {to_text(place): place for place in candidates}
        texts = {key: self._read(place) if name else None for key, place in places.items()}
        found = [(places[key], text) for key, text in texts.items() if text is not None]
        if not found:
            tried = " and ".join(repr(_shown(place)) for place in places.values())
            raise ModelError(f"{where}: the included file {name!r} does not exist; looked for {tried}: add it")
        if any(text != found[0][1] for _, text in found):
            both = " and ".join(repr(_shown(place)) for place, _ in found)
            raise ModelError(f"{where}: {name!r} can mean {both}, which differ; rename one of them")
        return found[0]


def _shown(location: Location) -> str:
    return redact(to_text(location))
