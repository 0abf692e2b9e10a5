#!/usr/bin/env python3
"""Plays the commands of docs/access.md, in their order, against a real sentinel. Blocks are marked as pages.py says."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "integration" / "sentinel"))
import pages  # noqa: E402
import peers  # noqa: E402

PAGE = REPO / "docs" / "access.md"


def script():
    pieces = ["set -euo pipefail"]
    for line, words, text in pages.blocks(PAGE):
        if words != "run":
            continue
        pieces += [f"echo '--- access.md:{line}' >&2", text]
    return "\n".join(pieces) + "\n"


class Runtime(peers.Runtime):
    def do_echo(self, connection, fields, buffer):
        _, buffer = self.body(connection, fields, buffer)
        connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n{"object":"list","data":[]}')
        return buffer


def main():
    peers.BINARY = os.environ["TB_SENTINEL"]
    control_plane, runtime = peers.ControlPlane(peers.Asset(b"weights" * 1000)), Runtime()
    sentinel = peers.Sentinel(control_plane, f"http://127.0.0.1:{runtime.port}")
    try:
        sentinel.wait_state("Ready")
        at = sentinel.addresses()
        with tempfile.TemporaryDirectory(prefix="tb-access-") as work:
            os.mkdir(work + "/bin")
            os.symlink(peers.BINARY, work + "/bin/trustbridge-sentinel")
            environment = {"PATH": f"{work}/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TB_STATE_DIR": sentinel.work + "/state",
                           "URL": f"http://{at['public']}", "HEALTH_URL": f"http://{at['health']}"}
            text = script()
            done = subprocess.run(["/bin/bash", "-c", text], cwd=work, env=environment, capture_output=True, text=True, timeout=120,
                                  check=False)
        played = len(re.findall(r"^--- ", done.stderr, re.M))
        if done.returncode or played != text.count("echo '--- ") or played < 4:
            print(done.stdout, done.stderr, sentinel.log(), f"exit {done.returncode}", sep="\n", file=sys.stderr)
            sys.exit(1)
        print(f"{played} blocks played")
    finally:
        sentinel.close()
        runtime.close()
        control_plane.close()


if __name__ == "__main__":
    main()
