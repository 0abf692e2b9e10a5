#!/usr/bin/env python3
"""Holds the files that take bytes out of a Secret to the list in scripts/reveal-allowed.txt, in both directions.

A file that says reveal( and is not listed fails; so does a listed file that no longer says it.
"""
import pathlib
import re
import sys


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    listed = root / "scripts" / "reveal-allowed.txt"
    lines = [line.split("#")[0].strip() for line in listed.read_text(encoding="utf-8").splitlines()]
    allowed = {line for line in lines if line}
    users = set()
    for path in sorted((root / "src").rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.suffix not in (".h", ".cc") or name.endswith("_test.cc") or name == "src/base/secret.h":
            continue
        code = "\n".join(line.split("//")[0] for line in path.read_text(encoding="utf-8").splitlines())
        if re.search(r"\breveal(_mutable)?\(", code):
            users.add(name)
    for name in sorted(users - allowed):
        print(f"{name}: calls reveal() and is not in scripts/reveal-allowed.txt", file=sys.stderr)
    for name in sorted(allowed - users):
        print(f"{name}: is in scripts/reveal-allowed.txt and calls no reveal()", file=sys.stderr)
    print(f"check-secrets: {len(users)} files take bytes out of secrets")
    return 1 if users != allowed or not users else 0


if __name__ == "__main__":
    sys.exit(main())
