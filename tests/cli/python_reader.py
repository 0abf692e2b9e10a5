"""An independent reader in Python reads what we write, and we read what it writes, at every size around a border."""
import json

import peer
from scenario import equal, play

SIZES = (0, 1, 1023, 1024, 1025, 2048, 5000)


def story(s):
    for size in SIZES:
        plain = s.model("plain", size)
        s.tb("encrypt", plain, "--asset-id", "a", "--chunk-bytes", 1024, "--out", f"{size}.tbenc")
        key = bytes.fromhex((s.folder / f"{size}.tbenc.key").read_text()[:64])
        equal(peer.read(s.folder / f"{size}.tbenc", key), plain.read_bytes(), f"{size} bytes in Python")
        ours = json.loads((s.folder / f"{size}.manifest.json").read_text())
        again = peer.with_mac(ours, key, bytes.fromhex(ours["nonce_prefix"]))
        equal(again["mac"], ours["mac"], "the mac")
        theirs = peer.write(plain.read_bytes(), key)
        s.file("theirs.tbenc", theirs)
        s.file("theirs.manifest.json", json.dumps(peer.with_mac(peer.manifest(theirs, size), key)))
        s.tb("decrypt", "theirs.tbenc", "--key-file", f"{size}.tbenc.key", "--out", "back", "--force")
        equal((s.folder / "back").read_bytes(), plain.read_bytes(), f"{size} bytes by us")


play(story)
