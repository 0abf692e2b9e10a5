"""Vectors of model directories: tbenc-v1 section 6. File and manifest are sound; stream and index are what is tried."""
import hashlib
import json

from sealing import manifest_of, pax_record, padded, seal, tar, tar_block, tar_header, text, with_mac

KEY = b"\x44" * 32
PREFIX = bytes.fromhex("00000001")
SIX = "tbenc-v1 6"
ENTRIES = [("config.json", b'{"model_type": "llama"}\n', 0o644),
           ("tok", None, 0o755),
           ("tok/empty", b"", 0o644),
           ("tok/run.sh", b"#!/bin/sh\n", 0o755),
           ("weights.safetensors", bytes(i * 31 % 253 for i in range(1500)), 0o644)]


def digest(data):
    return hashlib.sha256(data).hexdigest()


def vector(name, stream, index, expect, at="content", **more):
    content = {"kind": "tar", "files": index} if isinstance(index, list) else index
    file = seal(KEY, 1024, PREFIX, stream)
    manifest = with_mac(manifest_of(file, 1024, PREFIX, len(stream), content), KEY)
    out = {"name": name, "spec": SIX, "key": KEY.hex(), "expect": expect}
    if expect == "ok":
        out |= {"end": "authenticated", "plaintext-bytes": len(stream), "plaintext-sha256": digest(stream)}
    else:
        released = len(stream) if at == "content" else 0
        out |= {"refused-at": at, "released": released, "released-sha256": digest(stream[:released])}
    return {**out, **more, "manifest": text(manifest), "file": file}


def exact():
    """What a directory becomes, byte for byte: the harness makes the tree and packs it."""
    long_name = "d" * 60 + "/" + "f" * 90
    entries = [("README.md", b"# a model\n", 0o644),
               ("a", None, 0o755), ("a/b", None, 0o755), ("a/b/c.json", b"{}", 0o644),
               ("a-b", b"sorts before a/", 0o644),
               ("d" * 60, None, 0o755), (long_name, b"long", 0o644),
               ("mod\u00e8le.gguf", b"GGUF", 0o644),
               ("run.sh", b"#!/bin/sh\n", 0o755),
               ("zero", b"", 0o644)]
    entries.sort(key=lambda e: (e[0] + ("/" if e[1] is None else "")).encode())
    stream, index = tar(entries)
    tree = [{"path": p, "text": d.decode(), "mode": f"0{m:o}"} for p, d, m in entries if d is not None]
    sound, sound_index = tar(ENTRIES)
    return [vector("tar-byte-exact", stream, index, "ok", tree=json.dumps(tree)),
            vector("tar-of-a-model", sound, sound_index, "ok"),
            vector("tar-with-sha256s", sound, [{**e, "sha256": digest(d)} for e, d in zip(
                sound_index, [d for _, d, _ in ENTRIES if d is not None])], "ok"),
            vector("tar-with-padding-to-10240", sound + bytes(-len(sound) % 10240), sound_index, "ok")]


def index_faults():
    stream, index = tar(ENTRIES)
    out = []

    def bad(name, at, **edit):
        changed = [dict(e) for e in index]
        changed[at] |= edit
        out.append(vector(f"index-{name}", stream, changed, "malformed", "manifest"))

    for name, path in {"parent-part": "../x", "parent-part-inside": "a/../x", "absolute": "/etc/passwd", "empty-part": "a//b",
                       "dot-part": "./a", "empty": "", "trailing-slash": "a/", "with-nul": "a\0b", "with-newline": "a\nb",
                       "with-escape": "a\x1b[2J", "with-delete": "a\x7f", "part-of-256-bytes": "a" * 256}.items():
        bad(f"path-{name}", 0, path=path)
    bad("path-twice", 1, path="config.json")
    bad("not-sorted", 1, path="aaa")
    bad("not-sorted-bytewise", 0, path="\U0001f600")
    bad("file-as-directory", 0, path="tok")
    bad("offset-does-not-ascend", 2, offset=index[1]["offset"])
    bad("overlap", 0, bytes=index[1]["offset"])
    bad("beyond-the-plaintext", 3, bytes=len(stream))
    bad("offset-beyond-the-plaintext", 3, offset=len(stream) + 512)
    bad("sum-overflows", 3, offset=2**53 - 1, bytes=2**53 - 1)
    bad("bytes-negative", 3, bytes=-1)
    bad("mode-setuid", 2, mode="4755")
    bad("mode-world-writable", 2, mode="0777")
    bad("mode-as-number", 2, mode=493)
    bad("sha256-short", 0, sha256="00")
    for name, files in {"no-files": [], "files-not-a-list": {}, "entry-not-an-object": ["a"]}.items():
        out.append(vector(f"index-{name}", stream, {"kind": "tar", "files": files}, "malformed", "manifest"))
    return out


