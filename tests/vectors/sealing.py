"""What the vectors are made with: a writer of tbenc/v1 files, manifests and tar streams in plain Python.

It shares nothing with the C++ library, so that a vector is a second opinion and not an echo.
"""
import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def header(chunk, prefix, magic=b"TBENC001", version=1, algo=1, reserved=bytes(13)):
    return magic + struct.pack(">HBI", version, algo, chunk) + prefix + reserved


def record(key, head, index, plain, pt_len=None):
    length = len(plain) if pt_len is None else pt_len
    aad = head[:19] + struct.pack(">QI", index, length)
    sealed = AESGCM(key).encrypt(head[15:19] + struct.pack(">Q", index), plain, aad)
    return struct.pack(">I", length) + sealed


def records(key, head, chunk, plain):
    return [record(key, head, i, plain[at:at + chunk]) for i, at in enumerate(range(0, len(plain), chunk))]


def seal(key, chunk, prefix, plain):
    head = header(chunk, prefix)
    return head + b"".join(records(key, head, chunk, plain))


def canonical(value):
    """RFC 8785, for what a manifest may hold: names in ASCII, integers, no other numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def manifest_key(key):
    prk = hmac.new(bytes(32), key, hashlib.sha256).digest()
    return hmac.new(prk, b"trustbridge manifest v1\x01", hashlib.sha256).digest()


def proven(manifest):
    rest = {k: v for k, v in manifest.items() if k not in ("mac", "signatures")}
    return b"trustbridge manifest v1\n" + canonical(rest)


def with_mac(manifest, key):
    value = hmac.new(manifest_key(key), proven(manifest), hashlib.sha256).digest()
    return {**manifest, "mac": {"alg": "HS256", "value": b64url(value)}}


def signer(seed):
    return Ed25519PrivateKey.from_private_bytes(seed)


def public_bytes(private):
    return private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def signature(manifest, private):
    raw = public_bytes(private)
    return {"alg": "Ed25519", "keyid": hashlib.sha256(raw).hexdigest(), "value": b64url(private.sign(proven(manifest)))}


def manifest_of(file, chunk, prefix, plain_bytes, content=None, **more):
    """A manifest without mac; `more` adds or replaces fields."""
    fields = {
        "format": "tbenc/v1", "algo": "aes-256-gcm-chunked", "chunk_bytes": chunk, "plaintext_bytes": plain_bytes,
        "sha256_ciphertext": hashlib.sha256(file).hexdigest(), "asset_id": "vector-1",
        "weights_filename": "model.tbenc", "nonce_prefix": prefix.hex(), "allow_finetune": True,
    }
    if content is not None:
        fields["content"] = content
    return {**fields, **more}


def text(manifest):
    return json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n"


# ---- POSIX pax tar, as tbenc-v1 section 6 fixes it ----
def tar_block(name, size, mode, kind, link=b"", magic=b"ustar\x0000"):
    name = name.encode() if isinstance(name, str) else name
    prefix = b""
    if len(name) > 100:
        split = name.index(b"/", max(0, len(name) - 101))
        prefix, name = name[:split], name[split + 1:]
    block = bytearray(512)
    block[0:len(name)] = name
    block[100:108] = b"%06o \0" % mode
    block[108:116] = block[116:124] = b"000000 \0"
    block[124:136] = b"%011o " % size
    block[136:148] = b"00000000000 "
    block[156:157] = kind
    block[157:157 + len(link)] = link
    block[257:265] = magic
    block[329:337] = block[337:345] = b"000000 \0"
    block[345:345 + len(prefix)] = prefix
    return seal_block(block)


def seal_block(block):
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data):
    return data + bytes(-len(data) % 512)


def pax_record(key, value):
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def tar_header(path, size, mode, kind=b"0", extra=()):
    name = path.encode()
    out = b""
    pax = list(extra)
    if any(b >= 0x80 for b in name):
        pax.insert(0, (b"path", name))
    if pax:
        body = b"".join(pax_record(k, v) for k, v in pax)
        out += tar_block(b"PaxHeader/" + name.rstrip(b"/").split(b"/")[-1], len(body), mode, b"x") + padded(body)
    return out + tar_block(name, size, mode, kind)


def tar(entries):
    """entries: (path, bytes or None for a directory, mode). Gives the stream and its index."""
    stream, index = b"", []
    for path, data, mode in entries:
        if data is None:
            stream += tar_header(path + "/", 0, mode, b"5")
            continue
        stream += tar_header(path, len(data), mode)
        entry = {"path": path, "offset": len(stream), "bytes": len(data)}
        if mode == 0o755:
            entry["mode"] = "0755"
        index.append(entry)
        stream += padded(data)
    return stream + bytes(1024), index
