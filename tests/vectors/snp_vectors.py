#!/usr/bin/python3
"""Writes the SEV-SNP vectors: tests/vectors/snp/*.json, one machine's evidence each, and the check that must refuse it;
tests/vectors/snp-vtpm/*.json, the same where a report vouches for a virtual TPM's key.

    snp_vectors.py            make all keys, certificates and reports anew, and write them
    snp_vectors.py --check    fail unless the folder holds exactly the vectors named here

Signatures are not the same twice, so the check is of names and verdicts; what the files hold is the business of the test
that reads them (src/attest/snp_vectors_test.cc). README.md says what the members mean.
"""
import hashlib
import json
import pathlib
import sys

from snp_signing import CPU, DAY, NOW, Authority, Leaf, b64, ec, rsa, evidence_digest, report, sign_report, tcb_bytes

FOLDER = pathlib.Path(__file__).resolve().parent / "snp"
VTPM_FOLDER = FOLDER.parent / "snp-vtpm"
BINDING = {"nonce": "bm9uY2Utb2YtdGhpcy1yZXF1ZXN0LTMyLWJ5dGVzISE", "thumbprint": "one-time-key-thumbprint",
           "contract_id": "acme-1", "asset_id": "llama-8b", "lease_id": "", "config_sha256": "00" * 32}
TCB = {"bootloader": 4, "tee": 1, "snp": 24, "microcode": 219}
TURIN_TCB = {**TCB, "fmc": 2}
CHIP, OTHER_CHIP = bytes(range(64)), bytes(range(64, 128))
TURIN_CHIP = b"\x11\x22\x33\x44\x55\x66\x77\x88"
POLICY = {"measurements": ["a1" * 48]}
SMT, MIGRATE, DEBUG, SOCKET, RESERVED_ONE = 1 << 16, 1 << 18, 1 << 19, 1 << 20, 1 << 17
GUEST = RESERVED_ONE | 0x1F
VLEK_KEY = 1 << 2


