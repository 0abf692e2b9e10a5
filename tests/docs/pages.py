#!/usr/bin/env python3
"""Every command line in the documents is taken out and run by a test, or says why it is not.

A block of commands begins with ```sh run, or with ```sh not-run: WHY (or stands below <!-- not run: WHY -->). A page with blocks
that are run is played by a test that names it. Commands outside of such blocks, indented or in a block of no
language, fail: nobody would notice when they stop working.
"""
import pathlib
import re
import sys

REPO = pathlib.Path(__file__).resolve().parents[2]
# Printed from the programs, whose own tests run their examples' verbs.
PRINTED = {"docs/cli.md", "docs/config.md", "docs/control-plane-config.md", "docs/states.md"}
SHELLS = {"sh", "bash", "shell", "console"}
COMMAND = re.compile(r"\s*(\$ )?(sudo |env )?(trustbridge[\w-]*|scripts/\w+\.(sh|py)|curl|openssl|systemctl|apt-get|az|podman|docker|buildah|kubectl|"
                     r"helm|make|cmake|ninja) +[\w./'\"$<-]")
WHY = r"(.{10,})"


def is_command(line):
    """A line that is meant to be typed: one of our verbs with what it takes, and not a sentence that begins with its name."""
    return COMMAND.match(line) is not None


def parts(page):
    """(line number, language, words after it, text, the line above) of every fenced block; and the lines outside of them."""
    lines, fenced, outside, at = page.read_text(encoding="utf-8").splitlines(), [], [], 0
    while at < len(lines):
        if found := re.match(r"\s*```(\S*) ?(.*)$", lines[at]):
            indent = len(lines[at]) - len(lines[at].lstrip())
            begin = at + 1
            while at + 1 < len(lines) and lines[at + 1].strip() != "```":
                at += 1
            at += 1
            if at >= len(lines):
                sys.exit(f"{page.name}:{begin}: a block without an end")
            above = next((line for line in reversed(lines[:begin - 1]) if line.strip()), "")
            fenced.append((begin + 1, found[1], found[2].strip(), "\n".join(line[indent:] for line in lines[begin:at]), above))
        else:
            outside.append((at + 1, lines[at]))
        at += 1
    return fenced, outside


def blocks(page):
    """(first line, "run" or "not-run: why", text) of every block of sh."""
    out = []
    for line, language, words, text, above in parts(page)[0]:
        if language in SHELLS:
            marked = re.fullmatch(rf"<!-- not run: {WHY} -->", above.strip())
            out.append((line, f"not-run: {marked[1]}" if marked else words, text))
    return out


def faults(page, name):
    fenced, outside = parts(page)
    for line, words, _ in blocks(page):
        if words != "run" and not re.fullmatch(f"not-run: {WHY}", words):
            yield f"{name}:{line}: a block of commands is marked `sh run`, or `sh not-run: why`"
    for line, language, _, text, _ in fenced:
        if language in ("", "text") and any(is_command(part) for part in text.splitlines()):
            yield f"{name}:{line}: commands in a block that is not marked as sh"
    for number, line in outside:
        if line.startswith("    ") and is_command(line):
            yield f"{name}:{number}: an indented command: put it into a block of sh"


def documents():
    return sorted([*REPO.glob("*.md"), *(REPO / "docs").glob("*.md"), *(REPO / "docs" / "architecture").glob("*.md")])


def main():
    found, run, skipped = [], 0, 0
    tests = [p for p in (REPO / "tests").rglob("*") if p.suffix in (".py", ".sh") and p.name != "pages.py"]
    players = "\n".join(p.read_text(encoding="utf-8", errors="replace") for p in tests)
    pages = [(page, page.relative_to(REPO).as_posix()) for page in documents()]
    for page, name in pages:
        if name in PRINTED:
            continue
        found += faults(page, name)
        played = sum(words == "run" for _, words, _ in blocks(page))
        run, skipped = run + played, skipped + len(blocks(page)) - played
        if played and f'"{page.name}"' not in players and f"/{name}" not in players:
            found.append(f"{name}: its {played} blocks are marked as run, and no test plays the page")
    for line in found:
        print(line, file=sys.stderr)
    print(f"pages: {len(pages)} documents, {run} blocks are run, {skipped} say why not, {len(found)} faults")
    return 1 if found or run < 30 else 0


if __name__ == "__main__":
    sys.exit(main())
