"""A file comes back byte for byte; three outputs with the right modes; results on stdout, notes on stderr."""
import stat

from scenario import equal, check, play


def story(s):
    plain = s.model()
    done = s.tb("encrypt", "--in", plain, "--asset-id", "my-model_1", "--chunk-bytes", 65536)
    equal(done.out.split(), ["model.tbenc", "model.manifest.json", "model.tbenc.key"], "stdout")
    check("made the key model.tbenc.key" in done.err, done.err)
    key = (s.folder / "model.tbenc.key").read_text().splitlines()
    equal(len(key[0]), 64, "digits of the key")
    check(key[0] not in done.out + done.err, "the key was printed")
    check(key[1].startswith("# asset my-model_1 prefix "), key[1])
    equal(stat.S_IMODE((s.folder / "model.tbenc.key").stat().st_mode), 0o600, "mode of the key")
    s.tb("decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "back")
    equal((s.folder / "back").read_bytes(), plain.read_bytes(), "plaintext")
    equal(stat.S_IMODE((s.folder / "back").stat().st_mode), 0o600, "mode of the plaintext")
    s.file("nothing")
    s.tb("encrypt", "nothing", "--asset-id", "e", "--out", "e.tbenc")
    equal((s.folder / "e.tbenc").stat().st_size, 32, "size of an empty asset")
    s.tb("decrypt", "e.tbenc", "--key-file", "e.tbenc.key", "--out", "e")
    equal((s.folder / "e").read_bytes(), b"", "empty plaintext")
    (s.folder / "into").mkdir()
    s.tb("encrypt", plain, "--asset-id", "m", "--out", "into")
    equal(s.names("into"), ["model.manifest.json", "model.tbenc", "model.tbenc.key"], "outputs in a directory")


play(story)
