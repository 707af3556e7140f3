"""What must hold for any names, times and columns: found by hypothesis, not by us."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from idfkit_fs._outputs.clock import Reported, read_clock
from idfkit_fs._outputs.parquet import Fetch, Range, footer_of, read_columns, read_end
from idfkit_fs._outputs.series import (
    FREQUENCIES,
    Environment,
    Series,
    headed,
    matcher,
    parse_frequency,
    stored_frequency,
)
from idfkit_fs.errors import SidecarError

quick = settings(max_examples=60, deadline=None)

WORD = st.text(st.sampled_from("abAB 1?[]().^$\\+{}|-:\n"), max_size=8)
SPELLING = st.sampled_from([word for frequency in FREQUENCIES.values() for word in frequency[:3]])


@quick
@given(WORD)
def test_a_name_without_a_star_means_itself_alone(name: str) -> None:
    means = matcher(name)
    assert means(name) and means(name.upper()) and means(f" {name.lower()}\t")
    assert not means(f"{name}x") and not means(f"x{name}") and means("") == (not name.strip())


@quick
@given(st.lists(WORD, min_size=2, max_size=4), st.data())
def test_a_star_stands_for_any_characters(parts: list[str], data: st.DataObject) -> None:
    gaps = data.draw(st.lists(st.one_of(WORD, st.just("*")), min_size=len(parts) - 1, max_size=len(parts) - 1))
    text = parts[0] + "".join(gap + part for gap, part in zip(gaps, parts[1:], strict=True))
    assume(text == text.strip())  # blanks around a name do not count
    means = matcher("*".join(parts))
    assert means(text) and means(text.swapcase())
    assert matcher("*")(text)


@quick
@given(st.text(st.sampled_from("ab*"), max_size=6), st.text(st.sampled_from("abAB"), max_size=8))
def test_patterns_mean_what_they_mean_to_others(pattern: str, text: str) -> None:
    assert matcher(pattern)(text) == fnmatch.fnmatchcase(text.lower(), pattern)


@quick
@given(SPELLING, st.sampled_from([str, str.upper, str.lower, str.title]), st.sampled_from(["", " ", "_", "-"]))
def test_a_frequency_is_told_however_it_is_spelt(word: str, spelt: Any, blank: str) -> None:
    text = f"{blank}{spelt(word).replace(' ', blank)}"
    name = parse_frequency(text)
    assert word in FREQUENCIES[name][:3] and stored_frequency(text) == name == parse_frequency(name)


@quick
@given(st.text(max_size=12))
def test_any_other_word_is_no_frequency(text: str) -> None:
    plain = re.sub(r"[\s_-]", "", text).lower()
    assume(plain not in {re.sub(" ", "", word).lower() for each in FREQUENCIES.values() for word in each[:3]})
    assume(plain != "environment")
    assert stored_frequency(text) is None
    with pytest.raises(ValueError, match="must be one of detailed"):
        parse_frequency(text)


SERIES = st.builds(
    Series,
    variable=st.sampled_from(["A", "A:B", "B"]),
    key=st.sampled_from(["", "A", "K"]),
    units=st.sampled_from(["C", ""]),
    frequency=st.sampled_from(["hourly", "daily"]),
    is_meter=st.booleans(),
    schedule=st.sampled_from(["", "S", "T"]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(SERIES, max_size=8))
@example([Series("A", "K", "C", "hourly", schedule=schedule) for schedule in ("", "S", "S", "")])
def test_no_two_columns_have_the_same_heading(found: list[Series]) -> None:
    columns = [series.column for series in headed(found)]
    assert len(set(columns)) == len(columns) == len(found)
    for series in headed(found):
        label = FREQUENCIES[series.frequency].label
        assert series.column.startswith(series.heading().removesuffix(f"({label})")) and series.column.endswith(")")
    # The first of its name has EnergyPlus's heading.
    assert not found or columns[0] == found[0].heading()


class Fetched:
    """A file in memory, and which ranges of it were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[Range] = []

    def __call__(self, ranges: Sequence[Range]) -> list[bytes]:
        self.asked += ranges
        assert all(0 <= start < stop <= len(self.data) or not self.data for start, stop in ranges)
        return [self.data[start:stop] for start, stop in ranges]


