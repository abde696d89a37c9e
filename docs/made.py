"""What of the pages is made of the code: every key of a scenario, every parameter of a plug-in, docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from simkv.scenario import schema as parts
from simkv.scenario.catalogue import catalogue
from simkv.scenario.json_schema import json_schema
from simkv.scenario.plugins import REGISTRIES

#: Parts of a scenario, in the order of the file.
_PARTS = ("Workload", "Hints", "Server", "Engine", "Buffer", "Link", "Series", "Policies", "Arm", "RunOptions")
#: What an arm may say of a part -> that part.
_CHANGES = {"PolicyChanges": "Policies", "ServerChanges": "Server"}
#: Head of what a function returns; its text is no type either.
RETURNS = "What comes back"
_HEAD = re.compile(r"(\S.*?) : (.*)")


def scenario_keys() -> Iterator[str]:
    """Yield a section a part of a scenario: what `simkv check --schema` says, for people."""
    schema = json_schema()
    yield from _part("The file", schema)
    for name in _PARTS:
        yield from _part(name, schema["$defs"][name])


def parameters() -> Iterator[str]:
    """Yield a section a question: what `simkv list` prints."""
    for kind, plugins in catalogue().items():
        yield from ["", f"## {kind}", "", "| name | does | parameters |", "| --- | --- | --- |"]
        for plugin in plugins:
            told = "; ".join(_parameter(parameter) for parameter in plugin["parameters"]) or "none"
            mark = " *(oracle)*" if plugin["oracle"] else ""
            yield f"| `{plugin['name']}` | {_cell(plugin['doc'])}{mark} | {_cell(told)} |"


#: Line of a page that stands for what is made -> what makes it.
MADE: dict[str, Callable[[], Iterator[str]]] = {
    "<!-- made: scenario keys -->": scenario_keys,
    "<!-- made: parameters -->": parameters,
}


def put_in(_app: object, _page: str, text: list[str]) -> None:
    """Put what is made into a page that is read."""
    for line, make in MADE.items():
        if line in text[0]:
            text[0] = text[0].replace(line, "\n".join(make()))


def plain(_app: object, _what: str, _name: str, _object: object, _options: object, lines: list[str]) -> None:
    """Turn a docstring of this house into one that napoleon reads, for which words behind a colon are a type.

    Examples
    --------
    >>> lines = ["Parameters", "----------", "seed : of all.", "", "Returns", "-------", "A table: one row an arm."]
    >>> plain(None, "", "", None, None, lines)
    >>> lines[2:6]
    ['seed', '    of all.', '', 'What comes back']
    """
    made: list[str] = []
    section = ""
    for line in lines:
        head = _HEAD.fullmatch(line)
        if re.fullmatch(r"-{3,}", line) and made:
            section = made[-1]
            if section == "Returns":
                made[-1] = RETURNS
            made.append("-" * len(made[-1]))
        elif head and section in ("Parameters", "Attributes", "Raises"):
            made += [head[1], f"    {head[2]}"]
        else:
            made.append(line)
    lines[:] = made


def _part(title: str, schema: Mapping[str, Any]) -> Iterator[str]:
    meant = _attributes(getattr(parts, schema["title"]))
    yield from ["", f"## {title}", "", _cell(schema["description"].partition("\n")[0]), ""]
    yield from ["| key | is | form | default |", "| --- | --- | --- | --- |"]
    for key, form in schema["properties"].items():
        if form:  # parameters of generators stand there without one; `simkv list generator` has them
            must = key in schema.get("required", ())
            default = "**wanted**" if must else f"`{form['default']}`" if form.get("default") is not None else ""
            told = f"see [{key}](parameters.md#{key})" if title == "Policies" else meant.get(key, "")
            looks = "a name, or a mapping of name and parameters" if key in REGISTRIES else _form(form)
            yield f"| `{key}` | {_cell(told)} | {_cell(looks)} | {_cell(default)} |"


def _attributes(part: Any) -> dict[str, str]:
    """Return what a docstring says of each attribute, by the key that is written in YAML."""
    keys = {name: field.alias or name for name, field in part.model_fields.items()}
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(part.__doc__).partition("Attributes\n----------\n")[2].splitlines():
        head = _HEAD.match(line)
        if head and not line.startswith(" "):
            names = [keys[name.strip()] for name in head[1].split(",")]
            found |= dict.fromkeys(names, head[2])
        elif line.startswith(" "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _form(form: Mapping[str, Any]) -> str:
    """Return what a value looks like."""
    if "$ref" in form:
        name = form["$ref"].rpartition("/")[2]
        part = _CHANGES.get(name, name)
        return f"[{part}](#{part.lower()})"
    if "const" in form:
        return f"`{form['const']}`"
    if "examples" in form:
        return f"such as `{form['examples'][0]}`"
    if "enum" in form:
        return ", ".join(f"`{value}`" for value in form["enum"])
    options = [_form(option) for key in ("anyOf", "oneOf") for option in form.get(key, ())]
    if options:
        return " or ".join(dict.fromkeys(option for option in options if option != "null"))
    inner = form.get("patternProperties") or {"": form.get("items") or form.get("additionalProperties")}
    of = next((f" of {_form(value)}" for value in inner.values() if isinstance(value, Mapping)), "")
    kind = str(form.get("type", ""))
    return {"object": "a mapping", "array": "a list", "string": "text"}.get(kind, kind) + of


def _parameter(parameter: Mapping[str, Any]) -> str:
    default = parameter["default"]
    told = ("yes" if default else "no") if isinstance(default, bool) else default
    return f"`{parameter['name']}`: {parameter['type']}, " + ("wanted" if parameter["required"] else f"default {told}")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
