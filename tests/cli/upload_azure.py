"""upload to Azurite: the credentials, what is there already, conflicts, refusals, and after kill -9 the same command goes on.
After every success the store's bytes are the file's."""
import base64
import hashlib
import json
import os
import signal
import subprocess
import time

from azurite import ACCOUNT, Azurite
from scenario import check, equal, play

MIB = 1 << 20


def equal_bytes(s, azurite, blob, name):
    equal(hashlib.sha256(azurite.get(blob) or b"nothing").hexdigest(),
          hashlib.sha256((s.folder / name).read_bytes()).hexdigest(), f"{blob} against {name}")


def uploads(s, azurite, at):
    s.asset("m", 300_000)
    upload = ["upload", "--encrypted-file", "model.tbenc", "--asset-id", "m", *at]
    s.fails("container_not_found", 5, *upload)
    done = s.tb(*upload, "--create-container", "--json").json()
    equal(done["blob_urls"]["ciphertext"], f"http://127.0.0.1:{azurite.port}/{ACCOUNT}/models/m/model.tbenc", "url")
    blob = done["blobs"]["ciphertext"]
    equal((blob["blocks_sent"], blob["blocks_skipped"], blob["already_there"]), (1, 0, False), "blocks")
    equal(blob["sha256"], hashlib.sha256((s.folder / "model.tbenc").read_bytes()).hexdigest(), "sha256")
    equal_bytes(s, azurite, "/models/m/model.tbenc", "model.tbenc")
    equal_bytes(s, azurite, "/models/m/model.manifest.json", "model.manifest.json")
    check(azurite.get("/models/m/model.tbenc.key") is None, "the key was uploaded")

    again = s.tb(*upload, "--json").json()
    check(again["blobs"]["ciphertext"]["already_there"] and again["blobs"]["manifest"]["already_there"], "it was sent again")
    equal(again["blobs"]["ciphertext"]["etag"], blob["etag"], "etag")

    # The same bytes, put there by a program that notes no digest.
    azurite.put("/models/m/model.tbenc", (s.folder / "model.tbenc").read_bytes())
    check(s.tb(*upload, "--json").json()["blobs"]["ciphertext"]["already_there"], "equal bytes were not recognised")


def conflicts(s, azurite, at):
    s.asset("c", 300_000, "c.tbenc")
    upload = ["upload", "--encrypted-file", "c.tbenc", *at]
    foreign = os.urandom(len((s.folder / "c.tbenc").read_bytes()))
    for there in ("model.tbenc", "model.manifest.json"):
        azurite.put(f"/models/c/{there}", foreign)
        refused = s.fails("blob_conflict", 7, *upload)
        check("--overwrite" in refused.json()["error"]["hint"], "no hint")
        equal(azurite.get(f"/models/c/{there}"), foreign, "what was there")
        if there == "model.manifest.json":
            equal(azurite.uncommitted("/models/c/model.tbenc"), [], "blocks that were sent before the refusal")
        azurite.ask("DELETE", f"/models/c/{there}")
    azurite.put("/models/c/model.tbenc", foreign)
    s.tb(*upload, "--overwrite")
    equal_bytes(s, azurite, "/models/c/model.tbenc", "c.tbenc")
    # Another program's unfinished blocks, whose names have another length.
    s.asset("u", 300_000, "u.tbenc")
    azurite.ask("PUT", "/models/u/model.tbenc", "blockid=QUFB&comp=block", b"theirs")
    s.fails("blob_conflict", 7, "upload", "--encrypted-file", "u.tbenc", *at)
    cipher = bytearray((s.folder / "c.tbenc").read_bytes())
    cipher[1000] ^= 1
    s.file("flipped.tbenc", bytes(cipher))
    s.fails("ciphertext_digest_mismatch", 4, "upload", "--encrypted-file", "flipped.tbenc", "--manifest", "c.manifest.json",
            "--prefix", "flipped", *at)
    equal(azurite.get("/models/flipped/c/model.tbenc"), None, "a ciphertext that is not the manifest's")


