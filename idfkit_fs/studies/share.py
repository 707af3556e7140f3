"""Which cases of a study one task of an array job runs. Nothing here does I/O."""

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
        index: The number of the share, counted from 0.
        count: The number of shares.
    """

    index: int
    count: int

    def of(self, cases: Iterable[str]) -> list[str]:
        """The cases of this share.

        Args:
            cases: All cases of the study: then a share stays the same while other cases finish.

        Examples:
            >>> Share(1, 3).of(["e", "d", "c", "b", "a"])
            ['b', 'e']
        """
        return sorted(cases)[self.index :: self.count]


def find_share(environ: Mapping[str, str], index: int | None = None, count: int | None = None) -> Share | None:
    """Find the share of this task: from the command line, or else from the environment of an array job.

    Args:
        environ: The environment variables; AWS Batch, SLURM and Kubernetes set some for each task of an array job.
        index: The value of ``--index``; None to use the environment.
        count: The value of ``--of``; Kubernetes sets an index and no count.

    Returns:
        The share; None if neither the command line nor the environment defines one.

    Raises:
        ValueError: If the values do not define a share.

    Examples:
        >>> find_share({"AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "10"})
        Share(index=2, count=10)
        >>> find_share({"JOB_COMPLETION_INDEX": "2"}, count=10)
        Share(index=2, count=10)
    """
    source = "--index"
    if index is not None:
        if count is None:
            raise ValueError("--index needs --of, the number of shares")
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
                f"{source} is {index}, but Kubernetes does not set the number of tasks; add --of with the completions"
            )
    elif count is not None:
        raise ValueError(
            f"--of needs --index outside of an array job: {_BATCH[0]}, {_SLURM[0]} and {_KUBERNETES} are not set"
        )
    else:
        return None
    if index >= count:
        raise ValueError(
            f"{source} gives share {index} of {count}, but shares are counted from 0; check {source} and --of"
        )
    return Share(index, count)


def _slurm_index(environ: Mapping[str, str]) -> int:
    number, first = _number(environ, _SLURM[0]), _number(environ, _SLURM_FIRST)
    step = _number({_SLURM_STEP: "1", **environ}, _SLURM_STEP)
    if number < first or step == 0 or (number - first) % step:
        raise ValueError(
            f"{_SLURM[0]}={number} is not in the range that begins at {_SLURM_FIRST}={first} with "
            f"{_SLURM_STEP}={step}; submit one range, such as --array=0-9, or add --index and --of"
        )
    return (number - first) // step


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name)
    if text is None:
        remedy = "--of" if name in (_BATCH[1], _SLURM[1]) else "--index and --of"
        raise ValueError(f"This is an array job, but {name} is not set; add {remedy}")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}={text!r} is not a whole number of at least 0; correct it, or add --index and --of")
    return int(text)
