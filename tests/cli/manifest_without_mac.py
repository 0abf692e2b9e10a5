"""The first implementation's manifest: wants an explicit flag, and then its SHA-256 is proven before anything leaves."""
import json

import peer
from scenario import check, equal, play

KEY = bytes(range(32))
FLAG = "--allow-unauthenticated-manifest"


def story(s):
    s.file("k", KEY.hex() + "\n").chmod(0o600)
    plain = b"weights of the first implementation " * 200
    cipher = peer.write(plain, KEY)
    s.file("a.tbenc", cipher)
    document = peer.manifest(cipher, len(plain))
    s.file("a.manifest.json", json.dumps(document))
    s.fails("manifest_unauthenticated", 3, "decrypt", "a.tbenc", "--key-file", "k", "--out", "x")
    done = s.tb("decrypt", "a.tbenc", "--key-file", "k", "--out", "x", FLAG)
    check("warning: the manifest is not authenticated" in done.err, done.err)
    equal((s.folder / "x").read_bytes(), plain, "plaintext")
    equal(s.tb("decrypt", "a.tbenc", "--key-file", "k", "--out", "-", FLAG).raw, plain, "plaintext on stdout")
    s.file("a.manifest.json", json.dumps({**document, "sha256_ciphertext": "0" * 64}))
    done = s.tb("decrypt", "a.tbenc", "--key-file", "k", "--out", "-", FLAG, rc=4)
    equal(done.raw, b"", "what was released before the SHA-256 failed")
    s.fails("ciphertext_digest_mismatch", 4, "decrypt", "a.tbenc", "--key-file", "k", "--out", "y", FLAG)
    s.fails("ciphertext_digest_mismatch", 4, "verify", "a.tbenc", "--key-file", "k")
    s.fails("ciphertext_digest_mismatch", 4, "verify", "a.tbenc")
    done = s.tb("decrypt", "-", "--manifest", "a.manifest.json", "--key-file", "k", "--out", "-", FLAG, stdin=cipher, rc=2)
    check("cannot release plaintext from a stream to a stream" in done.err and done.raw == b"", done.err)
    s.absent("y")


play(story)
