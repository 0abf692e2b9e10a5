"""On a terminal: a progress bar that is cleared, colour unless NO_COLOR, and no binary on it."""
import os
import pty
import subprocess

from scenario import check, equal, play


def on_terminal(s, *arguments, **environment):
    """Runs with stderr, and stdout if `stdout_too`, on a terminal; gives what was shown there and the exit status."""
    stdout_too = environment.pop("stdout_too", False)
    master, slave = pty.openpty()
    process = subprocess.Popen([s.binary, *map(str, arguments)], cwd=s.folder, stderr=slave,
                               stdout=slave if stdout_too else subprocess.DEVNULL, env={**s.environment, **environment})
    os.close(slave)
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    return shown.decode(errors="replace"), process.wait()


def story(s):
    big = s.sparse("big", 700 << 20)
    shown, rc = on_terminal(s, "encrypt", big, "--asset-id", "b", "--out", "b.tbenc")
    equal(rc, 0, "exit status")
    check("\rencrypt  [" in shown and " left" in shown and "/s" in shown, f"no bar: {shown!r}")
    check("\r\x1b[K" in shown, "the bar was not cleared")
    shown, _ = on_terminal(s, "decrypt", "b.tbenc", "--key-file", "b.tbenc.key", "--out", "b", "--quiet")
    equal(shown, "", "what --quiet shows")
    shown, rc = on_terminal(s, "verify", "gone.tbenc")
    check("\x1b[1;31merror:\x1b[0m" in shown and rc == 5, shown)
    shown, _ = on_terminal(s, "verify", "gone.tbenc", NO_COLOR="1")
    check("\x1b" not in shown, f"colour with NO_COLOR: {shown!r}")
    shown, rc = on_terminal(s, "decrypt", "b.tbenc", "--key-file", "b.tbenc.key", "--out", "-", stdout_too=True)
    check(rc == 2 and "refusing to write binary data to a terminal" in shown, shown[:200])


play(story)
