"""The provider's whole way with the real control plane: upload and resume, register sealed, contract from birth to end."""
import hashlib
import os
import re
import select
import subprocess
import time
import urllib.request

from scenario import check, equal, play, skip

PIECE = 16 << 20


def start(s, binary):
    """Starts it on a free port; gives the process and its URL."""
    environment = {**s.environment, "TB_CP_ADDR": "127.0.0.1:0", "TB_CP_DATA_DIR": str(s.folder / "cp")}
    process = subprocess.Popen([binary], env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    said, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([process.stderr], [], [], 1)[0]:
            piece = os.read(process.stderr.fileno(), 65536)
            said += piece
            if found := re.search(rb'"url":"(http://127\.0\.0\.1:\d+)"', said):
                return process, found[1].decode(), environment
            check(piece, f"the control plane ended: {said!r}")
    check(False, f"the control plane does not listen: {said!r}")


def story(s):
    if "TB_CONTROL_PLANE" not in os.environ:
        skip("this build has no trustbridge-control-plane")
    binary = os.environ["TB_CONTROL_PLANE"]
    process, url, environment = start(s, binary)
    try:
        journey(s, binary, url, environment)
    finally:
        process.terminate()
        process.wait(timeout=30)


def put_first_piece(url, s, piece, total, asset_id="big"):
    """As an upload that ended after its first piece."""
    request = urllib.request.Request(f"{url}/api/v1/assets/{asset_id}/blobs/ciphertext", data=piece, method="PUT")
    request.add_header("Authorization", "Bearer " + (s.folder / "token").read_text().strip())
    request.add_header("Content-Range", f"bytes 0-{len(piece) - 1}/{total}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        equal(answer.status, 202, "status of a piece")


def resume(s, url, at):
    """An upload that was cut goes on where it was, if the note beside the ciphertext is of this ciphertext."""
    s.tb("encrypt", "big", "--asset-id", "cut", "--out", "cut.tbenc")
    cipher = (s.folder / "cut.tbenc").read_bytes()
    put_first_piece(url, s, cipher[:PIECE], len(cipher), "cut")
    digest = hashlib.sha256(cipher).hexdigest()
    s.file("cut.tbenc.upload", f"{digest} {url}\n")
    done = s.tb("upload", "--encrypted-file", "cut.tbenc", "--store", "cp:", *at, "--json")
    equal(done.json()["sent_bytes"], len(cipher) - PIECE, "bytes that were still to send")
    check("resuming after 16.0 MiB" in done.err, done.err)
    stored = next((s.folder / "cp").rglob("cut/model.tbenc"))
    equal(hashlib.sha256(stored.read_bytes()).hexdigest(), digest, "what the store holds")


def journey(s, binary, url, environment):
    def operator(*arguments):
        return subprocess.run([binary, *arguments], env=environment, capture_output=True, check=True).stdout

    s.file("token", operator("token", "create", "--role", "provider", "--tenant", "acme-ai")).chmod(0o600)
    s.file("cp.pub", operator("identity"))
    at = ["--edc-endpoint", url, "--token-file", "token"]
    plain = s.sparse("big", 40 << 20)
    s.tb("encrypt", plain, "--asset-id", "big", "--out", "big.tbenc")
    upload = ["upload", "--encrypted-file", "big.tbenc", "--store", "cp:", *at]
    # The first half of another ciphertext of the same size lies there: without our note it is not built upon.
    put_first_piece(url, s, bytes(PIECE), (s.folder / "big.tbenc").stat().st_size)
    first = s.tb(*upload, "--json").json()
    equal((first["sent_bytes"], first["blob_urls"]["ciphertext"]), (first["ciphertext_bytes"], "store:big/model.tbenc"), "upload")
    again = s.tb(*upload, "--json")
    equal(again.json()["sent_bytes"], 0, "what a second upload sends")
    s.absent("big.tbenc.upload")
    stored = next((s.folder / "cp").rglob("big/model.tbenc"))
    equal(stored.read_bytes(), (s.folder / "big.tbenc").read_bytes(), "what the store holds")
    resume(s, url, at)

    register = ["register", "--manifest", "big.manifest.json", "--key-file", "big.tbenc.key", "--store", "cp:", *at]
    done = s.tb(*register, "--control-plane-key", "cp.pub")
    check("warning" not in done.err, done.err)
    s.tb(*register, "--control-plane-key", "cp.pub")
    s.tb("keygen", "--signing", "--out", "stranger")
    s.tb(*register, "--control-plane-key", "stranger.pub", rc=4)
    s.tb(*register, "--control-plane-key", "cp.pub", "--tenant", "another", rc=2)
    s.asset("other", out="other.tbenc")
    s.tb("register", "--manifest", "other.manifest.json", "--key-file", "other.tbenc.key", "--blob-url",
         "https://blobs.example/other/model.tbenc", *at)

    create = ["contract", "create", "--contract-id", "c-1", "--consumer", "acme", "--asset-id", "big", "--not-after", "30d", *at]
    made = s.tb(*create, "--activation-token-file", "c-1.token", "--json").json()
    equal((made["contract_id"], made["state"], "activation_token" in made), ("c-1", "active", False), "contract")
    lines = (s.folder / "c-1.token").read_text().splitlines()
    equal(lines[1:], ["# control-plane-key " + (s.folder / "cp.pub").read_text().strip()], "the key that sentinels pin")
    s.tb(*create[:3], "c-x", *create[4:], "--activation-token-file", "x.token", "--control-plane-key", "stranger.pub", rc=4)
    s.absent("x.token")
    s.tb("contract", "revoke", "c-x", *at)
    s.tb(*create, "--activation-token-file", "again.token", rc=7)
    s.absent("again.token")
    s.tb("contract", "create", "--consumer", "acme", "--asset-id", "gone", "--not-after", "1d", "--activation-token-file", "t", *at,
         "--attestation", "tpm", "--key-release", "plain", rc=2)
    for verb, state in (("suspend", "suspended"), ("resume", "active"), ("revoke", "revoked")):
        equal(s.tb("contract", verb, "c-1", *at, "--json").json()["state"], state, verb)
    s.tb("contract", "resume", "c-1", *at, rc=7)
    s.tb(*create[:3], "c-2", *create[4:], "--activation-token-file", "c-2.token")
    equal(s.tb("contract", "update", "c-2", "--max-seats", 3, *at, "--json").json()["max_seats"], 3, "update")
    equal(s.tb("contract", "update", "c-2", "--min-client-version", "0.1.0", *at, "--json").json()["min_client_version"], "0.1.0", "update")
    s.tb("contract", "update", "c-2", "--min-client-version", "new", *at, rc=2)
    held = s.tb("contract", "update", "c-2", "--enforcement", "throttle", "--notice", "invoice 7 is due",
                "--throttle-requests-per-minute", 5, *at, "--json").json()
    equal((held["enforcement"], held["notice"], held["throttle_requests_per_minute"]), ("throttle", "invoice 7 is due", 5), "held back")
    check("invoice 7 is due" in s.tb("contract", "show", "c-2", *at).out, "the notice")
    s.tb("contract", "update", "c-2", "--enforcement", "suspend", *at, rc=2)
    s.tb("contract", "token", "c-2", "--activation-token-file", "c-2.new", *at)
    check((s.folder / "c-2.new").read_text() != (s.folder / "c-2.token").read_text(), "the token is the old one")
    listed = s.tb("contract", "list", *at, "--json").json()["items"]
    equal(sorted((c["contract_id"], c["state"]) for c in listed), [("c-1", "revoked"), ("c-2", "active"), ("c-x", "revoked")], "list")
    equal(s.tb("contract", "leases", "c-2", *at, "--json").json()["items"], [], "leases")
    s.tb("contract", "update", "c-2", "--hardware", "pin_first", *at)
    s.tb("contract", "hardware", "c-2", "--approve", "ab" * 32, *at)
    s.tb("contract", "hardware", "c-2", "--reset", *at)
    s.tb("contract", "hardware", "c-2", *at, rc=2)
    s.tb("contract", "evict", "c-2", "no-such-lease", *at, rc=5)
    s.tb("contract", "show", "gone", *at, rc=5)
    s.file("bad-token", "tbp_nonsense").chmod(0o600)
    s.tb("contract", "list", "--edc-endpoint", url, "--token-file", "bad-token", rc=3)
    s.tb("doctor", "--edc-endpoint", url)


play(story)
