#!/usr/bin/env python3
"""Holds docs/troubleshooting.md against the table of src/base/error.cc.

    scripts/error-docs.py            write exit statuses and hints into the page
    scripts/error-docs.py --check    fail unless every reason stands there once, with what the table says now

What a reason means is written by people, in the page itself; so is what to do where the table has no hint.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
TABLE = ROOT / "src" / "base" / "error.cc"
ROW = re.compile(r'^    \{"(\w+)", k\w+, \d+, (\d+), (true|false), "((?:[^"\\]|\\.)*)"\},$', re.M)
LINE = re.compile(r"^\| `(\w+)` \| ([^|]*) \| ([^|]+) \| ([^|]*) \|$")


def rows():
    """reason → (what its exit column says, hint)."""
    found = {}
    for reason, status, retry, hint in ROW.findall(TABLE.read_text(encoding="utf-8")):
        found[reason] = (f"{status}, worth a retry" if retry == "true" else status, hint.replace('\\"', '"').replace("|", "or"))
    if len(found) < 150:
        sys.exit("error-docs: the table of src/base/error.cc is not read any more")
    return found


def page(text, table):
    """The page with the table's columns, and what is wrong with it."""
    lines, seen, faults = [], set(), []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("| `"):
            lines.append(line)
            continue
        if not (match := LINE.match(line)):
            faults.append(f"troubleshooting.md:{number}: not a row of four columns")
            continue
        reason, _, meaning, advice = match.groups()
        if reason not in table:
            faults.append(f"troubleshooting.md:{number}: no reason {reason} in src/base/error.cc")
            continue
        if reason in seen:
            faults.append(f"troubleshooting.md:{number}: {reason} stands there twice")
        seen.add(reason)
        status, hint = table[reason]
        advice = hint or advice.strip()
        if not advice:
            faults.append(f"troubleshooting.md:{number}: {reason} has no hint in the table: write what to do")
        lines.append(f"| `{reason}` | {status} | {meaning} | {advice} |")
    for reason in sorted(table.keys() - seen):
        faults.append(f"troubleshooting.md: {reason} is missing: write a row that says what it means")
    return "\n".join(lines) + "\n", faults


def main():
    text = PAGE.read_text(encoding="utf-8")
    table = rows()
    wanted, faults = page(text, table)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        return 1
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif wanted != text:
        print("docs/troubleshooting.md is not what src/base/error.cc says: run scripts/error-docs.py", file=sys.stderr)
        return 1
    print(f"error-docs: {len(table)} reasons")
    return 0


if __name__ == "__main__":
    sys.exit(main())
