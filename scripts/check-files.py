#!/usr/bin/env python3
"""House rules that a line can break: length of files, marks of unfinished work, names, paths of one machine."""
import pathlib
import re
import subprocess
import sys

MAX_LINES = 600
CODE = (".cc", ".h", ".py", ".sh", ".mjs", ".cmake")
# Written with brackets, so that this file does not match itself.
PATTERNS = [
    (r"\b(TO[D]O|FIX[M]E|X[X]X|HA[C]K)\b|not imple[m]ented|place[h]older", "mark of unfinished work"),
    (r"/[w]ork/|/[r]oot/|/tmp/[b]ash_jobs", "path of one machine"),
    (r"registry\.[n]pmjs|deb\.[d]ebian\.org|pypi\.[o]rg", "host of a package registry"),
]
BAD_NAMES = re.compile(r"(^|[_/])(manager|helpers?|utils?|common)([_./]|$)")


def tracked(root):
    """What git knows or would add; in a tree without git, everything outside of build/."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root,
                            capture_output=True, check=False)
    names = [n for n in listed.stdout.decode().split("\0") if n]
    if listed.returncode != 0:
        paths = (p.relative_to(root).as_posix() for p in root.rglob("*"))
        names = [n for n in paths if not n.startswith((".git/", "build/"))]
    return [n for n in names if (root / n).is_file()]


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found, names = [], tracked(root)
    for name in names:
        if BAD_NAMES.search(name):
            found.append(f"{name}: a name that says nothing")
        if not name.endswith(CODE + (".md", ".txt", ".json", ".run")) and "." in name.split("/")[-1]:
            continue
        try:
            lines = (root / name).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        if name.endswith(CODE) and len(lines) > MAX_LINES:
            found.append(f"{name}: {len(lines)} lines, at most {MAX_LINES}")
        for number, line in enumerate(lines, 1):
            # What others call their packages is not ours to name.
            patterns = PATTERNS[1:] if name.endswith("package-lock.json") else PATTERNS
            found += [f"{name}:{number}: {what}" for pattern, what in patterns if re.search(pattern, line)]
    for line in found:
        print(line, file=sys.stderr)
    print(f"check-files: {len(names)} files, {len(found)} breaches")
    return 1 if found or not names else 0


if __name__ == "__main__":
    sys.exit(main())
