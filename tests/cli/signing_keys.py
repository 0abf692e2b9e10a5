"""keygen --signing: a 0600 private half, a public half; encrypt --sign-key signs, decrypt can insist on it."""
import stat

from scenario import check, equal, play


def story(s):
    done = s.tb("keygen", "--signing", "--out", "p.key", "--json").json()
    equal(stat.S_IMODE((s.folder / "p.key").stat().st_mode), 0o600, "mode of the private key")
    equal(len((s.folder / "p.key.pub").read_text().strip()), 43, "characters of the public key")
    private = (s.folder / "p.key").read_text().strip()
    s.fails("output_exists", 7, "keygen", "--signing", "--out", "p.key")
    equal((s.folder / "p.key").read_text().strip(), private, "the private key")
    s.file("q.key.pub", "taken")
    s.fails("output_exists", 7, "keygen", "--signing", "--out", "q.key")
    s.absent("q.key")
    plain = s.asset("a", 5000, "a.tbenc", 1024, "--sign-key", "p.key")
    shown = s.tb("inspect", "a.tbenc", "--json")
    equal(shown.json()["manifest"]["signatures"][0]["keyid"], done["keyid"], "keyid")
    check(private not in shown.out, "the private key is in the manifest")
    s.tb("decrypt", "a.tbenc", "--key-file", "a.tbenc.key", "--provider-key", "p.key.pub", "--out", "back")
    equal((s.folder / "back").read_bytes(), plain.read_bytes(), "plaintext")
    s.asset("b", 5000, "b.tbenc")
    s.fails("signature_missing", 3, "decrypt", "b.tbenc", "--key-file", "b.tbenc.key", "--provider-key", "p.key.pub", "--out", "x")
    s.fails("signing_key_malformed", 4, "encrypt", plain, "--asset-id", "c", "--out", "c.tbenc", "--sign-key", "a.tbenc.key")
    s.absent("x", "c.tbenc", "c.tbenc.key")


play(story)
