"""The filesystems that this process has made, shared between callers with the same store and login.

fsspec keeps every filesystem for the life of the process and shares it by its options alone, whatever the environment
and configuration files are. Here a few are kept; a filesystem that is no longer used is garbage collected, and its
connections are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fsspec.asyn import sync
from fsspec.spec import AbstractFileSystem

from idfkit_fs._stores.identity import Identity, backend_package, fingerprint, frozen, identity_by
from idfkit_fs.errors import IdfkitFsError, StorageOptionsError

__all__ = ["after_fork", "identity_of", "made", "renewed", "shared"]

_KEPT = 16


@dataclass(frozen=True)
class _Made:
    """How a filesystem was made.

    Attributes:
        identity: Which store and login it has.
        again: Makes it again, with the environment and files of that moment.
        fs: The filesystem, while it lives.
    """

    identity: Identity
    again: Callable[[], AbstractFileSystem]
    fs: weakref.ref[AbstractFileSystem]


_lock = threading.Lock()
_recent: OrderedDict[str, AbstractFileSystem] = OrderedDict()
_living: weakref.WeakValueDictionary[str, AbstractFileSystem] = weakref.WeakValueDictionary()
# By `id`, as filesystems with other logins are equal for fsspec.
_made: dict[int, _Made] = {}
_inherited: list[AbstractFileSystem] = []


def shared(
    cls: type[AbstractFileSystem],
    options: Mapping[str, Any],
    identity: Identity,
    make: Callable[[], AbstractFileSystem],
    again: Callable[[], AbstractFileSystem],
) -> AbstractFileSystem:
    """The filesystem of a class, options and identity: one that exists, else a new one.

    A new login takes the place of the old one, which is released as soon as it is no longer used.

    Args:
        cls: The filesystem's class.
        options: Its options.
        identity: Which store and login it has.
        make: Makes the filesystem, outside of fsspec's own cache.
        again: See [made][idfkit_fs._stores.instances.made].
    """
    # As in fsspec: classes that are not asynchronous inside are used by one thread.
    thread = 0 if cls.async_impl else threading.get_ident()
    place = fingerprint((cls.__module__, cls.__qualname__, id(cls), thread, frozen(options), identity.place))
    key = place + identity.login
    with _lock:
        fs = _living.get(key)
    if fs is None:
        new = made(make(), identity, again)
        with _lock:
            # Another thread may have been quicker; this one has not connected yet, and is dropped.
            fs = _living.setdefault(key, new)
    with _lock:
        dropped = [_recent.pop(place, None)]
        _recent[place] = fs
        while len(_recent) > _KEPT:
            dropped.append(_recent.popitem(last=False)[1])
    del dropped  # outside the lock, as closing its connections may take a moment
    return fs


def made(fs: AbstractFileSystem, identity: Identity, again: Callable[[], AbstractFileSystem]) -> AbstractFileSystem:
    """Remember how a filesystem was made, and let it be garbage collected when it is no longer used.

    Args:
        fs: A new filesystem.
        identity: Which store and login it has.
        again: Makes it again from its URL and options, with the environment and files of that moment.
    """
    if backend_package(type(fs)) == "adlfs":
        _let_go(fs)
    _made[id(fs)] = _Made(identity, again, weakref.ref(fs))
    weakref.finalize(fs, _made.pop, id(fs), None).atexit = False
    return fs


def identity_of(fs: AbstractFileSystem) -> Identity:
    """Which store and login a filesystem has.

    It does not change after the filesystem was made here. A borrowed one is examined each time, because it may connect
    to whatever the environment says at that moment.

    Args:
        fs: Any fsspec filesystem.
    """
    known = _made.get(id(fs))
    if known is not None:
        return known.identity
    identity = identity_by(type(fs), fs.storage_options, in_effect=_in_effect(fs))
    if not fs.storage_args:
        return identity
    return Identity(f"{identity.place} {fingerprint(frozen(fs.storage_args))}", identity.login, lasting=False)


def _in_effect(fs: Any) -> dict[str, Any]:
    """A borrowed filesystem's options, and what it took from the environment when it was made or connected."""
    options = dict(fs.storage_options)
    package = backend_package(type(fs))
    client = getattr(fs, "_s3", None) if package == "s3fs" else None
    if client is not None:
        if urlsplit(client.meta.endpoint_url).netloc.endswith((".amazonaws.com", ".amazonaws.com.cn")):
            config = {**(options.get("config_kwargs") or {}), "ignore_configured_endpoint_urls": True}
            options |= {"config_kwargs": config, "endpoint_url": None}
        else:
            options["endpoint_url"] = client.meta.endpoint_url
        options |= {"session": None, "profile": fs.session.profile}
    elif package == "adlfs":
        options |= {"connection_string": fs.connection_string, "account_name": fs.account_name}
    return options


