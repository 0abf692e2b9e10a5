#!/usr/bin/env python3
"""profile-often.py PROFILE: of a profile as text (LLVM: InstrProf), the functions that ran often."""

import re
import sys

OFTEN = 10_000  # about one in a hundred requests of scripts/profile.sh's load


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    comment, marked, rest = text.partition(":ir\n")
    if not marked or comment.strip().count("\n") > 0:
        sys.exit("profile-often: not a profile of the compiler's intermediate code")
    print(":ir")
    for record in re.split(r"\n\n+", rest.strip()):
        lines = [line for line in record.splitlines() if line]
        at = lines.index("# Counter Values:") + 1
        counters = lines[at : at + int(lines[lines.index("# Num Counters:") + 1])]
        if max(int(c) for c in counters) >= OFTEN:
            print("\n".join(lines) + "\n")


main()
