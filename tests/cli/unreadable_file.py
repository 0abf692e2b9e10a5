"""A file that we may not read, alone and inside a directory: told by name, before anything is written."""
import os
import shutil

from scenario import check, play, skip

NOBODY = 65534


def story(s):
    rest = {}
    if os.geteuid() == 0:  # root reads everything: the scenario is played as nobody, with the binary where it can be run
        s.binary = shutil.copy(s.binary, s.folder / "trustbridge")
        os.chmod(s.binary, 0o755)
        if os.system(f"su -s /bin/sh nobody -c '{s.binary} --version' >/dev/null 2>&1") != 0:
            skip("root cannot become nobody here, and root reads everything")
        rest = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    os.chmod(s.folder, 0o777)
    os.chmod(s.file("secret.safetensors", b"weights"), 0o000)
    s.file("m/config.json", "{}")
    os.chmod(s.file("m/model.safetensors", b"weights"), 0o000)
    for source in ("secret.safetensors", "m"):
        done = s.fails("permission_denied", 3, "encrypt", source, "--asset-id", "a", "--out", "a.tbenc", **rest)
        check(".safetensors" in done.err, f"the file is not named: {done.err}")
        s.absent("a.tbenc", "a.tbenc.key", "a.manifest.json")
    s.file("ok", b"weights")
    (s.folder / "locked").mkdir(mode=0o555)
    s.fails("permission_denied", 3, "encrypt", "ok", "--asset-id", "a", "--out", "locked/a.tbenc", **rest)
    s.tb("encrypt", "ok", "--asset-id", "a", "--out", "a.tbenc", **rest)


play(story)
