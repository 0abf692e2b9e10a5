#!/usr/bin/env python3
"""Plays the commands of docs/operations.md, in their order, against the real programs in a fresh directory.

Blocks that are not run say why (pages.py). Paths of the system go below the directory, the port is a free one, and `systemctl` starts and ends the service as a process of ours.
"""
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

from pages import blocks

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "operations.md"
SYSTEMCTL = """#!/bin/bash
# What the page asks of systemd, for one service.
set -eu
pid=$TB_ROOT/service.pid
end() {
  test -e "$pid" || return 0
  kill "$(cat "$pid")"
  for _ in $(seq 300); do kill -0 "$(cat "$pid")" 2>/dev/null || { rm "$pid"; return 0; }; sleep 0.1; done
  echo 'the service does not end' >&2; exit 1
}
begin() {
  trustbridge-control-plane --config "$TB_ROOT/etc/trustbridge/control-plane.toml" 2>> "$TB_ROOT/service.log" > /dev/null < /dev/null &
  echo $! > "$pid"
  before=$(grep -c '"listening"' "$TB_ROOT/service.log" || true)
  for _ in $(seq 600); do
    kill -0 "$(cat "$pid")" 2>/dev/null || { cat "$TB_ROOT/service.log" >&2; exit 1; }
    curl -ksS -o /dev/null "http://127.0.0.1:$TB_PORT/healthz" 2>/dev/null && return 0
    curl -ksS -o /dev/null "https://127.0.0.1:$TB_PORT/healthz" 2>/dev/null && return 0
    sleep 0.1
  done
  echo 'the service does not listen' >&2; exit 1
}
test "$2" = trustbridge-control-plane
case "$1" in
  start) begin ;;
  stop) end ;;
  restart) end; begin ;;
  *) exit 2 ;;
esac
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def script(root, port):
    pieces = ["set -euo pipefail"]
    for line, words, text in blocks(PAGE):
        if words != "run":
            continue
        for path in ("/etc/trustbridge", "/var/lib/trustbridge", "/backup"):
            text = text.replace(path, f"{root}{path}")
        pieces += [f"echo '--- {PAGE.name}:{line}' >&2", text.replace("127.0.0.1:8080", f"127.0.0.1:{port}")]
    return "\n".join(pieces) + "\n"


def main():
    for need in ("curl", "openssl", "python3"):
        if shutil.which(need) is None:
            print(f"SKIPPED, NOT PROVEN: {need} is not installed", file=sys.stderr)
            sys.exit(77)
    root = pathlib.Path(tempfile.mkdtemp(prefix="tb-operations-"))
    try:
        (root / "bin").mkdir()
        (root / "home").mkdir()
        for directory in ("etc/trustbridge", "var/lib/trustbridge"):
            (root / directory).mkdir(parents=True, mode=0o700)
        for name, variable in (("trustbridge", "TB_CLI"), ("trustbridge-control-plane", "TB_CONTROL_PLANE")):
            (root / "bin" / name).symlink_to(os.environ[variable])
        (root / "bin" / "systemctl").write_text(SYSTEMCTL)
        (root / "bin" / "systemctl").chmod(0o755)
        port = free_port()
        environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "HOME": str(root / "home"), "LC_ALL": "C.UTF-8", "TB_ROOT": str(root),
                       "TB_PORT": str(port)}
        text = script(root, port)
        played = text.count("echo '--- ")
        done = subprocess.run(["/bin/bash", "-c", text], cwd=root, env=environment, check=False, timeout=280, capture_output=True, text=True)
        if done.returncode != 0 or played < 8:
            log = root / "service.log"
            print(done.stdout, done.stderr, log.read_text() if log.exists() else "", f"exit {done.returncode}", sep="\n", file=sys.stderr)
            sys.exit(1)
        print(f"{played} blocks played")
    finally:
        if (root / "service.pid").exists():
            os.kill(int((root / "service.pid").read_text()), 15)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
