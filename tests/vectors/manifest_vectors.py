"""Vectors of the manifest: tbenc-v1 sections 4 and 5. The file beside each is sound; the manifest is what is tried."""
import hashlib
import json

import sealing
from sealing import manifest_of, seal, signature, signer, text, with_mac

KEY = b"\x42" * 32
OTHER_KEY = b"\x43" * 32
PREFIX = bytes.fromhex("0a0b0c0d")
PLAIN = b"trustbridge manifest vectors " * 50
FILE = seal(KEY, 1024, PREFIX, PLAIN)
PROVIDER, STRANGER = signer(b"\x01" * 32), signer(b"\x02" * 32)
CONTENT = {"kind": "file", "name": "model.gguf"}


def base(**more):
    return {**manifest_of(FILE, 1024, PREFIX, len(PLAIN), CONTENT), **more}


def sealed(**more):
    return with_mac(base(**more), KEY)


def old(**more):
    fields = {**manifest_of(FILE, 1024, PREFIX, len(PLAIN)), **more}
    return {k: v for k, v in fields.items() if k not in ("nonce_prefix", "allow_finetune")}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def vector(name, manifest, expect, spec, **more):
    manifest = manifest if isinstance(manifest, bytes) else text(manifest)
    out = {"name": name, "spec": spec, "key": KEY.hex(), "expect": expect}
    if expect == "ok":
        out |= {"end": "authenticated", "plaintext-bytes": len(PLAIN), "plaintext-sha256": digest(PLAIN)}
    else:
        out |= {"refused-at": "manifest", "released": 0, "released-sha256": digest(b"")}
    return {**out, **{k.replace("_", "-"): v for k, v in more.items()}, "manifest": manifest, "file": FILE}


def accepted():
    five = "tbenc-v1 5"
    mixed = json.dumps(dict(reversed(sealed().items())), indent="\t").encode()
    deep = "x"
    for _ in range(15):
        deep = [deep]
    strange = sealed(later={"text": "\u00e8\u20ac\U0001f600 \" \\ / \b\f\n\r\t\u0001\u007f\u2028", "n": [0, -1, 2**53 - 1, True, None]})
    upper = sealed(sha256_ciphertext=digest(FILE).upper())
    flagged = {"allow_unauthenticated": "yes"}
    both = sealed()
    both["signatures"] = [signature(both, STRANGER), signature(both, PROVIDER)]
    metadata = {k: old()[k] for k in ("format", "algo", "chunk_bytes", "plaintext_bytes", "sha256_ciphertext")}
    return [
        vector("manifest-with-mac", sealed(), "ok", five),
        vector("manifest-in-other-order-and-spacing", mixed, "ok", five),
        vector("manifest-escapes-are-canonical", json.dumps(strange, ensure_ascii=True).encode(), "ok", five),
        vector("manifest-unknown-fields-are-kept", sealed(later=1, content={**CONTENT, "more": "x"}), "ok", "tbenc-v1 4"),
        vector("manifest-depth-16", sealed(later=deep), "ok", "tbenc-v1 4"),
        vector("manifest-sha256-in-upper-case", upper, "ok", "tbenc-v1 4"),
        vector("manifest-with-version", sealed(version=2**53 - 1), "ok", "tbenc-v1 4"),
        vector("manifest-without-content", with_mac({k: v for k, v in base().items() if k != "content"}, KEY), "ok", "tbenc-v1 6"),
        vector("manifest-signed-by-two", both, "ok", five, provider_key=sealing.public_bytes(PROVIDER).hex()),
        vector("manifest-digest-matches", sealed(), "ok", five,
               manifest_sha256=digest(sealing.canonical(sealed()))),
        vector("manifest-of-the-asset", sealed(), "ok", "tbenc-v1 4", asset_id="vector-1"),
        vector("manifest-of-the-first-implementation-flagged", old(), "ok", five, **flagged),
        vector("manifest-of-the-first-implementation-registered", old(), "ok", five, metadata=json.dumps(metadata)),
    ]


def edited_under_the_mac():
    five, good = "tbenc-v1 5", sealed()
    edits = {
        "chunk-bytes": {"chunk_bytes": 2048}, "plaintext-bytes": {"plaintext_bytes": len(PLAIN) - 1},
        "sha256-ciphertext": {"sha256_ciphertext": "0" * 64}, "asset-id": {"asset_id": "vector-2"},
        "weights-filename": {"weights_filename": "other.tbenc"}, "nonce-prefix": {"nonce_prefix": "0a0b0c0e"},
        "allow-finetune": {"allow_finetune": False}, "content": {"content": {"kind": "file", "name": "other.gguf"}},
        "version-added": {"version": 2}, "unknown-field-added": {"later": 1},
        "sha256-case": {"sha256_ciphertext": digest(FILE).upper()},
    }
    out = [vector(f"manifest-edited-{name}", {**good, **edit}, "tampered", five) for name, edit in edits.items()]
    for field in ("allow_finetune", "content"):
        cut = {k: v for k, v in good.items() if k != field}
        out.append(vector(f"manifest-removed-{field.replace('_', '-')}", cut, "tampered", five))
    out += [vector("manifest-edited-format", {**good, "format": "tbenc/v2"}, "malformed", five),
            vector("manifest-edited-algo", {**good, "algo": "aes-128-gcm"}, "malformed", five)]
    return out