def hash_of_footer(content: bytes) -> str:
    length = int.from_bytes(content[-8:-4], "little") + 8
    return hashlib.sha256(content[-length:]).hexdigest()


NUMBERS = st.integers(0, 2**32).map(lambda seed: pa.array(np.random.default_rng(seed).random(4000)))
GAPPED = st.integers(0, 2**32).map(
    lambda seed: pa.array(np.arange(4000.0), mask=np.random.default_rng(seed).random(4000) < 0.5)
)
TEXTS = st.text(max_size=3).map(lambda text: pa.array([text, None, "x"] * 1333 + [""]))


def read_footer(size: int, fetch: Fetch, sha256: str) -> pq.FileMetaData:
    return footer_of(read_end(size, fetch), sha256)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.one_of(NUMBERS, GAPPED, TEXTS), min_size=1, max_size=8),
    st.sampled_from([1, 2, 20_000]),
    st.sampled_from([1, 1500, 4000]),
    st.sampled_from(["none", "zstd"]),
    st.sampled_from([(0, 2**23), (0, 2**14), (1000, 2**15), (2**16, 2**16), (2**16, 2**23)]),
    st.data(),
)
def test_any_columns_of_any_file_are_read_as_by_arrow_and_nothing_else_is_fetched(
    columns: list[pa.Array],
    length_of_name: int,
    rows: int,
    compression: str,
    limits: tuple[int, int],
    data: st.DataObject,
) -> None:
    gap, block = limits
    names = [f"{'n' * length_of_name}.{number}" for number in range(len(columns))]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    written = io.BytesIO()
    table = pa.table(dict(zip(names, columns, strict=True))).slice(0, data.draw(st.sampled_from([1, 4000])))
    pq.write_table(table, written, row_group_size=max(rows, 1000), compression=compression, use_dictionary=["n.0"])
    content = written.getvalue()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("idfkit_fs._outputs.parquet._GAP", gap)
        patch.setattr("idfkit_fs._outputs.parquet._BLOCK", block)
        whole, parts = Fetched(content), Fetched(content)
        footer = read_footer(len(content), whole, hash_of_footer(content))
        found = read_columns(len(content), parts, footer, chosen)
    assert found.equals(pq.read_table(io.BytesIO(content), columns=chosen))
    assert found.equals(table.select(chosen))
    # Twice only where the names take more than was expected.
    assert len(whole.asked) <= 1 + (length_of_name > 1000)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    sizes = [
        group.column(number).total_compressed_size
        for group in groups
        for number in range(len(names))
        if names[number] in chosen
    ]
    fetched = sum(stop - start for start, stop in parts.asked)
    assert sum(sizes) <= fetched <= sum(sizes) + gap * (len(sizes) - len(parts.asked))


@quick
@given(st.binary(max_size=400), st.booleans())
def test_what_is_no_parquet_file_is_told(content: bytes, magic: bool) -> None:
    content += b"PAR1" if magic else b""
    with pytest.raises(SidecarError):
        read_footer(len(content), Fetched(content), hash_of_footer(content))


@quick
@given(st.integers(1, 5000), st.sampled_from([b"\0", b"\xff", None]))
def test_a_file_of_which_a_part_is_missing(at: int, instead: bytes | None) -> None:
    table = pa.table({name: np.random.default_rng(1).random(50) for name in "ab"})
    written = io.BytesIO()
    pq.write_table(table, written)
    content = written.getvalue()
    at %= len(content)
    with pytest.raises(SidecarError):
        read_footer(at, Fetched(content[:at]), hash_of_footer(content[:at]))
    with pytest.raises(SidecarError, match="its footer differs from the run's record"):
        read_footer(at, Fetched(content[:at]), hash_of_footer(content))
    footer = read_footer(len(content), Fetched(content), hash_of_footer(content))
    cut = content[:at] if instead is None else content[:at].ljust(len(content), instead)
    try:
        found = read_columns(len(content), lambda ranges: [cut[start:stop] for start, stop in ranges], footer, ["b"])
    except SidecarError:
        return
    # A change within the numbers themselves is found by their digest.
    assert found.num_rows == 50 and found.column_names == ["b"]