def renewed(fs: AbstractFileSystem) -> AbstractFileSystem | None:
    """A filesystem with the login of now, for one whose login the store has refused.

    The store stays the same: the endpoint, the account and the name of the profile.

    Args:
        fs: The filesystem that was refused.

    Returns:
        A filesystem for the same store with a new login; None if the login has not changed since *fs* was made, if
        environment and files now lead to another store, or if *fs* is borrowed.
    """
    known = _made.get(id(fs))
    if known is None:
        return None
    try:
        new = known.again()
    except IdfkitFsError:
        return None  # the original refusal is the better message
    identity = identity_of(new)
    return new if identity.place == known.identity.place and identity.login != known.identity.login else None


def after_fork(fs: AbstractFileSystem) -> AbstractFileSystem:
    """The filesystem to use in a forked process in place of one from before the fork, whose connections are not ours.

    Args:
        fs: A filesystem that the parent process made or borrowed.

    Returns:
        A filesystem of this process, for the same store.

    Raises:
        StorageOptionsError: If environment and files now lead to another store.
    """
    known = _made.get(id(fs))
    if known is None:
        _inherited.append(fs)
        borrowed: AbstractFileSystem = pickle.loads(pickle.dumps(fs))
        return borrowed
    new = known.again()
    if identity_of(new).place != known.identity.place:
        raise StorageOptionsError(
            "The environment or a configuration file has changed since this filesystem was made, and leads this "
            "process to another store; make the filesystem again with from_url()"
        )
    return new


def _let_go(fs: Any) -> None:
    """Replace adlfs's finalizers, which hold the filesystem itself and so keep it forever."""
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]  # noqa: SLF001 - no public way
        alive = finalizer.peek()
        if alive is not None and alive[0] is fs and any(held is fs for held in alive[2]):
            finalizer.detach()
    weakref.finalize(fs, _close, os.getpid(), fs.loop, [fs.service_client, fs.credential])


def _close(pid: int, loop: asyncio.AbstractEventLoop, clients: Iterable[Any]) -> None:
    """Close Azure's clients on their own loop; in a forked process they are the parent's."""
    if pid != os.getpid() or not loop.is_running():
        return

    async def close() -> None:
        for client in clients:
            closing = client.close() if hasattr(client, "close") else None
            if asyncio.iscoroutine(closing):
                await closing

    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        _closing.add(task := loop.create_task(close()))
        task.add_done_callback(_closing.discard)
    else:
        with contextlib.suppress(Exception):  # it cannot be handled any more
            sync(loop, close, timeout=1)


_closing: set[asyncio.Task[None]] = set()


def _forked() -> None:
    """Forget the parent's filesystems, but keep them: collecting one would close the parent's connections."""
    global _lock
    _inherited.extend(fs for known in _made.values() if (fs := known.fs()) is not None)
    _lock = threading.Lock()
    _recent.clear()
    _living.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=lambda: _lock.acquire(), after_in_parent=lambda: _lock.release(), after_in_child=_forked)
