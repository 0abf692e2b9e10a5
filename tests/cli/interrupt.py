"""SIGINT and SIGTERM: exit 130, partial output removed, a key that was made for it too."""
import signal
import subprocess
import time

from scenario import check, equal, play


def story(s):
    s.sparse("m/weights.safetensors", 1500 << 20)
    for number in (signal.SIGINT, signal.SIGTERM):
        process = s.start("encrypt", "m", "--asset-id", "b", "--out", "b.tbenc", stderr=subprocess.PIPE,
                          stdout=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while time.monotonic() < end and s.unfinished_bytes() <= 1 << 20:
            time.sleep(0.001)
        process.send_signal(number)
        error = process.communicate(timeout=30)[1].decode()
        equal(process.returncode, 130, f"exit status: {error}")
        check("trustbridge: error: " in error, error)
        equal(s.partials(), [], "unfinished files")
        equal(s.names(), ["m"], "files")


play(story)
