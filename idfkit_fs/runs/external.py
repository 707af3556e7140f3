"""The files that a model reads: find them, name them beside the model, and lay them there."""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import posixpath
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

from idfkit import IDFDocument, get_schema

from idfkit_fs._fs.beside import options_beside
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._util.files import digest_of
from idfkit_fs._util.messages import redact
from idfkit_fs._util.urls import Location, UPathLike, is_url, repair, split_url
from idfkit_fs.errors import ModelError, StoreError
from idfkit_fs.runs.locate import local_input
from idfkit_fs.runs.record import INPUT_FILES, RecordedFile

__all__ = ["External", "gather", "lay", "recorded", "stat_beside"]

_SEARCHED = ("input_file", "current_working")
_INSTANCES, _SEARCH_PATHS = "PythonPlugin:Instance", "PythonPlugin:SearchPaths"
# EnergyPlus reads this file where the field is blank; the schema says so in a note only.
_DEFAULTS = {("Construction:WindowDataFile", "file_name"): "Window5DataFile.dat"}
# EnergyPlus opens a file by the bytes that the IDF has, whose meaning depends on the system, and an IDF has no quotes.
# A value has up to 100 letters.
_UNSAFE = re.compile(r"[^A-Za-z0-9 ._()+-]")
_LONGEST = 60
_MODULE = re.compile(r"[\w-]+")
# Plugins are a few modules. More is a mistake, such as the directory of all installed packages.
_MOST_MODULES, _MOST_BYTES, _MOST_SEEN = 1000, 50 * 2**20, 20_000
_PACKAGES = frozenset({"site-packages", "dist-packages"})
# A file that was written within the last tick of a coarse clock may be written again without its times showing it.
_TICK_SECONDS = 2.0
_REMEDY = 'or pass external_files="leave" if the workers have it at this path'


@dataclass(frozen=True)
class External:
    """A model whose files lie beside it.

    Attributes:
        document: The model; if it names files, a copy that names them by their paths in the run directory.
        files: The local file for each path in the run directory.
        inputs: Size and hash of each of them, by which they were named.
    """

    document: IDFDocument
    files: dict[str, Path] = field(default_factory=dict)
    inputs: tuple[RecordedFile, ...] = ()


def gather(
    document: IDFDocument, directory: str | None, output: FsspecFileSystem, energyplus_dir: Path | None
) -> External:
    """Find every file that a model reads, and name them by paths in the run directory.

    A relative name is looked up beside the model, then in the working directory. A file that EnergyPlus finds in its
    own installation is left to it. Such a path holds the beginning of the file's hash, so the model's text changes
    with the content of its files, and is the same on machines that keep them elsewhere.

    Args:
        document: The model with real Unicode names, which stays as it is.
        directory: The directory that the model came from: a path or a URL; None for a document of no file.
        output: The filesystem of the outputs, whose storage options are used for a URL on the same kind of store.
        energyplus_dir: The directory of EnergyPlus; None if it is not installed here.

    Returns:
        The model to run, and its files.

    Raises:
        ModelError: If a file is missing, is a directory, or cannot be read.
        StoreError: If *directory* is a URL, and the store failed, refused access, or did not answer.

    Examples:
        >>> external = gather(document, "models", fs, None)  # doctest: +SKIP
        >>> list(external.files)  # doctest: +SKIP
        ['input-files/5f2b8a1c90de/occupancy.csv']
    """
    places = [os.getcwd()]
    if directory is not None:
        beside = directory if is_url(directory) else os.path.abspath(directory)
        places = [beside, *(place for place in places if place != beside)]
    schema = document.schema or get_schema(document.version)
    fields = {kind: _file_fields(schema.get_inner_schema(kind) or {}) for kind in document}
    if not any(fields.values()) and _INSTANCES not in document:
        return External(document)
    found, copied = _Files(places, output, energyplus_dir), document.copy()
    for kind, named in fields.items():
        for each in copied[kind] if named else ():
            for name, spec in named.items():
                value = each.data.get(name) or _DEFAULTS.get((kind, name))
                renamed = _renamed(name, spec, value, functools.partial(found.use, _shown(each)))
                if renamed != value:
                    setattr(each, name, renamed)
    if _INSTANCES in copied:
        _Plugins(copied, schema.get_inner_schema(_SEARCH_PATHS) or {}, places, found).gather()
    inputs = tuple(found.inputs[name] for name in sorted(found.inputs))
    return External(copied, {entry.name: found.files[entry.name] for entry in inputs}, inputs)


