#!/usr/bin/env python3
"""The manual pages that scripts/man-pages.py makes of this build: each command and each setting is there, twice the same bytes, and
mandoc finds nothing to complain of."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ["TB_BIN"])


def made(place):
    subprocess.run([ROOT / "scripts/man-pages.py", "--bin", BIN, "--out", place], check=True, timeout=120)
    return {path.name: path.read_text() for path in sorted(place.iterdir())}


def fails(why):
    print(why, file=sys.stderr)
    sys.exit(1)


def main():
    if shutil.which("mandoc") is None:
        print("SKIPPED, NOT PROVEN: mandoc is not installed", file=sys.stderr)
        sys.exit(77)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        pages = made(place / "a")
        if pages != made(place / "b"):
            fails("the same programs gave other pages")
        files = sorted((place / "a").iterdir())
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", *files], capture_output=True, text=True, check=False, timeout=120)
        if lint.returncode != 0 or lint.stdout or lint.stderr:
            fails(lint.stdout + lint.stderr)
        broken = place / "broken.1"
        broken.write_text(pages["trustbridge.1"].replace(".SH FILES", ".SH\n.TP\n\\(zz", 1))
        if subprocess.run(["mandoc", "-T", "lint", "-W", "warning", broken], capture_output=True, check=False, timeout=120).returncode == 0:
            fails("a broken page is not seen")
        help_text = subprocess.run([BIN / "trustbridge", "--help"], capture_output=True, text=True, check=True).stdout
        commands = re.findall(r"^  ([a-z-]+) {2,}", help_text.split("\nCommands:")[1], re.MULTILINE)
        missing = [name for name in commands if f"trustbridge-{name}.1" not in pages]
        for program in ("trustbridge-sentinel", "trustbridge-control-plane"):
            page = pages[f"{program}.8"].replace("\\", "")
            document = subprocess.run([BIN / program, "--print-config-doc"], capture_output=True, text=True, check=True).stdout
            missing += [name for name in re.findall(r"^\| `(TB_\w+)`", document, re.MULTILINE) if f"fB{name}fR" not in page]
        if missing or len(commands) < 10:
            fails(f"not in the pages: {missing}")
        print(f"{len(pages)} pages, {len(commands)} commands")


if __name__ == "__main__":
    main()