class World:
    """Everything that is signed with; certificates have the names that vectors use, as @milan-vcek."""

    def __init__(self):
        self.made, self.keys = {}, {}
        for line in ("Milan", "Genoa", "Turin"):
            low = line.lower()
            root = self.put(low + "-ark", Authority("ARK-" + line))
            self.put(low + "-ask", Authority("SEV-" + line, root, serial=0x20000))
        milan_root, ask = self.made["milan-ark"], self.made["milan-ask"]
        asvk = self.put("milan-asvk", Authority("SEV-VLEK-Milan", milan_root, serial=0x30000))
        self.put("milan-vcek", Leaf(ask, "Milan-B0", TCB, CHIP))
        self.put("milan-vcek-octets", Leaf(ask, "Milan-B0", TCB, CHIP, hw_id_octets=True))
        self.put("milan-vlek", Leaf(asvk, "Milan", TCB))
        self.put("genoa-vcek", Leaf(self.made["genoa-ask"], "Genoa-B1", TCB, CHIP))
        self.put("turin-vcek", Leaf(self.made["turin-ask"], "Turin-C1", TURIN_TCB, TURIN_CHIP))
        # Forged or unfit ones.
        foreign = self.put("foreign-ark", Authority("ARK-Milan"))
        foreign_ask = self.put("foreign-ask", Authority("SEV-Milan", foreign, serial=0x20000))
        self.put("foreign-vcek", Leaf(foreign_ask, "Milan-B0", TCB, CHIP))
        small = self.put("small-ask", Authority("SEV-Milan", milan_root, bits=2048, serial=0x40000))
        self.put("small-vcek", Leaf(small, "Milan-B0", TCB, CHIP))
        old = self.put("old-ask", Authority("SEV-Milan", milan_root, serial=0x50000, end=NOW - DAY))
        self.put("old-ask-vcek", Leaf(old, "Milan-B0", TCB, CHIP))
        self.put("p256-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, curve=ec.SECP256R1()))
        self.put("pkcs1-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, pkcs1=True))
        self.put("sha256-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, sha256=True))
        self.put("expired-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, end=NOW - DAY))
        self.put("future-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, start=NOW + DAY))
        self.put("genoa-by-milan-vcek", Leaf(ask, "Genoa-B1", TCB, CHIP))
        self.put("vcek-by-asvk", Leaf(asvk, "Milan-B0", TCB, CHIP))
        self.put("rome-vcek", Leaf(ask, "Rome-B0", TCB, CHIP))
        self.put("no-level-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, drop=("3.3",)))
        self.put("no-hwid-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, drop=("4",)))
        self.put("no-product-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, drop=("2",)))
        self.put("other-name-vcek", Leaf(ask, "Milan-B0", TCB, CHIP, common="SEV-OTHER"))
        # A VCEK's own key cannot issue: it is no authority.
        self.put("root-vcek", Leaf(milan_root, "Milan-B0", TCB, CHIP))
        self.crls = {"current": milan_root.revokes([0x99]), "revoked": milan_root.revokes([0x20000]),
                     "old": milan_root.revokes([0x99], NOW - 60 * DAY, NOW - DAY),
                     "future": milan_root.revokes([0x99], NOW + DAY, NOW + 60 * DAY),
                     "forged": milan_root.revokes([0x99], key=foreign.key)}

    def put(self, label, thing):
        self.made[label] = thing
        return thing


def milan(w, leaf="milan-vcek", chip=CHIP, binding=BINDING, data=None, key=None, big_endian=False, **fields):
    head = report("Milan", TCB, evidence_digest(binding) if data is None else data, chip, **fields)
    return sign_report(head, key or w.made[leaf].key, big_endian)


def genoa(w, **fields):
    head = report("Genoa", TCB, evidence_digest(BINDING), CHIP, **{"version": 3, **fields})
    return sign_report(head, w.made["genoa-vcek"].key)


def turin(w, **fields):
    head = report("Turin", TURIN_TCB, evidence_digest(BINDING), TURIN_CHIP, **{"version": 3, **fields})
    return sign_report(head, w.made["turin-vcek"].key)


def flipped(data, offset):
    return data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1:]


VECTORS = {}


def vector(name, refused_by, make, leaf="milan-vcek", intermediate="milan-ask", policy=None, binding=None, crls=(),
           evidence=None, leaf_tail=b"", now=NOW):
    """`make(world)` gives the report; `evidence` changes the JSON object at the end."""
    assert name not in VECTORS, name
    VECTORS[name] = dict(refused_by=refused_by, make=make, leaf=leaf, intermediate=intermediate,
                         policy={**POLICY, **(policy or {})}, binding=binding or BINDING, crls=crls, evidence=evidence,
                         leaf_tail=leaf_tail, now=now)


def declare():
    on_genoa = {"leaf": "genoa-vcek", "intermediate": "genoa-ask"}
    on_turin = {"leaf": "turin-vcek", "intermediate": "turin-ask"}
    on_vlek = {"leaf": "milan-vlek", "intermediate": "milan-asvk"}
    all_policies = {"id_key_digests": ["c3" * 48], "author_key_digests": ["d4" * 48], "host_data": ["b2" * 32],
                    "chip_ids": [CHIP.hex()], "products": ["Milan"], "minimum_tcb": TCB, "minimum_guest_svn": 3,
                    "require_single_socket": True, "require_alias_check": True, "vmpls": [1, 2]}
    # ---- good ----
    vector("good-milan-v2", "", milan)
    vector("good-milan-hwid-as-octets", "", lambda w: milan(w, "milan-vcek-octets"), leaf="milan-vcek-octets")
    vector("good-genoa-v3", "", genoa, **on_genoa)
    vector("good-genoa-v5", "", lambda w: genoa(w, version=5), **on_genoa)
    vector("good-turin-v3", "", turin, **on_turin, policy={"minimum_tcb": TURIN_TCB})
    vector("good-vlek", "", lambda w: milan(w, "milan-vlek", signer_info=VLEK_KEY), **on_vlek, policy={"keys": ["vcek", "vlek"]})
    vector("good-masked-chip", "", lambda w: milan(w, chip=b"", signer_info=2))
    vector("good-current-revocation-list", "", milan, crls=("current",))
    vector("good-every-rule", "", lambda w: milan(w, policy=GUEST | SOCKET, vmpl=2, signer_info=1, author_key_digest=b"\xd4" * 48),
           policy=all_policies)
    vector("good-smt-allowed", "", lambda w: milan(w, policy=GUEST | SMT), policy={"allow_smt": True})
    vector("good-migration-allowed", "", lambda w: milan(w, policy=GUEST | MIGRATE), policy={"allow_migration_agent": True})
    vector("good-several-measurements", "", milan, policy={"measurements": ["00" * 48, "a1" * 48]})
    vector("good-renewal", "", lambda w: milan(w, binding={**BINDING, "lease_id": "lease-7"}), binding={**BINDING, "lease_id": "lease-7"})
    vector("good-with-config-digest", "", milan, evidence={"config_sha256": BINDING["config_sha256"]})
    # ---- the form of the evidence and of the report ----
    vector("evidence-type-other", "evidence_form", milan, evidence={"type": "tpm"})
    vector("evidence-type-missing", "evidence_form", milan, evidence={"type": None})
    vector("evidence-field-unknown", "evidence_form", milan, evidence={"root": "AAAA"})
    vector("evidence-leaf-missing", "evidence_form", milan, evidence={"leaf": None})
    vector("evidence-not-base64url", "evidence_form", milan, evidence={"report": "+" * 1580})
    vector("evidence-report-no-text", "evidence_form", milan, evidence={"report": 7})
    vector("report-cut", "snp_report_form", lambda w: milan(w)[:-1])
    vector("report-too-long", "snp_report_form", lambda w: milan(w) + b"\0")
    vector("report-version-1", "snp_report_form", lambda w: milan(w, version=1))
    vector("report-version-6", "snp_report_form", lambda w: genoa(w, version=6), **on_genoa)
    vector("report-reserved-not-zero", "snp_report_form", lambda w: milan(w, patch={0x4D: b"\1"}))
    vector("report-v2-with-cpu", "snp_report_form", lambda w: milan(w, patch={0x188: bytes(CPU["Milan"])}))
    vector("report-v3-with-vectors", "snp_report_form", lambda w: genoa(w, patch={0x1F8: b"\1"}), **on_genoa)
    vector("report-bytes-after-signature", "snp_report_form", lambda w: flipped(milan(w), 0x49F))
    vector("report-guest-policy-bit-17", "snp_report_form", lambda w: milan(w, policy=0x1F))
    vector("report-guest-policy-unknown-bit", "snp_report_form", lambda w: milan(w, policy=GUEST | 1 << 40))
    vector("report-signed-by-no-key", "snp_report_form", lambda w: milan(w, signer_info=7 << 2))
    vector("report-cpu-unknown", "snp_report_form", lambda w: genoa(w, cpu=(0x17, 0x31, 0)), **on_genoa)
    vector("report-masked-chip-not-zero", "snp_report_form", lambda w: milan(w, signer_info=2))
    vector("signature-algorithm-other", "snp_signature_algorithm", lambda w: milan(w, algorithm=2))
    # ---- certificates ----
    vector("chain-foreign-root", "snp_chain", lambda w: milan(w, "foreign-vcek"), leaf="foreign-vcek", intermediate="foreign-ask")
    vector("chain-leaf-of-foreign-key", "snp_chain", lambda w: milan(w, "foreign-vcek"), leaf="foreign-vcek")
    vector("chain-intermediate-is-foreign-root", "snp_chain", lambda w: milan(w, "foreign-vcek"), leaf="foreign-vcek", intermediate="foreign-ark")
    vector("chain-intermediate-of-other-line", "snp_chain", milan, intermediate="genoa-ask")
    vector("chain-without-intermediate", "snp_chain", lambda w: milan(w, "root-vcek"), leaf="root-vcek")
    vector("chain-intermediate-is-a-leaf", "snp_chain", milan, intermediate="milan-vcek-octets")
    vector("chain-rsa-2048", "snp_chain", lambda w: milan(w, "small-vcek"), leaf="small-vcek", intermediate="small-ask")
    vector("chain-leaf-p256", "snp_chain", lambda w: milan(w, key=w.made["milan-vcek"].key), leaf="p256-vcek")
    vector("chain-leaf-pkcs1", "snp_chain", lambda w: milan(w, "pkcs1-vcek"), leaf="pkcs1-vcek")
    vector("chain-leaf-sha256", "snp_chain", lambda w: milan(w, "sha256-vcek"), leaf="sha256-vcek")
    vector("leaf-is-an-intermediate", "snp_chain", milan, leaf="milan-ask")
    vector("leaf-expired", "snp_certificate_time", lambda w: milan(w, "expired-vcek"), leaf="expired-vcek")
    vector("leaf-of-the-future", "snp_certificate_time", lambda w: milan(w, "future-vcek"), leaf="future-vcek")
    vector("intermediate-expired", "snp_certificate_time", lambda w: milan(w, "old-ask-vcek"), leaf="old-ask-vcek", intermediate="old-ask")
    vector("revoked-intermediate", "snp_revocation", milan, crls=("revoked",))
    vector("revocation-list-run-out", "snp_revocation", milan, crls=("old",))
    vector("revocation-list-of-the-future", "snp_revocation", milan, crls=("future",))
    vector("revocation-list-forged", "snp_revocation", milan, crls=("forged",))
    vector("leaf-followed-by-bytes", "snp_certificate_form", milan, leaf_tail=b"\0")
    vector("leaf-without-patch-level", "snp_certificate_form", lambda w: milan(w, "no-level-vcek"), leaf="no-level-vcek")
    vector("leaf-without-hwid", "snp_certificate_form", lambda w: milan(w, "no-hwid-vcek"), leaf="no-hwid-vcek")
    vector("leaf-without-product", "snp_certificate_form", lambda w: milan(w, "no-product-vcek"), leaf="no-product-vcek")
    vector("leaf-of-other-product", "snp_certificate_form", lambda w: milan(w, "rome-vcek"), leaf="rome-vcek")
    vector("leaf-of-other-name", "snp_certificate_form", lambda w: milan(w, "other-name-vcek"), leaf="other-name-vcek")
    # ---- the certificate against the report ----
    vector("key-kind-vlek-report-vcek-leaf", "snp_key_kind", lambda w: milan(w, signer_info=VLEK_KEY))
    vector("key-kind-vcek-report-vlek-leaf", "snp_key_kind", lambda w: milan(w, "milan-vlek"), **on_vlek)
    vector("product-genoa-report-milan-leaf", "snp_product", lambda w: milan(w, version=3, cpu=CPU["Genoa"]))
    vector("product-genoa-leaf-milan-root", "snp_product", lambda w: milan(w, "genoa-by-milan-vcek"), leaf="genoa-by-milan-vcek")
    vector("product-vcek-by-asvk", "snp_product", lambda w: milan(w, "vcek-by-asvk"), leaf="vcek-by-asvk", intermediate="milan-asvk")
    vector("certificate-of-newer-firmware", "snp_certificate_tcb", lambda w: milan(w, reported=tcb_bytes("Milan", {**TCB, "snp": 23})))
    vector("certificate-of-older-firmware", "snp_certificate_tcb", lambda w: milan(w, reported=tcb_bytes("Milan", {**TCB, "microcode": 220})))
    vector("turin-patch-levels-in-milan-order", "snp_certificate_tcb", lambda w: turin(w, reported=tcb_bytes("Milan", TURIN_TCB)), **on_turin)
    vector("chip-other", "snp_chip", lambda w: milan(w, chip=OTHER_CHIP))
    vector("chip-turin-tail", "snp_chip", lambda w: turin(w, patch={0x1A0 + 63: b"\1"}), **on_turin)
    vector("chip-zero-not-masked", "snp_chip", lambda w: milan(w, chip=b""))
    # ---- the signature and what it is over ----
    for field, offset in {"measurement": 0x90, "guest-policy": 0x0A, "report-data": 0x50, "vmpl": 0x30, "host-data": 0xC0}.items():
        vector(f"signature-{field}-changed", "snp_signature", lambda w, offset=offset: flipped(milan(w), offset))
    vector("signature-r-changed", "snp_signature", lambda w: flipped(milan(w), 0x2A0))
    vector("signature-s-changed", "snp_signature", lambda w: flipped(milan(w), 0x2A0 + 72))
    vector("signature-big-endian", "snp_signature", lambda w: milan(w, big_endian=True))
    vector("signature-zero", "snp_signature", lambda w: milan(w)[:0x2A0] + bytes(0x200))
    vector("signature-of-other-key", "snp_signature", lambda w: milan(w, key=w.made["foreign-vcek"].key))
    for member in BINDING:
        vector(f"binding-{member.replace('_', '-')}-other", "snp_binding",
               lambda w, member=member: milan(w, binding={**BINDING, member: "another"}))
    vector("binding-parts-moved", "snp_binding", lambda w: milan(w, binding={**BINDING, "contract_id": "acme-", "asset_id": "1llama-8b"}))
    vector("binding-second-half", "snp_binding", lambda w: milan(w, data=bytes(32) + evidence_digest(BINDING)))
    vector("binding-tail-not-zero", "snp_binding", lambda w: milan(w, data=evidence_digest(BINDING) + b"\1"))
    vector("binding-empty", "snp_binding", lambda w: milan(w, data=b""))
    # ---- the contract ----
    vector("debug-allowed", "snp_debug", lambda w: milan(w, policy=GUEST | DEBUG))
    vector("debug-allowed-every-other-rule-open", "snp_debug", lambda w: milan(w, policy=GUEST | DEBUG | SMT | MIGRATE),
           policy={"allow_smt": True, "allow_migration_agent": True})
    vector("migration-agent", "snp_migration_agent", lambda w: milan(w, policy=GUEST | MIGRATE))
    vector("smt", "snp_smt", lambda w: milan(w, policy=GUEST | SMT))
    vector("two-sockets", "snp_single_socket", milan, policy={"require_single_socket": True})
    vector("alias-check-missing", "snp_alias_check", lambda w: milan(w, platform_info=0x05), policy={"require_alias_check": True})
    vector("product-not-allowed", "snp_product_allowed", milan, policy={"products": ["Genoa", "Turin"]})
    vector("vlek-not-allowed", "snp_key_allowed", lambda w: milan(w, "milan-vlek", signer_info=VLEK_KEY), **on_vlek)
    vector("vmpl-1", "snp_vmpl", lambda w: milan(w, vmpl=1))
    vector("vmpl-of-the-host", "snp_vmpl", lambda w: milan(w, vmpl=0xFFFFFFFF), policy={"vmpls": [0, 1, 2, 3]})
    vector("chip-not-listed", "snp_chip_allowed", milan, policy={"chip_ids": [OTHER_CHIP.hex()]})
    vector("chip-masked-but-listed", "snp_chip_allowed", lambda w: milan(w, chip=b"", signer_info=2), policy={"chip_ids": [CHIP.hex()]})
    vector("measurement-other", "snp_measurement", lambda w: milan(w, measurement=b"\xa2" * 48))
    vector("host-data-other", "snp_host_data", milan, policy={"host_data": ["00" * 32]})
    vector("id-key-other", "snp_id_key", milan, policy={"id_key_digests": ["00" * 48]})
    vector("author-key-missing", "snp_author_key", lambda w: milan(w, author_key_digest=b"\xd4" * 48), policy={"author_key_digests": ["d4" * 48]})
    vector("author-key-other", "snp_author_key", lambda w: milan(w, signer_info=1, author_key_digest=b"\xd5" * 48), policy={"author_key_digests": ["d4" * 48]})
    vector("guest-svn-low", "snp_guest_svn", lambda w: milan(w, guest_svn=2), policy={"minimum_guest_svn": 3})
    for part in TCB:
        vector(f"tcb-{part}-low", "snp_tcb", milan, policy={"minimum_tcb": {part: TCB[part] + 1}})
    vector("tcb-fmc-low", "snp_tcb", turin, **on_turin, policy={"minimum_tcb": {"fmc": 3}})
    vector("tcb-at-launch-low", "snp_launch_tcb", lambda w: milan(w, launch=tcb_bytes("Milan", {**TCB, "snp": 23})), policy={"minimum_tcb": {"snp": 24}})


VTPM_VECTORS = {}


def vtpm_vector(name, refused_by, data, sent=None, **fields):
    """`data(key)` gives the runtime data that the report is over; `sent(data)` what travels."""
    VTPM_VECTORS[name] = dict(refused_by=refused_by, data=data, sent=sent or (lambda text: text), fields=fields)


def declare_vtpm():
    other = {"kid": "HCLEkPub", "kty": "RSA", "e": "AQAB", "n": b64(b"\xff" * 256)}

    def keys(*more):
        return lambda key: json.dumps({"keys": [key, *more], "vm-configuration": {"secure-boot": True}, "user-data": "00"})

    vtpm_vector("good", "", keys(other))
    vtpm_vector("data-changed", "snp_binding", keys(other), lambda text: text.replace("true", "false"))
    vtpm_vector("data-written-otherwise", "snp_binding", keys(other), lambda text: text + " ")
    vtpm_vector("data-of-another-machine", "snp_binding", keys(other), lambda text: text.replace("HCLEkPub", "HCLEkPuc"))
    vtpm_vector("data-no-json", "snp_runtime_data", lambda key: "keys")
    vtpm_vector("data-names-repeated", "snp_runtime_data", lambda key: json.dumps({"keys": [key]})[:-1] + ', "keys": []}')
    vtpm_vector("key-missing", "snp_runtime_data", lambda key: json.dumps({"keys": [other]}))
    vtpm_vector("keys-no-list", "snp_runtime_data", lambda key: json.dumps({"keys": key}))
    vtpm_vector("key-twice", "snp_runtime_data", lambda key: json.dumps({"keys": [key, {**other, "kid": key["kid"]}]}))
    vtpm_vector("key-of-a-curve", "snp_runtime_data", lambda key: json.dumps({"keys": [{**key, "kty": "EC"}]}))
    vtpm_vector("key-too-short", "snp_runtime_data", lambda key: json.dumps({"keys": [{**key, "n": b64(b"\xff" * 128)}]}))
    vtpm_vector("machine-debuggable", "snp_debug", keys(other), policy=GUEST | DEBUG)
    vtpm_vector("machine-of-another-image", "snp_measurement", keys(other), measurement=b"\xa2" * 48)


def write_vtpm(world):
    VTPM_FOLDER.mkdir(exist_ok=True)
    for old in VTPM_FOLDER.glob("*.json"):
        old.unlink()
    n = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    key = {"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA", "e": "AQAB", "n": b64(n.to_bytes(256, "big"))}
    for name, v in VTPM_VECTORS.items():
        data = v["data"](key)
        evidence = {"type": "snp", "report": b64(milan(world, data=hashlib.sha256(data.encode()).digest(), **v["fields"])),
                    "leaf": "@milan-vcek", "intermediate": "@milan-ask"}
        dump(VTPM_FOLDER / f"{name}.json", {
            "refused_by": v["refused_by"], "now": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"), "policy": POLICY, "roots": ["@milan-ark"],
            "revocations": [], "evidence": evidence, "runtime_data": v["sent"](data), "kid": "HCLAkPub", "modulus": key["n"]})


def write():
    world = World()
    write_vtpm(world)
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    shared = {label: b64(thing.der) for label, thing in world.made.items()}
    shared |= {"crl-" + label: b64(data) for label, data in world.crls.items()}
    dump(FOLDER / "certificates.json", shared)
    for name, v in VECTORS.items():
        leaf = b64(world.made[v["leaf"]].der + v["leaf_tail"]) if v["leaf_tail"] else "@" + v["leaf"]
        evidence = {"type": "snp", "report": b64(v["make"](world)), "leaf": leaf, "intermediate": "@" + v["intermediate"]}
        evidence |= v["evidence"] or {}
        evidence = {k: value for k, value in evidence.items() if value is not None}
        dump(FOLDER / f"{name}.json", {
            "refused_by": v["refused_by"], "now": v["now"].strftime("%Y-%m-%dT%H:%M:%SZ"), "binding": v["binding"],
            "policy": v["policy"], "roots": ["@milan-ark", "@genoa-ark", "@turin-ark"],
            "revocations": ["@crl-" + label for label in v["crls"]], "evidence": evidence})
    print(f"wrote {len(VECTORS) + len(VTPM_VECTORS)} vectors")


def dump(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def check():
    wrong = []
    for folder, vectors in ((FOLDER, VECTORS), (VTPM_FOLDER, VTPM_VECTORS)):
        files = [p for p in folder.glob("*.json") if p.stem != "certificates"]
        there = {p.stem: json.loads(p.read_text(encoding="utf-8")).get("refused_by") for p in files}
        named = {name: v["refused_by"] for name, v in vectors.items()}
        wrong += sorted(n for n in there.keys() | named.keys() if there.get(n, "-") != named.get(n, "-"))
    if wrong:
        sys.exit("vectors that are not those of snp_vectors.py: " + ", ".join(wrong))
    print(f"{len(VECTORS) + len(VTPM_VECTORS)} vectors are those of snp_vectors.py")


if __name__ == "__main__":
    declare()
    declare_vtpm()
    check() if sys.argv[1:] == ["--check"] else write()
