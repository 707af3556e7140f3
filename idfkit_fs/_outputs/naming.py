"""EnergyPlus's own names for its outputs: which files of a directory are of one run, and which is which. No I/O.

EnergyPlus names its outputs by a prefix and one of three styles: ``eplusout.err`` with ``eplustbl.htm`` (its default,
and OpenStudio's), ``eplus.err`` with ``eplusTable.htm`` (idfkit's default, and EP-Launch's), ``eplus.err`` with
``eplus-table.htm``. The stem is what comes before ``.err``: it distinguishes runs that share a prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

__all__ = ["output_name", "outputs_of", "prefix_of", "stem_of", "stems_in"]

# Sources: EnergyPlus's CommandLineInterface.cc, its script runenergyplus, and EP-Launch's list of outputs.
_PERIODS = ("detailed_zone", "detailed_HVAC", "timestep", "hourly", "daily", "monthly", "yearly", "runperiod")
# fmt: off
_AFTER_STEM = frozenset({
    ".audit", ".bnd", ".bsmt", ".cbor", ".cfp", ".cif", ".csv", ".dbg", ".dfs", ".dxf", ".edd", ".eio", ".end",
    ".epmdet", ".epmidf", ".err", ".eso", ".experr", ".expidf", ".glhe", ".iperr", ".json", ".mdd", ".msgpack", ".mtd",
    ".mtr", ".rdd", ".rvaudit", ".sci", ".shd", ".slab", ".sln", ".sql", ".svg", ".wrl",
    "_bsmt.audit", "_bsmt.csv", "_bsmt.out", "_slab.ger", "_slab.out", "_perflog.csv",
    "DElight.in", "DElight.out", "DElight.eldmp", "DElight.dfdmp",
    *(f"_{period}.{form}" for period in _PERIODS for form in ("json", "cbor", "msgpack")),
})
_AFTER_OUT = frozenset({
    ".delighteldmp", ".delightdfdmp", ".delightin", ".delightout", ".log", ".sparklog", ".tab", ".txt", "screen.csv",
})
# fmt: on
# The default style has other words.
_OTHER_WORDS = {"table": "tbl", "meter": "mtr"}
_ENDINGS = {
    "table": ("csv", "htm", "html", "tab", "txt", "xml"),
    **dict.fromkeys(("map", "zsz", "ssz", "spsz", "psz", "meter"), ("csv", "tab", "txt")),
    **dict.fromkeys(("screen", "shading", "proc"), ("csv",)),
    "sqlite": ("err",),
    "ads": ("out",),
}
_OF_ANY_PREFIX = ("sqlite.err", "readvars.audit", "expandedidf.err")
_OUT = "out"
_FIRST_WORD = (".end", ".err")
_DATA = (".sql", ".eso")


def stems_in(names: Iterable[str]) -> list[str]:
    """The stems of the runs in a directory, sorted.

    Args:
        names: The names of its files.

    Returns:
        One for each ``.end`` and ``.err`` of a run; if there are none, for each ``.sql`` and ``.eso``.

    Examples:
        >>> stems_in(["eplusout.end", "eplusout.err", "sqlite.err", "eplusSqlite.err", "notes.sql"])
        ['eplusout']
    """
    names = [name for name in names if "/" not in name and not name.lower().endswith("sqlite.err")]
    for suffixes in (_FIRST_WORD, _DATA):
        found = {name.rpartition(".")[0] for name in names if name.endswith(suffixes) and name not in _OF_ANY_PREFIX}
        if found - {""}:
            return sorted(found - {""})
    return []


def stem_of(prefix: str, stems: Collection[str]) -> str | None:
    """The stem that a prefix, or a stem itself, names; None if there is no such run.

    Examples:
        >>> stem_of("eplus", ["eplusout"]), stem_of("eplus", ["eplus", "eplusout"]), stem_of("in", ["eplusout"])
        ('eplusout', 'eplus', None)
    """
    return next((stem for stem in (prefix, f"{prefix}{_OUT}") if stem in stems), None)


def prefix_of(stem: str, stems: Collection[str]) -> str:
    """The prefix of a run's outputs, by which they are found again.

    Args:
        stem: The run's stem.
        stems: The stems of all runs in the directory.

    Returns:
        The prefix; the stem itself if another run in the directory would be found by the prefix.

    Examples:
        >>> prefix_of("eplusout", ["eplusout"]), prefix_of("eplusout", ["eplus", "eplusout"])
        ('eplus', 'eplusout')
    """
    prefix = stem.removesuffix(_OUT)
    return stem if not prefix or prefix in stems else prefix


def outputs_of(names: Iterable[str], stem: str, stems: Collection[str]) -> list[str]:
    """The outputs of one run among the files of a directory, sorted.

    Args:
        names: The names of the files.
        stem: The run's stem.
        stems: The stems of all runs in the directory.

    Returns:
        The names that EnergyPlus gives to outputs of this run. Those that have no prefix are among them only if no
        other run in the directory can have written them.

    Examples:
        >>> outputs_of(["eplusout.err", "eplustbl.htm", "sqlite.err", "in.idf", "eplus.err"], "eplusout", ["eplusout"])
        ['eplusout.err', 'eplustbl.htm', 'sqlite.err']
    """
    own = {f"{stem}{after}" for after in (*_AFTER_STEM, *_words(str.capitalize), *_words(lambda word: f"-{word}"))}
    if stem.endswith(_OUT):
        prefix = stem.removesuffix(_OUT)
        own |= {f"{stem}{after}" for after in _AFTER_OUT}
        own |= {f"{prefix}{after}" for after in _words(lambda word: _OTHER_WORDS.get(word, word))}
        own |= {f"{prefix}ADS.out"}
    if len(stems) == 1:
        own |= {*_OF_ANY_PREFIX}
    return sorted(own.intersection(names))


def output_name(names: Collection[str], prefix: str, suffix: str) -> str | None:
    """The output of a run with a suffix.

    Args:
        names: The names of the run's files.
        prefix: The prefix of the output files.
        suffix: Such as ``".sql"``, ``".err"`` or ``"Table.htm"``.

    Returns:
        ``{prefix}out{suffix}`` or ``{prefix}{suffix}`` if there is one; for HTML, else the first HTML file. None if
        there is no such file: ``eplusZsz.csv`` is not the run's CSV.

    Examples:
        >>> output_name(["eplusout.err", "eplustbl.htm"], "eplus", ".htm")
        'eplustbl.htm'
    """
    usual = [f"{prefix}{_OUT}{suffix}", f"{prefix}{suffix}"]
    others = sorted(name for name in names if suffix in (".htm", ".html") and name.endswith(suffix))
    return next((name for name in (*usual, *others) if name in names), None)


def _words(style: Callable[[str], str]) -> list[str]:
    return [f"{style(word)}.{ending}" for word, endings in _ENDINGS.items() for ending in endings]
