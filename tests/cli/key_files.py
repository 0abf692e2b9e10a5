"""Key files that cannot be trusted or read: open to others, no key, missing, a directory."""
import os

from scenario import check, play


def story(s):
    plain = s.asset()
    key = s.folder / "model.tbenc.key"
    digits = key.read_text()[:64]
    os.chmod(key, 0o644)
    s.fails("file_mode_unsafe", 3, "decrypt", "model.tbenc", "--key-file", "model.tbenc.key", "--out", "x")
    s.fails("file_mode_unsafe", 3, "encrypt", plain, "--asset-id", "a", "--out", "b.tbenc", "--key-file", "model.tbenc.key")
    for name, text in {"short": digits[:-1] + "\n", "letters": "g" * 64 + "\n", "empty": "", "spaced": " " + digits + "\n"}.items():
        os.chmod(s.file(name, text), 0o600)
        done = s.fails("key_file_malformed", 4, "verify", "model.tbenc", "--key-file", name)
        check(digits[:20] not in done.err + done.out, "key text was printed")
        s.fails("key_file_malformed", 4, "encrypt", plain, "--asset-id", "a", "--out", "b.tbenc", "--key-file", name)
    s.fails("file_not_found", 5, "verify", "model.tbenc", "--key-file", "gone.key")
    os.chmod(s.file("windows", digits + "\r\n# asset x prefix 00000000\r\n"), 0o600)
    s.tb("verify", "model.tbenc", "--key-file", "windows")
    s.absent("x", "b.tbenc", "b.manifest.json")


play(story)
