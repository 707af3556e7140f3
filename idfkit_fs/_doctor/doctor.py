"""Check what works at a URL, and say what to do about what does not."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from idfkit_fs._cache.options import open_cache
from idfkit_fs._doctor.machine import check_machine
from idfkit_fs._doctor.probe import SET_CLOCK, LimitationError, NotCheckedError, Probe
from idfkit_fs._doctor.report import Check, DoctorReport
from idfkit_fs._doctor.rights import consequence, right_for
from idfkit_fs._fs.sync import FsspecFileSystem
from idfkit_fs._stores.options import filesystem_class
from idfkit_fs._stores.translate import service_code
from idfkit_fs._stores.whoami import describe_endpoint, describe_login, describe_package
from idfkit_fs._util.interrupts import run_stoppable
from idfkit_fs._util.messages import redact, secrets_of
from idfkit_fs._util.urls import Location, chain_protocols, repair
from idfkit_fs.errors import (
    IdfkitFsError,
    LocationError,
    MissingExtraError,
    PermissionDeniedError,
    StorageOptionsError,
    StoreError,
    UnreachableError,
    UnsupportedError,
)

__all__ = ["doctor"]

# The order in which checks are reported, and those that each one needs.
_NEEDS: dict[str, tuple[str, ...]] = {
    "package": (),
    "options": ("package",),
    "endpoint": ("options",),
    "login": ("options",),
    "reachable": ("options", "login"),
    "bucket": ("reachable", "login"),
    "list": ("bucket",),
    "write": ("bucket",),
    "read": ("bucket",),
    "range": ("read",),
    "overwrite": ("write", "read"),
    "create": ("write", "read"),
    "copy": ("write", "read"),
    "multipart": ("write", "read"),
    "delete": ("write",),
    "clock": ("bucket",),
}
_GCSFS_WAYS = frozenset({"anon", "browser", "cache", "cloud", "google_default"})
# By what stores refuse a login, for every request; any other refusal is about a right.
_LOGIN = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|InvalidToken|Expired|TokenRefreshRequired|AuthenticationFailed"
    r"|AuthorizationFailure|InvalidAuthenticationInfo|InvalidClientTokenId|UnrecognizedClientException|InvalidSecurity"
    r"|AccountProblem|NotSignedUp|AccountIsDisabled|\b401\b|NoCredentials|PartialCredentials|authentication failed"
    r"|failed to authenticate",
    re.IGNORECASE,
)
# By what a backend says that it has no login to ask with: the store was not asked.
_NOT_ASKED = re.compile("NoCredentials|PartialCredentials")
# The store's own words at the end of a message, after a remedy that may have brackets of its own.
_SAID = re.compile(r" \((?!(?:S3|AWS|Google|Azure|Linux)\b)\w+: .*\)$")
# And by what they refuse a request of another time; rclone has only these words for it.
_SKEWED = re.compile("RequestTimeTooSkewed|RequestInTheFuture|difference between the request time|date header too old")


def doctor(url: Location, *, storage_options: dict[str, Any] | None = None) -> DoctorReport:
    """Check what works at a URL, and on this machine.

    A small directory, ``_doctor-<token>``, is written below the URL and removed again. A login that may do less is
    examined as far as it goes: the report says which right is missing, and what does not work without it.

    Args:
        url: The URL of a study, a run or a bucket, possibly with a cache before it; or a ``UPath``.
        storage_options: Options of the store's fsspec class.

    Returns:
        The report: ``report.ok``, ``report.checks``, and as text ``str(report)``. It shows no secret.

    Raises:
        LocationError: If the URL has no bucket or directory, or fsspec knows no such protocol.

    Examples:
        >>> report = doctor("memory://study-001")
        >>> report.ok, report["write"].status, report["multipart"].status
        (True, 'ok', 'skipped')
    """
    options = storage_options or {}
    examination = _Examination(options)
    fs = examination.open(url)
    if fs is None:
        shown = redact(repair(url), secrets_of(options))
        return DoctorReport(shown, examination.checks(), check_machine(open_cache({})))
    probe = Probe(fs)
    secrets = secrets_of(fs.storage_options)
    try:
        examination.examine(probe)
    except BaseException as exc:
        for file in probe.clean():
            exc.add_note(f"The doctor was interrupted, and left behind: {redact(file, secrets)}")
        raise
    left = tuple(redact(file, secrets) for file in probe.clean())
    return DoctorReport(redact(fs.url(), secrets), examination.checks(), check_machine(fs.cache), left)


class _Examination:
    """The checks that were made so far."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._options = options
        # The path of a file of credentials is no secret, and neither is how gcsfs logs in.
        around = {name: value for name, value in os.environ.items() if not os.path.exists(value)}
        self._secrets = (secrets_of(options) | secrets_of(around)) - _GCSFS_WAYS
        self._found: dict[str, Check] = {}
        self._silent_since = ""

    def checks(self) -> tuple[Check, ...]:
        return tuple(self._found.get(name) or self._skipped(name) for name in _NEEDS)

    def _skipped(self, name: str) -> Check:
        missing = [other for other in _ancestors(name) if not self._passed(other)]
        failed = [other for other, check in self._found.items() if check.status == "failed"]
        # The first cause, such as a login; else the check before this one, as for reading when no file exists.
        because = next((other for other in (self._silent_since, "clock", *missing) if other in failed), "")
        return Check(name, "skipped", f"because of {because or [*missing, *failed][0]!r}")

    def _passed(self, name: str) -> bool:
        found = self._found.get(name)
        # A login that may not ask for the bucket may still use it.
        return found is not None and (
            found.status in ("ok", "warning") or (name, found.status) == ("bucket", "skipped")
        )

    def open(self, url: Location) -> FsspecFileSystem | None:
        """Make the filesystem; None if that fails, and the checks say why."""
        protocol = chain_protocols(repair(url))[-1]
        opened: list[FsspecFileSystem] = []

        def make() -> str:
            opened.append(FsspecFileSystem.from_url(url, **self._options))
            return f"accepted: {', '.join(sorted(self._options))}" if self._options else "none given"

        self._check("package", lambda: describe_package(filesystem_class(protocol)))
        self._check("options", make, stage=_stage)
        if not opened:
            return None
        store = opened[0].store
        given = _names(self._options, protocol)
        self._check("endpoint", lambda: describe_endpoint(store, given))
        self._check("login", lambda: describe_login(store, given))
        return opened[0]

    def examine(self, probe: Probe) -> None:
        """Check a store from the first request to the removal of a file; an interrupt ends the request under way."""
        run_stoppable(lambda: self._examine(probe))

    def _examine(self, probe: Probe) -> None:
        self._check("reachable", probe.reach)
        if probe.first_error is not None:
            self._judge(probe.first_error)
        steps = {
            "bucket": probe.find_bucket,
            "write": probe.write,
            "list": probe.list_files,
            "clock": probe.measure_clock,
            "read": probe.read,
            "range": probe.read_ranges,
            "overwrite": probe.overwrite,
            "create": probe.create,
            "copy": probe.copy,
            "multipart": probe.upload_parts,
            "delete": probe.delete,
        }
        for name, step in steps.items():
            self._check(name, step, probe)

    def _judge(self, exc: StoreError) -> None:
        """Take a refusal of the first request for one of the login, or of the clock, if the store says so."""
        cause, fix = _cause_and_fix(exc)
        said = f"{service_code(exc)} {cause}"
        name = "clock" if _SKEWED.search(said) else "login" if _LOGIN.search(said) else ""
        if not name:
            return
        if name == "clock":
            del self._found["login"]  # it was not checked
            self._add(Check(name, "failed", cause, SET_CLOCK))
        else:
            self._add(Check(name, "failed", f"{cause}; it is the {self._found[name].detail}", fix))
            if _NOT_ASKED.search(said):
                del self._found["reachable"]

    def _check(
        self,
        name: str,
        look: Callable[[], str],
        probe: Probe | None = None,
        stage: Callable[[Exception], str] | None = None,
    ) -> None:
        if self._silent_since or name in self._found or not all(map(self._passed, _NEEDS[name])):
            return
        started = time.perf_counter()
        try:
            check = Check(name, "ok", look())
        except LimitationError as exc:
            check = Check(name, "warning", exc.args[0], exc.args[1])
        except NotCheckedError as exc:
            check = Check(name, "skipped", str(exc))
        except LocationError:
            raise
        except IdfkitFsError as exc:
            if stage is not None and stage(exc) not in ("package", name):  # the store was asked, and refused
                self._add(Check(name, "ok", "accepted"))
            check = self._failure(name if stage is None else stage(exc), exc, probe)
            if isinstance(exc, UnreachableError):  # each further request would wait as long
                self._silent_since = check.name
        except (AttributeError, TypeError, ValueError):  # of options that have a wrong type; the text may show them
            if stage is None:
                raise
            check = Check(name, "failed", "The backend does not accept the storage options", "check their types")
        self._add(check, round(time.perf_counter() - started, 3))

    def _add(self, check: Check, seconds: float = 0.0) -> None:
        detail, fix = (self._shown(text) for text in (check.detail, check.fix))
        self._found[check.name] = Check(check.name, check.status, detail, fix, seconds)

    def _shown(self, text: str) -> str:
        # What a store says may hold line breaks, and escapes that a terminal obeys.
        clean = "".join(letter if letter.isprintable() else " " for letter in redact(text, self._secrets))
        return " ".join(clean.split())

    def _failure(self, name: str, exc: IdfkitFsError, probe: Probe | None) -> Check:
        cause, fix = _cause_and_fix(exc)
        if isinstance(exc, PermissionDeniedError) and probe is not None:
            right = right_for(probe.package, name, probe.bucket, probe.prefix)
            fix = f"allow {right}" if right else fix
        if isinstance(exc, UnsupportedError):
            fix = fix or "use another URL"
        without = consequence(name)
        return Check(name, "failed", cause, f"{fix}. Without it, {without}" if without else fix)


def _ancestors(name: str) -> list[str]:
    """The checks that one needs, and those that they need, the first one first."""
    return [ancestor for other in _NEEDS[name] for ancestor in (*_ancestors(other), other)]


def _stage(exc: Exception) -> str:
    """Which check has failed if making the filesystem raises this."""
    if isinstance(exc, MissingExtraError):
        return "package"
    if isinstance(exc, StorageOptionsError):
        return "options"
    return "login" if isinstance(exc, PermissionDeniedError) else "reachable"


def _names(options: Mapping[str, Any], protocol: str) -> Collection[str]:
    """The names of the options that were given for the store itself."""
    own = options.get(protocol)
    return {*options, *(own if isinstance(own, Mapping) else ())}


def _cause_and_fix(exc: IdfkitFsError) -> tuple[str, str]:
    """What is wrong, and what to do: the two halves of every message of this package."""
    text = str(getattr(exc, "strerror", None) or exc)
    parts = re.split(r"; |: (?=create|pip install)", text, maxsplit=1)
    said = _SAID.search(parts[-1])
    if len(parts) == 1 or said is None:
        return parts[0], parts[1] if len(parts) > 1 else ""
    # The store's own words belong to the cause.
    return parts[0] + said[0], parts[1][: said.start()]
