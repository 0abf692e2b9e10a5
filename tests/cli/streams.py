"""Pipes at both ends: key or ciphertext from stdin, plaintext to stdout, and what cannot be combined."""
from scenario import check, equal, play


def story(s):
    plain = s.asset().read_bytes()
    key = (s.folder / "model.tbenc.key").read_bytes()
    cipher = (s.folder / "model.tbenc").read_bytes()
    equal(s.tb("decrypt", "model.tbenc", "--key-file", "-", "--out", "-", stdin=key).raw, plain, "stdout")
    done = s.tb("decrypt", "-", "--manifest", "model.manifest.json", "--key-file", "model.tbenc.key", "--out", "-",
                stdin=cipher)
    equal(done.raw, plain, "from stdin")
    s.fails("usage", 2, "decrypt", "-", "--key-file", "model.tbenc.key", "--out", "x", stdin=cipher)
    s.fails("usage", 2, "decrypt", "-", "--manifest", "model.manifest.json", "--key-file", "-", "--out", "x")
    s.fails("usage", 2, "decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "-")
    s.fails("usage", 2, "encrypt", "asset-a.weights", "--asset-id", "b", "--key-file", "-", "--out", "b.tbenc", stdin=key)
    cut = s.tb("decrypt", "-", "--manifest", "model.manifest.json", "--key-file", "model.tbenc.key", "--out", "-",
               stdin=cipher[:-70000], rc=4)
    check(plain.startswith(cut.raw) and len(cut.raw) < len(plain), "more than verified chunks was released")
    s.absent("x", "b.tbenc", "b.tbenc.key")


play(story)
