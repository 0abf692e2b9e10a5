"""The part of Go's text/template, with Helm's functions, that the charts of this folder use: small, and stricter than Helm.

Where versions of Helm differ, or where a value could break out of its place in the YAML, this refuses instead of guessing:
a number is printed only through `int64`, `quote` of a string or `toYaml`; a string from outside is printed bare only if it is
plain (letters, digits and . _ / : @ -); what is not there is never printed. Whatever is outside the subset is an error that
names the file and its line. `tpl` is not in the subset on purpose: values are never templates.

Semantics follow the documentation of text/template (actions, pipelines, trimming) and of Helm's and Sprig's functions.
"""
import json
import re

import yaml_text


class TemplateError(Exception):
    """What is wrong, with the template's file and line."""


class Text(str):
    """Output that is YAML already: of `quote`, `toYaml`, `include` and what indents them."""


class Int64(int):
    """A number that went through int64: printed as digits by every version."""


class Missing:
    """A key that is not there: false, printed by nothing."""

    def __bool__(self):
        return False


MISSING = Missing()
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*\Z")
ACTION = re.compile(r"\{\{(?P<left>-(?=\s))?(?P<body>(?:\"(?:\\.|[^\"\\])*\"|`[^`]*`|/\*.*?\*/|(?!\}\}).)*?)(?P<right>(?<=\s)-)?\}\}", re.S)
TOKEN = re.compile(r"""\s+|(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)|(?P<number>-?\d+(?![\w.]))|(?P<field>\$?(?:\.[A-Za-z_]\w*)+|\$[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*|\.(?![\w])|\$)"""
                   r"""|(?P<word>[A-Za-z_]\w*)|(?P<mark>:=|=|\||\(|\)|,)""")
KEYWORDS = {"if", "else", "end", "range", "with", "define", "template", "block", "break", "continue"}


def truth(value):
    """As text/template: false, 0, nil and what is empty are false. Of a number that did not go through int64 nobody can tell: to
    newer versions of Helm it is a text of digits, and true."""
    if isinstance(value, int) and not isinstance(value, (bool, Int64)):
        raise TemplateError("whether a number is true needs int64")
    return not (value is None or value is MISSING or value is False or value == 0 or (isinstance(value, (str, list, dict)) and not value))


# ---- from text to a tree ---------------------------------------------------------------------------------------------------

def pieces(source):
    """(line, kind, content) of text and actions, with the trimming of `{{-` and `-}}` done."""
    out, at, trim_next = [], 0, False
    for found in ACTION.finditer(source):
        text = source[at:found.start()]
        if "{{" in text:
            raise TemplateError(f"{line_of(source, at + text.index('{{'))}: an action that does not end")
        text = text.lstrip(" \t\r\n") if trim_next else text
        text = text.rstrip(" \t\r\n") if found["left"] else text
        out.append((line_of(source, at), "text", text))
        out.append((line_of(source, found.start()), "action", found["body"].strip()))
        at, trim_next = found.end(), bool(found["right"])
    rest = source[at:]
    if "{{" in rest:
        raise TemplateError(f"{line_of(source, at + rest.index('{{'))}: an action that does not end")
    out.append((line_of(source, at), "text", rest.lstrip(" \t\r\n") if trim_next else rest))
    return out


def line_of(source, offset):
    return source.count("\n", 0, offset) + 1


def tokens(body, line):
    out, at = [], 0
    while at < len(body):
        found = TOKEN.match(body, at)
        if not found:
            raise TemplateError(f"{line}: not understood: {body[at:]!r}")
        at = found.end()
        if found.lastgroup:
            out.append((found.lastgroup, found[found.lastgroup]))
    return out


