#!/usr/bin/env python3
"""The drawings of docs/architecture belong to their sources, and what they draw is what the programs do.

An .svg names the SHA-256 of the .dot that it was made from (scripts/diagrams.sh), so this needs no graphviz. The states are compared with the
table of docs/states.md, which is printed from the sentinel; the filters with the list in src/sentinel/main.cc.
"""
import hashlib
import pathlib
import re
import sys
import xml.etree.ElementTree

REPO = pathlib.Path(__file__).resolve().parents[2]
FOLDER = REPO / "docs" / "architecture"
# They leave each state of the border, and stand once.
EVERYWHERE = {"denied, expired or tampered", "stop"}


def edges(name):
    """(from, to, label, leaves the border?) of each labelled edge; lines of a label become words."""
    for source, target, label, rest in re.findall(r'(\w+) -> (\w+) \[label="([^"]*)"([^\]]*)\]', (FOLDER / name).read_text(encoding="utf-8")):
        yield source, target, " ".join(re.sub(r"\\[lnr]", " ", label).split()), "ltail" in rest


def drawn_transitions():
    border = re.search(r"subgraph cluster_any \{(.*?)^  \}", (FOLDER / "states.dot").read_text(encoding="utf-8"), re.S | re.M)[1]
    inside = set(re.findall(r"[A-Z]\w+", re.sub(r'"[^"]*"', "", border)))
    for source, target, label, from_border in edges("states.dot"):
        for event in label.split("; "):
            for state in inside if from_border else {source}:
                yield state, event, target


def faults_of_drawings():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    sources = sorted(FOLDER.glob("*.dot"))
    if {p.stem for p in sources} != {p.stem for p in FOLDER.glob("*.svg")}:
        yield "not one .svg for each .dot: scripts/diagrams.sh"
    for source in sources:
        drawing = source.with_suffix(".svg")
        text = drawing.read_text(encoding="utf-8") if drawing.exists() else ""
        if f"<!-- from {source.name}, sha256 {hashlib.sha256(source.read_bytes()).hexdigest()} -->" not in text:
            yield f"{drawing.name} was not made from this {source.name}: scripts/diagrams.sh"
            continue
        words = " ".join("".join(e.itertext()) for e in xml.etree.ElementTree.fromstring(text).iter() if e.tag.endswith("}text"))
        for label in re.findall(r'label="([^"]+)"', source.read_text(encoding="utf-8")):
            for line in filter(None, (part.strip() for part in re.split(r"\\[lnr]", label))):
                if line not in words.replace("\u00a0", " "):
                    yield f"{drawing.name} does not say {line!r}"
        if f"]({drawing.name})" not in page:
            yield f"README.md does not show {drawing.name}"


def faults_of_states():
    rows = re.findall(r"^\| (\w+) \| (.+?) \| (\w+) \|$", (REPO / "docs" / "states.md").read_text(encoding="utf-8"), re.M)
    table = {row for row in rows if row[0][0].isupper() and row[2][0].isupper()}
    drawn = set(drawn_transitions())
    for state, event, target in sorted(drawn ^ table):
        where = "states.dot" if (state, event, target) in drawn else "docs/states.md"
        yield f"only in {where}: {state}, {event}: {target}"
    if len(table) < 20 or not EVERYWHERE <= {event for _, event, _ in table}:
        yield "docs/states.md has no table that can be read"


def faults_of_filters():
    list_of = re.findall(r"filters\.push_back\((?:proxy::)?(\w+)_filter\(", (REPO / "src" / "sentinel" / "main.cc").read_text(encoding="utf-8"))
    cluster = re.search(r"subgraph cluster_filters \{(.*?)^  \}", (FOLDER / "request.dot").read_text(encoding="utf-8"), re.S | re.M)[1]
    chain = re.search(r"^\s*(\w+(?: -> \w+)+)", cluster, re.M)[1].split(" -> ")
    if list_of != chain or len(chain) < 5:
        yield f"request.dot has the filters {chain}, src/sentinel/main.cc {list_of}"


def main():
    found = [*faults_of_drawings(), *faults_of_states(), *faults_of_filters()]
    for line in found:
        print(line, file=sys.stderr)
    print(f"architecture: {len(list(FOLDER.glob('*.dot')))} drawings, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