def lay(files: Mapping[str, Path], inputs: Iterable[RecordedFile], directory: Path) -> None:
    """Copy files into a run directory.

    They are copies, because EnergyPlus and a plugin may write to them.

    Args:
        files: The local file for each path in the run directory.
        inputs: Size and hash of each of them.
        directory: The run directory.

    Raises:
        ModelError: If a file cannot be read, or has changed.

    Examples:
        >>> lay(external.files, external.inputs, Path("run"))  # doctest: +SKIP
    """
    for entry in inputs:
        source, target = files[entry.name], directory / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, target)
        except OSError as exc:
            raise ModelError(f"The input file {str(source)!r} cannot be copied: {exc.strerror}; restore it") from exc
        if digest_of(target) != (entry.size, entry.sha256):
            raise ModelError(f"The input file {str(source)!r} changed while it was read; try again")


def recorded(name: str, local: Path) -> RecordedFile:
    """The entry of a local file, which is read unless it was read before and is unchanged by its times.

    Args:
        name: Its path in the run directory.
        local: The file.

    Returns:
        Its name, size and hash.

    Raises:
        OSError: If it cannot be read.
    """
    status = local.stat()
    seen = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    settled = time.time() - max(status.st_mtime, status.st_ctime) > _TICK_SECONDS
    size, sha256 = _digest_once(str(local), seen) if settled else digest_of(local)
    return RecordedFile(name=name, size=size, sha256=sha256)


@functools.lru_cache(maxsize=4096)
def _digest_once(local: str, _seen: tuple[int, ...]) -> tuple[int, str]:
    return digest_of(Path(local))


def stat_beside(weather: Location, output: FsspecFileSystem) -> Path | None:
    """The statistics (``.stat``) beside a weather file, which EnergyPlus reads if they exist.

    Args:
        weather: The weather file, as the user gave it.
        output: As in [gather][idfkit_fs.runs.external.gather].

    Returns:
        The local file; None if none exists. A store that refuses access is taken to have none: to a login that may
        not list, S3 says so of a missing file too.

    Raises:
        ModelError: If it cannot be read.
        StoreError: If the store failed or did not answer.

    Examples:
        >>> stat_beside("weather/chicago.epw", fs)  # doctest: +SKIP
        PosixPath('weather/chicago.stat')
    """
    try:
        if isinstance(weather, UPathLike):
            name = weather.name
            local = FsspecFileSystem.from_upath(weather.parent).local_path(_with_stat(name))
        else:
            text = repair(weather)
            if "?" in text and is_url(text):  # a signature is for one file
                return None
            local = local_input(_with_stat(text), output)
            if not is_url(text) and not local.is_file():
                local = Path(text).resolve().with_suffix(".stat")
        if not local.is_file():
            return None
    except (FileNotFoundError, PermissionError):
        return None
    if not os.access(local, os.R_OK):
        raise ModelError(f"{str(local)!r} beside the weather file cannot be read; allow it, or remove the file")
    return local


def _with_stat(name: str) -> str:
    return f"{posixpath.splitext(name)[0]}.stat"


