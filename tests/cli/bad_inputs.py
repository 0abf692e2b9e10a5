"""Inputs that cannot be encrypted, each with its own error and nothing left: empty, missing, a socket, a fifo."""
import os
import socket

from scenario import equal, play


def story(s):
    (s.folder / "empty/sub").mkdir(parents=True)
    s.file("with-fifo/a.txt", "a")
    os.mkfifo(s.folder / "with-fifo/pipe")
    s.file("with-socket/a.txt", "a")
    server = socket.socket(socket.AF_UNIX)
    server.bind(os.path.relpath(s.folder / "with-socket/sock"))
    os.mkfifo(s.folder / "pipe")
    bad = os.fsencode(s.folder) + b"/bad-name"
    os.mkdir(bad)
    with open(bad + b"/\xff\xfe.txt", "wb") as file:
        file.write(b"a")
    for source, reason, rc in (("empty", "source_empty", 4), ("gone", "file_not_found", 5),
                               ("with-fifo", "source_kind_unsupported", 4), ("with-socket", "source_kind_unsupported", 4),
                               ("pipe", "source_kind_unsupported", 4), ("bad-name", "path_unsupported", 4)):
        s.fails(reason, rc, "encrypt", source, "--asset-id", "a", "--out", "a.tbenc")
    server.close()
    equal([n for n in s.names() if n.startswith("a.")], [], "outputs")
    s.fails("file_not_found", 5, "decrypt", "gone.tbenc", "--no-manifest", "--key-file", "gone.key", "--out", "x")
    s.fails("file_not_found", 5, "inspect", "gone.tbenc")
    s.file("short.tbenc", b"TBENC001")
    s.fails("header_malformed", 4, "inspect", "short.tbenc")
    s.fails("header_malformed", 4, "inspect", s.file("text.tbenc", b"x" * 100))


play(story)
