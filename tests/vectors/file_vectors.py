"""Vectors of the file format: tbenc-v1 sections 1 to 3."""
import hashlib
import struct

from sealing import header, record, records, seal

KEY_A = bytes.fromhex("0123456789abcdef" * 4)
KEY_B = b"\x42" * 32
KEY_C = b"\xab" * 32
PREFIX = bytes.fromhex("01020304")
C = 1024

# name: (key, chunk_bytes, plaintext, SHA-256 of the file that the first implementation wrote)
GOLDEN = {
    "empty": (KEY_A, C, b"", "0d80174e7f59eec5a633bdfd67152328dcf4cfa5908fd73117534cd17feceae5"),
    "one-byte": (KEY_A, C, b"A", "0a02dd965adf1990f66283d1f8f261f1c35888d1f7164792f0945098c33df01c"),
    "short-text": (KEY_A, C, b"TrustBridge-Test-Vector-123",
                   "56b410cd8a15fd3a19d5689f72ee90f383624629e8216b339e4e60bc0049c03b"),
    "two-whole-chunks": (KEY_A, C, bytes(range(256)) * 8,
                         "7aeba5977899adcfd4cbf70cd3f13feb35c21dfe94dad6ab3de84815d589d8dd"),
    "short-last-chunk": (KEY_B, C, b"X" * 3572, "00b50c403fb0566248fbe54c26738f898bd236a5283f40c3ad4ea39f2fee9f94"),
    "one-byte-over-a-chunk": (KEY_B, C, b"Y" * 1025, "45b24c0119503f52eda7ee220b28461132b6b0c7f30f1826f180767ed3c976f9"),
    "three-chunks-of-text": (KEY_C, C, b"CHUNK" * 500, "5daadf6c6934240282cfe7f23f077be638ade9fbcd7dc1c0f1ab5d8170bf15e8"),
}
# Known answers without their file: the readers' harness seals the plaintext itself and compares.
SEALED = {
    "sealed-1-MiB-in-64-KiB-chunks": (KEY_A, 65536, PREFIX, "TrustBridge-FIFO-Test-Pattern-", 1 << 20,
                                      "f1539d16f51a6a18bbbd0d8a558bee9b2854f1f0d394bcd2be9324c222cfb0a9"),
    "sealed-16-MiB-in-4-MiB-chunks": (bytes.fromhex("282124c4962c8885cf5ad814a1339bd7ccc254b8e7e810e550a77ac903bc9fd9"),
                                      4194304, bytes.fromhex("e2e00001"), "TRUSTBRIDGE_E2E_", 16777216,
                                      "414bc2496ab5c2d4d2267e1bdf97cd9759e8d4d3c87b917e778dd68340d75b59"),
}
# SHA-256 of broken files that the first implementation's reader was tried on, by the names below.
GOLDEN_BROKEN = {
    "algo-2": "8a046cc204030dc9138600020f39b89c1867d1d56aa28301b84d6a3ba429f33a",
    "magic-wrong": "579663bd683f7b8cdceea139cf966f6b5eb0c96bd2308ea4c36b46a3fc70a10a",
    "version-2": "7c0326476dc4a6f0bb5f99f4bf1713a5d10fa347bf23a5b98b7d3f22514a2e4b",
    "chunk-bytes-over-64-MiB": "324c5696352282757e77276ef841f618e0a9eda052bff35aaabd515bdd4090db",
    "chunk-bytes-changed": "78bc2d3fa03c31d7728b8742e1d377a054c5b064725107ab74aa98e8213b5784",
    "chunk-bytes-zero": "f7a0f0d94311a9a2ae45b09a22d0f9aae3e29131c8e7abb1d260b7cac14c4151",
    "ciphertext-bit-flipped": "c2e749844da3af3be0a223b550a89d64c083c523025bbd2189813665e0a22c48",
    "all-records-missing": "0d80174e7f59eec5a633bdfd67152328dcf4cfa5908fd73117534cd17feceae5",
    "nonce-prefix-changed": "a49862cd64c97a23cfe98e06fd194214b78ab4567dea9d4d2be3483757c70b62",
    "chunk-bytes-1": "4e9d5ff7343fc8de527112ce107b10b9f40e00c39c610a2d92eafd958b7dc7db",
    "chunk-bytes-1000": "01b449ab9c8880ed58d702f31f316c76d9c030e55bf30117abd1d4a2f2e56afa",
    "short-record-in-the-middle": "5c373a77a6205343557ff6c1c853c4acb44f6ecf2124ae4dbb6bfbf541a59514",
    "pt-len-1023": "b113bed9da66dc993c10e17a1a40d6d782512fe39596a9404cc172c2dd0bea2e",
    "pt-len-over-chunk": "04a0368cfed09d149501112150ed052413ed0911cf8e0e32ac5c5b75b3dc3adc",
    "pt-len-zero": "5defc97c33db06619aa33fef73b667de592d391214872b19f2f4982c0070fe5d",
    "first-record-repeated": "e5eead76e98df5bb1a9a3f983072ac1f4daaad8d370dd00ae210fac66c2f41f6",
    "second-record-missing": "602225a2ab606029ac4a1c4b6dbc493f06cb683e02654887b2fe504de2afdeac",
    "records-swapped": "30eedbcec054cb9be9d26b9b1338846e554cce3a3863e15acbc58ae0b75c7df0",
    "reserved-not-zero": "7b509ca2fb085fd9bcf7a1b92b61e014df52f2a1f726a8dc72a1b8755780fbdc",
    "last-tag-bit-flipped": "5ee5630cebe51c97de55ee57a54320530c0943ece05e6191f5b85a8d57b48103",
    "one-byte-appended": "67dece2f9d00a4d2d77f21ade067178fabeedbc9d1442efe370ede04686e671e",
    "four-zero-bytes-appended": "da25f80f63e863afec8066b1668c030c5fd580be558263ae32797c27008cfbe0",
    "cut-at-a-record-border": "15048026b1f147bace81d9e0d00347af6a054b427b117bf8f24ddab169e66a49",
    "cut-in-the-header": "4872634310f42e5638a88a2a3b602915d726b9a173b51b8eaac392b1c1ec04f8",
    "cut-in-a-length": "44e09946c20f80c3bb354623f9ad01fb4b1b354893f7c7a1932bb5d9339f620f",
    "cut-in-a-record": "9fb19af612c691dd6f9f3da32a0298b41df4f17e7a89b49823a3cc4afaf1c502",
}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def accepted(name, spec, key, file, plain, known=True, **more):
    vector = {"name": name, "spec": spec, "key": key.hex(), "expect": "ok", "end": "authenticated" if known else "open",
              "plaintext-bytes": len(plain), "plaintext-sha256": digest(plain)}
    if known:
        vector["known-plaintext-bytes"] = len(plain)
    return {**vector, **more, "file": file}