def _file_fields(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an object that name files, with their schemas."""
    return {name: spec for name, spec in schema.get("properties", {}).items() if _names_files(name, spec)}


def _names_files(name: str, spec: Mapping[str, Any]) -> bool:
    """Whether a field names a file, or is a list of groups of which one field does."""
    inner = spec.get("items", {}).get("properties", {})
    marked = bool(spec.get("retaincase")) and name.endswith("file_name")
    return marked or any(_names_files(each, inner[each]) for each in inner)


def _renamed(name: str, spec: Mapping[str, Any], value: Any, use: Callable[[str, str], str]) -> Any:
    """The value of a field with its files renamed."""
    if isinstance(value, str):
        return use(name, value) if value.strip() else value
    if not isinstance(value, list):
        return value
    inner = spec.get("items", {}).get("properties", {})
    named = {key: spec for key, spec in inner.items() if _names_files(key, spec)}
    return [
        group | {key: _renamed(key, named[key], each, use) for key, each in group.items() if key in named}
        for group in value
    ]


def _shown(each: Any) -> str:
    return f"{each.obj_type} {each.name!r}" if each.name else str(each.obj_type)


def _own_name(text: str) -> str:
    """The last part of a path as a name that every IDF and every disk can hold."""
    stem, suffix = posixpath.splitext(_UNSAFE.sub("_", text.rstrip("/").rpartition("/")[2]).strip(" "))
    return f"{stem[: max(1, _LONGEST - len(suffix))].rstrip(' ')}{suffix[:_LONGEST]}"


def _join(place: str, name: str) -> str:
    """A path below a directory or URL; ``..`` is resolved, since a store has no such name."""
    parts = split_url(repair(place)) if is_url(place) else None
    if parts is None:
        return os.path.join(place, name)
    slash = "/" if parts.protocol in ("file", "local") else ""
    return f"{parts.chain}{parts.protocol}://{slash}{posixpath.normpath(f'{parts.rest}/{name}')}"


def _is_absolute(text: str) -> bool:
    return text.startswith("/") or bool(PureWindowsPath(text).drive)


class _Files:
    """Finds files.

    Args:
        places: Where to look for relative names: directories and URLs.
        output: The filesystem of the outputs.
        energyplus_dir: The directory of EnergyPlus.

    Attributes:
        files: The local file for each path in the run directory.
        inputs: Size and hash for each of them.
    """

    def __init__(self, places: list[str], output: FsspecFileSystem, energyplus_dir: Path | None) -> None:
        self.files: dict[str, Path] = {}
        self.inputs: dict[str, RecordedFile] = {}
        self.output = output
        self._places, self._energyplus_dir = places, energyplus_dir

    def use(self, owner: str, name: str, value: str) -> str:
        """Take a file that a field names.

        Args:
            owner: Type and name of the object, for messages.
            name: The field.
            value: Its value.

        Returns:
            The new value.

        Raises:
            ModelError: If the file is missing, is a directory, or cannot be read.
        """
        text = value.strip().replace("\\", "/")
        problem = "is missing"
        candidates = self.candidates(text)
        for candidate in candidates:
            local = self._local(candidate)
            if local is None:
                continue
            try:
                kind = local.stat().st_mode
                if stat.S_ISREG(kind):
                    entry = recorded("file", local)
                    return self.add(f"{INPUT_FILES}/{entry.sha256[:12]}/{_own_name(text)}", local, entry)
                problem = "is a directory" if stat.S_ISDIR(kind) else "is not a regular file"
                candidates = [candidate]
                break
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as exc:
                problem, candidates = f"cannot be read ({getattr(exc, 'strerror', None) or exc})", [candidate]
                break
        if problem == "is missing" and self.is_in_energyplus(text):
            return value
        raise self.error(owner, name, value, problem, candidates, "a file")

    def add(self, name: str, local: Path, entry: RecordedFile) -> str:
        """Take a file for a path in the run directory, and return the path."""
        self.files[name] = local
        self.inputs[name] = entry.model_copy(update={"name": name})
        return name

    def candidates(self, text: str) -> list[str]:
        """Where a name may mean a file, in the order in which they are looked at."""
        return [text] if _is_absolute(text) else [_join(place, text) for place in self._places]

    def is_in_energyplus(self, text: str) -> bool:
        """Whether EnergyPlus finds a file by itself: it looks in its own directory too, on every machine."""
        root = self._energyplus_dir
        return root is not None and not _is_absolute(text) and (root / text).is_file()

    def error(self, owner: str, name: str, value: str, problem: str, looked: list[str], wanted: str) -> ModelError:
        """The error for a file that cannot be taken."""
        shown = ", ".join(redact(each) for each in looked)
        return ModelError(
            f"{owner}, field {name}: {value!r} {problem}; looked for {shown}; put {wanted} there, {_REMEDY}"
        )

    def _local(self, candidate: str) -> Path | None:
        try:
            return local_input(candidate, self.output)
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            return Path(os.sep)  # any directory: it is refused as one


@dataclass
class _Root:
    """A directory that Python searches for modules.

    Attributes:
        place: The directory, a path or a URL.
        output: The filesystem of the outputs.
        modules: The modules that are taken: the local file for each path within the directory.
    """

    place: str
    output: FsspecFileSystem
    modules: dict[str, Path] = field(default_factory=dict)

    @functools.cached_property
    def fs(self) -> FsspecFileSystem | None:
        """The filesystem of a URL; None for a local directory."""
        if not is_url(self.place):
            return None
        return FsspecFileSystem.from_url(self.place, **options_beside(self.place, self.output))

    def exists(self) -> bool:
        return os.path.isdir(self.place) if self.fs is None else self.fs.exists("")

    def take(self, name: str | None = None) -> dict[str, Path]:
        """Take a module or package by its name; all modules below the directory if it is None.

        Returns:
            The files that were taken now.

        Raises:
            ModelError: If there are too many.
        """
        found: dict[str, Path] = {}
        for path in self._found(name):
            if path not in self.modules:
                found[path] = Path(self.place, path) if self.fs is None else self.fs.local_path(path)
        self.modules |= found
        size = sum(file.stat().st_size for file in found.values())
        if len(self.modules) > _MOST_MODULES or size > _MOST_BYTES:
            raise self._too_large()
        return found

    def has(self, name: str) -> bool:
        """Whether a module or package of this name was taken."""
        return any(path == f"{name}.py" or path.startswith(f"{name}/") for path in self.modules)

    def _found(self, name: str | None) -> Iterator[str]:
        if self.fs is not None:
            if name is None:
                yield from self.fs.glob("", "**/*.py")
            else:
                yield from self.fs.glob("", f"{name}.py")
                yield from self.fs.glob("", f"{name}/**/*.py")
            return
        if name is not None and os.path.isfile(os.path.join(self.place, f"{name}.py")):
            yield f"{name}.py"
        seen = 0
        for directory, below, files in os.walk(os.path.join(self.place, name or "")):
            seen += len(below) + len(files)
            if seen > _MOST_SEEN or _PACKAGES & {*Path(directory).parts}:
                raise self._too_large()
            below[:] = sorted(each for each in below if not each.startswith(".") and each != "__pycache__")
            for file in sorted(files):
                if file.endswith(".py"):
                    yield Path(directory, file).relative_to(self.place).as_posix()

    def _too_large(self) -> ModelError:
        return ModelError(
            f"{_SEARCH_PATHS}: {redact(self.place)!r} holds more than the modules of a plugin (installed packages, or "
            f"over {_MOST_MODULES} modules); name a directory with the plugin's own modules, and install packages on "
            f"the workers, {_REMEDY}"
        )

    def path_of_copy(self, files: _Files) -> str:
        """Add the modules to the files of the model, and return the directory that holds them in the run directory."""
        entries = {path: recorded(path, local) for path, local in sorted(self.modules.items())}
        whole = "".join(f"{path}\0{entry.sha256}\n" for path, entry in entries.items())
        directory = f"{INPUT_FILES}/{hashlib.sha256(whole.encode()).hexdigest()[:12]}/modules"
        for path, entry in entries.items():
            files.add(f"{directory}/{path}", self.modules[path], entry)
        return directory


class _Plugins:
    """The modules of a model's Python plugins.

    All modules of the search paths that the model names are taken. Beside the model and in the working directory, which
    Python searches too, there are often other scripts: only what the plugins import is taken there.

    Args:
        document: The model, which is changed.
        schema: The schema of the object with the search paths.
        places: The directory of the model, and the working directory.
        files: Takes the files.
    """

    def __init__(self, document: IDFDocument, schema: Mapping[str, Any], places: list[str], files: _Files) -> None:
        self._document, self._files, self._places = document, files, places
        self._fields = list(schema.get("properties", {}))

    def gather(self) -> None:
        """Take the modules, and change the search paths of the model.

        Raises:
            ModelError: If a module or directory is missing, too large, or cannot be read.
        """
        try:
            self._gather()
        except StoreError:
            raise
        except OSError as exc:
            raise ModelError(
                f"{_SEARCH_PATHS}: {exc.filename!r} cannot be read: {exc.strerror}; allow it, {_REMEDY}"
            ) from exc

    def _gather(self) -> None:
        objects = list(self._document[_SEARCH_PATHS]) if _SEARCH_PATHS in self._document else []
        named = [root for each in objects for root in self._named(each)]
        beside = [_Root(place, self._files.output) for place in self._searched(objects)]
        taken: dict[tuple[str, str], Path] = {}
        for root in named:
            taken |= {(root.place, path): local for path, local in root.take().items()}
        instances = {each.python_module_name: each for each in self._document[_INSTANCES] if each.python_module_name}
        modules = {name.partition(".")[0] for name in instances}
        wanted = {name for name in modules if _MODULE.fullmatch(name)} | _imports(taken.values())
        known: set[str] = set()
        while wanted - known:
            name = min(wanted - known)
            known.add(name)
            if not any(root.has(name) for root in named):
                for root in beside:
                    if new := root.take(name):
                        wanted |= _imports(new.values())
                        break
        roots = [root for root in reversed(beside) if root.modules] + named
        for name, each in instances.items():
            top = name.partition(".")[0]
            if not any(root.has(top) for root in roots) and not self._files.is_in_energyplus(f"{top}.py"):
                looked = [_join(root.place, f"{top}.py") for root in (*reversed(named), *beside)]
                raise self._files.error(_shown(each), "python_module_name", name, "is missing", looked, "the module")
        self._write(objects, [root.path_of_copy(self._files) for root in roots])

    def _searched(self, objects: list[Any]) -> list[str]:
        """The directories that EnergyPlus searches unless the model says no; beside the model comes first."""
        input_file, current = (_is_on(objects, f"add_{which}_directory_to_search_path") for which in _SEARCHED)
        if len(self._places) == 1:  # it is both
            return self._places if input_file or current else []
        return [place for place, on in zip(self._places, (input_file, current), strict=True) if on]

    def _named(self, each: Any) -> Iterator[_Root]:
        """The search paths that an object names."""
        for name in (name for name in self._fields if name.startswith(("py_search_paths", "search_path_"))):
            value = each.data.get(name) or ""
            groups = value if isinstance(value, list) else [{"search_path": value}]
            for text in (str(group.get("search_path") or "").strip() for group in groups):
                if text:
                    yield self._find(each, text)

    def _find(self, each: Any, text: str) -> _Root:
        candidates = self._files.candidates(text.replace("\\", "/"))
        roots = [_Root(place, self._files.output) for place in candidates]
        for root in roots:
            if root.exists():
                return root
        raise self._files.error(_shown(each), "search_path", text, "is not a directory", candidates, "a directory")

    def _write(self, objects: list[Any], paths: list[str]) -> None:
        """Replace the search paths. Python looks at the last one first, so the named ones stay behind the others."""
        if not paths:
            return
        first = objects[0] if objects else self._document.add(_SEARCH_PATHS, "Search paths")
        numbered = [name for name in self._fields if name.startswith("search_path_")]
        for each in (first, *objects[1:]):
            own = paths if each is first else []
            if not numbered:
                each.py_search_paths = [{"search_path": path} for path in own]
            elif len(own) > len(numbered):
                raise ModelError(
                    f"{_shown(each)} has room for {len(numbered)} search paths, but {len(own)} are needed; keep the "
                    "modules in fewer directories"
                )
            else:
                for name, path in zip(numbered, [*own, *[""] * (len(numbered) - len(own))], strict=True):
                    setattr(each, name, path)


def _is_on(objects: list[Any], flag: str) -> bool:
    """Whether EnergyPlus searches a directory; it does unless the model says no."""
    return not objects or any(str(each.data.get(flag) or "Yes").lower() == "yes" for each in objects)


def _imports(files: Iterable[Path]) -> set[str]:
    """The first parts of the names of the modules that Python files import."""
    names: set[str] = set()
    for file in files:
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue  # EnergyPlus reports it
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names
