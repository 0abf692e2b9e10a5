"""A provider's manifest with paths that would leave the target: refused before anything is written, by everybody."""
import json

import peer
from scenario import check, equal, play

KEY = bytes(range(32))


def story(s):
    (s.file("k", KEY.hex() + "\n")).chmod(0o600)
    cipher = peer.write(bytes(4096), KEY)
    s.file("a.tbenc", cipher)
    for path in ("../evil", "a/../../evil", "/evil", "a//b", "./a", "..", "", "a/", "a\x1bb", "a\nb"):
        document = peer.manifest(cipher, 4096, content={"kind": "tar", "files": [{"path": path, "offset": 512, "bytes": 4}]})
        s.file("a.manifest.json", json.dumps(peer.with_mac(document, KEY)))
        for arguments in (["decrypt", "a.tbenc", "--out", "into/out"], ["verify", "a.tbenc"], ["inspect", "a.tbenc"]):
            done = s.tb(*arguments, "--key-file", "k", rc=4)
            check("\x1b" not in done.err, "a control character reached the terminal")
    for name in ("../x", "a/b", ".hidden", "x\\y", ""):
        s.file("a.manifest.json", json.dumps(peer.with_mac({**peer.manifest(cipher, 4096), "weights_filename": name}, KEY)))
        s.fails("manifest_malformed", 4, "decrypt", "a.tbenc", "--key-file", "k", "--out", "out")
    equal(s.names(), ["a.manifest.json", "a.tbenc", "k"], "files")
    for asset_id in ("../a", "a b", "", "a" * 101):
        s.fails("usage", 2, "encrypt", "k", "--asset-id", asset_id, "--out", "b.tbenc")


play(story)