def refused(name, spec, key, file, expect, released, plain, known=None, inspect="ok", **more):
    """released: the most plaintext that may come out before the refusal; it is the beginning of `plain`."""
    vector = {"name": name, "spec": spec, "key": key.hex(), "expect": expect, "refused-at": "file", "inspect": inspect,
              "released": released, "released-sha256": digest(plain[:released])}
    if known is not None:
        vector["known-plaintext-bytes"] = known
    return {**vector, **more, "file": file}


def golden():
    out = []
    for name, (key, chunk, plain, sha) in GOLDEN.items():
        file = seal(key, chunk, PREFIX, plain)
        assert digest(file) == sha, name
        out.append(accepted(name, "tbenc-v1 2", key, file, plain))
    for name, (key, chunk, prefix, pattern, size, sha) in SEALED.items():
        plain = (pattern.encode() * (size // len(pattern) + 1))[:size]
        assert digest(seal(key, chunk, prefix, plain)) == sha, name
        out.append({"name": name, "spec": "tbenc-v1 2", "key": key.hex(), "expect": "ok", "end": "authenticated",
                    "known-plaintext-bytes": size, "plaintext-bytes": size, "plaintext-sha256": digest(plain),
                    "seal-pattern": pattern, "seal-chunk-bytes": chunk, "seal-nonce-prefix": prefix.hex(),
                    "sha256-ciphertext": sha})
    return out


def broken():
    """One file of 3 whole chunks and 500 bytes, broken in one way each; the true plaintext length is known."""
    key, plain = KEY_B, b"X" * 3572
    good = seal(key, C, PREFIX, plain)
    head, recs = good[:32], records(key, good[:32], C, plain)
    three = "tbenc-v1 3"
    out = []

    def bad(name, file, expect, released=0, spec=three, known=3572, inspect="ok", **more):
        if name in GOLDEN_BROKEN:
            assert digest(file) == GOLDEN_BROKEN[name], name
        assert file != good
        out.append(refused(name, spec, key, file, expect, released, plain, known, inspect, **more))

    def edit(at, data):
        return good[:at] + data + good[at + len(data):]

    def flip(at):
        return edit(at, bytes([good[at] ^ 1]))

    # header
    bad("magic-wrong", edit(0, b"U"), "malformed", inspect="malformed")
    bad("magic-in-lower-case", edit(0, b"tbenc001"), "malformed", inspect="malformed")
    bad("version-2", edit(8, b"\0\2"), "malformed", inspect="malformed")
    bad("version-little-endian", edit(8, b"\1\0"), "malformed", inspect="malformed")
    bad("algo-2", edit(10, b"\2"), "malformed", inspect="malformed")
    bad("algo-0", edit(10, b"\0"), "malformed", inspect="malformed")
    bad("chunk-bytes-zero", edit(11, struct.pack(">I", 0)), "malformed", inspect="malformed")
    bad("chunk-bytes-over-64-MiB", edit(11, struct.pack(">I", (64 << 20) + 1)), "malformed", inspect="malformed")
    bad("chunk-bytes-all-ones", edit(11, b"\xff" * 4), "malformed", inspect="malformed")
    bad("chunk-bytes-little-endian", edit(11, b"\0\4\0\0"), "malformed|truncated|tampered", inspect="malformed|truncated")
    bad("chunk-bytes-changed", edit(11, struct.pack(">I", 2048)), "malformed|truncated|tampered", inspect="malformed|truncated")
    bad("chunk-bytes-not-the-known-one", edit(11, struct.pack(">I", 2048)), "malformed", inspect="malformed",
        **{"known-chunk-bytes": 1024})
    bad("nonce-prefix-changed", edit(16, b"\3"), "tampered")
    bad("nonce-prefix-not-the-known-one", edit(16, b"\3"), "tampered", inspect="tampered",
        **{"known-nonce-prefix": PREFIX.hex()})
    bad("reserved-not-zero", edit(20, b"\xff"), "malformed", inspect="malformed")
    bad("reserved-last-byte-not-zero", edit(31, b"\x80"), "malformed", inspect="malformed")
    bad("cut-in-the-header", good[:31], "malformed", inspect="malformed")
    bad("no-byte-at-all", b"", "malformed", inspect="malformed")
    bad("header-twice", head + good, "malformed|truncated|tampered", inspect="malformed|truncated")
    bad("byte-before-the-header", b"\0" + good, "malformed", inspect="malformed")

    # lengths
    bad("pt-len-zero", edit(32, struct.pack(">I", 0)), "malformed")
    bad("pt-len-over-chunk", edit(32, struct.pack(">I", 1025)), "malformed")
    bad("pt-len-all-ones", edit(32, b"\xff" * 4), "malformed")
    bad("pt-len-1023", edit(32, struct.pack(">I", 1023)), "malformed|tampered")
    bad("pt-len-of-last-record-less", edit(32 + 3 * 1044, struct.pack(">I", 499)), "malformed|truncated|tampered", 3072)
    bad("pt-len-of-last-record-more", edit(32 + 3 * 1044, struct.pack(">I", 501)), "malformed|truncated|tampered", 3072)
    bad("empty-record-at-the-end", good + record(key, head, 4, b""), "malformed", 3572, inspect="malformed")

    # tags
    bad("ciphertext-bit-flipped", edit(46, bytes([good[46] ^ 1])), "tampered")
    bad("last-ciphertext-byte-flipped", flip(len(good) - 17), "tampered", 3072)
    bad("first-tag-bit-flipped", flip(32 + 4 + 1024), "tampered")
    bad("last-tag-bit-flipped", flip(len(good) - 1), "tampered", 3072)
    bad("tag-all-zero", edit(len(good) - 16, bytes(16)), "tampered", 3072)
    bad("key-of-another-file", seal(KEY_C, C, PREFIX, plain), "tampered")
    bad("record-sealed-for-another-index", head + recs[0] + record(key, head, 2, plain[1024:2048]) + recs[2] + recs[3],
        "tampered", 1024)
    other_head = header(C, bytes.fromhex("0a0b0c0d"))
    bad("record-of-another-file", head + recs[0] + records(key, other_head, C, plain)[1] + recs[2] + recs[3], "tampered", 1024)
    bad("records-of-another-file-under-our-header", head + b"".join(records(key, other_head, C, plain)), "tampered")

    # order and number
    bad("records-swapped", head + recs[1] + recs[0] + recs[2] + recs[3], "tampered")
    bad("records-reversed", head + recs[2] + recs[1] + recs[0] + recs[3], "tampered")
    bad("last-record-first", head + recs[3] + recs[0] + recs[1] + recs[2], "malformed|tampered")
    bad("first-record-missing", head + b"".join(recs[1:]), "malformed|truncated|tampered", inspect="truncated")
    bad("second-record-missing", head + recs[0] + recs[2] + recs[3], "malformed|truncated|tampered", 1024, inspect="truncated")
    bad("last-record-missing", head + b"".join(recs[:3]), "truncated", 3072, inspect="truncated")
    bad("first-record-repeated", head + recs[0] + recs[0] + b"".join(recs[1:]), "malformed|tampered", 1024, inspect="malformed")
    bad("last-record-repeated", good + recs[3], "malformed", 3572, inspect="malformed")
    longer = head + b"".join(records(key, head, C, plain + b"X" * 600))
    bad("more-plaintext-than-known", longer, "malformed|tampered", 3072, inspect="malformed")

    # cuts and appendices
    bad("cut-at-a-record-border", good[:32 + 2 * 1044], "truncated", 2048, inspect="truncated")
    bad("all-records-missing", head, "truncated", inspect="truncated")
    bad("cut-in-a-length", good[:32 + 2 * 1044 + 2], "truncated", 2048, inspect="truncated")
    bad("cut-in-a-record", good[:2620], "truncated", 2048, inspect="truncated")
    bad("cut-before-a-tag", good[:-16], "truncated", 3072, inspect="truncated")
    bad("cut-by-one-byte", good[:-1], "truncated", 3072, inspect="truncated")
    bad("one-byte-appended", good + b"\0", "malformed|truncated", 3572, inspect="malformed")
    bad("four-zero-bytes-appended", good + bytes(4), "malformed", 3572, inspect="malformed")
    bad("whole-file-appended", good + good, "malformed|tampered", 3572, inspect="malformed")
    assert GOLDEN_BROKEN.keys() - {v["name"] for v in out} == {"chunk-bytes-1", "chunk-bytes-1000", "short-record-in-the-middle"}
    return out


def without_a_known_length():
    key, plain = KEY_B, b"X" * 3572
    good = seal(key, C, PREFIX, plain)
    short = header(C, PREFIX)
    pieces = [b"a" * 1024, b"b" * 10, b"c" * 1024]
    in_the_middle = short + b"".join(record(key, short, i, p) for i, p in enumerate(pieces))
    assert digest(in_the_middle) == GOLDEN_BROKEN["short-record-in-the-middle"]
    three = "tbenc-v1 3"
    return [
        accepted("length-not-known", three, key, good, plain, known=False),
        accepted("length-not-known-cut-at-a-record-border", three, key, good[:32 + 2 * 1044], plain[:2048], known=False),
        accepted("length-not-known-all-records-missing", three, key, good[:32], b"", known=False),
        refused("length-not-known-one-byte-appended", three, key, good + b"\0", "malformed|truncated", 3572, plain,
                inspect="ok|truncated"),
        refused("length-not-known-three-bytes-appended", three, key, good[:32 + 2 * 1044] + b"\0\0\4", "truncated", 2048, plain,
                inspect="truncated"),
        refused("length-not-known-cut-in-a-record", three, key, good[:2620], "malformed|truncated", 2048, plain,
                inspect="ok|truncated"),
        refused("length-not-known-record-repeated", three, key, good[:32] + good[32:1076] * 2, "tampered", 1024, plain),
        refused("length-not-known-empty-record", three, key, good[:32] + record(key, good[:32], 0, b""), "malformed|truncated", 0,
                b"", inspect="ok|truncated"),
        refused("short-record-in-the-middle", three, key, in_the_middle, "malformed|tampered", 1024, b"".join(pieces)),
        refused("short-record-in-the-middle-known", three, key, in_the_middle, "malformed|tampered", 1024, b"".join(pieces),
                known=2058),
        refused("known-length-is-less", three, key, good, "malformed|tampered", 2048, plain, known=2500, inspect="malformed"),
        refused("known-length-is-more", three, key, good, "truncated|malformed", 3072, plain, known=3573, inspect="truncated"),
    ]


def odd_sizes():
    out = []
    for name, chunk, plain, sha in [
            ("chunk-bytes-1", 1, b"abc", GOLDEN_BROKEN["chunk-bytes-1"]),
            ("chunk-bytes-1000", 1000, b"CHUNK" * 500, GOLDEN_BROKEN["chunk-bytes-1000"]),
            ("chunk-bytes-64-MiB", 64 << 20, b"much room", None),
            ("index-over-one-byte", 1, bytes(range(256)) + b"more", None)]:
        file = seal(KEY_B, chunk, PREFIX, plain)
        assert sha is None or digest(file) == sha
        out.append(accepted(name, "tbenc-v1 2", KEY_B, file, plain))
    for name, size in [("one-byte-under-a-chunk", 1023), ("exactly-a-chunk", 1024), ("four-whole-chunks", 4096)]:
        plain = bytes(i * 7 % 251 for i in range(size))
        out.append(accepted(name, "tbenc-v1 2", KEY_B, seal(KEY_B, C, b"\xff\xff\xff\xff", plain), plain))
    return out


def all():
    return golden() + broken() + without_a_known_length() + odd_sizes()
