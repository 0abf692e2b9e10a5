"""inspect: header and manifest for everybody, tensors and metadata with the key, and nothing else is decrypted."""
import struct

import peer
from scenario import check, equal, play


def gguf(metadata, tensor_bytes):
    """A GGUF of one F32 tensor and text metadata."""
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    out = b"GGUF" + struct.pack("<IQQ", 3, 1, len(metadata))
    for name, value in metadata.items():
        out += text(name) + struct.pack("<I", 8) + text(value)
    out += text("token_embd.weight") + struct.pack("<IQIQ", 1, tensor_bytes // 4, 0, 0)
    return out + bytes(-len(out) % 32) + bytes(tensor_bytes)


def story(s):
    s.file("m/a.safetensors", peer.safetensors({"first.weight": [512, 256], "norm": [256]}))
    s.file("m/config.json", "{}")
    s.tb("encrypt", "m", "--asset-id", "a", "--out", "a.tbenc", "--chunk-bytes", 4096)
    without = s.tb("inspect", "a.tbenc", "--json").json()
    equal(without["header"]["chunk_bytes"], 4096, "chunk_bytes")
    equal([f["path"] for f in without["manifest"]["content"]["files"]], ["a.safetensors", "config.json"], "files")
    equal((without["authenticated"]["mac"], "models" in without), (False, False), "without the key")
    done = s.tb("inspect", "a.tbenc", "--key-file", "a.tbenc.key", "--json").json()
    equal(done["authenticated"]["mac"], True, "mac")
    equal({t["name"]: t["shape"] for t in done["models"][0]["tensors"]}, {"first.weight": [512, 256], "norm": [256]}, "tensors")
    check(done["plaintext_read"] < 4096, f"{done['plaintext_read']} bytes of plaintext were read")
    text = s.tb("inspect", "a.tbenc", "--key-file", "a.tbenc.key").out
    check("first.weight  F32  512 x 256" in text and "config.json" in text, text)
    # A chunk that inspect has no need of may be broken: it is not opened.
    cipher = bytearray((s.folder / "a.tbenc").read_bytes())
    cipher[len(cipher) // 2] ^= 1
    s.file("broken.tbenc", bytes(cipher))
    s.tb("inspect", "broken.tbenc", "--manifest", "a.manifest.json", "--key-file", "a.tbenc.key")
    cipher[40] ^= 1
    s.file("broken.tbenc", bytes(cipher))
    s.fails("tag_mismatch", 4, "inspect", "broken.tbenc", "--manifest", "a.manifest.json", "--key-file", "a.tbenc.key")

    s.file("tiny.gguf", gguf({"general.architecture": "llama", "general.name": "tiny \x1b[31m"}, 400_000))
    s.tb("encrypt", "tiny.gguf", "--asset-id", "g", "--out", "g.tbenc", "--chunk-bytes", 4096)
    done = s.tb("inspect", "g.tbenc", "--key-file", "g.tbenc.key", "--json").json()
    equal(done["models"][0]["metadata"]["general.architecture"], "llama", "metadata")
    equal(done["models"][0]["tensors"][0]["shape"], [100_000], "shape")
    check(done["plaintext_read"] < 100_000, f"{done['plaintext_read']} bytes of plaintext were read")
    text = s.tb("inspect", "g.tbenc", "--key-file", "g.tbenc.key").out
    check("\x1b" not in text and "tiny \\x1b[31m" in text, f"a control character reached the terminal: {text!r}")
    (s.folder / "g.manifest.json").unlink()
    bare = s.tb("inspect", "g.tbenc", "--key-file", "g.tbenc.key", "--json").json()
    equal(("manifest" in bare, bare["models"][0]["format"]), (False, "gguf"), "without a manifest")
    s.file("bad.safetensors", struct.pack("<Q", 1 << 40) + b"{}")
    s.tb("encrypt", "bad.safetensors", "--asset-id", "b", "--out", "b.tbenc")
    s.fails("safetensors_malformed", 4, "inspect", "b.tbenc", "--key-file", "b.tbenc.key")


play(story)
