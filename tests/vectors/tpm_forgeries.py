#!/usr/bin/python3
"""Writes the corpus of TPM evidence: tests/vectors/tpm/*.json, most of it forged.

    tpm_forgeries.py       make all keys and quotes anew (needs swtpm and tpm2-tools) and write the files

Each file says what a verifier knows (policy, enrolled keys, question, last clock), what came, and in `check` which
check must refuse it; "" means that it is good. Keys and signatures are random, so the files are kept and not made
again by the tests: src/attest/forgery_test.cc reads them.
"""
import copy
import hashlib
import json
import pathlib
import struct

from cryptography.hazmat.primitives.asymmetric import ec, rsa

import tpm_certificates
from tpm_machine import (AK_ATTRIBUTES, ECDSA, EK_ATTRIBUTES, EK_POLICY, NULL, SHA1, SHA256, Machine, attest, b64,
                         ecc_public, ecdsa_signature, name_of, qualified_name, rsa_public, sized)

FOLDER = pathlib.Path(__file__).resolve().parent / "tpm"
FIRST8 = "sha256:0,1,2,3,4,5,6,7"
BITMAP8 = b"\xff\x00\x00"
QUESTION = {"nonce": "bm9uY2Ugb2YgdGhlIGNoYWxsZW5nZQ", "thumbprint": "dGh1bWJwcmludA", "contract_id": "acme-1",
            "asset_id": "llama-8b", "lease_id": "", "config_sha256": hashlib.sha256(b"settings").hexdigest()}
FILES = {}


def qualifier(question):
    out = b"trustbridge/evidence/v1"
    for field in ("nonce", "thumbprint", "contract_id", "asset_id", "lease_id", "config_sha256"):
        out += struct.pack(">I", len(question[field])) + question[field].encode()
    return hashlib.sha256(out).digest()


def write(name, check, says, body):
    assert name not in FILES, name
    FILES[name] = {"check": check, "says": says, **body}


def changed(base, path, value):
    """A copy of `base` with the member at `path` ("evidence.quote") replaced, or removed for None."""
    out = copy.deepcopy(base)
    *parents, last = path.split(".")
    at = out
    for parent in parents:
        at = at[parent]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return out


