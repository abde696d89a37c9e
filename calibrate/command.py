"""What `simkv calibrate` does, once its words have been read."""

# ruff: noqa: PLC0415 - PyTorch is imported when something is measured, so that what is wrong before is told at once

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from simkv import model
from simkv.compute.calibration import SHAPE_FACTS, MeasuredProfile
from simkv.errors import InputError
from simkv.model import ModelShape

from . import ops, plan, profile_of, provenance, rounds, saving
from .journal import Journal

if TYPE_CHECKING:
    import torch

    from .device import Device

DTYPES = ("bfloat16", "float16", "float32")


@dataclass(frozen=True)
class Wish:
    """What a person asked for.

    Attributes
    ----------
    model : name, repository or config.json.
    device : cpu or cuda.
    out : NAME.json.
    ops : groups or operations; None = all.
    budget_s : [s] of wall time.
    dtype : of weights, activations and KV.
    peer : HOST:PORT of the other end of TCP; "" = a process here.
    seed : of points, order and numbers.
    """

    model: str
    device: str
    out: Path
    ops: str | None = None
    budget_s: float = 600.0
    dtype: str = "bfloat16"
    peer: str = ""
    seed: int = 1


def calibrate(
    wish: Wish, progress: rounds.Progress | None = None, tell: Callable[[str], None] = lambda text: None
) -> MeasuredProfile:
    """Measure, write and return a profile.

    Parameters
    ----------
    wish : what is asked for.
    progress : told how far it is.
    tell : told what a person should know before the end.

    Raises
    ------
    InputError : a device or a model that is not there, or files that cannot be written.
    """
    from .device import open_device
    from .probes import Probes

    shape = _shape(wish.model)
    _check_out(wish.out)
    names = ops.chosen(wish.ops)
    device = open_device(wish.device)
    names = [name for name in names if _has(name, device)]
    facts = {"model": {fact: getattr(shape, fact) for fact in SHAPE_FACTS}, "dtype": wish.dtype}
    facts |= {"device": dict(device.facts()), "peer": wish.peer}
    todo = plan.make(names, wish.device, wish.budget_s, wish.seed, facts)
    hashed = provenance.module_sha256()
    head = {"plan": todo.sha256, "module": hashed, "seed": wish.seed}
    before = provenance.load()
    with Journal(wish.out.with_suffix(".journal.jsonl"), head) as journal:
        if journal.resumed:
            tell(f"going on after {journal.resumed} bursts, {journal.elapsed_s:.0f} s of {wish.budget_s:g} s spent")
        probes = Probes(device, shape, _dtype(wish.dtype), wish.seed, wish.peer, wish.out.resolve().parent)
        try:
            stop, seconds = rounds.run(todo, probes, journal, wish.budget_s, wish.seed, progress)
        finally:
            probes.close()
        load = (before, provenance.load())
        versions = provenance.software()
        about = (device.clock, device.facts(), versions, hashed, wish.seed, stop, seconds, journal.resumed, load)
        run = profile_of.Run(todo, shape, *about)
        found = profile_of.profile(run, journal.bursts, str(wish.out))
        whole = saving.save(found, todo, journal.bursts, wish.out)
        journal.remove()
    return whole


def _shape(name: str) -> ModelShape:
    shape = model.get(name)
    if shape.experts:
        raise InputError(f"{shape.name}: experts are not measured; want a dense model")
    return shape


def _check_out(path: Path) -> None:
    """Refuse a name that nothing can be written to, before any time is spent."""
    if path.suffix != ".json":
        raise InputError("want a name that ends in .json", str(path))
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", str(path))


def _has(name: str, device: Device) -> bool:
    """Return whether an operation is one of this kind of device."""
    across = name.startswith(("copy_h2d", "copy_d2h"))
    return across == (device.kind == "cuda") if ops.OPS[name].group == "copy" else True


def _dtype(name: str) -> torch.dtype:
    import torch

    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found
