"""Symbolic links: one that stays inside is followed, one that leaves, loops or dangles is refused by name."""
import os

from scenario import check, play


def story(s):
    s.file("outside/secret.txt", "secret")
    s.file("m/config.json", "{}")
    for target in ("../outside/secret.txt", str(s.folder / "outside/secret.txt"), "../outside", "/etc/passwd"):
        os.symlink(target, s.folder / "m/link")
        done = s.fails("link_outside", 3, "encrypt", "m", "--asset-id", "a", "--out", "a.tbenc")
        check("link" in done.err, done.err)
        os.unlink(s.folder / "m/link")
    os.symlink("nowhere", s.folder / "m/link")
    s.tb("encrypt", "m", "--asset-id", "a", "--out", "a.tbenc", rc=5)
    os.unlink(s.folder / "m/link")
    os.symlink(".", s.folder / "m/loop")
    s.fails("link_loop", 4, "encrypt", "m", "--asset-id", "a", "--out", "a.tbenc")
    os.unlink(s.folder / "m/loop")
    os.symlink("config.json", s.folder / "m/inside.json")
    s.absent("a.tbenc", "a.tbenc.key", "a.manifest.json")
    s.tb("encrypt", "m", "--asset-id", "a", "--out", "a.tbenc")
    s.tb("decrypt", "a.tbenc", "--key-file", "a.tbenc.key", "--out", "back")
    check((s.folder / "back/inside.json").read_text() == "{}", "the link's content")
    # An output directory that is a link, and a link in the way of an output, are not followed.
    os.symlink("outside/secret.txt", s.folder / "trap")
    s.fails("output_exists", 7, "decrypt", "a.tbenc", "--key-file", "a.tbenc.key", "--out", "trap", "--raw")
    check((s.folder / "outside/secret.txt").read_text() == "secret", "a link was followed")


play(story)
