"""publish killed with SIGKILL at moments of chance, again and again: the same command goes on, and ends as if nothing had been.

Half of the kills are of publish alone, whose step then ends by itself; half are of the step, too. What must hold at the end:
one contract, one key with one claim, a live token, and in the store the ciphertext that this key opens.
"""
import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import time
import urllib.request

import peer
from control_plane_process import ControlPlane
from scenario import check, equal, play

ROUNDS = 3
KILLS = int(os.environ.get("TB_KILLS", 3 * ROUNDS))


def children_of(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = open(f"/proc/{entry}/stat").read()
            except OSError:
                continue
            if int(stat.rsplit(")", 1)[1].split()[1]) == pid:
                found.append(int(entry))
    return found


def kill(process, with_step):
    steps = children_of(process.pid) if with_step else []
    process.kill()
    for pid in steps:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait(timeout=60)


def wait_for_the_last_step(lock):
    """A step that outlived its publish holds the lock; on a busy machine for longer than publish waits for it."""
    if lock.exists():
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_EX)


def store_of(asset):
    """Two of three go to the control plane's own store, the others to a directory."""
    if asset == "cut-1":
        return ["--store", "file:blobs", "--blob-url", f"https://blobs.example/models/{asset}/model.tbenc"]
    return ["--store", "cp:"]


def arguments(asset, contract, at):
    return ["publish", "m", "--asset-id", asset, *store_of(asset), *at, "--control-plane-key", "cp.pub", "--oms-key", "oms.pem",
            "--contract-id", contract, "--consumer", "acme", "--not-after", "30d", "--chunk-bytes", "65536", "--yes", "--json"]


def token_lives(url, token, contract, asset):
    request = urllib.request.Request(f"{url}/api/v1/license/challenge", method="POST",
                                     data=json.dumps({"contract_id": contract}).encode())
    request.add_header("Authorization", f"Bearer {token}")
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return "nonce" in json.load(answer)


def holds(s, asset, contract, url, at):
    folder = s.folder / f"{asset}.publish"
    equal([p.name for p in folder.rglob("*.partial")], [], "unfinished files")
    equal(sorted(p.name for p in folder.iterdir()),
          ["activation.token", "model.manifest.json", "model.sig", "model.tbenc", "model.tbenc.key", "state.json", "state.lock",
           "summary.json"], "files")
    lines = (folder / "model.tbenc.key").read_text().splitlines()
    manifest = json.loads((folder / "model.manifest.json").read_text())
    equal(lines[1:], [f"# asset {asset} prefix {manifest['nonce_prefix']}"], "what the key has served")
    cipher = (folder / "model.tbenc").read_bytes()
    equal(hashlib.sha256(cipher).hexdigest(), manifest["sha256_ciphertext"], "SHA-256")
    plain = peer.read(folder / "model.tbenc", bytes.fromhex(lines[0]))
    check((s.folder / "m/w.gguf").read_bytes() in plain, "the plaintext is not the model")
    stored = [p for place in ("cp", "blobs") for p in (s.folder / place).rglob(f"{asset}/model.tbenc")]
    equal([p.read_bytes() == cipher for p in stored], [True], "what the store holds")
    equal(list((s.folder / "blobs").rglob("*.partial")), [], "unfinished files in the store")
    s.tb("verify", folder / "model.tbenc", "--key-file", folder / "model.tbenc.key", "--oms-key", "oms.pem.pub")
    mine = [c for c in s.tb("contract", "list", *at, "--json").json()["items"] if asset in c["asset_ids"]]
    equal([(c["contract_id"], c["state"]) for c in mine], [(contract, "active")], "contracts")
    token = (folder / "activation.token").read_text().splitlines()
    check(token_lives(url, token[0], contract, asset), "the token is not the contract's")
    state = json.loads((folder / "state.json").read_text())
    equal([(step["name"], step["status"]) for step in state["steps"]],
          [(name, "done") for name in ("encrypt", "verify", "upload", "register", "contract")], "the state")


def story(s):
    seed = int(os.environ.get("TB_KILL_SEED", time.time_ns() % 1_000_000))
    print(f"TB_KILL_SEED={seed}")
    chance = random.Random(seed)
    s.killed = True
    s.file("m/config.json", "{}")
    s.model("m/w.gguf", 6_000_000)
    s.tb("keygen", "--oms", "--out", "oms.pem")
    with ControlPlane(s) as control_plane:
        at = ["--edc-endpoint", control_plane.url, "--token-file", control_plane.token_file("provider", "--tenant", "acme-ai")]
        s.file("cp.pub", control_plane.run("identity"))
        began = time.monotonic()
        s.tb(*arguments("whole", "whole", at))
        took = time.monotonic() - began
        holds(s, "whole", "whole", control_plane.url, at)
        reached = set()
        for round_number in range(ROUNDS):
            name = f"cut-{round_number}"
            command = arguments(name, name, at)
            for _ in range(KILLS // ROUNDS):
                process = s.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(chance.uniform(0.005, took))
                kill(process, chance.random() < 0.5)
                state = s.folder / f"{name}.publish/state.json"
                if state.exists():
                    reached |= {(step["name"], step["status"]) for step in json.loads(state.read_text())["steps"]}
            wait_for_the_last_step(s.folder / f"{name}.publish/state.lock")
            s.tb(*command)
            holds(s, name, name, control_plane.url, at)
    print("reached:", sorted(reached))


play(story)
