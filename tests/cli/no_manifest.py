"""Without a manifest the end cannot be proven: it is said, and a cut at a border passes only there."""
from scenario import check, equal, play


def story(s):
    plain = s.asset(chunk_bytes=65536).read_bytes()
    done = s.tb("decrypt", "model.tbenc", "--no-manifest", "--key-file", "model.tbenc.key", "--out", "back", "--json")
    check("warning: the end of the file is not authenticated" in done.err, done.err)
    equal(done.json()["end_authenticated"], False, "end_authenticated")
    cipher = (s.folder / "model.tbenc").read_bytes()
    s.file("cut.tbenc", cipher[:32 + 3 * (65536 + 20)])
    s.tb("decrypt", "cut.tbenc", "--no-manifest", "--key-file", "model.tbenc.key", "--out", "cut")
    equal((s.folder / "cut").read_bytes(), plain[:3 * 65536], "what a cut leaves")
    s.fails("ciphertext_truncated", 4, "decrypt", "cut.tbenc", "--manifest", "model.manifest.json", "--key-file",
            "model.tbenc.key", "--out", "x")
    (s.folder / "model.manifest.json").rename(s.folder / "elsewhere.json")
    done = s.fails("file_not_found", 5, "decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "x")
    check("--no-manifest" in done.err, "the hint: " + done.err)
    s.fails("usage", 2, "decrypt", "model.tbenc", "--no-manifest", "--asset-id", "a", "--key-file", "model.tbenc.key", "--out", "x")
    s.fails("usage", 2, "verify", "model.tbenc", "--no-manifest")
    s.absent("x")


play(story)