def credentials(s, azurite, key_file):
    s.asset("k", 70_000, "k.tbenc")
    place = ["--endpoint", azurite.endpoint()]
    account = ["--storage-account", ACCOUNT]

    def upload(prefix, *more, **rest):
        done = s.tb("upload", "--encrypted-file", "k.tbenc", "--prefix", prefix, *more, **rest)
        equal_bytes(s, azurite, f"/models/{prefix}/k/model.tbenc", "k.tbenc")
        for text in (done.out, done.err):
            check("sig=" not in text and azurite.key_base64() not in text, f"a secret is shown: {text}")
        return done

    def refused(reason, rc, *more, **rest):
        outcome = s.fails(reason, rc, "upload", "--encrypted-file", "k.tbenc", "--prefix", "refused", *more, **rest)
        check("sig=" not in outcome.err + outcome.out, "a signature is shown")
        check(outcome.json()["error"]["hint"], f"no hint for {reason}")
        return outcome

    upload("string", environment={"AZURE_STORAGE_CONNECTION_STRING": azurite.connection_string()})
    upload("key", *place, *account, environment={"AZURE_STORAGE_KEY": azurite.key_base64()})
    upload("env", *place, "--auth", "key",
           environment={"AZURE_STORAGE_KEY": azurite.key_base64(), "AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_CONTAINER": "models"})
    s.file("sas", azurite.sas("models")).chmod(0o600)
    # Which may not make containers, and need not where there is one.
    upload("sas", *place, *account, "--sas-file", "sas", "--create-container")
    upload("sasenv", *place, *account, environment={"AZURE_STORAGE_SAS_TOKEN": "?" + azurite.sas("models")})

    s.file("wrong.key", "d3Jvbmc=").chmod(0o600)
    refused("blob_refused", 3, *place, *account, "--account-key-file", "wrong.key")
    s.file("ended", azurite.sas("models", seconds=-60)).chmod(0o600)
    refused("url_expired", 3, *place, *account, "--sas-file", "ended")
    s.file("reader", azurite.sas("models", "r")).chmod(0o600)
    refused("blob_refused", 3, *place, *account, "--sas-file", "reader")
    s.file("other", azurite.sas("others")).chmod(0o600)
    refused("blob_refused", 3, *place, *account, "--sas-file", "other")
    wrong = refused("blob_not_found", 5, *place, "--storage-account", "nobodys", "--account-key-file", key_file)
    check("account" in wrong.json()["error"]["hint"], wrong.out)
    refused("usage", 2, environment={"AZURE_STORAGE_ACCOUNT": ""})
    with_file = ["--account-key-file", key_file]
    refused("container_not_found", 5, *place, *account, *with_file, "--container", "nothere")
    s.fails("usage", 2, "upload", "--encrypted-file", "k.tbenc", *place, *account, *with_file, "--container", "No_Such")
    s.fails("usage", 2, "upload", "--encrypted-file", "k.tbenc", *account, "--auth", "password")
    (s.folder / key_file).chmod(0o644)
    refused("file_mode_unsafe", 3, *place, *account, *with_file)
    (s.folder / key_file).chmod(0o600)
    refused("network_unreachable", 6, "--endpoint", "http://127.0.0.1:1/{account}", *account, *with_file)


