"""A file that grows, shrinks or is rewritten while it is read: refused, and nothing is left."""
import os
import threading

from scenario import play


def while_encrypting(s, change, source, *arguments):
    """Keeps changing the file from before the start until after the end."""
    done = threading.Event()

    def keep_changing():
        while not done.wait(0.002):
            change()

    thread = threading.Thread(target=keep_changing)
    thread.start()
    try:
        s.fails("source_changed", 7, "encrypt", source, "--asset-id", "a", "--out", "a.tbenc", *arguments)
    finally:
        done.set()
        thread.join()
    s.absent("a.tbenc", "a.tbenc.key", "a.manifest.json")


def story(s):
    size = 192 << 20
    for source, victim in (("one", "one"), ("dir", "dir/weights.safetensors")):
        path = s.sparse(victim, size)

        def grow():
            with open(path, "ab") as file:
                file.write(b"x")

        def rewrite():
            with open(path, "r+b") as file:
                file.write(b"y")

        def shrink():
            os.truncate(path, max(0, path.stat().st_size - (8 << 20)))

        while_encrypting(s, grow, source)
        os.truncate(path, size)
        while_encrypting(s, rewrite, source)
        os.truncate(path, 1 << 30)
        while_encrypting(s, shrink, source)
    os.truncate(s.folder / "one", 1000)
    s.tb("encrypt", "one", "--asset-id", "a", "--out", "a.tbenc")


play(story)
