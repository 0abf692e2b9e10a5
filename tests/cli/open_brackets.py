"""A manifest of 1 MiB of open brackets, and other text that is no manifest: malformed, quickly, for every reader."""
from scenario import play


def story(s):
    s.asset()
    for text in (b"[" * (1 << 20), b'{"a":' * (200 << 10), b"", b"\xff\xfe{}", b"{}{}", b"[]", b'{"format":"tbenc/v1"}'):
        s.file("bad.json", text)
        for arguments in (["decrypt", "model.tbenc", "--out", "x", "--key-file", "model.tbenc.key"],
                          ["verify", "model.tbenc"], ["inspect", "model.tbenc"]):
            s.fails("manifest_malformed", 4, *arguments, "--manifest", "bad.json")
        s.fails("manifest_malformed", 4, "upload", "--encrypted-file", "model.tbenc", "--store", "file:d", "--manifest", "bad.json")
        s.fails("manifest_malformed", 4, "register", "--manifest", "bad.json", "--key-file", "model.tbenc.key", "--store", "cp:")
    s.absent("x", "d")


play(story)
