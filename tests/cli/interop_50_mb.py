"""50 MB both ways between our program and the format's first implementation.

That implementation is not here. For it stands the writer of the vectors, which shares nothing with ours and is first held against a file that the
first implementation wrote (its recorded SHA-256). Ours must then be the same bytes for the same key and prefix, and open what that writer wrote.
"""
import hashlib
import json
import random
import sys

from scenario import SOURCE, check, equal, play

sys.path.insert(0, str(SOURCE / "tests" / "vectors"))
import file_vectors  # noqa: E402
import peer  # noqa: E402
import sealing  # noqa: E402

BYTES, CHUNK = 50_000_000, 4 << 20


def first_implementation(s):
    key, chunk, prefix, pattern, size, recorded = file_vectors.SEALED["sealed-16-MiB-in-4-MiB-chunks"]
    plain = (pattern.encode() * (size // len(pattern) + 1))[:size]
    equal(hashlib.sha256(sealing.seal(key, chunk, prefix, plain)).hexdigest(), recorded, "the writer against the first implementation")


def ours_is_theirs(s, plain):
    s.tb("encrypt", "weights", "--asset-id", "a", "--chunk-bytes", CHUNK, "--out", "ours.tbenc", "--manifest", "ours.json", "--key-file", "k")
    key = bytes.fromhex((s.folder / "k").read_text()[:64])
    ours = (s.folder / "ours.tbenc").read_bytes()
    equal(hashlib.sha256(sealing.seal(key, CHUNK, ours[15:19], plain)).hexdigest(), hashlib.sha256(ours).hexdigest(), "our file against theirs")
    document = json.loads((s.folder / "ours.json").read_text())
    equal(document["sha256_ciphertext"], hashlib.sha256(ours).hexdigest(), "manifest")
    check(document.keys() >= peer.manifest(ours, BYTES).keys(), "a field that the first implementation reads is missing")
    return key


def theirs_is_opened(s, plain, key):
    theirs = sealing.seal(key, CHUNK, b"\x05\x00\x00\x05", plain)
    s.file("theirs.tbenc", theirs)
    s.file("theirs.json", json.dumps(peer.manifest(theirs, BYTES, asset_id="a")))
    decrypt = ["decrypt", "theirs.tbenc", "--manifest", "theirs.json", "--key-file", "k", "--out", "back", "--allow-unauthenticated-manifest"]
    s.tb(*decrypt)
    equal(hashlib.sha256((s.folder / "back").read_bytes()).hexdigest(), hashlib.sha256(plain).hexdigest(), "plaintext")
    (s.folder / "back").unlink()
    with open(s.folder / "theirs.tbenc", "r+b") as file:
        file.seek(BYTES // 2)
        byte = file.read(1)
        file.seek(BYTES // 2)
        file.write(bytes([byte[0] ^ 1]))
    s.fails("tag_mismatch", 4, *decrypt)
    s.absent("back")


def story(s):
    plain = random.Random(50).randbytes(BYTES)
    s.file("weights", plain)
    first_implementation(s)
    key = ours_is_theirs(s, plain)
    theirs_is_opened(s, plain, key)


play(story)
