#!/usr/bin/env python3
"""Plays the commands of README.md and of the guides in docs/ against the real programs, each page in a fresh directory with a small
model `llama-8b`; all but workflow.md with a control plane that is there already, the consumer's with a contract and what its provider sent."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO / "tests" / "cli"))
import peer  # noqa: E402
from pages import blocks  # noqa: E402

PROGRAMS = {"trustbridge": "TB_CLI", "trustbridge-control-plane": "TB_CONTROL_PLANE", "trustbridge-sentinel": "TB_SENTINEL"}
# Page, fewest blocks that are run, whether it expects a control plane.
PAGES = {"README.md": (1, True), "provider-guide.md": (10, True), "workflow.md": (6, False), "consumer-guide.md": (7, True)}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def prepare(root):
    for name in ("bin", "home", "llama-8b"):
        (root / name).mkdir()
    for name, variable in PROGRAMS.items():
        (root / "bin" / name).symlink_to(os.environ[variable])
    (root / "llama-8b" / "config.json").write_text('{"model_type": "llama"}')
    (root / "llama-8b" / "model.safetensors").write_bytes(peer.safetensors({"weight": [64, 64]}))


def start_control_plane(root, port, environment):
    environment = {**environment, "TB_CP_ADDR": f"127.0.0.1:{port}", "TB_CP_DATA_DIR": str(root / "cp")}
    program = str(root / "bin" / "trustbridge-control-plane")
    process = subprocess.Popen([program], env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    for name, arguments, mode in (("provider.token", ["token", "create", "--role", "provider", "--tenant", "acme-ai"], 0o600),
                                  ("control-plane.pub", ["identity"], 0o644)):
        text = subprocess.run([program, *arguments], env=environment, check=True, capture_output=True).stdout
        (root / name).write_bytes(text)
        (root / name).chmod(mode)
    return process


def give_to_the_consumer(root, port, environment):
    """What a provider sends, and the stand-in for a runtime that the page takes from workflow.md; the model itself is not the consumer's."""
    environment = {**environment, "TB_EDC_ENDPOINT": f"http://127.0.0.1:{port}", "TB_TOKEN_FILE": "provider.token", "TB_CONTROL_PLANE_KEY": "control-plane.pub"}
    publish = ["publish", "llama-8b/", "--asset-id", "llama-8b-v1", "--store", "cp:", "--contract-id", "globex-1", "--consumer", "globex",
               "--not-after", "30d", "--yes"]
    subprocess.run([str(root / "bin" / "trustbridge"), *publish], cwd=root, env=environment, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    (root / "llama-8b-v1.publish" / "activation.token").rename(root / "globex-1.token")
    for path in ("llama-8b", "llama-8b-v1.publish"):
        shutil.rmtree(root / path)
    (root / "control-plane.pub").unlink()
    [runtime] = [text for _, _, text in blocks(REPO / "docs" / "workflow.md") if text.startswith("cat > runtime.py")]
    subprocess.run(["/bin/bash", "-c", runtime], cwd=root, env=environment, check=True, timeout=60)


def script(page, port):
    pieces = ["set -euo pipefail"]
    for line, words, text in blocks(page):
        if words == "run":
            pieces += [f"echo '--- {page.name}:{line}' >&2",
                       text.replace("https://cp.example.com", f"http://127.0.0.1:{port}").replace("127.0.0.1:8080", f"127.0.0.1:{port}")]
    return "\n".join(pieces) + "\n"


def end_of(process_file):
    try:
        os.kill(int(process_file.read_text()), signal.SIGKILL)
    except (OSError, ValueError):
        pass


def play(name):
    page = REPO / name if name == "README.md" else REPO / "docs" / name
    fewest, needs_control_plane = PAGES[name]
    root, process, port = pathlib.Path(tempfile.mkdtemp(prefix="tb-docs-")), None, free_port()
    try:
        prepare(root)
        environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "HOME": str(root / "home"), "LC_ALL": "C.UTF-8"}
        if needs_control_plane:
            process = start_control_plane(root, port, environment)
            if name == "README.md":
                environment.update(TB_EDC_ENDPOINT=f"http://127.0.0.1:{port}", TB_TOKEN_FILE="provider.token")
            if name == "consumer-guide.md":
                give_to_the_consumer(root, port, environment)
        text = script(page, port)
        # Into a file: services that a page starts would hold a pipe open.
        with open(root / "played.log", "wb") as log:
            status = subprocess.run(["timeout", "200", "/bin/bash", "-c", text], cwd=root, env=environment, check=False, stdin=subprocess.DEVNULL,
                                    stdout=log, stderr=log).returncode
        played = len(re.findall(r"^--- ", (root / "played.log").read_text(errors="replace"), re.M))
        if status or played != text.count("echo '--- ") or played < fewest:
            for log in root.glob("*.log"):
                print(f"{log.name}:", log.read_text(errors="replace")[-4000:], sep="\n", file=sys.stderr)
            print(f"{name}: exit {status}", file=sys.stderr)
            return False
        print(f"{name}: {played} blocks played")
        return True
    finally:
        for started in ("sentinel.pid", "control-plane.pid"):
            end_of(root / started)
        if process is not None:
            process.kill()
            process.wait(timeout=30)
        shutil.rmtree(root, ignore_errors=True)


def main():
    missing = [tool for tool in ("curl", "openssl") if shutil.which(tool) is None]
    if missing:
        print(f"SKIPPED, NOT PROVEN: {missing} not installed", file=sys.stderr)
        return 77
    return 0 if all([play(name) for name in sys.argv[1:] or PAGES]) else 1


if __name__ == "__main__":
    sys.exit(main())
