#!/usr/bin/env python3
"""Every test that docs/acceptance.md names exists, and the case beside it belongs to it.

A test is one of ctest's (TB_BUILD) or a file of tests/containers. `Suite.Case` is asked of the very program that ctest runs; `FILE: case` is a
function of that file, which the test's command must name. So a test that is renamed or taken away fails here.
"""
import json
import os
import pathlib
import re
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parents[2]
PAGE = REPO / "docs" / "acceptance.md"


def commands():
    """Name -> command line of every test of this build."""
    told = subprocess.run(["ctest", "--show-only=json-v1"], cwd=os.environ["TB_BUILD"], check=True, capture_output=True, text=True, timeout=60)
    return {test["name"]: test.get("command", []) for test in json.loads(told.stdout)["tests"]}


def cases_of(program, cache={}):
    """All `Suite.Case` of a GoogleTest program, without instance and parameter."""
    if program not in cache:
        listed = subprocess.run([program, "--gtest_list_tests"], check=True, capture_output=True, text=True, timeout=120).stdout
        cache[program], suite = set(), ""
        for line in listed.splitlines():
            word = line.split("#")[0].strip()
            if line.startswith(" "):
                cache[program].add(f"{suite}.{word.split('/')[0]}")
            elif word.endswith("."):
                suite = word[:-1].split("/")[1 if "/" in word and not word.startswith("/") else 0]
    return cache[program]


def fault_of(name, case, tests):
    """Why this row holds nothing, or None."""
    in_containers = re.search(r"_test\.(sh|py)$", name)
    if in_containers and not os.access(REPO / "tests" / "containers" / name, os.X_OK):
        return "no such file in tests/containers"
    if not in_containers and name not in tests:
        return "ctest knows no such test"
    command = [f"tests/containers/{name}"] if in_containers else tests[name]
    if re.fullmatch(r"\w+\.\w+", case):
        if not command:
            return "its program is not built"
        return None if case in cases_of(command[0]) else f"{pathlib.Path(command[0]).name} has no case {case}"
    file, _, function = case.partition(": ")
    if not (REPO / file).is_file():
        return f"{file} is not there"
    # The demo's steps are in a file that its script reads.
    runs = {"scripts/demo-steps.sh": "scripts/demo.sh"}.get(file, file)
    if not any(argument.endswith(runs) for argument in command):
        return f"the test does not run {file}"
    if function and not re.search(rf"^\s*(def {function}\(|{function}\(\) \{{)", (REPO / file).read_text(encoding="utf-8"), re.M):
        return f"{file} has no {function}"
    return None


def main():
    tests = commands()
    rows = re.findall(r"^\| (.+?) \| `([^`]+)` \| `([^`]+)` \|$", PAGE.read_text(encoding="utf-8"), re.M)
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and not line.startswith("| what holds")]
    found = [f"acceptance.md: {name}, {case}: {fault}" for _, name, case in rows if (fault := fault_of(name, case, tests))]
    if len(lines) != len(rows) or len(rows) < 40:
        found.append(f"acceptance.md: {len(lines)} rows, of which {len(rows)} can be read")
    for line in found:
        print(line, file=sys.stderr)
    print(f"acceptance: {len(rows)} rows, {len({name for _, name, _ in rows})} tests, {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