def proofs():
    five, good = "tbenc-v1 5", sealed()
    mac = good["mac"]
    signed = {**good, "signatures": [signature(good, PROVIDER)]}
    pinned = {"provider_key": sealing.public_bytes(PROVIDER).hex()}
    last = mac["value"][-1]
    spare_bits = next(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                      if c != last and sealing.base64.urlsafe_b64decode(mac["value"][:-1] + c + "=")
                      == sealing.base64.urlsafe_b64decode(mac["value"] + "="))
    metadata = {k: good[k] for k in ("format", "algo", "chunk_bytes", "plaintext_bytes", "sha256_ciphertext")}
    wrong = {**signed["signatures"][0], "value": signature({**good, "version": 3}, PROVIDER)["value"]}
    renamed = {**signature(good, STRANGER), "keyid": signed["signatures"][0]["keyid"]}
    without_prefix = {k: v for k, v in good.items() if k != "nonce_prefix"}

    def with_value(value):
        return {**good, "mac": {**mac, "value": value}}

    return [
        vector("mac-wrong", with_value(sealing.b64url(bytes(32))), "tampered", five),
        vector("mac-of-another-key", with_mac(base(), OTHER_KEY), "tampered", five),
        vector("mac-over-the-raw-key", with_value(sealing.b64url(sealing.hmac.new(KEY, sealing.proven(good), "sha256").digest())),
               "tampered", five),
        vector("mac-missing", base(), "denied", five),
        vector("mac-null", {**good, "mac": None}, "malformed", five),
        vector("mac-alg-none", {**good, "mac": {**mac, "alg": "none"}}, "malformed", five),
        vector("mac-short", with_value(mac["value"][:-2]), "malformed", five),
        vector("mac-padded", with_value(mac["value"] + "="), "malformed", five),
        vector("mac-spare-bits-set", with_value(mac["value"][:-1] + spare_bits), "malformed", five),
        vector("mac-with-a-member-more", {**good, "mac": {**mac, "kid": "1"}}, "malformed", five),
        vector("mac-without-nonce-prefix", with_mac(without_prefix, KEY), "malformed", "tbenc-v1 4"),
        vector("signature-missing", good, "tampered|denied", five, **pinned),
        vector("signature-of-a-stranger", {**good, "signatures": [signature(good, STRANGER)]}, "tampered|denied", five, **pinned),
        vector("signature-wrong", {**good, "signatures": [wrong]}, "tampered", five, **pinned),
        vector("signature-under-anothers-keyid", {**good, "signatures": [renamed]}, "tampered", five, **pinned),
        vector("signature-twice", {**good, "signatures": [signed["signatures"][0]] * 2}, "malformed", five, **pinned),
        vector("signature-keyid-in-upper-case", {**good, "signatures": [
            {**wrong, "keyid": wrong["keyid"].upper()}]}, "malformed", five, **pinned),
        vector("signature-alg-unknown", {**good, "signatures": [{**wrong, "alg": "ES256"}]}, "malformed", five),
        vector("signatures-not-a-list", {**good, "signatures": wrong}, "malformed", five),
        vector("manifest-digest-differs", good, "tampered", five, manifest_sha256=digest(sealing.canonical(sealed(version=1)))),
        vector("manifest-metadata-differs", good, "tampered", five,
               metadata=json.dumps({**metadata, "plaintext_bytes": len(PLAIN) + 1})),
        vector("manifest-of-another-asset", good, "tampered", "tbenc-v1 4", asset_id="vector-2"),
        vector("manifest-of-the-first-implementation-unproven", old(), "denied", five),
        {**vector("manifest-without-mac-wrong-sha256", old(sha256_ciphertext="0" * 64), "tampered", five,
                  allow_unauthenticated="yes"), "refused-at": "file"},
    ]


def fields():
    four, out = "tbenc-v1 4", []

    def bad(name, **edit):
        out.append(vector(f"field-{name}", sealed(**edit), "malformed", four))

    for field in ("format", "algo", "chunk_bytes", "plaintext_bytes", "sha256_ciphertext", "asset_id", "weights_filename"):
        cut = with_mac({k: v for k, v in base().items() if k != field}, KEY)
        out.append(vector(f"field-{field.replace('_', '-')}-missing", cut, "malformed", four))
    bad("format-v2", format="tbenc/v2")
    bad("algo-unknown", algo="chacha20-poly1305")
    bad("chunk-bytes-zero", chunk_bytes=0)
    bad("chunk-bytes-over-64-MiB", chunk_bytes=(64 << 20) + 1)
    bad("chunk-bytes-text", chunk_bytes="1024")
    bad("plaintext-bytes-negative", plaintext_bytes=-1)
    bad("plaintext-bytes-over-2-to-53", plaintext_bytes=2**53)
    bad("plaintext-bytes-null", plaintext_bytes=None)
    bad("sha256-short", sha256_ciphertext="0" * 63)
    bad("sha256-not-hex", sha256_ciphertext="g" * 64)
    bad("asset-id-empty", asset_id="")
    bad("asset-id-with-slash", asset_id="a/b")
    bad("asset-id-too-long", asset_id="a" * 101)
    bad("asset-id-with-newline", asset_id="a\n")
    for name, value in {"with-slash": "a/b", "with-backslash": "a\\b", "parent": "..", "with-dots": "a..b", "with-nul": "a\0b",
                        "hidden": ".model", "empty": ""}.items():
        bad(f"weights-filename-{name}", weights_filename=value)
    bad("nonce-prefix-in-upper-case", nonce_prefix="0A0B0C0D")
    bad("nonce-prefix-short", nonce_prefix="0a0b0c")
    bad("allow-finetune-text", allow_finetune="true")
    bad("version-text", version="1")
    bad("content-kind-unknown", content={"kind": "zip"})
    bad("content-name-with-slash", content={"kind": "file", "name": "a/b"})
    return out


