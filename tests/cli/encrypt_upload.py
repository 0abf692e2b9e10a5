"""encrypt --upload: one pass into Azurite, a WebDAV nginx and the control plane's own store, nothing but key and manifest on this
disk; by SIGKILL at many points the same command goes on, never under the same key; what is at the store opens with the key."""
import hashlib
import os
import signal
import subprocess
import time

from azurite import ACCOUNT, Azurite
from control_plane_process import ControlPlane
from scenario import check, equal, play
from webdav import Nginx

MIB = 1 << 20


def opens(s, ciphertext, name, plain):
    """What lies at the store is the plaintext, by key and manifest of this disk."""
    s.file("back.tbenc", ciphertext)
    s.tb("verify", "--in", "back.tbenc", "--manifest", f"{name}.manifest.json", "--key-file", f"{name}.tbenc.key")
    s.tb("decrypt", "--in", "back.tbenc", "--manifest", f"{name}.manifest.json", "--key-file", f"{name}.tbenc.key", "--out", "back",
         "--raw")
    equal(hashlib.sha256((s.folder / "back").read_bytes()).hexdigest(), hashlib.sha256(plain.read_bytes()).hexdigest(), "plaintext")
    (s.folder / "back").unlink()


def sent_whole(s, name, at, get, *more):
    plain = s.model(f"{name}.weights", 3_000_001)
    command = ["encrypt", plain, "--asset-id", name, "--out", f"{name}.tbenc", "--chunk-bytes", 65536, "--upload", *at]
    done = s.tb(*command, "--json", *more).json()
    s.absent(f"{name}.tbenc", f"{name}.tbenc.underway")
    opens(s, get(f"{name}/model.tbenc"), name, plain)
    equal(get(f"{name}/model.manifest.json"), (s.folder / f"{name}.manifest.json").read_bytes(), "manifest")
    equal(done["blobs"]["ciphertext"]["sha256"], hashlib.sha256(get(f"{name}/model.tbenc")).hexdigest(), "sha256")
    equal(done["ciphertext"], done["blob_urls"]["ciphertext"], "url")
    # Again: what is there is not replaced, and the key of what is there stays.
    key = (s.folder / f"{name}.tbenc.key").read_bytes()
    for file in (f"{name}.manifest.json", f"{name}.tbenc.key"):
        os.rename(s.folder / file, s.folder / (file + ".kept"))
    s.fails("blob_conflict", 7, *command)
    s.absent(f"{name}.tbenc.key", f"{name}.manifest.json", f"{name}.tbenc.underway")
    equal((s.folder / f"{name}.tbenc.key.kept").read_bytes(), key, "key")


def killed(s, command, when):
    process = s.start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and not when():
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    equal(process.wait(), -signal.SIGKILL, "it ended before it was killed")


def killed_and_begun_anew(s, azurite, at):
    plain = s.sparse("big", 42 * MIB)
    with open(plain, "r+b") as file:
        file.write(os.urandom(4096))
    blob, note, key_file = "/models/kill/model.tbenc", s.folder / "kill.tbenc.underway", s.folder / "kill.tbenc.key"
    command = ["encrypt", "big", "--asset-id", "kill", "--out", "kill.tbenc", "--upload", *at]
    slow = [*command, "--max-bytes-per-second", str(40 * MIB), "--parallel", "2"]
    keys, ids = [], []
    for held in (0, 2):
        killed(s, slow, lambda: note.exists() and key_file.exists() and len(azurite.uncommitted(blob)) >= len(ids) + held)
        # Whatever has left this machine, its key was durable.
        keys.append(key_file.read_text())
        ids = azurite.uncommitted(blob)
        equal(azurite.get(blob), None, "something appeared")
        s.absent("kill.manifest.json")
    # Another asset does not step over the note.
    s.fails("output_exists", 7, "encrypt", "big", "--asset-id", "else", "--out", "kill.tbenc", "--upload", *at)
    s.tb(*command)
    keys.append(key_file.read_text())
    equal(len({key.split()[0] for key in keys}), 3, "keys")
    check(not note.exists(), "the note stays")
    opens(s, azurite.get(blob), "kill", plain)


