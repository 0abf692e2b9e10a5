"""One key serves one encryption: a used key is refused and nothing is written; a fresh one from keygen is claimed."""
from scenario import check, equal, play


def story(s):
    plain = s.asset()
    before = (s.folder / "model.tbenc.key").read_bytes()
    refused = s.fails("key_already_used", 7, "encrypt", plain, "--asset-id", "asset-a", "--out", "two.tbenc",
                      "--key-file", "model.tbenc.key")
    check("asset asset-a prefix" in refused.err, refused.err)
    check(before[:64].decode() not in refused.err + refused.out, "the key was printed")
    s.absent("two.tbenc", "two.manifest.json")
    equal((s.folder / "model.tbenc.key").read_bytes(), before, "the key file")
    s.fails("key_already_used", 7, "encrypt", plain, "--asset-id", "asset-a", "--force")
    s.tb("keygen", "--out", "fresh.key")
    s.tb("encrypt", plain, "--asset-id", "b", "--out", "b.tbenc", "--key-file", "fresh.key")
    check((s.folder / "fresh.key").read_text().splitlines()[1].startswith("# asset b prefix "), "no claim")
    s.fails("key_already_used", 7, "encrypt", plain, "--asset-id", "b", "--out", "c.tbenc", "--key-file", "fresh.key")
    s.fails("output_exists", 7, "keygen", "--out", "fresh.key")
    # A refusal that comes before the first sealed byte leaves a fresh key unclaimed.
    s.tb("keygen", "--out", "spare.key")
    s.fails("output_exists", 7, "encrypt", plain, "--asset-id", "b", "--out", "b.tbenc", "--key-file", "spare.key")
    equal(len((s.folder / "spare.key").read_text().splitlines()), 1, "lines of the spare key")


play(story)
