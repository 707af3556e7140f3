"""Which cases of a study one task of an array job runs. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Share", "find_share"]

_BATCH = ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE")
_SLURM_ARRAY = "SLURM_ARRAY_TASK"
_SLURM = f"{_SLURM_ARRAY}_ID"
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
        count: The value of ``--of``; Kubernetes sets an index and no count. In SLURM the number of a task is its share
            then, so that some shares can be run again: ``--array=3,7`` with ``--of 10``.

    Returns:
        The share; None if neither the command line nor the environment defines one.

    Raises:
        ValueError: If the values do not define a share, or if some shares would have no task.

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
        size = _number(environ, counter) if count is None or counter in environ else count
        if count not in (None, size):
            raise ValueError(f"--of is {count}, but {counter} is {size}, so some shares have no task; leave out --of")
        count = size
    elif _SLURM in environ:
        source = _SLURM
        index, count = _slurm_share(environ, count)
    elif _KUBERNETES in environ:
        source = _KUBERNETES
        index = _number(environ, source)
        if count is None:
            raise ValueError(
                f"{source} is {index}, but Kubernetes does not set the number of tasks; add --of with the completions"
            )
    elif count is not None:
        raise ValueError(
            f"--of needs --index outside of an array job: {_BATCH[0]}, {_SLURM} and {_KUBERNETES} are not set"
        )
    else:
        return None
    if index >= count:
        raise ValueError(
            f"{source} gives share {index} of {count}, but shares are counted from 0; check {source} and --of"
        )
    return Share(index, count)


def _slurm_share(environ: Mapping[str, str], count: int | None) -> tuple[int, int]:
    """The share of a task of SLURM, and their number: as *count* says, or else from the range of the array.

    SLURM says how many tasks there are, and not which: so the range must have no gaps, or each number be a share.
    """
    number, last = _number(environ, _SLURM), _number(environ, f"{_SLURM_ARRAY}_MAX")
    if count is not None:
        if last >= count:
            raise ValueError(
                f"The last task of this array is {last}, but --of is {count}: with --of, a task's number is its share, "
                f"counted from 0; submit numbers from 0 to {count - 1}, or leave out --of"
            )
        return number, count
    first, tasks = _number(environ, f"{_SLURM_ARRAY}_MIN"), _number(environ, f"{_SLURM_ARRAY}_COUNT")
    step = _number({f"{_SLURM_ARRAY}_STEP": "1", **environ}, f"{_SLURM_ARRAY}_STEP")
    index, left = divmod(number - first, max(step, 1))
    if left or not 0 <= index < tasks or (last - first) != (tasks - 1) * step:
        raise ValueError(
            f"The range of this array has gaps: {tasks} tasks from {first} to {last} in steps of {step}, so {_SLURM}="
            f"{number} does not say which share it is; submit one range, such as --array=0-{max(tasks - 1, 0)}, or add "
            "--of with the number of shares: then each task's number is its share, counted from 0"
        )
    return index, tasks


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name)
    if text is None:
        remedy = "--of" if name == _BATCH[1] else "--index and --of"
        raise ValueError(f"This is an array job, but {name} is not set; add {remedy}")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}={text!r} is not a whole number of at least 0; correct it, or add --index and --of")
    return int(text)
