"""--raw, and a pipe, give the tar stream of a directory, which an ordinary tar reads."""
import io
import tarfile

from scenario import equal, play


def story(s):
    s.file("m/a.txt", "alpha")
    s.file("m/sub/b.txt", "beta")
    s.tb("encrypt", "m", "--asset-id", "t", "--plaintext-hashes")
    s.tb("decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "m.tar", "--raw")
    piped = s.tb("decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "-").raw
    equal((s.folder / "m.tar").read_bytes(), piped, "the two streams")
    with tarfile.open(fileobj=io.BytesIO(piped)) as tar:
        equal(sorted(n.name for n in tar if n.isfile()), ["a.txt", "sub/b.txt"], "names")
        equal(tar.extractfile("sub/b.txt").read(), b"beta", "content")


play(story)