def disagreements():
    """The index is sound by itself, the stream says something else."""
    stream, index = tar(ENTRIES)
    out = []

    def bad(name, new_stream, new_index=None, expect="malformed"):
        out.append(vector(f"tar-{name}", new_stream, index if new_index is None else new_index, expect))

    def edited(at, **edit):
        changed = [dict(e) for e in index]
        changed[at] |= edit
        return changed

    def replaced(at, data):
        return stream[:at] + data + stream[at + len(data):]

    first = index[0]
    head = stream[:512]
    last = index[-1]["offset"]
    bad("index-names-another-path", stream, edited(0, path="config.jsoo"))
    bad("index-names-another-mode", stream, edited(0, mode="0755"))
    bad("index-names-fewer-bytes", stream, edited(0, bytes=first["bytes"] - 1))
    bad("index-names-another-offset", stream, edited(0, offset=first["offset"] + 1, bytes=first["bytes"] - 1))
    bad("index-leaves-a-file-out", stream, index[:1] + index[2:])
    bad("index-leaves-the-last-file-out", stream, index[:-1])
    bad("index-names-a-file-more", stream, index + [{"path": "x", "offset": len(stream) - 512, "bytes": 0}])
    bad("header-checksum-wrong", replaced(0, b"C"))
    bad("header-not-ustar", tar_block("config.json", first["bytes"], 0o644, b"0", magic=b"ustar  \0") + stream[512:])
    for name, kind, link in [("symbolic-link", b"2", b"/etc/passwd"), ("hard-link", b"1", b"weights.safetensors"),
                             ("character-device", b"3", b""), ("fifo", b"6", b""), ("contiguous-file", b"7", b""),
                             ("gnu-long-name", b"L", b""), ("gnu-sparse", b"S", b"")]:
        bad(f"entry-is-a-{name}", tar_block("config.json", first["bytes"], 0o644, kind, link) + stream[512:])
    bad("file-names-a-link", tar_block("config.json", first["bytes"], 0o644, b"0", b"/etc/passwd") + stream[512:])
    bad("padding-not-zero", replaced(first["offset"] + first["bytes"], b"x"))
    bad("padding-of-last-file-not-zero", replaced(last + 1500, b"x"))
    bad("end-not-zero", replaced(len(stream) - 1, b"x"))
    bad("end-missing", stream[:-1024])
    bad("end-of-one-block", stream[:-512])
    bad("not-whole-blocks", stream + b"\0")

    def shifted(extra, at=0):
        return stream[:at] + extra + stream[at:], [
            {**e, "offset": e["offset"] + (len(extra) if e["offset"] > at else 0)} for e in index]

    bad("directory-that-is-not-indexed", *shifted(tar_header("other/", 0, 0o755, b"5")))
    bad("directory-twice", *shifted(tar_header("tok/", 0, 0o755, b"5")))
    bad("directory-outside", *shifted(tar_header("../", 0, 0o755, b"5")))
    bad("directory-world-writable", tar(ENTRIES[:1] + [("tok", None, 0o777)] + ENTRIES[2:])[0])
    bad("file-that-is-not-indexed", *shifted(tar_header("evil", 0, 0o644)))
    bad("zero-block-before-the-end", *shifted(bytes(512)))
    for name, extra in {"linkpath": (b"linkpath", b"/etc/passwd"), "sparse": (b"GNU.sparse.major", b"1"),
                        "other-path": (b"path", b"evil"), "other-size": (b"size", b"1")}.items():
        body = pax_record(*extra)
        bad(f"extension-with-{name}", *shifted(tar_block("PaxHeader/config.json", len(body), 0o644, b"x") + padded(body)))
    body = pax_record(b"path", b"evil")
    bad("extension-for-all", *shifted(tar_block("PaxHeader/all", len(body), 0o644, b"g") + padded(body)))
    bad("index-names-another-sha256", stream, edited(3, sha256="0" * 64), expect="tampered")
    bad("index-names-another-sha256-of-an-empty-file", stream, edited(1, sha256="0" * 64), expect="tampered")
    whole = {"kind": "tar", "files": index, "plaintext_sha256": "0" * 64}
    bad("plaintext-sha256-wrong", stream, whole, expect="tampered")
    assert head
    return out


def all():
    return exact() + index_faults() + disagreements()
