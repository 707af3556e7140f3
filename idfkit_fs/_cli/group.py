"""A group of commands that says what is wrong in one line, without a traceback."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import click

from idfkit_fs._cli.shared import echo, told
from idfkit_fs._cli.wording import in_words_of_the_shell
from idfkit_fs.errors import IdfkitFsError

__all__ = ["Commands"]

_CTRL_C = 130


class Commands(click.Group):
    """Commands that print an error or a warning as one line, and nothing else on stdout than what was asked for."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; an error of this package, of idfkit or of this machine gives exit code 1, Ctrl-C 130."""
        if hasattr(sys.stdout, "reconfigure"):  # a name in another alphabet must not fail
            sys.stdout.reconfigure(errors="backslashreplace")
        logger = logging.getLogger("idfkit_fs")
        handler = _Messages(logging.WARNING)
        logger.addHandler(handler)
        try:
            with warnings.catch_warnings():
                warnings.showwarning = lambda message, *_, **__: _say(f"Warning: {message}")
                return super().invoke(ctx)
        except (click.ClickException, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            echo("\nStopped by Ctrl-C", err=True)
            sys.exit(_CTRL_C)
        except Exception as exc:
            if not _is_told(exc):
                raise
            raise click.ClickException(told(exc)) from exc
        finally:
            logger.removeHandler(handler)


def _is_told(exc: Exception) -> bool:
    """Whether an error says what is wrong in its own words. Any other one is a fault of this package."""
    return isinstance(exc, (IdfkitFsError, OSError, ValueError)) or type(exc).__module__.startswith("idfkit.")


class _Messages(logging.Handler):
    """Prints what the library logs."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a message."""
        _say(f"{record.levelname.capitalize()}: {record.getMessage()}")


def _say(text: str) -> None:
    """Print a line on stderr, above the bars."""
    line = in_words_of_the_shell(" ".join(text.split()))
    tqdm = sys.modules.get("tqdm")
    if tqdm is None:
        echo(line, err=True)
        return
    with tqdm.tqdm.external_write_mode(file=sys.stderr):
        echo(line, err=True)