class Parser:
    """Actions of one file to nodes: ("text", s), ("print", line, pipe), ("set", …), ("if"|"with"|"range", line, …)."""

    def __init__(self, source):
        self.pieces, self.at, self.defines = pieces(source), 0, {}

    def parse(self):
        nodes, ended_by = self.nodes()
        if ended_by:
            raise TemplateError(f"{ended_by[0]}: '{ended_by[1]}' without its beginning")
        return nodes, self.defines

    def nodes(self):
        out = []
        while self.at < len(self.pieces):
            line, kind, content = self.pieces[self.at]
            self.at += 1
            if kind == "text":
                out.append(("text", content))
                continue
            if content.startswith("/*") and content.endswith("*/"):
                continue
            items = tokens(content, line)
            if not items:
                raise TemplateError(f"{line}: an empty action")
            word = items[0][1] if items[0][0] == "word" else ""
            if word in ("end", "else"):
                return out, (line, word, items[1:])
            if word in ("if", "with", "range"):
                out.append(self.branch(line, word, items[1:]))
            elif word == "define":
                self.define(line, items[1:])
            elif word in KEYWORDS:
                raise TemplateError(f"{line}: '{word}' is not in the subset")
            elif len(items) > 1 and items[1][1] in (":=", "="):
                out.append(("set", line, items[0][1], items[1][1], self.pipe(items[2:], line)))
            else:
                out.append(("print", line, self.pipe(items, line)))
        return out, None

    def define(self, line, items):
        if len(items) != 1 or items[0][0] != "string":
            raise TemplateError(f"{line}: define needs one name")
        body, ended_by = self.nodes()
        if not ended_by or ended_by[1] != "end":
            raise TemplateError(f"{line}: define without end")
        name = literal(items[0][1])
        if name in self.defines:
            raise TemplateError(f"{line}: {name} is defined twice")
        self.defines[name] = body

    def branch(self, line, word, items):
        names = []
        marks = [index for index, item in enumerate(items) if item[1] == ":="]
        if marks:
            names = [item[1] for item in items[:marks[0]] if item[1] != ","]
            items = items[marks[0] + 1:]
        pipe = self.pipe(items, line)
        body, ended_by = self.nodes()
        other = []
        if ended_by and ended_by[1] == "else":
            rest = ended_by[2]
            if rest and rest[0] == ("word", "if") and word == "if":
                other = [self.branch(ended_by[0], "if", rest[1:])]
                return (word, line, names, pipe, body, other)
            if rest:
                raise TemplateError(f"{ended_by[0]}: only 'else' and 'else if' are in the subset")
            other, ended_by = self.nodes()
        if not ended_by or ended_by[1] != "end":
            raise TemplateError(f"{line}: {word} without end")
        return (word, line, names, pipe, body, other)

    def pipe(self, items, line):
        """A list of commands; a command is a list of operands; ("call", pipe) stands for parentheses."""
        commands, current, at = [], [], 0
        while at < len(items):
            kind, content = items[at]
            at += 1
            if content == "(" and kind == "mark":
                depth, begin = 1, at
                while at < len(items) and depth:
                    depth += {"(": 1, ")": -1}.get(items[at][1], 0) if items[at][0] == "mark" else 0
                    at += 1
                if depth:
                    raise TemplateError(f"{line}: a parenthesis that does not close")
                current.append(("call", self.pipe(items[begin:at - 1], line)))
            elif kind == "mark" and content == "|":
                commands.append(current)
                current = []
            elif kind == "mark":
                raise TemplateError(f"{line}: '{content}' is not expected here")
            else:
                current.append((kind, content))
        commands.append(current)
        if not all(commands):
            raise TemplateError(f"{line}: an empty command in a pipeline")
        return commands


def literal(text):
    if text.startswith("`"):
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError as fault:
        raise TemplateError(f"a text that is not understood: {text}") from fault


# ---- functions -------------------------------------------------------------------------------------------------------------

def go_quote(text):
    """strconv.Quote, whose escapes YAML's double quotes know, too."""
    known = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}
    out = []
    for char in text:
        code = ord(char)
        if char in known:
            out.append(known[char])
        elif char.isprintable():
            out.append(char)
        else:
            out.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(out) + '"'


def as_text(value, what):
    if not isinstance(value, str):
        raise TemplateError(f"{what} needs a text, not {kind_of(value)}")
    return value


def as_number(value, what):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TemplateError(f"{what} needs a whole number, not {kind_of(value)}")
    return value


def kind_of(value):
    return "nothing" if value is None or value is MISSING else type(value).__name__


def same_kind(first, others, what):
    """A number of the values is a float or a text, as Helm's version has it: it cannot be compared before int64."""
    for other in others:
        for one in (first, other):
            if isinstance(one, int) and not isinstance(one, (bool, Int64)):
                raise TemplateError(f"{what} of a number that did not go through int64")
        if isinstance(first, bool) != isinstance(other, bool) or isinstance(first, str) != isinstance(other, str):
            raise TemplateError(f"{what} compares {kind_of(first)} with {kind_of(other)}, which text/template refuses")


def equal(first, *others):
    same_kind(first, others, "eq")
    return any(first == other for other in others)


def compared(what, first, other):
    same_kind(first, [other], what)
    return as_number(first, what) - as_number(other, what)


def indent(spaces, text):
    pad = " " * as_number(spaces, "indent")
    return Text(pad + text.replace("\n", "\n" + pad)) if isinstance(text, Text) else _bare_indent(text)


def _bare_indent(value):
    raise TemplateError(f"only what toYaml, quote or include gave can be indented, not {kind_of(value)}")