def case(ek, ak, quote, signature, pcrs, policy=None, question=QUESTION):
    return {"kind": "quote", "policy": policy or {"pcrs": {"sha256": dict(pcrs)}}, "ek_public": b64(ek), "ak_public": b64(ak),
            "question": dict(question),
            "evidence": {"type": "tpm", "ak_name": name_of(ak).hex(), "quote": b64(quote), "signature": b64(signature),
                         "pcrs": {"sha256": dict(pcrs)}, "config_sha256": question["config_sha256"]}}


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def real_quotes(m):
    m.extend(0, b"firmware"), m.extend(4, b"boot loader"), m.extend(7, b"secure boot")
    pcrs = m.pcrs(range(8))
    quote, signature = m.quote(qualifier(QUESTION), FIRST8)
    good = case(m.ek, m.ak, quote, signature, pcrs)
    write("good-rsa-ek-ecdsa-ak", "", "what the TPM signed", good)
    reset, restart = struct.unpack(">II", clock_of(quote)[8:16])
    clock = struct.unpack(">Q", clock_of(quote)[:8])[0]
    firmware = clock_of(quote)[17:25].hex()

    write("quote-bit-flipped", "signature", "one bit of the digest", changed(good, "evidence.quote", b64(flipped(quote, len(quote) - 1))))
    write("magic-bit-flipped", "signature", "unsigned statements are not read", changed(good, "evidence.quote", b64(flipped(quote, 0))))
    write("signature-bit-flipped", "signature", "one bit of s", changed(good, "evidence.signature", b64(flipped(signature, len(signature) - 1))))
    r, s = signature[6:38], signature[40:72]
    write("signature-halves-swapped", "signature", "s before r", changed(good, "evidence.signature", b64(signature[:4] + sized(s) + sized(r))))
    write("signature-zero", "signature", "r and s are zero", changed(good, "evidence.signature", b64(signature[:4] + sized(bytes(32)) * 2)))
    write("signature-trailing-byte", "signature_scheme", "a byte after the end", changed(good, "evidence.signature", b64(signature + b"\0")))
    write("signature-cut", "signature_scheme", "one byte short", changed(good, "evidence.signature", b64(signature[:-1])))
    write("signature-hmac", "signature_scheme", "an HMAC is no signature", changed(good, "evidence.signature", b64(struct.pack(">HH", 5, SHA256) + bytes(32))))
    write("signature-of-other-scheme", "signature_scheme", "RSASSA under an ECDSA key", changed(good, "evidence.signature", b64(struct.pack(">HH", 0x14, SHA256) + sized(bytes(256)))))
    for field, value in (("nonce", "b3RoZXIgbm9uY2U"), ("thumbprint", "b3RoZXIga2V5"), ("contract_id", "acme-2"),
                         ("asset_id", "llama-70b"), ("lease_id", "lease-1"), ("config_sha256", "0" * 64)):
        write("replayed-for-another-" + field.replace("_", "-"), "nonce", "good evidence of another request",
              changed(good, "question." + field, value))
    moved = changed(good, "question.contract_id", "acme-1llama")
    write("fields-moved-across-a-border", "nonce", "lengths keep contract and asset apart", changed(moved, "question.asset_id", "-8b"))
    raw, raw_signature = m.quote(QUESTION["nonce"].encode()[:32], FIRST8)
    write("nonce-without-binding", "nonce", "the bare nonce as extraData: a key could be put in on the way", case(m.ek, m.ak, raw, raw_signature, pcrs))

    wrong = dict(pcrs, **{"7": "00" * 32})
    write("pcr-not-listed", "pcr_values", "PCR 7 is another than the contract's", changed(good, "policy.pcrs.sha256", {"7": "00" * 32}))
    write("pcr-claimed", "pcr_digest", "the contract's value was put in place of the TPM's",
          changed(changed(good, "policy.pcrs.sha256", {"7": "00" * 32}), "evidence.pcrs.sha256", wrong))
    write("pcr-value-missing", "pcr_digest", "PCR 3 did not come", changed(good, "evidence.pcrs.sha256.3", None))
    write("pcr-value-added", "pcr_digest", "PCR 9 was not quoted", changed(good, "evidence.pcrs.sha256.9", "00" * 32))
    write("pcr-values-swapped", "pcr_digest", "4 and 7 changed places", changed(changed(good, "evidence.pcrs.sha256.4", pcrs["7"]), "evidence.pcrs.sha256.7", pcrs["4"]))
    some, some_signature = m.quote(qualifier(QUESTION), "sha256:0,1,2,3,4,5,6")
    write("pcr-not-quoted", "pcr_selection", "PCR 7 was left out", case(m.ek, m.ak, some, some_signature, {k: v for k, v in pcrs.items() if k != "7"}, policy={"pcrs": {"sha256": pcrs}}))
    shifted, shifted_signature = m.quote(qualifier(QUESTION), "sha256:8,9,10,11,12,13,14,15")
    write("pcr-other-positions", "pcr_selection", "eight PCRs, but 8 to 15", case(m.ek, m.ak, shifted, shifted_signature, pcrs))
    both, both_signature = m.quote(qualifier(QUESTION), "sha1:0+" + FIRST8)
    write("sha1-bank", "pcr_bank", "SHA-1 beside SHA-256", case(m.ek, m.ak, both, both_signature, pcrs))

    def last(a, b, c):
        return {**copy.deepcopy(good), "last": {"reset_count": a, "restart_count": b, "clock_ms": c}}
    write("good-same-clock", "", "the clock stands still", last(reset, restart, clock))
    write("good-after-a-reset", "", "a reset lets the clock begin anew", last(reset - 1, restart + 5, clock + 5000))
    write("reset-count-back", "clock_monotonic", "a snapshot of before a reset", last(reset + 1, 0, 0))
    write("restart-count-back", "clock_monotonic", "a snapshot of before a restart", last(reset, restart + 1, 0))
    write("clock-back", "clock_monotonic", "a snapshot of a moment ago", last(reset, restart, clock + 1))
    write("firmware-denied", "firmware", "a version that is on the list", changed(good, "policy.firmware_deny", [firmware]))
    write("firmware-too-old", "firmware", "a version below the least", changed(good, "policy.firmware_min", "ffffffffffffffff"))
    write("good-config", "", "the pinned settings", changed(good, "policy.config_sha256", QUESTION["config_sha256"]))
    write("config-not-listed", "config_sha256", "other settings, honestly told", changed(good, "policy.config_sha256", "0" * 64))

    write("evidence-type", "evidence_form", "another kind of evidence", changed(good, "evidence.type", "tpm12"))
    write("evidence-unknown-member", "evidence_form", "a member that nobody knows", changed(good, "evidence.event_log", "x"))
    write("evidence-not-base64url", "evidence_form", "padding", changed(good, "evidence.quote", good["evidence"]["quote"] + "="))
    write("evidence-name-in-capitals", "evidence_form", "one spelling only", changed(good, "evidence.ak_name", name_of(m.ak).hex().upper()))
    write("evidence-sha1-values", "evidence_form", "a bank that is not used", changed(good, "evidence.pcrs.sha1", {"0": "00" * 20}))
    write("evidence-pcr-24", "evidence_form", "there are 24 PCRs", changed(good, "evidence.pcrs.sha256.24", "00" * 32))
    write("evidence-without-quote", "evidence_form", "nothing signed", changed(good, "evidence.quote", None))
    return good, pcrs


