"""What must agree between the parts of a scenario, beyond what each key can say alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from simkv.registry import did_you_mean
from simkv.scenario.misfit import Misfit, Misfits

if TYPE_CHECKING:
    from simkv.scenario.schema import Scenario, Workload


def raise_all(found: Iterable[Misfit]) -> None:
    """Raise what was found, together.

    Raises
    ------
    Misfits : when anything was.
    """
    if misfits := list(found):
        raise Misfits(misfits)


def workload(told: Workload) -> Iterator[Misfit]:
    """Yield what contradicts itself in a workload."""
    if (told.trace is None) == (told.generator is None):
        yield Misfit("want either trace: PATH or generator: NAME" + (", not both" if told.trace else ""))
    for key in ("format", "limit", "max_input_tokens"):
        if getattr(told, key) is not None and told.trace is None:
            yield Misfit(f"{key} belongs to a trace; this workload has none", (key,), on_key=True)
    if told.starts == "poisson" and told.session_rate_per_s is None:
        yield Misfit("Poisson starts need session_rate, such as '2 /min'", ("starts",))
    if told.starts == "recorded" and told.sessions is not None:
        message = (
            "recorded starts replay every session once; want session_rate to draw some, or limit for fewer requests"
        )
        yield Misfit(message, ("sessions",))
    if told.starts == "recorded" and told.session_rate_per_s is not None:
        yield Misfit("recorded starts leave no use for session_rate; remove one of the two", ("starts",))


def scenario(told: Scenario) -> Iterator[Misfit]:
    """Yield what contradicts itself between workload, servers, links and arms."""
    yield from _servers(told)
    yield from _links(told)
    yield from _arms(told)


def _servers(told: Scenario) -> Iterator[Misfit]:
    if not any(server.gpu for server in told.servers.values()):
        yield Misfit("want at least one server with a gpu", ("servers",))
    for name, server in told.servers.items():
        if "hbm" not in server.buffers:
            yield Misfit("missing key 'hbm': {size: ...}", ("servers", name, "buffers"))
        if server.source is not None:
            yield from _source(told, name, server.source)


def _source(told: Scenario, name: str, source: str) -> Iterator[Misfit]:
    at = ("servers", name, "source")
    if source == name:
        yield Misfit("a server is no source for itself", at)
        return
    if source not in told.servers:
        yield _unknown_server(source, told, at)
        return
    joined = {(link.from_, link.to) for link in told.links.values()}
    for pair in ((source, name), (name, source)):
        if pair not in joined:
            yield Misfit(f"a source needs a link each way; missing: from {pair[0]} to {pair[1]}", at)


def _links(told: Scenario) -> Iterator[Misfit]:
    first: dict[tuple[str, str], str] = {}
    for name, link in told.links.items():
        for key, server in (("from", link.from_), ("to", link.to)):
            if server not in told.servers:
                yield _unknown_server(server, told, ("links", name, key))
        if link.from_ == link.to:
            yield Misfit("a link joins two servers, not one to itself", ("links", name, "to"))
        other = first.setdefault((link.from_, link.to), name)
        if other != name:
            message = f"link {other!r} already goes from {link.from_} to {link.to}; want one link a direction"
            yield Misfit(message, ("links", name), on_key=True)


def _arms(told: Scenario) -> Iterator[Misfit]:
    if not told.arms:
        yield Misfit("want at least one arm; leave the key out for one called 'default'", ("arms",))
    seen: set[str] = set()
    for index, arm in enumerate(told.arms):
        if arm.name in seen:
            yield Misfit(f"a second arm is called {arm.name!r}", ("arms", index, "name"))
        seen.add(arm.name)
        for name in arm.servers:
            if name not in told.servers:
                yield _unknown_server(name, told, ("arms", index, "servers", name), on_key=True)


def _unknown_server(name: str, told: Scenario, at: tuple[str | int, ...], *, on_key: bool = False) -> Misfit:
    known = list(told.servers)
    return Misfit(f"no server {name!r}{did_you_mean(name, known)}; servers: {', '.join(known)}", at, on_key=on_key)
