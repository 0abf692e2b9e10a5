"""YAML as this folder writes and reads it: keys sorted, every text that any version of YAML could take for something else in
double quotes, no anchors; read with duplicate keys refused. What is written here means the same to YAML 1.1 and 1.2.
"""
import re

import yaml

# A plain text begins with a letter or a slash and holds nothing that YAML gives a meaning.
PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9/_.-]*\Z")
WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
NUMBER = re.compile(r"[0-9.]*(e[0-9]+|inf|nan)?\Z", re.I)


def dump(value):
    """`value` as YAML, with a newline at its end. Lists, dicts with text keys, texts, whole numbers, booleans, None."""
    return "".join(line + "\n" for line in lines(value))


def lines(value):
    if isinstance(value, dict) and value:
        out = []
        for key in sorted(value):
            out += under(scalar(key) + ":", value[key], "  ")
        return out
    if isinstance(value, list) and value:
        out = []
        for item in value:
            inner = lines(item)
            out += ["- " + inner[0]] + ["  " + line for line in inner[1:]]
        return out
    if is_block(value):
        return ["|"] + ["  " + line for line in value.splitlines()]
    return [scalar(value)]


def is_block(value):
    """A text of several plain lines, which people want to read as such."""
    return isinstance(value, str) and "\n" in value[:-1] and value.endswith("\n") and not value.endswith("\n\n") and all(
        line and line[-1] != " " and line.isascii() and line.isprintable() for line in value[:-1].split("\n")) and value[0] != " "


def under(head, value, pad):
    if isinstance(value, dict) and value:
        return [head] + [pad + line for line in lines(value)]
    if isinstance(value, list) and value:
        return [head] + lines(value)
    if is_block(value):
        return [head + " |"] + [pad + line for line in value.splitlines()]
    return [f"{head} {scalar(value)}"]


def scalar(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, list):
        return "[]"
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} has no place in YAML here")
    if PLAIN.match(value) and value.lower() not in WORDS and not NUMBER.match(value):
        return str(value)
    return quoted(value)


def quoted(text):
    out = []
    for char in text:
        code = ord(char)
        if char in '"\\':
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif char.isprintable():
            out.append(char)
        else:
            out.append(f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


class Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Refuses a key that stands twice, of which others would silently take the last."""


def _mapping(loader, node, deep=False):
    seen = set()
    for key, _ in node.value:
        name = loader.construct_object(key, deep=True)
        if name in seen:
            raise yaml.YAMLError(f"line {key.start_mark.line + 1}: {name} stands twice")
        seen.add(name)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, lambda loader, node: _mapping(loader, node, True))


def load(text):
    return yaml.load(text, Strict)


def load_all(text):
    """The documents that are not empty."""
    return [one for one in yaml.load_all(text, Strict) if one is not None]
