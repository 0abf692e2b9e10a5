"""An independent writer and reader of tbenc/v1 and its manifest, for scenarios that need a peer which is not ours."""
import base64
import hashlib
import hmac
import json
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def read(path, key):
    """Plaintext of a whole file; raises if anything in it is not as the specification says."""
    data = open(path, "rb").read()
    magic, version, algo, chunk_bytes, prefix, reserved = struct.unpack(">8sHBI4s13s", data[:32])
    assert (magic, version, algo, reserved) == (b"TBENC001", 1, 1, bytes(13))
    gcm, at, index, out = AESGCM(key), 32, 0, []
    while at < len(data):
        length = struct.unpack(">I", data[at:at + 4])[0]
        assert 0 < length <= chunk_bytes
        record = data[at + 4:at + 4 + length + 16]
        counter = struct.pack(">Q", index)
        out.append(gcm.decrypt(prefix + counter, record, data[:19] + counter + struct.pack(">I", length)))
        at, index = at + 20 + length, index + 1
    return b"".join(out)


def write(plain, key, prefix=b"\x01\x02\x03\x04", chunk_bytes=1024):
    head = struct.pack(">8sHBI4s13s", b"TBENC001", 1, 1, chunk_bytes, prefix, bytes(13))
    gcm, out = AESGCM(key), [head]
    for index, start in enumerate(range(0, len(plain), chunk_bytes)):
        piece = plain[start:start + chunk_bytes]
        counter = struct.pack(">Q", index)
        aad = head[:19] + counter + struct.pack(">I", len(piece))
        out += [struct.pack(">I", len(piece)), gcm.encrypt(prefix + counter, piece, aad)]
    return b"".join(out)


def manifest(ciphertext, plaintext_bytes, asset_id="asset-a", **more):
    """What the first implementation wrote: no mac."""
    return {"format": "tbenc/v1", "algo": "aes-256-gcm-chunked", "chunk_bytes": struct.unpack(">I", ciphertext[11:15])[0],
            "plaintext_bytes": plaintext_bytes, "sha256_ciphertext": hashlib.sha256(ciphertext).hexdigest(),
            "asset_id": asset_id, "weights_filename": "model.tbenc", **more}


def with_mac(document, key, prefix=b"\x01\x02\x03\x04"):
    document = {**document, "nonce_prefix": prefix.hex()}
    mac_key = hmac.new(hmac.new(bytes(32), key, "sha256").digest(), b"trustbridge manifest v1\x01", "sha256").digest()
    proven = {k: v for k, v in document.items() if k not in ("mac", "signatures")}
    text = b"trustbridge manifest v1\n" + json.dumps(proven, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    value = base64.urlsafe_b64encode(hmac.new(mac_key, text, "sha256").digest()).rstrip(b"=").decode()
    return {**document, "mac": {"alg": "HS256", "value": value}}


def safetensors(tensors):
    """A file of F32 tensors {name: shape}, zero-filled."""
    at, header = 0, {}
    for name, shape in tensors.items():
        size = 4
        for side in shape:
            size *= side
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)