def json_faults():
    four, out = "tbenc-v1 4", []
    good = text(sealed())

    def bad(name, manifest):
        out.append(vector(f"json-{name}", manifest, "malformed", four))

    def added(raw):
        return good.replace(b"{", b"{" + raw + b",", 1)

    deep = b"[" * 16 + b"]" * 16
    bad("duplicate-name", added(b'"asset_id": "vector-1"'))
    bad("duplicate-name-inside", added(b'"later": {"a": 1, "a": 1}'))
    bad("duplicate-name-by-escape", added(rb'"\u0061sset_id": "vector-1"'))
    bad("byte-order-mark", b"\xef\xbb\xbf" + good)
    bad("utf-16", good.decode().encode("utf-16"))
    bad("bytes-after-the-object", good + b"{}")
    bad("nul-after-the-object", good.rstrip() + b"\0")
    bad("depth-17", added(b'"later": ' + deep))
    bad("lone-high-surrogate", added(rb'"later": "\ud83d"'))
    bad("lone-low-surrogate", added(rb'"later": "\ude00"'))
    bad("reversed-surrogates", added(rb'"later": "\ude00\ud83d"'))
    bad("surrogate-in-utf-8", added(b'"later": "\xed\xa0\x80"'))
    bad("overlong-utf-8", added(b'"later": "\xc0\xaf"'))
    bad("invalid-utf-8", added(b'"later": "\xff"'))
    for name, number in {"fraction": b"1.0", "exponent": b"1e3", "minus-zero": b"-0", "leading-zero": b"01", "plus": b"+1",
                         "over-2-to-53": b"9007199254740992", "under-minus-2-to-53": b"-9007199254740992",
                         "huge": b"9" * 400, "nan": b"NaN", "hex": b"0x10"}.items():
        bad(f"number-{name}", added(b'"later": ' + number))
    bad("name-not-ascii", added('"\u00e8": 1'.encode()))
    bad("name-with-control-character", added(rb'"a\u0001": 1'))
    bad("name-with-delete", added(b'"a\x7f": 1'))
    bad("control-character-in-text", added(b'"later": "a\x01"'))
    bad("comment", added(b'/* x */ "later": 1'))
    bad("trailing-comma", good.replace(b"\n}\n", b",\n}\n"))
    bad("single-quotes", added(b"'later': 1"))
    bad("array", b"[" + good + b"]")
    bad("text", b'"tbenc/v1"')
    bad("empty", b"")
    bad("cut", good[:len(good) // 2])
    repeated = vector("json-1-MiB-of-open-brackets", b"", "malformed", four, manifest_repeat="1048576 [")
    del repeated["manifest"]
    out.append(repeated)
    return out


def against_the_file():
    five, good = "tbenc-v1 3", FILE

    def other(name, file, expect, inspect, released=0, **edit):
        vec = vector(name, sealed(**edit), expect, five, inspect=inspect)
        vec |= {"refused-at": "file", "released": released, "released-sha256": digest(PLAIN[:released]), "file": file}
        return vec

    return [
        other("file-shorter-than-manifest", good[:-1], "truncated", "truncated", 1024),
        other("file-cut-at-a-record-border", good[:32 + 1044], "truncated", "truncated", 1024),
        other("file-longer-than-manifest", good + b"\0", "malformed|truncated", "malformed", len(PLAIN)),
        other("file-with-other-chunk-bytes", seal(KEY, 2048, PREFIX, PLAIN), "malformed", "malformed"),
        other("file-with-other-nonce-prefix", seal(KEY, 1024, bytes(4), PLAIN), "tampered", "tampered"),
        other("file-sealed-with-another-key", seal(OTHER_KEY, 1024, PREFIX, PLAIN), "tampered", "ok"),
        other("manifest-says-one-byte-more", good, "truncated|malformed", "truncated", 1024, plaintext_bytes=len(PLAIN) + 1),
        other("manifest-says-one-byte-less", good, "malformed|tampered", "malformed", 1024, plaintext_bytes=len(PLAIN) - 1),
    ]


def all():
    return accepted() + edited_under_the_mac() + proofs() + fields() + json_faults() + against_the_file()
