#!/usr/bin/python3
"""A second reader of tbenc/v1, written from docs/spec/tbenc-v1.md alone, over the same vectors as ours.

    independent_reader.py FOLDER

It needs python3-cryptography and shares no code with the library or with the scripts that made the vectors. No vector,
or one that is not read as it says, is a failure.
"""
import base64
import dataclasses
import hashlib
import hmac
import io
import json
import pathlib
import re
import struct
import sys
import tarfile

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_CHUNK = 64 << 20
MAX_INTEGER = 2**53 - 1


class Refused(Exception):
    def __init__(self, code, why):
        super().__init__(why)
        self.code = code


def need(condition, why, code="malformed"):
    if not condition:
        raise Refused(code, why)


# ---- sections 1 to 3: the file ----
@dataclasses.dataclass
class Known:
    plaintext: int = None
    chunk: int = None
    prefix: bytes = None


def read_header(file, known):
    need(len(file) >= 32, "header is cut")
    magic, version, algo, chunk = struct.unpack(">8sHBI", file[:15])
    need(magic == b"TBENC001" and version == 1 and algo == 1, "not tbenc/v1")
    need(1 <= chunk <= MAX_CHUNK, "chunk_bytes")
    need(not any(file[19:32]), "reserved bytes")
    need(known.chunk in (None, chunk), "other chunk_bytes than known")
    need(known.prefix in (None, file[15:19]), "other nonce prefix than known", "tampered")
    return chunk


def file_size(plaintext, chunk):
    full, rest = divmod(plaintext, chunk)
    return 32 + full * (chunk + 20) + (rest + 20 if rest else 0)


def read_file(key, file, known, out):
    """Appends plaintext to `out` as it is proven. True if the end is authenticated."""
    chunk = read_header(file, known)
    gcm, at, index = AESGCM(key), 32, 0
    while at < len(file):
        need(known.plaintext is None or len(out) < known.plaintext, "bytes after the last record")
        need(at + 4 <= len(file), "a length is cut", "truncated")
        length = struct.unpack(">I", file[at:at + 4])[0]
        need(1 <= length <= chunk, "pt_len")
        end = at + 4 + length + 16
        need(end <= len(file), "a record is cut", "truncated")
        need(length == chunk or end == len(file), "a short record that is not the last")
        if known.plaintext is not None:
            expected = min(chunk, known.plaintext - len(out))
            need(length >= expected, "less plaintext than known", "truncated")
            need(length <= expected, "more plaintext than known")
        aad = file[:19] + struct.pack(">QI", index, length)
        try:
            plain = gcm.decrypt(file[15:19] + struct.pack(">Q", index), file[at + 4:end], aad)
        except InvalidTag:
            raise Refused("tampered", f"tag of record {index}") from None
        out += plain
        at, index = end, index + 1
    need(known.plaintext in (None, len(out)), "less plaintext than known", "truncated")
    return known.plaintext is not None


def inspect(file, known):
    chunk = read_header(file, known)
    if known.plaintext is not None:
        size = file_size(known.plaintext, chunk)
        need(len(file) >= size, "shorter than known", "truncated")
        need(len(file) <= size, "longer than known")
        return
    rest = (len(file) - 32) % (chunk + 20)
    need(rest == 0 or rest > 20, "no plaintext gives this size", "truncated")


# ---- section 4: strict JSON ----
def members(pairs):
    names = [name for name, _ in pairs]
    need(len(set(names)) == len(names), "duplicate name")
    need(all(all(0x20 <= ord(c) <= 0x7e for c in name) for name in names), "name outside printable ASCII")
    return dict(pairs)


def integer(text):
    need(re.fullmatch(r"0|-?[1-9][0-9]*", text) and len(text) < 20 and abs(int(text)) <= MAX_INTEGER, "number")
    return int(text)


def refuse_number(text):
    raise Refused("malformed", f"number {text[:20]}")


def depth_of(value):
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def parse_json(data):
    need(len(data) <= 64 << 20, "too large")
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=members, parse_int=integer, parse_float=refuse_number,
                           parse_constant=refuse_number)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # lone surrogates fail here
    except (ValueError, RecursionError) as error:
        raise Refused("malformed", str(error)[:80]) from None
    need(depth_of(value) <= 16, "too deep")
    return value


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def text_field(manifest, name, pattern):
    value = manifest.get(name)
    need(isinstance(value, str) and re.fullmatch(pattern, value), name)
    return value


