"""Which of a study's cases are this machine's, in an array job. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Share", "find_share"]

_BATCH = ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE")
_SLURM = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")
_SLURM_FIRST = "SLURM_ARRAY_TASK_MIN"
_SLURM_STEP = "SLURM_ARRAY_TASK_STEP"
_KUBERNETES = "JOB_COMPLETION_INDEX"


@dataclass(frozen=True)
class Share:
    """The part of a study's cases that one of many machines runs.

    Attributes:
        index: Which one, counted from 0.
        count: How many there are.
    """

    index: int
    count: int

    def of(self, cases: Iterable[str]) -> list[str]:
        """The cases of this share. Give all of the study's: then it stays the same while others are being run.

        Examples:
            >>> Share(1, 3).of(["e", "d", "c", "b", "a"])
            ['b', 'e']
        """
        return sorted(cases)[self.index :: self.count]


def find_share(environ: Mapping[str, str], index: int | None = None, count: int | None = None) -> Share | None:
    """Which share is this machine's: the one it is told, else the one of the array job it belongs to.

    Args:
        environ: The environment, in which AWS Batch, Slurm and Kubernetes tell an array job's place.
        index: What ``--index`` says; None to look at the environment.
        count: What ``--of`` says; Kubernetes tells an index, and no count.

    Returns:
        The share; None if nothing tells of one.

    Raises:
        ValueError: If what is told makes no share.

    Examples:
        >>> find_share({"AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "10"})
        Share(index=2, count=10)
        >>> find_share({"JOB_COMPLETION_INDEX": "2"}, count=10)
        Share(index=2, count=10)
    """
    source = "--index"
    if index is not None:
        if count is None:
            raise ValueError("--index needs --of: how many shares there are")
    elif _BATCH[0] in environ:
        source, counter = _BATCH
        index = _number(environ, source)
        count = _number(environ, counter) if count is None else count
    elif _SLURM[0] in environ:
        source, counter = _SLURM
        index = _slurm_index(environ)
        count = _number(environ, counter) if count is None else count
    elif _KUBERNETES in environ:
        source = _KUBERNETES
        index = _number(environ, source)
        if count is None:
            raise ValueError(
                f"{source} is {index}, but Kubernetes does not tell how many there are; add --of with the completions"
            )
    elif count is not None:
        raise ValueError(
            f"--of needs --index, for this is no array job: {_BATCH[0]}, {_SLURM[0]} and {_KUBERNETES} are not set"
        )
    else:
        return None
    if index >= count:
        raise ValueError(
            f"{source} makes this share {index} of {count}, but shares are counted from 0; check it and --of"
        )
    return Share(index, count)


def _slurm_index(environ: Mapping[str, str]) -> int:
    number, first = _number(environ, _SLURM[0]), _number(environ, _SLURM_FIRST)
    step = _number({_SLURM_STEP: "1", **environ}, _SLURM_STEP)
    if number < first or step == 0 or (number - first) % step:
        raise ValueError(
            f"{_SLURM[0]}={number} is not in the range that begins at {_SLURM_FIRST}={first} with "
            f"{_SLURM_STEP}={step}; submit one range, such as --array=0-9, or give --index and --of"
        )
    return (number - first) // step


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name)
    if text is None:
        remedy = "--of" if name in (_BATCH[1], _SLURM[1]) else "--index and --of"
        raise ValueError(f"this is an array job, but {name} is not set; give {remedy}")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}={text!r} is not a whole number of at least 0; correct it, or give --index and --of")
    return int(text)
