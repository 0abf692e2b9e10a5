"""An existing output is refused without --force; the input is never overwritten, whatever it is called."""
import os

from scenario import check, equal, play


def story(s):
    plain = s.asset()
    text = plain.read_bytes()
    old = (s.folder / "model.tbenc").read_bytes()
    s.fails("output_exists", 7, "encrypt", plain, "--asset-id", "a", "--key-file", "new.key")
    equal((s.folder / "model.tbenc").read_bytes(), old, "the old ciphertext")
    s.absent("new.key")
    s.tb("encrypt", plain, "--asset-id", "a", "--key-file", "new.key", "--force")
    check((s.folder / "model.tbenc").read_bytes() != old, "--force did not replace")
    s.tb("verify", "model.tbenc", "--key-file", "new.key")
    s.file("back", "mine")
    s.fails("output_exists", 7, "decrypt", "model.tbenc", "--key-file", "new.key", "--out", "back")
    equal((s.folder / "back").read_text(), "mine", "the existing file")
    s.tb("decrypt", "model.tbenc", "--key-file", "new.key", "--out", "back", "--force")
    equal((s.folder / "back").read_bytes(), text, "plaintext")
    # The input, by name, by a longer way, and through a link.
    os.symlink(plain.name, s.folder / "link")
    for out in (plain.name, f"./{plain.name}", f"home/../{plain.name}", "link"):
        s.fails("output_is_input", 7, "encrypt", plain, "--asset-id", "a", "--out", out, "--force")
        s.fails("output_is_input", 7, "encrypt", plain, "--asset-id", "a", "--out", "z.tbenc", "--manifest", out, "--force")
        s.fails("output_is_input", 7, "encrypt", plain, "--asset-id", "a", "--out", "z.tbenc", "--key-file", out)
    s.fails("output_is_input", 7, "decrypt", "model.tbenc", "--key-file", "new.key", "--out", "model.tbenc", "--force")
    s.fails("output_is_input", 7, "encrypt", plain, "--asset-id", "a", "--out", "z.tbenc", "--manifest", "z.tbenc")
    for victim in ("new.key", "model.manifest.json"):
        kept = (s.folder / victim).read_bytes()
        s.fails("output_is_input", 7, "decrypt", "model.tbenc", "--key-file", "new.key", "--out", victim, "--force")
        equal((s.folder / victim).read_bytes(), kept, victim)
    s.file("m/config.json", "{}")
    s.fails("output_is_input", 7, "encrypt", "m", "--asset-id", "a", "--out", "m/model.tbenc")
    s.fails("output_is_input", 7, "encrypt", "m", "--asset-id", "a", "--out", "m")
    equal(plain.read_bytes(), text, "the input")
    equal(s.names("m"), ["config.json"], "the input directory")
    s.absent("z.tbenc", "z.tbenc.key", "z.manifest.json")


play(story)