def killed_and_resumed(s, azurite, at):
    """By SIGKILL at many points: wherever it was, the same command goes on, and what it finds proven is not sent again."""
    s.sparse("big", 58 * MIB)
    with open(s.folder / "big", "r+b") as file:
        for at_mib in range(0, 58, 3):
            file.seek(at_mib * MIB)
            file.write(os.urandom(4096))
    s.tb("encrypt", "big", "--asset-id", "big", "--out", "big.tbenc")
    blob = "/models/big/model.tbenc"
    # Slow enough that every kill falls into it: 8 blocks of 8 MiB.
    slow = ["upload", "--encrypted-file", "big.tbenc", *at, "--parallel", "2", "--max-bytes-per-second", str(40 * MIB)]
    seen = 0
    for _ in range(2):
        process = s.start(*slow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            held = len(azurite.uncommitted(blob))
            if held > seen:
                seen = held
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        equal(process.wait(), -signal.SIGKILL, "the upload ended before it was killed")
        equal(azurite.get(blob), None, "something appeared")
    done = s.tb("upload", "--encrypted-file", "big.tbenc", *at, "--json").json()["blobs"]["ciphertext"]
    check(done["blocks_skipped"] >= seen >= 2, f"{done}, {seen} blocks were there")
    equal(done["blocks_skipped"] + done["blocks_sent"], 8, "blocks")
    equal_bytes(s, azurite, blob, "big.tbenc")
    # Of another ciphertext of the same size under the same name, no block is taken over.
    s.tb("encrypt", "big", "--asset-id", "big", "--out", "big2.tbenc")
    azurite.ask("DELETE", blob)
    azurite.ask("DELETE", "/models/big/model.manifest.json")
    process = s.start(*slow, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(azurite.uncommitted(blob)) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    other = s.tb("upload", "--encrypted-file", "big2.tbenc", *at, "--json").json()["blobs"]["ciphertext"]
    equal((other["blocks_skipped"], other["blocks_sent"]), (0, 8), "blocks of another content")
    equal_bytes(s, azurite, blob, "big2.tbenc")


def changed_meanwhile(s, azurite, at):
    s.tb("encrypt", "big", "--asset-id", "ch", "--out", "ch.tbenc")
    process = s.start("upload", "--encrypted-file", "ch.tbenc", *at, "--max-bytes-per-second", str(30 * MIB), "--json",
                      stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not azurite.uncommitted("/models/ch/model.tbenc"):
        time.sleep(0.01)
    with open(s.folder / "ch.tbenc", "r+b") as file:
        file.seek(57 * MIB)
        file.write(b"changed")
    out, err = process.communicate(timeout=100)
    equal(process.returncode, 7, err.decode())
    check(b'"source_changed"' in out and b"ch.tbenc" in err, out + err)
    equal(azurite.get("/models/ch/model.tbenc"), None, "something appeared")


def with_a_token(s):
    """OAuth, which Azurite takes over TLS: any token of the right shape, here from a program that stands in for az."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-keyout",
                    "tls.key", "-out", "tls.pem", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
                   cwd=s.folder, check=True, capture_output=True)

    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    now = int(time.time())
    claims = {"aud": "https://storage.azure.com", "iss": "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
              "iat": now - 60, "nbf": now - 60, "exp": now + 3600, "oid": "11111111-1111-1111-1111-111111111111",
              "tid": "ab1f708d-50f6-404c-a006-d71b2ac7a606"}
    answer = {"accessToken": f"{part({'alg': 'RS256', 'typ': 'JWT'})}.{part(claims)}.c2ln", "expires_on": now + 3600}
    s.file("bin/az", "#!/bin/sh\necho '" + json.dumps(answer) + "'\n").chmod(0o755)
    azurite = Azurite(tls=(str(s.folder / "tls.pem"), str(s.folder / "tls.key")))
    try:
        s.asset("t", 70_000, "t.tbenc")
        at = ["upload", "--encrypted-file", "t.tbenc", "--storage-account", ACCOUNT, "--endpoint", azurite.endpoint(), "--create-container"]
        path = {"PATH": f"{s.folder / 'bin'}:{os.environ['PATH']}"}
        s.fails("tls_failed", 3, *at, "--auth", "az", environment=path)
        s.tb(*at, "--auth", "az", "--ca-path", "tls.pem", environment=path)
        equal_bytes(s, azurite, "/models/t/model.tbenc", "t.tbenc")
        s.file("bin/az", "#!/bin/sh\nexit 1\n").chmod(0o755)
        s.fails("credential_unavailable", 6, *at, "--auth", "az", "--ca-path", "tls.pem", environment=path)
    finally:
        azurite.close()


def story(s):
    s.killed = True
    azurite = Azurite()
    try:
        s.file("account.key", azurite.key_base64() + "\n").chmod(0o600)
        at = ["--storage-account", ACCOUNT, "--endpoint", azurite.endpoint(), "--account-key-file", "account.key"]
        uploads(s, azurite, at)
        conflicts(s, azurite, at)
        credentials(s, azurite, "account.key")
        killed_and_resumed(s, azurite, at)
        changed_meanwhile(s, azurite, at)
    finally:
        azurite.close()
    with_a_token(s)


play(story)
