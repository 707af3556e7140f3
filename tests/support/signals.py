"""Which signals a process ignores that a test starts: what `nohup` and background jobs ignore is inherited."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

__all__ = ["inherited_signals"]

_ENDING = [getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)]


@contextmanager
def inherited_signals(*, ignored: signal.Signals | None = None) -> Iterator[None]:
    """Programs that start in this block ignore this one of the signals that end a program, or none.

    A program inherits which signals are ignored, but no handler; so this process itself goes on ignoring what it did.
    """
    with ExitStack() as restored:
        for number in _ENDING:
            before = signal.getsignal(number)
            if number == ignored:
                signal.signal(number, signal.SIG_IGN)
            elif before is signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
            restored.callback(signal.signal, number, before)
        yield
