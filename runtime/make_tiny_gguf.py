#!/usr/bin/env python3
"""Writes a small llama model in GGUF v3 with random weights that are the same on every machine.

It is a real model to the engine (it loads, tokenizes and generates), and nobody's property. The rows of the output
layer that stand for unprintable tokens are zero, so that greedy text is printable ASCII and two runs can be compared.
Needs the standard library only.

    make_tiny_gguf.py model.gguf                                        # 0.5 MB
    make_tiny_gguf.py model.gguf --layers 4 --width 512 --feed 1408     # 40 MB: many chunks
"""
import argparse
import hashlib
import struct
import sys

ALIGNMENT = 32
KV_U32, KV_I32, KV_F32, KV_BOOL, KV_STRING, KV_ARRAY = 4, 5, 6, 7, 8, 9  # GGUF value types
SCALARS = {KV_U32: "<I", KV_I32: "<i", KV_F32: "<f", KV_BOOL: "<?"}
GGML_TYPES = {"f32": (0, "<f"), "f16": (1, "<e")}  # name: (ggml type, struct format)
BYTE_TOKENS = 256


def gguf_string(text):
    raw = text.encode("utf-8")
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    if kind == KV_STRING:
        return gguf_string(value)
    if kind == KV_ARRAY:
        item_kind, items = value
        return struct.pack("<IQ", item_kind, len(items)) + b"".join(gguf_value(item_kind, i) for i in items)
    return struct.pack(SCALARS[kind], value)


def byte_level_alphabet():
    """The 256 printable characters by which GPT-2's byte-level BPE names the 256 bytes."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(spare)) for b in range(256)]


def vocabulary():
    """Tokens, their types (1 normal, 3 control) and the one merge that the tokenizer insists on."""
    tokens = byte_level_alphabet() + ["<|bos|>", "<|eos|>", "th"]
    types = [1] * BYTE_TOKENS + [3, 3, 1]
    return tokens, types, ["t h"]


def metadata(shape):
    tokens, types, merges = vocabulary()
    template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    return [
        ("general.architecture", KV_STRING, "llama"),
        ("general.name", KV_STRING, shape.name),
        ("general.alignment", KV_U32, ALIGNMENT),
        ("general.file_type", KV_U32, GGML_TYPES[shape.type][0]),
        ("llama.block_count", KV_U32, shape.layers),
        ("llama.context_length", KV_U32, shape.context),
        ("llama.embedding_length", KV_U32, shape.width),
        ("llama.feed_forward_length", KV_U32, shape.feed),
        ("llama.attention.head_count", KV_U32, shape.heads),
        ("llama.attention.head_count_kv", KV_U32, shape.heads),
        ("llama.attention.layer_norm_rms_epsilon", KV_F32, 1e-5),
        ("llama.rope.dimension_count", KV_U32, shape.width // shape.heads),
        ("llama.rope.freq_base", KV_F32, 10000.0),
        ("llama.vocab_size", KV_U32, len(tokens)),
        ("tokenizer.ggml.model", KV_STRING, "gpt2"),
        ("tokenizer.ggml.pre", KV_STRING, "gpt-2"),
        ("tokenizer.ggml.tokens", KV_ARRAY, (KV_STRING, tokens)),
        ("tokenizer.ggml.token_type", KV_ARRAY, (KV_I32, types)),
        ("tokenizer.ggml.merges", KV_ARRAY, (KV_STRING, merges)),
        ("tokenizer.ggml.bos_token_id", KV_U32, BYTE_TOKENS),
        ("tokenizer.ggml.eos_token_id", KV_U32, BYTE_TOKENS + 1),
        ("tokenizer.ggml.add_bos_token", KV_BOOL, True),
        ("tokenizer.chat_template", KV_STRING, template),
    ]


def tensors(shape):
    """(name, dimensions fastest first, type) of every tensor, in file order."""
    words = len(vocabulary()[0])
    square, up, down = (shape.width, shape.width), (shape.width, shape.feed), (shape.feed, shape.width)
    listed = [("token_embd", (shape.width, words), shape.type)]
    for layer in range(shape.layers):
        parts = [("attn_norm", (shape.width,)), ("attn_q", square), ("attn_k", square), ("attn_v", square),
                 ("attn_output", square), ("ffn_norm", (shape.width,)), ("ffn_gate", up), ("ffn_up", up), ("ffn_down", down)]
        listed += [(f"blk.{layer}.{part}", dims, "f32" if part.endswith("norm") else shape.type) for part, dims in parts]
    listed += [("output_norm", (shape.width,), "f32"), ("output", (shape.width, words), shape.type)]
    return [(f"{name}.weight", dims, kind) for name, dims, kind in listed]


def count(dims):
    total = 1
    for dim in dims:
        total *= dim
    return total


def padding(size):
    return b"\0" * (-size % ALIGNMENT)


def weights(name, dims, kind, seed):
    """The bytes of one tensor: ones for a norm, else values in [-s, s] drawn from SHAKE-256(seed, name)."""
    values, form = count(dims), GGML_TYPES[kind][1]
    if name.endswith("norm.weight"):
        return struct.pack("<f", 1.0) * values
    scale = (3.0 / dims[0]) ** 0.5
    levels = [struct.pack(form, (level / 127.5 - 1.0) * scale) for level in range(256)]
    draws = hashlib.shake_256(f"{seed}/{name}".encode()).digest(values)
    item = struct.calcsize(form)
    out = bytearray(values * item)
    for position in range(item):  # one byte of every value at a time: translate() is quick
        out[position::item] = draws.translate(bytes(level[position] for level in levels))
    if name == "output.weight":
        row = dims[0] * item
        for token in range(dims[1]):
            if not 32 <= token < 127:
                out[token * row:(token + 1) * row] = bytes(row)
    return bytes(out)


def write_model(path, shape):
    layout, offset = b"", 0
    listed = tensors(shape)
    for name, dims, kind in listed:
        ggml_type, form = GGML_TYPES[kind]
        layout += gguf_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, ggml_type, offset)
        size = count(dims) * struct.calcsize(form)
        offset += size + len(padding(size))
    fields = metadata(shape)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(listed), len(fields))
    head += b"".join(gguf_string(key) + struct.pack("<I", kind) + gguf_value(kind, value) for key, kind, value in fields)
    head += layout
    digest, total = hashlib.sha256(), 0
    with open(path, "wb") as out:
        for part in [head] + [weights(name, dims, kind, shape.seed) for name, dims, kind in listed]:
            block = part + padding(len(part))
            out.write(block)
            digest.update(block)
            total += len(block)
    return total, digest.hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out")
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--width", type=int, default=64, help="embedding length, a multiple of --heads")
    parser.add_argument("--feed", type=int, default=128, help="feed-forward length")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--context", type=int, default=512, help="tokens")
    parser.add_argument("--type", choices=GGML_TYPES, default="f32")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default="tiny-random-llama")
    shape = parser.parse_args()
    if shape.width % shape.heads:
        parser.error("--width must be a multiple of --heads")
    total, digest = write_model(shape.out, shape)
    print(f"{shape.out}: {total} bytes, sha256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
