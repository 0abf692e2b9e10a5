#!/usr/bin/python3
"""Writes the conformance vectors of tbenc/v1: tests/vectors/tbenc-v1/*.vec.

    generate.py            write them
    generate.py --check    fail unless the folder holds exactly what this script gives

A vector is one property or one failure, named for it:

    trustbridge vector v1
    NAME: VALUE            (one a line; README.md lists the names)
                           (an empty line)
    the manifest, exactly manifest-bytes long, and a newline   (where there is one)
    the file in base64                                         (where there is one)

The files of file_vectors.GOLDEN were first made by the first implementation's own writer; this script makes them
again from key, prefix and plaintext, and refuses to write any whose SHA-256 is not the one recorded then.
"""
import base64
import pathlib
import sys

import file_vectors
import manifest_vectors
import tar_vectors

FOLDER = pathlib.Path(__file__).resolve().parent / "tbenc-v1"
MINIMUM = 60


def encode(vector):
    fields = dict(vector)
    manifest, file = fields.pop("manifest", None), fields.pop("file", None)
    del fields["name"]
    if manifest is not None:
        fields["manifest-bytes"] = len(manifest)
    if file is not None:
        fields["file-bytes"] = len(file)
    out = b"trustbridge vector v1\n"
    for name, value in fields.items():
        assert "\n" not in str(value), vector["name"]
        out += f"{name}: {value}\n".encode()
    out += b"\n"
    if manifest is not None:
        out += manifest + b"\n"
    if file is not None:
        out += base64.encodebytes(file)
    return out


def main():
    vectors = {}
    for vector in file_vectors.all() + manifest_vectors.all() + tar_vectors.all():
        assert vector["name"] not in vectors, vector["name"]
        assert set(vector["expect"].split("|")) <= {"ok", "malformed", "truncated", "tampered", "denied"}, vector["name"]
        assert ("refused-at" in vector) == (vector["expect"] != "ok"), vector["name"]
        vectors[vector["name"]] = encode(vector)
    assert len(vectors) >= MINIMUM
    if sys.argv[1:] == ["--check"]:
        there = {p.stem: p.read_bytes() for p in FOLDER.glob("*.vec")}
        wrong = sorted(name for name in there.keys() | vectors.keys() if there.get(name) != vectors.get(name))
        if wrong:
            sys.exit("vectors that differ from what generate.py gives: " + ", ".join(wrong))
        print(f"{len(vectors)} vectors are as generate.py gives them")
        return
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.vec"):
        if old.stem not in vectors:
            old.unlink()
    for name, data in vectors.items():
        (FOLDER / f"{name}.vec").write_bytes(data)
    print(f"wrote {len(vectors)} vectors")


if __name__ == "__main__":
    main()
