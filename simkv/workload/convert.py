"""How does any trace, or a generator, become a file of simkv's own?"""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from simkv import remote
from simkv.errors import InputError
from simkv.registry import Registry, did_you_mean, unknown
from simkv.request import Session, TraceHeader
from simkv.units import Quantity, written_name
from simkv.workload.bandwidth import read_foreign
from simkv.workload.generators import GENERATORS, SERIES_GENERATORS
from simkv.workload.output import write_lines
from simkv.workload.readers import FORMATS, Trace, open_trace
from simkv.workload.readers.native import header_line, session_line
from simkv.workload.series import Series, write_series

GENERATOR_PREFIX = "generator:"
_READ_PARAMS: dict[str, Any] = {"format": str, "max_input_tokens": int, "limit": int}
_TRACE_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.xz")
_SERIES_SUFFIXES = (".csv", ".csv.gz", ".csv.xz")


def convert(source: str, out: Path, params: Mapping[str, str], seed: int) -> dict[str, object]:
    """Write a trace or the output of a generator in simkv's own format.

    Equal arguments give equal bytes; the file appears only when it is complete.

    Parameters
    ----------
    source : path of a trace or of a bandwidth file, or `generator:NAME` for a generator of sessions or of a bandwidth
        series.
    out : file to write: .jsonl for sessions, .csv for a series, each plain or with .gz or .xz.
    params : for a trace `format`, `max_input_tokens`, `limit` and those of its format; for a bandwidth file those of
        `bandwidth.read_foreign`; for a generator its parameters. Values are text, as a scenario would have it:
        `{"horizon": "2 h"}`.
    seed : of a generator; a trace has nothing random.

    Returns
    -------
    What was written: path, and sessions and requests or rows, and what reading the source left out.

    Raises
    ------
    InputError : unknown source or parameter, a bad value, a source that is wrong, a file that cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp()) / "two.jsonl"
    >>> facts = convert("generator:sequential-reading", out, {"conversations": "2"}, seed=1)
    >>> facts["sessions"], facts["requests"]
    (2, 20)
    """
    out = Path(out)
    if not source.startswith(GENERATOR_PREFIX):
        if out.name.endswith(_SERIES_SUFFIXES):
            return _write_series(read_foreign(remote.local(source), params), out)
        return _convert_trace(remote.local(source), out, params)
    name = source.removeprefix(GENERATOR_PREFIX)
    if name in SERIES_GENERATORS.names():
        _want_suffix(out, _SERIES_SUFFIXES, "a bandwidth series")
        made = SERIES_GENERATORS.create(name, parse_params(SERIES_GENERATORS, name, params)).series(seed)
        return _write_series(Series(made.times_s, made.rates_bps, made.kind, {**made.provenance, "seed": seed}), out)
    known = [*GENERATORS.names(), *SERIES_GENERATORS.names()]
    if name not in known and "." not in name:
        raise unknown("generator", name, known)
    _want_suffix(out, _TRACE_SUFFIXES, "a trace")
    generator = GENERATORS.create(name, parse_params(GENERATORS, name, params))
    header = generator.header()
    header = dataclasses.replace(header, provenance={**header.provenance, "seed": seed})
    return _write_sessions(header, generator.sessions(seed), out)


def open_told(source: Path, params: Mapping[str, str]) -> Trace:
    """Open a trace with what people say of it.

    Parameters
    ----------
    params : `format`, `max_input_tokens`, `limit`, and the parameters of the format, as text.

    Raises
    ------
    InputError : no such file, not a trace, or a bad parameter.
    """
    read = {key: _parse(key, text, _READ_PARAMS[key]) for key, text in params.items() if key in _READ_PARAMS}
    told = {key: text for key, text in params.items() if key not in _READ_PARAMS}
    trace = open_trace(source, **read)
    if not told:
        return trace
    known = FORMATS.fields(trace.format)
    for key in told:
        if key not in known:
            takes = [*_READ_PARAMS, *known]
            hint = did_you_mean(key, takes)
            raise InputError(f"a {trace.format} trace has no parameter {key!r}{hint}; it takes: {', '.join(takes)}")
    return open_trace(source, **{**read, "format": trace.format}, params=parse_params(FORMATS, trace.format, told))


