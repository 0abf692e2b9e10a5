#!/usr/bin/env python3
"""Reads safetensors files as a runtime does, by a map of each, and says what is in them. Knows nothing of ours.

    safetensors_reader.py FILE.safetensors…    {"FILE": {"TENSOR": {"dtype", "shape", "sha256"}}}

Written from the format's own description: u64 little-endian length of the header, the header (a JSON object), the bytes of
the tensors, which fill the rest of the file without gaps.
"""
import hashlib
import json
import mmap
import os
import struct
import sys

ITEM_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I16": 2, "F32": 4, "I32": 4, "F64": 8, "I64": 8}
MAX_HEADER_BYTES = 100_000_000


def count(shape):
    total = 1
    for dimension in shape:
        total *= dimension
    return total


def tensors_of(view):
    header_bytes = struct.unpack("<Q", view[:8])[0]
    if header_bytes > min(MAX_HEADER_BYTES, len(view) - 8):
        raise ValueError(f"a header of {header_bytes} bytes in a file of {len(view)}")
    header = json.loads(bytes(view[8:8 + header_bytes]))
    header.pop("__metadata__", None)
    start, end, out = 8 + header_bytes, 0, {}
    for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, finish = tensor["data_offsets"]
        if begin != end or finish - begin != count(tensor["shape"]) * ITEM_BYTES[tensor["dtype"]]:
            raise ValueError(f"{name} does not lie where it should")
        end = finish
        digest = hashlib.sha256(view[start + begin:start + finish]).hexdigest()
        out[name] = {"dtype": tensor["dtype"], "shape": tensor["shape"], "sha256": digest}
    if start + end != len(view):
        raise ValueError(f"{len(view) - start - end} bytes after the last tensor")
    return out


def main():
    found = {}
    for path in sys.argv[1:]:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
            found[os.path.basename(path)] = tensors_of(view)
    json.dump(found, sys.stdout)
    return 0 if found else 2


if __name__ == "__main__":
    sys.exit(main())
