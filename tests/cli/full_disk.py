"""A full disk, as a limit on file sizes: exit 8, no output, no key, nothing unfinished; also on a full tmpfs as root."""
import os
import resource
import subprocess

from scenario import check, equal, play

LIMIT = 2 << 20


def limited():
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def story(s):
    plain = s.sparse("big", 8 << 20)
    s.fails("disk_full", 8, "encrypt", plain, "--asset-id", "b", "--out", "b.tbenc", preexec_fn=limited)
    s.absent("b.tbenc", "b.tbenc.key", "b.manifest.json")
    s.tb("encrypt", plain, "--asset-id", "b", "--out", "b.tbenc")
    s.fails("disk_full", 8, "decrypt", "b.tbenc", "--key-file", "b.tbenc.key", "--out", "back", preexec_fn=limited)
    s.fails("disk_full", 8, "upload", "--encrypted-file", "b.tbenc", "--store", "file:store", preexec_fn=limited)
    s.file("m/weights.safetensors", bytes(4 << 20))
    s.tb("encrypt", "m", "--asset-id", "m", "--out", "m.tbenc")
    s.fails("disk_full", 8, "decrypt", "m.tbenc", "--key-file", "m.tbenc.key", "--out", "unpacked", preexec_fn=limited)
    s.absent("back", "unpacked", "store/models/b/model.tbenc")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([s.binary, "decrypt", "b.tbenc", "--key-file", "b.tbenc.key", "--out", "-"], cwd=s.folder,
                              stdout=full, stderr=subprocess.PIPE, check=False)
    equal(done.returncode, 8, f"exit status on /dev/full: {done.stderr}")
    if os.geteuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(s.folder / "store")],
                                            check=False, capture_output=True).returncode == 0:
        try:
            refused = s.fails("disk_full", 8, "encrypt", plain, "--asset-id", "b", "--out", "store/b.tbenc")
            check("needs 8.0 MiB" in refused.err, "said before the first byte, with the figures: " + refused.err)
            equal(s.names("store"), [], "what is on the full disk")
        finally:
            subprocess.run(["umount", str(s.folder / "store")], check=True)


play(story)