def is_integer(value, low, high):
    return type(value) is int and low <= value <= high


def parse_manifest(data):
    m = parse_json(data)
    need(isinstance(m, dict), "not an object")
    text_field(m, "format", r"tbenc/v1")
    text_field(m, "algo", r"aes-256-gcm-chunked")
    need(is_integer(m.get("chunk_bytes"), 1, MAX_CHUNK), "chunk_bytes")
    need(is_integer(m.get("plaintext_bytes"), 0, MAX_INTEGER), "plaintext_bytes")
    text_field(m, "sha256_ciphertext", r"[0-9a-fA-F]{64}")
    text_field(m, "asset_id", r"[a-zA-Z0-9_-]{1,100}")
    name = text_field(m, "weights_filename", r"[^/\\\x00-\x1f\x7f]+")
    need(".." not in name and not name.startswith("."), "weights_filename")
    if "nonce_prefix" in m:
        text_field(m, "nonce_prefix", r"[0-9a-f]{8}")
    need(isinstance(m.get("allow_finetune", True), bool), "allow_finetune")
    need(is_integer(m.get("version", 0), 0, MAX_INTEGER), "version")
    if "content" in m:
        check_content(m["content"], m["plaintext_bytes"])
    if "mac" in m:
        need("nonce_prefix" in m, "mac without nonce_prefix")
        proof(m["mac"], {"alg": "HS256"}, 32)
    signatures = m.get("signatures", [])
    need(isinstance(signatures, list), "signatures")
    for one in signatures:
        proof(one, {"alg": "Ed25519"}, 64, keyid=True)
    need(len({one["keyid"] for one in signatures}) == len(signatures), "two signatures by one key")
    return m


def proof(value, fixed, size, keyid=False):
    need(isinstance(value, dict) and value.keys() == {"alg", "value"} | ({"keyid"} if keyid else set()), "members of a proof")
    need(value["alg"] == fixed["alg"], "alg of a proof")
    need(not keyid or (isinstance(value["keyid"], str) and re.fullmatch(r"[0-9a-f]{64}", value["keyid"])), "keyid")
    need(isinstance(value["value"], str) and len(from_base64url(value["value"])) == size, "value of a proof")


