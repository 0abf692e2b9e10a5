"""Pickle weights are refused by name unless --allow-pickle."""
from scenario import check, play


def story(s):
    s.file("m/config.json", "{}")
    for name in ("pytorch_model.bin", "model.PT", "sub/data.pkl"):
        path = s.file(f"m/{name}", b"\x80\x04.")
        done = s.fails("pickle_refused", 3, "encrypt", "m", "--asset-id", "a", "--out", "a.tbenc")
        check(name in done.err and "--allow-pickle" in done.err, done.err)
        path.unlink()
    s.fails("pickle_refused", 3, "encrypt", s.file("alone.pt", b"x"), "--asset-id", "a", "--out", "a.tbenc")
    s.absent("a.tbenc", "a.tbenc.key", "a.manifest.json")
    s.tb("encrypt", "alone.pt", "--asset-id", "a", "--out", "a.tbenc", "--allow-pickle")


play(story)
