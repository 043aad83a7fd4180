"""pydantic's findings in the user's words: one line with the key, the value, the limit and the remedy."""

import difflib

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from varpro.config.sections import Section, Tree

SIGNS = {"greater_than_equal": ">=", "greater_than": ">", "less_than_equal": "<=", "less_than": "<"}
NEEDS = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "finite_number": "must be a finite number",
}
EXAMPLES = {
    "data": "data: {source: mnist}",
    "data.source": "data: {source: mnist}",
    "network": "network: {name: lenet5}",
    "network.name": "network: {name: lenet5}",
}


def shown(value: object) -> str:
    """A value as it would be written in YAML."""
    if value is None:
        return "empty"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def explain(error: ValidationError, tree: Tree, model: type[BaseModel]) -> tuple[str, str]:
    """(key, complaint) for the first thing to mend; other wrong keys are named at the end.

    Unknown keys come first, since a missing or default value is often just a misspelt one.
    """
    found = sorted(error.errors(include_url=False), key=lambda e: e["type"] not in ("extra_forbidden", "invalid_key"))
    keys = list(dict.fromkeys(_key(e["loc"]) for e in found))
    complaint = _complaint(found[0], keys[0], model)
    misspelt = {_section(e["loc"]) for e in found if e["type"] == "extra_forbidden"}
    missing = {_key(e["loc"]) for e in found if e["type"] == "missing" and _section(e["loc"]) in misspelt}
    others = [key for key in keys[1:] if key not in missing]
    return keys[0], complaint + (f" (also to mend: {', '.join(others)})" if others else "")


def _key(location: tuple[int | str, ...]) -> str:
    """The dotted key of pydantic's location, without its names for branches of a union."""
    parts = [str(part) for part in location if not str(part).startswith(("function-", "literal", "constrained", "["))]
    return ".".join(parts)


def _section(location: tuple[int | str, ...]) -> str:
    return _key(location).rpartition(".")[0]


def _complaint(found: ErrorDetails, key: str, model: type[BaseModel]) -> str:
    kind, value, context = found["type"], found.get("input"), found.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key {key}; {nearest(key, model)}"
    if kind == "invalid_key":
        return f"unknown key {key}; keys are {', '.join(model.model_fields)}"
    if kind == "missing":
        return f"{key} is missing; add it, for example {EXAMPLES.get(key, f'{key}: ...')}"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"{key} is {shown(value)}; a mapping of keys to values is needed{_hint(key, value)}"
    if kind == "literal_error":
        choices = context["expected"].replace(" or ", ", ")
        near = difflib.get_close_matches(str(value).lower(), choices.replace("'", "").split(", "), n=1)
        return f"{key} is {shown(value)}; choose one of {choices}" + (f" (did you mean {near[0]}?)" if near else "")
    if kind in SIGNS:
        return f"{key} is {value}; it needs a value {SIGNS[kind]} {next(iter(context.values()))}"
    if kind == "value_error":
        return f"{key} is {shown(value)}; it {context['error']}"
    return f"{key} is {shown(value)}; it {NEEDS.get(kind, found['msg'][0].lower() + found['msg'][1:])}"


def _hint(key: str, value: object) -> str:
    if key == "data" and isinstance(value, str):
        return f", such as data: {{source: {value}}}"
    return f"; put keys below {key}, or remove the line" if value is None else ""


def all_keys(model: type[BaseModel]) -> list[str]:
    """Every dotted key of a model and its sections."""
    keys = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        keys.append(name)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += [f"{name}.{key}" for key in all_keys(inner)]
    return keys + (model.further_keys() if issubclass(model, Section) else [])


def nearest(key: str, model: type[BaseModel]) -> str:
    """The key that was probably meant: the right word in another place, else the nearest spelling of path or last
    word."""
    keys = all_keys(model)
    ends: dict[str, list[str]] = {}
    for candidate in keys:
        ends.setdefault(candidate.rsplit(".", 1)[-1], []).append(candidate)
    last = key.rsplit(".", 1)[-1].lower()
    meant = ends.get(last) or difflib.get_close_matches(key.lower(), keys, n=1, cutoff=0.7)
    if not meant:
        close = difflib.get_close_matches(last, ends, n=1, cutoff=0.7)
        meant = ends[close[0]] if close else []
    if meant:
        return f"did you mean {' or '.join(meant)}?"
    section = key.rpartition(".")[0]
    within = [k.removeprefix(f"{section}.") for k in keys if section and k.startswith(f"{section}.")]
    return f"keys are {', '.join(model.model_fields)}" if not within else f"keys of {section} are {', '.join(within)}"
