#!/usr/bin/env python3
"""Writes docs/cli.md from the --help of every command of trustbridge.

    TB_CLI=build/release/bin/trustbridge scripts/cli-docs.py            write it
    TB_CLI=build/release/bin/trustbridge scripts/cli-docs.py --check    fail unless it is what the binary says
"""
import os
import pathlib
import re
import subprocess
import sys

TARGET = pathlib.Path(__file__).resolve().parent.parent / "docs" / "cli.md"
BEGIN = """# trustbridge: the command line

Printed from the program's own `--help` by `scripts/cli-docs.py`; a test holds it current.

stdout is data, stderr is for people: `trustbridge: error: …` and `trustbridge: hint: …`. With `--json` the result, or
`{"error": {"reason", "code", "message", "hint", "exit_status", "retryable"}}`, is all that stands on stdout. On a terminal a
progress bar with rate and time left, elsewhere a line every 10 s, with `--quiet` nothing. `NO_COLOR` is honoured.

| exit status | meaning |
|---|---|
| 0 | done |
| 1 | a fault of the program or the system |
| 2 | usage: flags, environment or profile |
| 3 | denied or expired |
| 4 | malformed, truncated or tampered |
| 5 | not found |
| 6 | unavailable: worth another attempt |
| 7 | conflict: an output exists, a key has served, a file changed while it was read |
| 8 | exhausted: disk, memory, quota |
| 130 | interrupted; unfinished output was removed |

A profile of `~/.trustbridge/config.toml` keeps what the control-plane commands need; flags come first, then the environment:

```toml
default_profile = "staging"

[profiles.staging]
edc_endpoint = "https://cp.example.com"
token_file = "/home/me/.trustbridge/staging.token"
control_plane_key = "/home/me/.trustbridge/staging.pub"
ca_path = "/etc/ssl/private-ca.pem"
tenant = "acme-ai"
```
"""


def help_of(binary, path):
    done = subprocess.run([binary, *path, "--help"], capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def pages(binary, path=()):
    text = help_of(binary, path)
    yield path, text
    if "\nCommands:" in text:
        for line in text.split("\nCommands:")[1].split("\n\n")[0].splitlines():
            if found := re.match(r"  ([a-z-]+)\b", line):
                yield from pages(binary, (*path, found[1]))


def main():
    binary = os.environ["TB_CLI"]
    sections = [BEGIN]
    for path, text in pages(binary):
        text = re.sub(r"\n{3,}", "\n\n", text)
        sections.append(f"\n## {' '.join(['trustbridge', *path])}\n\n```\n{text}\n```\n")
    if len(sections) < 15:
        print("cli-docs: the help names hardly any commands", file=sys.stderr)
        return 1
    page = "".join(sections)
    if "--check" not in sys.argv:
        TARGET.write_text(page, encoding="utf-8")
        return 0
    if TARGET.read_text(encoding="utf-8") != page:
        print("docs/cli.md is not what the program says: run scripts/cli-docs.py", file=sys.stderr)
        return 1
    print(f"cli-docs: {len(sections) - 1} commands, current")
    return 0


if __name__ == "__main__":
    sys.exit(main())