def nindent(spaces, text):
    return Text("\n" + indent(spaces, text))


def quote(*values):
    """Of texts and booleans: a number would look different in different versions of Helm."""
    out = []
    for value in values:
        if value is MISSING or value is None:
            raise TemplateError("quote of nothing")
        if isinstance(value, bool):
            out.append(f'"{str(value).lower()}"')
        elif isinstance(value, Int64):
            out.append(f'"{int(value)}"')
        else:
            out.append(go_quote(as_text(value, "quote")))
    return Text(" ".join(out))


def int64(value):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TemplateError(f"int64 of {kind_of(value)}")
    return Int64(value)


def required(message, value):
    if value is MISSING or value is None or value == "":
        raise TemplateError(as_text(message, "required"))
    return value


def fail_with(message):
    raise TemplateError(as_text(message, "fail"))


def printf(form, *values):
    """%s with texts and %d with numbers."""
    out, values = [], list(values)
    for part in re.split(r"(%.)", as_text(form, "printf")):
        if part == "%%":
            out.append("%")
        elif part in ("%s", "%d"):
            if not values:
                raise TemplateError("printf has too few values")
            value = values.pop(0)
            out.append(as_text(value, "%s") if part == "%s" else str(as_number(value, "%d")))
        elif part.startswith("%"):
            raise TemplateError(f"printf knows %s and %d, not {part}")
        else:
            out.append(part)
    if values:
        raise TemplateError("printf has too many values")
    return "".join(out)


def make_dict(*items):
    return dict(zip(items[::2], items[1::2], strict=True))


