"""Which link joins two servers?

A directed graph of servers; an edge is one direction and carries one `Link`. Sharing is worked out per
link, so a path is one link: anything longer is refused rather than priced wrongly.
"""

from __future__ import annotations

import networkx as nx

from simkv.errors import InputError
from simkv.network.link import Link
from simkv.registry import did_you_mean


class Topology:
    """Servers and the links between them.

    Examples
    --------
    >>> from simpy import Environment
    >>> from simkv.network.capacity import Constant
    >>> from simkv.network.transport import Ideal
    >>> topology = Topology()
    >>> topology.add_server("sender")
    >>> topology.add_server("receiver")
    >>> topology.add_link("sender", "receiver", Link(Environment(), "slice", Constant(1e8), 0.01, transport=Ideal()))
    >>> topology.link_between("sender", "receiver").name
    'slice'
    """

    def __init__(self) -> None:
        self._graph: nx.DiGraph[str] = nx.DiGraph()

    @property
    def servers(self) -> list[str]:
        """Names of the servers, in the order they came."""
        return list(self._graph.nodes)

    @property
    def links(self) -> list[Link]:
        """All links, by the order of the servers they start from."""
        return [data["link"] for _, _, data in self._graph.edges(data=True)]

    def add_server(self, name: str) -> None:
        """Add a server.

        Raises
        ------
        InputError : when there is one of that name.
        """
        if name in self._graph:
            raise InputError(f"there are two servers called {name!r}; names must differ")
        self._graph.add_node(name)

    def add_link(self, source: str, target: str, link: Link) -> None:
        """Join two servers in one direction.

        Raises
        ------
        InputError : when a server is unknown, both ends are one, they are joined already, or the name is taken.
        """
        where = f"link {link.name}"
        self._check_server(source, where)
        self._check_server(target, where)
        if source == target:
            raise InputError(f"joins {source!r} to itself; want two servers", where)
        if self._graph.has_edge(source, target):
            other = self._graph.edges[source, target]["link"].name
            raise InputError(f"{source} to {target} is joined already, by {other!r}; want one link a direction", where)
        if any(known.name == link.name for known in self.links):
            raise InputError("there are two links of this name; names must differ", where)
        self._graph.add_edge(source, target, link=link)

    def link_between(self, source: str, target: str) -> Link:
        """Return the link from one server to another.

        Raises
        ------
        InputError : when a server is unknown, no path leads there, or the path has more than one link.
        """
        self._check_server(source, "")
        self._check_server(target, "")
        if self._graph.has_edge(source, target):
            link: Link = self._graph.edges[source, target]["link"]
            return link
        if source == target or not nx.has_path(self._graph, source, target):
            known = ", ".join(f"{a} to {b}" for a, b in self._graph.edges) or "none"
            raise InputError(f"no link leads from {source} to {target}; there are: {known}")
        hops = nx.shortest_path_length(self._graph, source, target)
        raise InputError(f"simkv shares one link per path; {source} to {target} crosses {hops}: join them by a link")

    def _check_server(self, name: str, where: str) -> None:
        if name not in self._graph:
            known = self.servers
            raise InputError(
                f"unknown server {name!r}{did_you_mean(name, known)}; known: {', '.join(known) or 'none'}", where
            )
