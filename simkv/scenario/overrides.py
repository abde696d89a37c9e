"""What `--set PATH=VALUE` changes: dotted paths applied to the document before anything is checked.

A path names keys of the file or of the schema; arms go by name. `policies.QUESTION.PARAMETER` reaches
every arm, and the scenario's own policy, whose plug-in has that parameter; `policies.QUESTION` sets the
scenario's own; `arms.NAME.policies...` reaches one arm. Sweeps share this grammar.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping

from simkv.errors import InputError
from simkv.registry import did_you_mean
from simkv.scenario import plugins
from simkv.scenario.document import Mapping, Node, Scalar, Sequence, copied, from_python, plain
from simkv.scenario.schema import Policies, Scenario
from simkv.units import shown

#: Keys whose value may be a bare plug-in name.
_PLUG_IN_KEYS = {"gpu", "composition", *Policies.model_fields}


def apply(
    root: Mapping, overrides: AbstractMapping[str, object], places: AbstractMapping[str, str] | None = None
) -> None:
    """Change the document in place, in the order given.

    Parameters
    ----------
    places : path -> where its value comes from, for errors; `override PATH` where nothing is told.

    Raises
    ------
    InputError : a path that leads nowhere, or a value that is not YAML.
    """
    for path, value in overrides.items():
        where = (places or {}).get(path, f"override {path}")
        node = from_python(value, where)
        parts = path.split(".")
        if "" in parts:
            raise InputError("want a dotted path such as 'links.slice.delay'", where)
        _Override(root, where, node).at(parts)


class _Override:
    """One change on its way to its place."""

    def __init__(self, root: Mapping, where: str, node: Node) -> None:
        self.root = root
        self.where = where
        self.node = node

    def at(self, parts: list[str]) -> None:
        """Find the place and put the value there."""
        top = list(Scenario.written_keys())
        if parts[0] not in top:
            raise self.unknown("key", parts[0], top)
        if parts[0] == "sweep":
            raise InputError("what a sweep varies is changed by -p PATH=VALUES", self.where)
        if parts[0] == "arms" and len(parts) > 1:
            self.in_arm(parts[1], parts[2:])
        elif parts[0] == "policies" and len(parts) > 2 and parts[2] != "name":
            self.in_all_arms(parts[1], parts[2:])
        elif parts[0] in ("servers", "links") and len(parts) > 1:
            named = self.root.entries.get(parts[0])
            known = list(named.entries) if isinstance(named, Mapping) else []
            if parts[1] not in known:
                raise self.unknown(parts[0].removesuffix("s"), parts[1], known)
            self.put(self.root, parts, "")
        else:
            self.put(self.root, parts, "")

    def in_arm(self, name: str, parts: list[str]) -> None:
        """Change one arm."""
        known = {_arm_name(arm): arm for arm in self.arms()}
        if name not in known:
            raise self.unknown("arm", name, list(known))
        if not parts:
            raise InputError(f"want what to change of the arm: 'arms.{name}.policies.prefetch', say", self.where)
        arm = known[name]
        if parts[0] == "policies" and len(parts) > 2:
            policies = self.child(arm, "policies", f"arms.{name}")
            if parts[1] not in policies.entries:
                policies.put(parts[1], copied(self.default(parts[1])), self.where)
        self.put(arm, parts, f"arms.{name}")

    def in_all_arms(self, question: str, parts: list[str]) -> None:
        """Change a parameter wherever the plug-in has it."""
        if question not in Policies.model_fields:
            raise self.unknown("policy", question, list(Policies.model_fields))
        arms = list(self.arms())
        own = [policies for arm in arms if question in (policies := _policies(arm)).entries]
        changed = 0
        if len(own) < len(arms) or not arms:  # somebody uses the scenario's own
            shared = self.child(self.root, "policies", "")
            shared.entries.setdefault(question, self.default(question))
            shared.key_where.setdefault(question, self.where)
            own.append(shared)
        for policies in own:
            if parts[0] in _parameters(question, policies.entries[question]):
                self.put(policies, [question, *parts], "policies")
                changed += 1
        if not changed:
            names = sorted({str(_plugin_name(policies.entries[question])) for policies in own})
            raise InputError(f"no arm's {question} takes {parts[0]!r}; they are: {', '.join(names)}", self.where)

    def put(self, start: Mapping, parts: list[str], above: str) -> None:
        """Walk down from a mapping, making what the file leaves out, and set the last key."""
        here = start
        for part in parts[:-1]:
            here = self.child(here, part, above)
            above = f"{above}.{part}" if above else part
        here.put(parts[-1], copied(self.node), self.where)

    def child(self, parent: Mapping, key: str, above: str) -> Mapping:
        """Return the mapping under a key; a bare plug-in name becomes one, an absent key too."""
        node = parent.entries.get(key)
        if node is None:
            node = Mapping(self.where)
            parent.put(key, node, self.where)
        elif isinstance(node, Scalar) and key in _PLUG_IN_KEYS:
            made = Mapping(node.where)
            made.put("name", node, node.where)
            node = made
            parent.put(key, node, parent.key_where[key])
        if isinstance(node, Mapping):
            return node
        path = f"{above}.{key}" if above else key
        raise InputError(f"{path} is {shown(plain(node))} and has no keys", self.where)

    def arms(self) -> Iterator[Mapping]:
        """Yield the arms of the file."""
        arms = self.root.entries.get("arms")
        for item in arms.items if isinstance(arms, Sequence) else []:
            if isinstance(item, Mapping):
                yield item

    def default(self, question: str) -> Node:
        """Return the scenario's own plug-in for a question."""
        policies = self.root.entries.get("policies")
        if isinstance(policies, Mapping) and question in policies.entries:
            return policies.entries[question]
        field = Policies.model_fields.get(question)
        return Scalar(self.where, field.default if field else None)

    def unknown(self, what: str, word: str, known: list[str]) -> InputError:
        """Return the error for a name that is not there, with those that are."""
        listed = f"known: {', '.join(known)}" if known else f"the scenario has no {what}s"
        return InputError(f"unknown {what} {word!r}{did_you_mean(word, known)}; {listed}", self.where)


def _policies(arm: Mapping) -> Mapping:
    found = arm.entries.get("policies")
    return found if isinstance(found, Mapping) else Mapping(arm.where)


def _arm_name(arm: Mapping) -> str:
    name = arm.entries.get("name")
    return str(name.value) if isinstance(name, Scalar) else ""


def _plugin_name(node: Node) -> object:
    name = node.entries.get("name") if isinstance(node, Mapping) else node
    return name.value if isinstance(name, Scalar) else None


def _parameters(question: str, node: Node) -> list[str]:
    """Return what the plug-in takes; nothing when it is unknown, which the schema reports better."""
    name = _plugin_name(node)
    try:
        return list(plugins.parameters(question, name)) if isinstance(name, str) else []
    except InputError:
        return []