FUNCTIONS = {
    "add": lambda *numbers: Int64(sum(as_number(number, "add") for number in numbers)),
    "div": lambda a, b: Int64(as_number(a, "div") // as_number(b, "div")),
    "concat": lambda *lists: [item for one in lists for item in one],
    "contains": lambda part, text: as_text(part, "contains") in as_text(text, "contains"),
    "default": lambda other, value=MISSING: value if truth(value) else other,
    "dict": make_dict,
    "eq": equal,
    "fail": fail_with,
    "gt": lambda a, b: compared("gt", a, b) > 0,
    "has": lambda item, items: item in items,
    "hasKey": lambda mapping, key: key in mapping,
    "indent": indent,
    "int64": int64,
    "join": lambda glue, items: glue.join(as_text(item, "join") for item in items),
    "len": lambda value: Int64(len(value)),
    "list": lambda *items: list(items),
    "lt": lambda a, b: compared("lt", a, b) < 0,
    "mul": lambda a, b: Int64(as_number(a, "mul") * as_number(b, "mul")),
    "ne": lambda a, b: not equal(a, b),
    "nindent": nindent,
    "not": lambda value: not truth(value),
    "printf": printf,
    "quote": quote,
    "replace": lambda old, new, text: as_text(text, "replace").replace(old, new),
    "required": required,
    "toYaml": lambda value: Text(yaml_text.dump(value).rstrip("\n")),
    "trimSuffix": lambda end, text: as_text(text, "trimSuffix").removesuffix(end),
    "trunc": lambda most, text: as_text(text, "trunc")[:as_number(most, "trunc")],
}


# ---- from a tree to output -------------------------------------------------------------------------------------------------

class Engine:
    """All templates of one chart, and the data that they see."""

    def __init__(self, sources):
        """`sources`: name of a file to its text."""
        self.files, self.defines, self.depth = {}, {}, 0
        for name, source in sources.items():
            try:
                self.files[name], defines = Parser(source).parse()
            except TemplateError as fault:
                raise TemplateError(f"{name}:{fault}") from None
            for define, body in defines.items():
                if define in self.defines:
                    raise TemplateError(f"{name}: {define} is defined twice")
                self.defines[define] = (name, body)

    def render(self, name, root):
        """The output of the file `name` for the data `root`."""
        return self.run(name, self.files[name], root, [{"$": root}])

    def run(self, name, nodes, dot, scopes):
        out = []
        for node in nodes:
            if node[0] == "text":
                out.append(node[1])
                continue
            try:
                out.append(self.node(name, node, dot, scopes))
            except TemplateError as fault:
                # The innermost place says it; what includes it need not.
                placed = fault if getattr(fault, "placed", False) else TemplateError(f"{name}:{node[1]}: {fault}")
                placed.placed = True
                raise placed from None
        return "".join(out)

    def node(self, name, node, dot, scopes):
        kind = node[0]
        if kind == "print":
            return printed(self.pipe(node[2], dot, scopes))
        if kind == "set":
            self.set(node, self.pipe(node[4], dot, scopes), scopes)
            return ""
        _, _, names, pipe, body, other = node
        value = self.pipe(pipe, dot, scopes)
        if kind == "range":
            return self.range(name, names, value, body, other, dot, scopes)
        inner = scopes + [{names[0]: value} if names else {}]
        if truth(value):
            return self.run(name, body, value if kind == "with" else dot, inner)
        return self.run(name, other, dot, inner)

    def set(self, node, value, scopes):
        _, _, variable, mark, _ = node
        if not re.fullmatch(r"\$\w+", variable):
            raise TemplateError(f"{variable} cannot be set")
        if mark == ":=":
            scopes[-1][variable] = value
            return
        for scope in reversed(scopes):
            if variable in scope:
                scope[variable] = value
                return
        raise TemplateError(f"{variable} is not declared")

    def range(self, name, names, value, body, other, dot, scopes):
        if isinstance(value, dict):
            items = sorted(value.items())
        elif isinstance(value, list):
            items = [(Int64(index), item) for index, item in enumerate(value)]
        elif value is None or value is MISSING:
            items = []
        else:
            raise TemplateError(f"range over {kind_of(value)}")
        out = []
        for key, item in items:
            declared = {}
            if len(names) == 2:
                declared = {names[0]: key, names[1]: item}
            elif names:
                declared = {names[0]: item}
            out.append(self.run(name, body, item, scopes + [declared]))
        return "".join(out) if items else self.run(name, other, dot, scopes + [{}])

    def pipe(self, commands, dot, scopes):
        value, begun = None, False
        for command in commands:
            value = self.command(command, [value] if begun else [], dot, scopes)
            begun = True
        return value

    def command(self, operands, last, dot, scopes):
        kind, content = operands[0]
        if kind == "word" and content not in ("true", "false", "nil"):
            if content in ("and", "or"):
                return self.lazy(content, operands[1:], last, dot, scopes)
            arguments = [self.operand(operand, dot, scopes) for operand in operands[1:]] + last
            return self.call(content, arguments)
        if len(operands) > 1 or last:
            raise TemplateError(f"{content} is no function and takes no arguments")
        return self.operand(operands[0], dot, scopes)

    def lazy(self, word, operands, last, dot, scopes):
        """`and` and `or` give the deciding argument, and look at none after it."""
        value = MISSING
        for operand in [*operands, *[("value", item) for item in last]]:
            value = self.operand(operand, dot, scopes)
            if truth(value) == (word == "or"):
                return value
        return value

    def call(self, word, arguments):
        if word == "include":
            if len(arguments) != 2 or arguments[0] not in self.defines:
                raise TemplateError(f"include of what is not defined: {arguments[:1]}")
            if self.depth > 50:
                raise TemplateError(f"include of {arguments[0]} never ends")
            name, body = self.defines[arguments[0]]
            self.depth += 1
            try:
                return Text(self.run(name, body, arguments[1], [{"$": arguments[1]}]))
            finally:
                self.depth -= 1
        if word not in FUNCTIONS:
            raise TemplateError(f"the function {word} is not in the subset")
        try:
            return FUNCTIONS[word](*arguments)
        except (TypeError, ValueError, AttributeError) as fault:
            raise TemplateError(f"{word}: {fault}") from None

    def operand(self, operand, dot, scopes):
        kind, content = operand
        if kind == "call":
            return self.pipe(content, dot, scopes)
        if kind == "value":
            return content
        if kind == "string":
            return literal(content)
        if kind == "number":
            return Int64(content)
        if kind == "word":
            if content in ("true", "false", "nil"):
                return {"true": True, "false": False, "nil": None}[content]
            return self.call(content, [])
        return field(content, dot, scopes)


def field(path, dot, scopes):
    first, *names = path.split(".")
    if path == ".":
        return dot
    if first == "":
        value = dot
    else:
        for scope in reversed(scopes):
            if first in scope:
                value = scope[first]
                break
        else:
            raise TemplateError(f"{first} is not declared")
    for name in filter(None, names):
        if not isinstance(value, dict):
            raise TemplateError(f"{path}: {name} of {kind_of(value)}")
        value = value.get(name, MISSING)
    return value


def printed(value):
    """What an action prints, if every version of Helm prints the same and it cannot leave its place."""
    if isinstance(value, Text):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Int64):
        return str(int(value))
    if isinstance(value, str) and PLAIN.match(value):
        return value
    if isinstance(value, str):
        raise TemplateError(f"a text that is not plain is printed without quote: {value[:40]!r}")
    raise TemplateError(f"{kind_of(value)} cannot be printed: int64, quote or toYaml is missing")