def _convert_trace(source: Path, out: Path, params: Mapping[str, str]) -> dict[str, object]:
    trace = open_told(source, params)
    _want_suffix(out, _TRACE_SUFFIXES, "a trace")
    told = {key: _parse(key, text, _READ_PARAMS[key]) for key, text in params.items() if key in _READ_PARAMS}
    told |= {key: value for key, value in trace.params.items() if key != "tokenizer"}  # a path of this machine
    provenance = {**trace.header.provenance, "converted_from": source.name, **told}
    header = dataclasses.replace(trace.header, provenance=provenance)
    return {**_write_sessions(header, trace.sessions(), out), **trace.notes()}


def _write_series(series: Series, out: Path) -> dict[str, object]:
    write_series(series, out)
    return {"path": str(out), "rows": len(series.times_s)}


def _want_suffix(out: Path, suffixes: tuple[str, ...], what: str) -> None:
    if not out.name.endswith(suffixes):
        raise InputError(f"{what} goes to a file that ends in {', '.join(suffixes)}", str(out))


def _write_sessions(header: TraceHeader, sessions: Iterator[Session], out: Path) -> dict[str, object]:
    counts = {"sessions": 0, "requests": 0}

    def lines() -> Iterator[str]:
        for session in sessions:
            counts["sessions"] += 1
            counts["requests"] += len(session.turns)
            yield session_line(session, header)

    write_lines(out, itertools.chain([header_line(header)], lines()))
    return {"path": str(out), **counts}


def parse_params(registry: Registry[Any], name: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Return a plug-in's parameters from text, written as a scenario writes them: units with the value.

    Raises
    ------
    InputError : unknown plug-in or parameter, or a value of another type or without its unit.

    Examples
    --------
    >>> parse_params(GENERATORS, "independent-trigger", {"p": "0.5", "horizon": "2 h"})
    {'p': 0.5, 'horizon_s': 7200.0}
    """
    types = typing.get_type_hints(registry.get(name))
    written = {written_name(field)[0]: field for field in registry.fields(name)}
    values = {}
    for key, text in params.items():
        if key not in written:
            hint = did_you_mean(key, list(written))
            raise InputError(f"{registry.kind} {name!r} has no parameter {key!r}{hint}; it takes: {', '.join(written)}")
        quantity = written_name(written[key])[1]
        values[written[key]] = (
            _parse(key, text, types[written[key]]) if quantity is None else _with_unit(key, text, quantity)
        )
    return values


def _with_unit(key: str, text: str, quantity: Quantity) -> float:
    """Return a quantity in the inside unit."""
    try:
        return quantity.parse(text)
    except InputError as error:
        raise InputError(str(error), key) from None


def _parse(key: str, text: str, wanted: Any) -> Any:
    """Return text as a value of the wanted type: int, float, str, bool, one of some words, or a list with commas."""
    if typing.get_origin(wanted) is tuple:
        return tuple(_parse(key, item.strip(), typing.get_args(wanted)[0]) for item in text.split(","))
    if typing.get_origin(wanted) is Literal:
        words = cast("tuple[str, ...]", typing.get_args(wanted))
        if text not in words:
            raise InputError(f"{key}: want {' or '.join(words)}, got {text!r}{did_you_mean(text, list(words))}")
        return text
    if wanted is bool:
        if text not in ("true", "false"):
            raise InputError(f"{key}: want true or false, got {text!r}")
        return text == "true"
    if wanted in (int, float):
        return _number(key, text, wanted)
    return Path(text) if Path in (wanted, *typing.get_args(wanted)) else text


def _number(key: str, text: str, wanted: type[int] | type[float]) -> float:
    try:
        return wanted(text)
    except ValueError:
        what = "a whole number" if wanted is int else "a number"
        raise InputError(f"{key}: want {what}, got {text!r}") from None