def clock_of(quote):
    signer = struct.unpack(">H", quote[6:8])[0]
    extra = struct.unpack(">H", quote[8 + signer:10 + signer])[0]
    return quote[10 + signer + extra:]


def other_keys(m, good, pcrs):
    other = Machine()
    quote, signature = other.quote(qualifier(QUESTION), FIRST8)
    body = changed(changed(good, "evidence.quote", b64(quote)), "evidence.signature", b64(signature))
    write("another-tpm", "signature", "the state directory of the enrolled machine, on another", body)
    write("another-tpm-named", "signature", "and its own name", changed(body, "evidence.ak_name", name_of(other.ak).hex()))
    other.end()
    # Keys of the same TPM that are not what an attestation key must be.
    m.tool("tpm2_createprimary", "-C", "o", "-c", "srk.ctx", "-G", "ecc")
    for name, parent, attributes, check, says in (
            ("ak-of-the-owner-hierarchy", "srk.ctx", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign", "qualified_signer", "counters of this hierarchy are obfuscated"),
            ("ak-unrestricted", "srk.ctx", "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign", "ak_attributes", "it would sign any statement"),
            ("ak-can-be-duplicated", "srk.ctx", "sensitivedataorigin|userwithauth|restricted|sign", "ak_attributes", "it can move to another TPM")):
        for file in ("x.pub", "x.priv", "x.ctx"):
            (m.folder / file).unlink(missing_ok=True)
        m.tool("tpm2_create", "-C", parent, "-G", "ecc:ecdsa-sha256:null", "-a", attributes, "-u", "x.pub", "-r", "x.priv")
        m.tool("tpm2_load", "-C", parent, "-u", "x.pub", "-r", "x.priv", "-c", "x.ctx")
        quote, signature = m.quote(qualifier(QUESTION), FIRST8, key="x.ctx")
        write(name, check, says, case(m.ek, m.read("x.pub")[2:], quote, signature, pcrs))
    m.tool("tpm2_gettime", "-c", "ak.ctx", "-g", "sha256", "-q", qualifier(QUESTION).hex(), "--attestation", "t.msg", "-o", "t.sig")
    write("another-attestation", "quote_type", "the TPM's time, signed by the same key",
          changed(changed(good, "evidence.quote", b64(m.read("t.msg"))), "evidence.signature", b64(m.read("t.sig"))))


def other_tpms():
    for name, ek, ak in (("good-ecc-ek-ecdsa-ak", "ecc", ("ecc", "ecdsa")), ("good-rsa-ek-rsassa-ak", "rsa", ("rsa", "rsassa")),
                         ("good-rsa-ek-rsapss-ak", "rsa", ("rsa", "rsapss"))):
        m = Machine(ek, ak)
        pcrs = m.pcrs(range(8))
        quote, signature = m.quote(qualifier(QUESTION), FIRST8, scheme=ak[1])
        body = case(m.ek, m.ak, quote, signature, pcrs)
        write(name, "", "another kind of keys", body)
        if "rsassa" in ak:
            other = struct.pack(">H", 0x16) + signature[2:]
            write("rsassa-called-rsapss", "signature_scheme", "not the key's scheme", changed(body, "evidence.signature", b64(other)))
            write("rsassa-short", "signature", "a signature of another length", changed(body, "evidence.signature", b64(signature[:4] + sized(signature[7:]))))
        m.end()


def resigned(ek):
    """Statements that no TPM makes, validly signed by a key that was enrolled by deceit."""
    key = ec.generate_private_key(ec.SECP256R1())
    ak = ecc_public(key)
    pcrs = {str(i): hashlib.sha256(b"%d" % i).hexdigest() for i in range(8)}
    digest = hashlib.sha256(b"".join(bytes.fromhex(v) for v in pcrs.values())).digest()
    signer, extra, banks = qualified_name(ek, ak), qualifier(QUESTION), [(SHA256, BITMAP8)]

    def put(name, check, says, statement, alg=SHA256, policy=None):
        write(name, check, says, case(ek, ak, statement, ecdsa_signature(key, statement, alg), pcrs, policy))
    good = attest(signer, extra, banks, digest)
    put("good-resigned", "", "the frame that the following change", good)
    put("magic", "quote_magic", "not made by a TPM", attest(signer, extra, banks, digest, magic=0xFF544348))
    put("type-certify", "quote_type", "a certification", attest(signer, extra, banks, digest, kind=0x8017))
    put("signer-of-another-key", "qualified_signer", "the quote of another key, signed again", attest(qualified_name(ek, ak[:-1] + b"\0"), extra, banks, digest))
    put("signer-is-the-name", "qualified_signer", "the Name in place of the qualified Name", attest(name_of(ak), extra, banks, digest))
    put("signer-empty", "qualified_signer", "no signer", attest(b"", extra, banks, digest))
    put("extra-data-empty", "nonce", "no nonce", attest(signer, b"", banks, digest))
    put("extra-data-longer", "nonce", "a byte more", attest(signer, extra + b"\0", banks, digest))
    put("extra-data-prefix", "nonce", "a byte less", attest(signer, extra[:-1], banks, digest))
    put("quote-trailing-byte", "quote_form", "a byte after the end", good + b"\0")
    put("quote-cut", "quote_form", "one byte short", good[:-1])
    put("quote-only-magic", "quote_form", "five bytes", good[:5])
    put("bank-twice", "quote_form", "SHA-256 twice", attest(signer, extra, banks * 2, digest))
    put("bitmap-empty", "quote_form", "a bitmap of no bytes", attest(signer, extra, [(SHA256, b"")], digest))
    put("bitmap-too-long", "quote_form", "a bitmap of five bytes", attest(signer, extra, [(SHA256, BITMAP8 + b"\0\0")], digest))
    put("safe-is-two", "quote_form", "neither yes nor no", attest(signer, extra, banks, digest, safe=2))
    put("clock-overflows", "quote_form", "beyond what is counted", attest(signer, extra, banks, digest, clock=1 << 60))
    put("clock-unsafe", "clock_safe", "an orderly shutdown is asked for", attest(signer, extra, banks, digest, safe=0), policy={"pcrs": {"sha256": pcrs}, "require_safe_clock": True})
    put("selection-empty", "pcr_selection", "nothing quoted", attest(signer, extra, [(SHA256, b"\0\0\0")], hashlib.sha256().digest()))
    put("selection-no-banks", "pcr_selection", "no bank", attest(signer, extra, [], hashlib.sha256().digest()))
    put("selection-in-sha384", "pcr_selection", "the right PCRs of another bank", attest(signer, extra, [(0x000C, BITMAP8)], digest))
    put("selection-bit-25", "pcr_bank", "a PCR that does not exist", attest(signer, extra, [(SHA256, BITMAP8 + b"\x02")], digest))
    put("selection-sm3", "pcr_bank", "a bank that is not used", attest(signer, extra, [(0x0012, b"\x01\0\0"), (SHA256, BITMAP8)], digest))
    put("digest-empty", "pcr_digest", "no digest", attest(signer, extra, banks, b""))
    put("digest-prefix", "pcr_digest", "half a digest", attest(signer, extra, banks, digest[:16]))
    put("digest-other-order", "pcr_digest", "PCR 7 first", attest(signer, extra, banks, hashlib.sha256(b"".join(bytes.fromhex(v) for v in reversed(pcrs.values()))).digest()))
    put("signed-with-sha1", "signature_scheme", "a weak hash", good, alg=SHA1)

    for name, attributes in (("ak-decrypts", AK_ATTRIBUTES | 1 << 17), ("ak-not-fixed", AK_ATTRIBUTES & ~2), ("ak-from-outside", AK_ATTRIBUTES & ~(1 << 5)),
                             ("ak-not-fixed-to-its-parent", AK_ATTRIBUTES & ~(1 << 4))):
        public = ecc_public(key, attributes)
        statement = attest(qualified_name(ek, public), extra, banks, digest)
        write(name, "ak_attributes", "not an attestation key", case(ek, public, statement, ecdsa_signature(key, statement), pcrs))
    public = ecc_public(key, scheme=None)
    statement = attest(qualified_name(ek, public), extra, banks, digest)
    write("ak-without-scheme", "ak_scheme", "any scheme would do", case(ek, public, statement, ecdsa_signature(key, statement), pcrs))


def enrolments(m):
    now = tpm_certificates.NOW
    software = ec.generate_private_key(ec.SECP256R1())
    big = rsa.generate_private_key(65537, 2048)
    small = rsa.generate_private_key(65537, 1024)
    base = {"kind": "enrolment", "policy": {}, "now": now, "ek_public": b64(m.ek), "ak_public": b64(m.ak), "ek_certificate": "", "ek_intermediates": []}
    write("good-enrolment", "", "what the TPM has", base)

    def put(name, check, says, **members):
        write("enrol-" + name, check, says, {**copy.deepcopy(base), **members})
    put("ek-signs", "ek_template", "a signing key", ek_public=b64(rsa_public(big, EK_ATTRIBUTES | 1 << 18, EK_POLICY)))
    put("ek-not-restricted", "ek_template", "it would decrypt anything", ek_public=b64(rsa_public(big, EK_ATTRIBUTES & ~(1 << 16), EK_POLICY)))
    put("ek-not-fixed", "ek_template", "it can leave the TPM", ek_public=b64(rsa_public(big, EK_ATTRIBUTES & ~2, EK_POLICY)))
    put("ek-without-policy", "ek_template", "anybody may use it", ek_public=b64(rsa_public(big, EK_ATTRIBUTES)))
    put("ek-other-policy", "ek_template", "another policy", ek_public=b64(rsa_public(big, EK_ATTRIBUTES, bytes(32))))
    put("ek-of-1024-bits", "ek_template", "a weak key", ek_public=b64(rsa_public(small, EK_ATTRIBUTES, EK_POLICY)))
    put("ek-aes-256", "ek_template", "another template", ek_public=b64(rsa_public(big, EK_ATTRIBUTES, EK_POLICY, symmetric=(6, 256, 0x43))))
    put("ek-is-an-ak", "ek_template", "the attestation key twice", ek_public=b64(m.ak))
    put("ek-trailing-byte", "ek_template", "a byte after the end", ek_public=b64(m.ek + b"\0"))
    off = bytearray(ecc_public(software, EK_ATTRIBUTES, None, EK_POLICY, (6, 128, 0x43)))
    off[-1] ^= 1
    put("ek-not-on-the-curve", "ek_template", "no point of P-256", ek_public=b64(bytes(off)))
    put("ak-is-the-ek", "ak_attributes", "the endorsement key twice", ak_public=b64(m.ek))
    put("ak-unrestricted", "ak_attributes", "it would sign anything", ak_public=b64(ecc_public(software, AK_ATTRIBUTES & ~(1 << 16))))
    put("ak-with-sha1", "ak_scheme", "a weak hash", ak_public=b64(ecc_public(software, scheme=(ECDSA, SHA1))))
    put("ak-of-1024-bits", "ak_scheme", "a weak key", ak_public=b64(rsa_public(small, AK_ATTRIBUTES, symmetric=NULL, scheme=(0x14, SHA256))))
    put("ak-cut", "ak_scheme", "one byte short", ak_public=b64(m.ak[:-1]))

    c = tpm_certificates.make(m.ek)
    pinned = {"ek_roots": [c["root"]]}
    put("good-certificate", "", "below a pinned root", policy=pinned, ek_certificate=c["good"])
    put("good-intermediate", "", "below an intermediate", policy=pinned, ek_certificate=c["below"], ek_intermediates=[c["intermediate"]])
    put("good-listed", "", "listed, so that no certificate is needed", policy={**pinned, "ek_sha256": [c["ek_sha256"]]})
    for name, says in (("none", "no certificate"), ("other-key", "a genuine certificate of another TPM"), ("self-signed", "signed by itself"),
                       ("other-root", "of a maker that is not pinned"), ("expired", "past its end"), ("future", "before its start"),
                       ("usage", "a TLS server's"), ("authority", "an authority's"), ("garbage", "no certificate at all"), ("below", "its intermediate is missing")):
        put("certificate-" + name, "ek_certificate", says, policy=pinned, ek_certificate=c[name])
    put("certificate-not-an-authority", "ek_certificate", "signed by another TPM's key", policy=pinned, ek_certificate=c["under-leaf"], ek_intermediates=[c["leaf"]])


def main():
    m = Machine()
    good, pcrs = real_quotes(m)
    other_keys(m, good, pcrs)
    resigned(m.ek)
    enrolments(m)
    m.end()
    other_tpms()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    for name, body in FILES.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(body, indent=1) + "\n")
    names = sorted(FILES)
    (FOLDER / "index.txt").write_text("".join(f"{name}\n" for name in names))
    print(f"{len(names)} files, {sum(1 for f in FILES.values() if f['check'])} forged")


if __name__ == "__main__":
    main()