def killed_after_it_appeared(s, azurite, at):
    """The ciphertext had appeared, the manifest had not: nothing is sealed again."""
    azurite.ask("DELETE", "/models/kill/model.manifest.json")
    manifest, key = (s.folder / "kill.manifest.json").read_bytes(), (s.folder / "kill.tbenc.key").read_text()
    prefix = key.split()[-1]
    place = azurite.endpoint().format(account=ACCOUNT) + "/models/kill/model.tbenc"
    s.file("kill.tbenc.underway", '{"asset_id": "kill", "place": "%s", "prefix": "%s", "key": "made"}' % (place, prefix))
    before = azurite.ask("HEAD", "/models/kill/model.tbenc")[1]["ETag"]
    s.tb("encrypt", "big", "--asset-id", "kill", "--out", "kill.tbenc", "--upload", *at)
    equal(azurite.ask("HEAD", "/models/kill/model.tbenc")[1]["ETag"], before, "ciphertext")
    equal(azurite.get("/models/kill/model.manifest.json"), manifest, "manifest")
    equal((s.folder / "kill.tbenc.key").read_text(), key, "key")
    s.absent("kill.tbenc.underway")


def interrupted(s, azurite, at):
    """By SIGINT nothing is left of it, the key that was made for it neither; upload ends as soon."""
    note = s.folder / "int.tbenc.underway"
    for command, begun in (
            (["encrypt", "big", "--asset-id", "int", "--out", "int.tbenc", "--upload", *at], note.exists),
            (["upload", "--encrypted-file", "back.tbenc", "--manifest", "kill.manifest.json", "--prefix", "int", *at],
             lambda: azurite.uncommitted("/models/int/kill/model.tbenc"))):
        process = s.start(*command, "--max-bytes-per-second", str(16 * MIB), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None and not begun():
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1].decode()
        equal(process.returncode, 130, f"exit status: {error}")
    s.absent("int.tbenc.underway", "int.tbenc.key", "int.manifest.json")
    equal(azurite.get("/models/int/model.tbenc"), None, "something appeared")


def refusals(s, at):
    s.model("r.weights", 70_000)
    command = ["encrypt", "r.weights", "--asset-id", "r", "--out", "r.tbenc"]
    s.fails("usage", 2, *command, *at)
    s.fails("usage", 2, "encrypt", "r.weights", "--asset-id", "../r", "--out", "r.tbenc", "--upload", *at)
    s.fails("usage", 2, *command, "--upload", "--store", "file:there")
    s.fails("usage", 2, *command, "--upload", "--store", "ftp://x")
    s.fails("container_not_found", 5, *command, "--upload", *at, "--container", "nothere")
    s.absent("r.tbenc.key", "r.manifest.json", "r.tbenc.underway")
    s.tb("keygen", "--out", "used.key")
    s.tb(*command, "--upload", *at, "--key-file", "used.key")
    s.fails("key_already_used", 7, *command[:3], "r2", "--out", "r2.tbenc", "--upload", *at, "--key-file", "used.key")
    s.absent("r2.manifest.json", "r2.tbenc.underway")


def story(s):
    s.killed = True
    azurite = Azurite()
    try:
        s.file("account.key", azurite.key_base64() + "\n").chmod(0o600)
        at = ["--storage-account", ACCOUNT, "--endpoint", azurite.endpoint(), "--account-key-file", "account.key"]
        sent_whole(s, "az", at, lambda name: azurite.get("/models/" + name), "--create-container")
        killed_and_begun_anew(s, azurite, at)
        killed_after_it_appeared(s, azurite, at)
        interrupted(s, azurite, at)
        refusals(s, at)
    finally:
        azurite.close()
    nginx = Nginx(s.folder / "nginx")
    try:
        sent_whole(s, "dav", ["--store", nginx.url()], nginx.get)
    finally:
        nginx.close()
    cp = ControlPlane(s)
    token = cp.token_file("provider", "--tenant", "acme")
    with cp:
        sent_whole(s, "cp", ["--store", "cp:", "--edc-endpoint", cp.url, "--token-file", token],
                   lambda name: (s.folder / "cp/blobs/acme" / name).read_bytes())


play(story)