def from_base64url(text):
    need(re.fullmatch(r"[A-Za-z0-9_-]*", text), "base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Refused("malformed", "base64url") from None
    need(base64.urlsafe_b64encode(data).rstrip(b"=").decode() == text, "base64url")
    return data


# ---- section 5: proofs ----
def prove(manifest, key, vector):
    """True if a mac holds, so that tags prove the file; else its SHA-256 has to."""
    need(vector.get("asset-id") in (None, manifest["asset_id"]), "another asset", "tampered")
    rest = {k: v for k, v in manifest.items() if k not in ("mac", "signatures")}
    proven = b"trustbridge manifest v1\n" + canonical(rest)
    held = False
    if "manifest-sha256" in vector:
        need(hashlib.sha256(canonical(manifest)).hexdigest() == vector["manifest-sha256"], "manifest_sha256", "tampered")
        held = True
    if "metadata" in vector:
        for name, value in json.loads(vector["metadata"]).items():
            ours = manifest[name].lower() if name == "sha256_ciphertext" else manifest[name]
            need(ours == value, "metadata", "tampered")
        held = True
    if "provider-key" in vector:
        raw = bytes.fromhex(vector["provider-key"])
        ours = [s for s in manifest.get("signatures", []) if s["keyid"] == hashlib.sha256(raw).hexdigest()]
        need(ours, "signature missing", "denied")
        try:
            Ed25519PublicKey.from_public_bytes(raw).verify(from_base64url(ours[0]["value"]), proven)
        except InvalidSignature:
            raise Refused("tampered", "signature") from None
        held = True
    if "mac" in manifest:
        prk = hmac.digest(bytes(32), key, "sha256")
        mac_key = hmac.digest(prk, b"trustbridge manifest v1\x01", "sha256")
        need(hmac.compare_digest(hmac.digest(mac_key, proven, "sha256"), from_base64url(manifest["mac"]["value"])),
             "mac", "tampered")
        return True
    need(held or vector.get("allow-unauthenticated") == "yes", "not authenticated", "denied")
    return False


# ---- section 6: content ----
def check_path(path):
    need(isinstance(path, str), "path")
    for part in path.split("/"):
        need(1 <= len(part.encode()) <= 255 and part not in (".", ".."), "path")
    need(not re.search(r"[\x00-\x1f\x7f]", path), "path")


def check_content(content, total):
    need(isinstance(content, dict), "content")
    if "plaintext_sha256" in content:
        text_field(content, "plaintext_sha256", r"[0-9a-fA-F]{64}")
    if content.get("kind") == "file":
        need(isinstance(content.get("name"), str) and "/" not in content["name"], "name")
        check_path(content["name"])
        return
    need(content.get("kind") == "tar", "kind")
    files = content.get("files")
    need(isinstance(files, list) and files, "files")
    for entry in files:
        need(isinstance(entry, dict), "entry")
        check_path(entry.get("path"))
        need(is_integer(entry.get("offset"), 0, MAX_INTEGER) and is_integer(entry.get("bytes"), 0, MAX_INTEGER), "offset, bytes")
        need(entry["offset"] + entry["bytes"] <= total, "beyond the plaintext")
        need(entry.get("mode", "0644") in ("0644", "0755"), "mode")
        if "sha256" in entry:
            text_field(entry, "sha256", r"[0-9a-fA-F]{64}")
    paths = [entry["path"].encode() for entry in files]
    need(paths == sorted(set(paths)), "order of paths")
    there = set(paths)
    need(not any(b"/".join(p.split(b"/")[:n]) in there for p in paths for n in range(1, p.count(b"/") + 1)), "file as directory")
    for before, entry in zip(files, files[1:]):
        need(before["offset"] < entry["offset"] and before["offset"] + before["bytes"] <= entry["offset"], "order of offsets")


def check_stream(content, stream):
    """Python's own tar reader against the index; then every byte that it did not account for must be zero."""
    if "plaintext_sha256" in content:
        need(hashlib.sha256(stream).hexdigest() == content["plaintext_sha256"].lower(), "plaintext_sha256", "tampered")
    if content["kind"] == "file":
        return
    need(len(stream) % 512 == 0, "whole blocks")
    index = {entry["path"]: entry for entry in content["files"]}
    directories = {"/".join(p.split("/")[:n]) for p in index for n in range(1, p.count("/") + 1)}
    accounted = bytearray(stream)
    seen, at = [], 0
    try:
        with tarfile.open(fileobj=io.BytesIO(stream), mode="r:", format=tarfile.PAX_FORMAT, encoding="utf-8",
                          errors="strict", ignore_zeros=False) as archive:
            for member in archive:
                need(not archive.pax_headers and set(member.pax_headers) <= {"path", "size"}, "extension")
                need(stream[member.offset_data - 512 + 257:member.offset_data - 512 + 265] == b"ustar\x0000", "ustar")
                need(member.offset == at and not member.linkname, "headers in sequence")
                if member.isdir():
                    need(member.name in directories and member.mode == 0o755, "directory")
                else:
                    entry = index.get(member.name)
                    need(member.type == tarfile.REGTYPE and entry is not None, "entry")
                    need((entry["offset"], entry["bytes"]) == (member.offset_data, member.size), "place of a file")
                    need(int(entry.get("mode", "0644"), 8) == member.mode, "mode of a file")
                    data = stream[member.offset_data:member.offset_data + member.size]
                    need("sha256" not in entry or hashlib.sha256(data).hexdigest() == entry["sha256"].lower(), "sha256", "tampered")
                seen.append(member.name)
                end = member.offset_data + member.size
                accounted[member.offset:end] = bytes(end - member.offset)
                at = end + -end % 512
    except (tarfile.TarError, UnicodeError) as error:
        raise Refused("malformed", str(error)) from None
    need(len(seen) == len(set(seen)) and index.keys() <= set(seen), "every file once")
    need(len(stream) - at >= 1024 and not any(accounted), "zero padding and end")


# ---- vectors ----
def load(path):
    data = path.read_bytes()
    head, _, rest = data.partition(b"\n\n")
    lines = head.decode().split("\n")
    need(lines[0] == "trustbridge vector v1", "first line")
    vector = dict(line.split(": ", 1) for line in lines[1:])
    manifest = None
    if "manifest-bytes" in vector:
        size = int(vector["manifest-bytes"])
        manifest, rest = rest[:size], rest[size + 1:]
    elif "manifest-repeat" in vector:
        count, character = vector["manifest-repeat"].split(" ")
        manifest = character.encode() * int(count)
    if "file-bytes" in vector:
        file = base64.b64decode(rest)
        assert len(file) == int(vector["file-bytes"]), path.name
    else:
        file = seal(vector)
    return vector, manifest, file


def seal(vector):
    pattern, size = vector["seal-pattern"].encode(), int(vector["plaintext-bytes"])
    plain = (pattern * (size // len(pattern) + 1))[:size]
    chunk, prefix = int(vector["seal-chunk-bytes"]), bytes.fromhex(vector["seal-nonce-prefix"])
    gcm, file = AESGCM(bytes.fromhex(vector["key"])), bytearray(b"TBENC001" + struct.pack(">HBI", 1, 1, chunk) + prefix + bytes(13))
    head = bytes(file[:19])
    for index, at in enumerate(range(0, size, chunk)):
        part = plain[at:at + chunk]
        length = struct.pack(">I", len(part))
        file += length + gcm.encrypt(prefix + struct.pack(">Q", index), part, head + struct.pack(">Q", index) + length)
    assert hashlib.sha256(file).hexdigest() == vector["sha256-ciphertext"]
    return bytes(file)


def known_of(vector, manifest):
    if manifest is not None:
        prefix = manifest.get("nonce_prefix")
        return Known(manifest["plaintext_bytes"], manifest["chunk_bytes"], bytes.fromhex(prefix) if prefix else None)
    number = {name: int(vector[name]) if name in vector else None for name in ("known-plaintext-bytes", "known-chunk-bytes")}
    prefix = vector.get("known-nonce-prefix")
    return Known(number["known-plaintext-bytes"], number["known-chunk-bytes"], bytes.fromhex(prefix) if prefix else None)


def read(vector, data, file, out):
    """(step reached, end authenticated); raises Refused with `step` set."""
    key, step, manifest = bytes.fromhex(vector["key"]), "manifest", None
    try:
        by_tags = True
        if data is not None:
            manifest = parse_manifest(data)
            by_tags = prove(manifest, key, vector)
        step = "file"
        known = known_of(vector, manifest)
        try:
            inspect(file, known)
            looked = "ok"
        except Refused as refused:
            looked = refused.code
        need(looked in vector.get("inspect", "ok").split("|"), f"inspect said {looked}", "internal")
        if not by_tags:
            need(hashlib.sha256(file).hexdigest() == manifest["sha256_ciphertext"].lower(), "sha256_ciphertext", "tampered")
        end = read_file(key, file, known, out)
        step = "content"
        if manifest is not None and "content" in manifest:
            check_stream(manifest["content"], bytes(out))
        return end
    except Refused as refused:
        refused.step = step
        raise


def judge(vector, data, file):
    """None if the vector is read as it says, else what was different."""
    out = bytearray()
    try:
        end = read(vector, data, file, out)
    except Refused as refused:
        if vector["expect"] == "ok":
            return f"refused: {refused.code} ({refused})"
        if refused.code not in vector["expect"].split("|") or refused.step != vector["refused-at"]:
            return f"refused by {refused.code} at {refused.step} ({refused}), not by {vector['expect']} at {vector['refused-at']}"
        most = int(vector["released"])
        if len(out) > most or (len(out) == most and hashlib.sha256(out).hexdigest() != vector["released-sha256"]):
            return f"released {len(out)} bytes"
        return None
    if vector["expect"] != "ok":
        return "accepted"
    if hashlib.sha256(out).hexdigest() != vector["plaintext-sha256"] or len(out) != int(vector["plaintext-bytes"]):
        return "other plaintext"
    return None if end == (vector["end"] == "authenticated") else "end"


def main():
    paths = sorted(pathlib.Path(sys.argv[1]).glob("*.vec"))
    if len(paths) < 60:
        sys.exit(f"only {len(paths)} vectors in {sys.argv[1]}")
    wrong = 0
    for path in paths:
        different = judge(*load(path))
        if different:
            wrong += 1
            print(f"{path.name}: {different}")
    print(f"{len(paths) - wrong} of {len(paths)} vectors read as they say")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
