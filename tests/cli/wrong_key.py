"""Another key: refused by the mac, and without a manifest by the first tag; nothing comes out."""
from scenario import equal, play


def story(s):
    s.asset()
    s.tb("keygen", "--out", "other.key")
    for verb in (["decrypt", "model.tbenc", "--out", "x"], ["verify", "model.tbenc"], ["inspect", "model.tbenc"]):
        s.fails("mac_mismatch", 4, *verb, "--key-file", "other.key")
    s.fails("tag_mismatch", 4, "decrypt", "model.tbenc", "--no-manifest", "--key-file", "other.key", "--out", "x")
    done = s.tb("decrypt", "model.tbenc", "--no-manifest", "--key-file", "other.key", "--out", "-", rc=4)
    equal(done.raw, b"", "released plaintext")
    s.absent("x")


play(story)