class Simulated(NamedTuple):
    """A period that EnergyPlus simulates: days of warm-up, all of its first date, then its days."""

    start: datetime
    days: int
    warmup: int
    sizing: bool

    def steps(self, per_hour: int, daily: bool) -> Iterator[tuple[str, datetime, int, int, bool]]:
        """Frequency, end, minutes, number of the day, and whether it is of warm-up, of each step in its order."""
        days = [(self.start, number + 1, True) for number in range(self.warmup)]
        days += [(self.start + timedelta(days=number), number + 1, False) for number in range(self.days)]
        for date, day, warming in days:
            for step in range(1, 24 * per_hour + 1):
                end = date + timedelta(minutes=step * 60 // per_hour)
                if per_hour > 1:
                    yield "timestep", end, 60 // per_hour, day, warming
                if step % per_hour == 0:
                    yield "hourly", end, 60, day, warming
            if daily:
                yield "daily", date + timedelta(days=1), 1440, day, warming


def row_of_time(index: int, end: datetime, minutes: int, *rest: Any) -> list[Any]:
    """A row of the table; its date is that of the day, whose last hour is the 24th."""
    day = (end - timedelta(minutes=minutes)).replace(hour=0, minute=0)
    hour, minute = divmod(round((end - day).total_seconds() / 60), 60)
    return [index, day.year, day.month, day.day, hour, minute, minutes, *rest]


PERIOD = st.builds(
    Simulated,
    start=st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)).map(lambda at: datetime(at.year, at.month, at.day)),
    days=st.integers(1, 4),
    warmup=st.integers(0, 3),
    sizing=st.booleans(),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(PERIOD, min_size=1, max_size=3), st.sampled_from([1, 2, 4, 6]), st.booleans(), st.booleans())
def test_each_step_of_a_period_is_a_row_and_no_day_of_warm_up(
    simulated: list[Simulated], per_hour: int, flagged: bool, daily: bool
) -> None:
    rows: list[list[Any]] = []
    real: dict[tuple[str, bool], list[tuple[int, str, datetime]]] = {}
    for number, period in enumerate(simulated, 1):
        for frequency, end, minutes, day, warming in period.steps(per_hour, daily):
            kind = {"timestep": -1, "hourly": 1, "daily": 2}[frequency]
            rows.append(row_of_time(len(rows) + 1, end, minutes, kind, day, number, int(warming) if flagged else None))
            if not warming:
                real.setdefault((frequency, period.sizing), []).append((len(rows), f"E{number}", end))

    environments = {number: Environment(f"E{number}", period.sizing) for number, period in enumerate(simulated, 1)}
    reported = {name: Reported(True, ()) for name in FREQUENCIES}
    found = read_clock(rows, 60 / per_hour, environments, reported).timelines
    assert {key for key in found if key[0] != "detailed"} == {*real}
    for key, expected in real.items():
        timeline = found[key]
        assert timeline.times.astype("datetime64[us]").astype(datetime).tolist() == [end for _, _, end in expected]
        assert timeline.environment_names.tolist() == [name for _, name, _ in expected]
        indexes = np.array([index for index, _, _ in expected])
        assert timeline.rows(indexes).tolist() == [*range(len(expected))]
        if key[0] != "daily":  # a day of warm-up may be the same moment as the only day, whose value comes last
            others = np.setdiff1d(np.arange(len(rows) + 3), indexes)
            assert (timeline.rows(others) == -1).all()


def test_of_no_steps_there_is_no_timeline() -> None:
    assert read_clock([], 15, {}, {"hourly": Reported(True, ())}).timelines == {}
