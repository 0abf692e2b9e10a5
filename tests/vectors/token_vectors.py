#!/usr/bin/python3
"""Writes the attestation-token vectors: tests/vectors/attestation-token/*.json, one token each, and the check that must
refuse it.

    token_vectors.py            make keys and tokens anew, and write them
    token_vectors.py --check    fail unless the folder holds exactly the vectors named here

The claims are those of a confidential machine as its attestation service publishes them in samples; keys are made here and
forgotten. README.md says what the members mean.
"""
import base64
import copy
import datetime
import hashlib
import hmac
import json
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from snp_signing import evidence_digest

FOLDER = pathlib.Path(__file__).resolve().parent / "attestation-token"
NOW = 1780315200  # 2026-06-01T12:00:00Z
ISSUER = "https://shared.weu.attest.test"
BINDING = {"nonce": "bm9uY2Utb2YtdGhpcy1yZXF1ZXN0LTMyLWJ5dGVzISE", "thumbprint": "one-time-key-thumbprint",
           "contract_id": "acme-1", "asset_id": "llama-8b", "lease_id": "", "config_sha256": "00" * 32}
POLICY = {"issuer": ISSUER, "profile": "azure-cvm", "options": {"launch_measurements": ["a1" * 48]}}
PLAIN_POLICY = {"issuer": ISSUER, "binding": ["nonce"], "claims": [{"path": ["hw", "debug"], "equals": False},
                                                                   {"path": ["hw", "svn"], "at_least": 5},
                                                                   {"path": ["hw", "model"], "one_of": ["a", "b"]}]}
TEE = "x-ms-isolation-tee"
SNP = "x-ms-sevsnpvm-"


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def nonce_of(binding):
    return base64.b64encode(evidence_digest(binding).hex().encode()).decode()


def claims_of_a_good_machine():
    return {
        "iss": ISSUER, "iat": NOW - 30, "nbf": NOW - 30, "exp": NOW + 8 * 3600, "jti": "5f1c-the-token-s-own-id",
        "x-ms-ver": "1.0", "x-ms-attestation-type": "azurevm", "x-ms-policy-hash": "wm9mHlvTU82e8UqoOy1Yj1FBRSNkfe99-69IYDq9eWs",
        "secureboot": True, "x-ms-azurevm-debuggersdisabled": True, "x-ms-azurevm-vmid": "B4A5C6D7-0000-4000-8000-0123456789AB",
        "x-ms-azurevm-attested-pcrs": [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13],
        "x-ms-runtime": {"client-payload": {"nonce": nonce_of(BINDING)}, "keys": [{"kid": "TpmEphemeralEncryptionKey", "kty": "RSA"}]},
        TEE: {"x-ms-attestation-type": "sevsnpvm", "x-ms-compliance-status": "azure-compliant-cvm",
              "x-ms-runtime": {"vm-configuration": {"console-enabled": False, "secure-boot": True, "tpm-enabled": True}},
              SNP + "bootloader-svn": 4, SNP + "tee-svn": 1, SNP + "snpfw-svn": 24, SNP + "microcode-svn": 219, SNP + "guestsvn": 7,
              SNP + "hostdata": "00" * 32, SNP + "idkeydigest": "c3" * 48, SNP + "launchmeasurement": "a1" * 48,
              SNP + "is-debuggable": False, SNP + "migration-allowed": False, SNP + "smt-allowed": False, SNP + "vmpl": 0}}


def changed(*changes):
    """The good claims with {path: value}; None removes."""
    out = copy.deepcopy(claims_of_a_good_machine())
    for path, value in changes:
        at = out
        for name in path[:-1]:
            at = at[name]
        if value is None:
            del at[path[-1]]
        else:
            at[path[-1]] = value
    return out


class World:
    def __init__(self):
        self.good, self.attacker, self.small = (rsa.generate_private_key(65537, bits) for bits in (2048, 2048, 1024))
        self.certified = rsa.generate_private_key(65537, 2048)
        self.p256 = ec.generate_private_key(ec.SECP256R1())
        keys = [self.jwk(self.good, "good"), {"kid": "certified", "kty": "RSA", "x5c": [self.certificate(self.certified)]},
                {"kid": "curve", "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
                {**self.jwk(self.attacker, "for-encryption"), "use": "enc"}]
        self.sets = {"jwks": json.dumps({"keys": keys}), "jwks-of-another": json.dumps({"keys": [self.jwk(self.attacker, "other")]})}

    @staticmethod
    def jwk(key, kid):
        numbers = key.public_key().public_numbers()
        return {"alg": "RS256", "e": b64(numbers.e.to_bytes(3, "big")), "kid": kid, "kty": "RSA",
                "n": b64(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")), "use": "sig"}

    @staticmethod
    def certificate(key):
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "attestation")])
        start = datetime.datetime(2026, 1, 1)
        made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
                .not_valid_before(start).not_valid_after(start + datetime.timedelta(days=900)).sign(key, hashes.SHA256()))
        return base64.b64encode(made.public_bytes(serialization.Encoding.DER)).decode()

    def sign(self, claims, key=None, header=None, digest=None, drop=()):
        head = {"alg": "RS256", "jku": ISSUER + "/certs", "kid": "good", "typ": "JWT", **(header or {})}
        head = {k: v for k, v in head.items() if k not in drop}
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        text = b64(json.dumps(head).encode()) + "." + b64(payload)
        return text + "." + b64((key or self.good).sign(text.encode(), padding.PKCS1v15(), digest or hashes.SHA256()))

    def hmac_with_public_key(self, claims):
        """The old trick: HS256 under the bytes of the public key."""
        pem = self.good.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        text = b64(json.dumps({"alg": "HS256", "kid": "good", "typ": "JWT"}).encode()) + "." + b64(json.dumps(claims).encode())
        return text + "." + b64(hmac.new(pem, text.encode(), hashlib.sha256).digest())


VECTORS = {}


def vector(name, refused_by, token, policy=None, binding=None, keys="@jwks", evidence=None):
    """`token` is claims, or a function of the world that gives the token."""
    assert name not in VECTORS, name
    VECTORS[name] = dict(refused_by=refused_by, token=token, policy=policy or POLICY, binding=binding or BINDING, keys=keys,
                         evidence=evidence)


def options(**more):
    return {**POLICY, "options": {**POLICY["options"], **more}}


def plain(**more):
    claims = {"iss": ISSUER, "exp": NOW + 600, "jti": "1", "nonce": evidence_digest(BINDING).hex(),
              "hw": {"debug": False, "svn": 5, "model": "b"}}
    return {**claims, **more}


def declare_good():
    good = claims_of_a_good_machine()
    vector("good", "", good)
    vector("good-key-from-certificate", "", lambda w: w.sign(good, w.certified, {"kid": "certified"}))
    vector("good-nonce-not-encoded-again", "", changed((("x-ms-runtime", "client-payload", "nonce"), evidence_digest(BINDING).hex())))
    vector("good-within-skew", "", changed((("nbf",), NOW + 59), (("iat",), NOW + 59)))
    vector("good-just-expired-within-skew", "", changed((("exp",), NOW - 59)))
    vector("good-every-option", "", changed(((TEE, SNP + "vmpl"), 2), ((TEE, SNP + "smt-allowed"), True), ((TEE, "x-ms-runtime", "vm-configuration", "console-enabled"), True)),
           policy=options(id_key_digests=["c3" * 48], host_data=["00" * 32], policy_hashes=[good["x-ms-policy-hash"]],
                          vm_ids=[good["x-ms-azurevm-vmid"]], vmpls=[0, 2], allow_smt=True, allow_console=True,
                          minimum_svn={"bootloader": 4, "tee": 1, "snp": 24, "microcode": 219, "guest": 7}))
    vector("good-with-own-rule", "", good, policy={**POLICY, "claims": [{"path": ["x-ms-policy-hash"], "equals": good["x-ms-policy-hash"]}]})
    vector("good-plain-policy", "", plain(), policy=PLAIN_POLICY)
    vector("good-with-config-digest", "", good, evidence={"config_sha256": "00" * 32})


def declare_forged():
    good = claims_of_a_good_machine()
    body = b64(json.dumps(good).encode())
    # ---- form, algorithm, key, signature ----
    vector("evidence-type-other", "evidence_form", good, evidence={"type": "snp"})
    vector("evidence-field-unknown", "evidence_form", good, evidence={"jwks": "{}"})
    vector("evidence-token-no-text", "evidence_form", good, evidence={"token": 1})
    vector("token-two-parts", "token_form", lambda w: "e30." + body)
    vector("token-four-parts", "token_form", lambda w: w.sign(good) + ".AAAA")
    vector("token-padded", "token_form", lambda w: w.sign(good) + "=")
    vector("token-too-long", "token_form", lambda w: w.sign({**good, "pad": "x" * 32768}))
    vector("header-alg-twice", "token_form", lambda w: b64(b'{"alg":"RS256","alg":"none","kid":"good"}') + "." + body + ".AAAA")
    vector("header-crit", "token_form", lambda w: w.sign(good, header={"crit": ["exp"]}))
    vector("header-b64", "token_form", lambda w: w.sign(good, header={"b64": False}))
    vector("claims-twice", "token_form", lambda w: w.sign(json.dumps(good).encode()[:-1] + b', "secureboot": true}'))
    vector("claims-nested-twice", "token_form", lambda w: w.sign(json.dumps(good).replace('"%svmpl": 0' % SNP, '"%svmpl": 3, "%svmpl": 0' % (SNP, SNP)).encode()))
    vector("claims-not-an-object", "token_form", lambda w: w.sign(b"[]"))
    vector("claims-not-utf8", "token_form", lambda w: w.sign(b'{"iss":"\xff"}'))
    vector("alg-none", "token_algorithm", lambda w: b64(b'{"alg":"none","kid":"good"}') + "." + body + ".")
    vector("alg-none-capitals", "token_algorithm", lambda w: w.sign(good, header={"alg": "NONE"}))
    vector("alg-hs256-with-public-key", "token_algorithm", lambda w: w.hmac_with_public_key(good))
    vector("alg-ps256", "token_algorithm", lambda w: w.sign(good, header={"alg": "PS256"}))
    vector("alg-rs512", "token_algorithm", lambda w: w.sign(good, header={"alg": "RS512"}, digest=hashes.SHA512()))
    vector("alg-missing", "token_algorithm", lambda w: w.sign(good, drop=("alg",)))
    vector("kid-other", "token_key", lambda w: w.sign(good, w.attacker, {"kid": "attacker"}))
    vector("kid-missing", "token_key", lambda w: w.sign(good, drop=("kid",)))
    vector("kid-of-a-curve-key", "token_key", lambda w: w.sign(good, header={"kid": "curve"}))
    vector("kid-of-an-encryption-key", "token_key", lambda w: w.sign(good, w.attacker, {"kid": "for-encryption"}))
    vector("jku-of-the-attacker", "token_key", lambda w: w.sign(good, w.attacker, {"kid": "attacker", "jku": "https://attacker.test/certs"}))
    vector("jwk-in-the-header", "token_signature", lambda w: w.sign(good, w.attacker, {"jwk": w.jwk(w.attacker, "good")}))
    vector("x5c-in-the-header", "token_signature", lambda w: w.sign(good, w.attacker, {"x5c": [w.certificate(w.attacker)]}))
    vector("keys-of-another-issuer", "token_key", good, keys="@jwks-of-another")
    vector("signature-of-other-key", "token_signature", lambda w: w.sign(good, w.attacker))
    vector("signature-of-sha512", "token_signature", lambda w: w.sign(good, digest=hashes.SHA512()))
    vector("signature-empty", "token_signature", lambda w: w.sign(good).rsplit(".", 1)[0] + ".")
    vector("signature-short", "token_signature", lambda w: w.sign(good, w.small))
    vector("claims-changed-after-signing", "token_signature",
           lambda w: w.sign(good).split(".")[0] + "." + b64(json.dumps({**good, "iat": NOW - 31}).encode()) + "." + w.sign(good).split(".")[2])
    # ---- issuer, times, id, binding ----
    vector("issuer-other", "token_issuer", changed((("iss",), "https://attacker.test")))
    vector("issuer-with-slash", "token_issuer", changed((("iss",), ISSUER + "/")))
    vector("issuer-missing", "token_issuer", changed((("iss",), None)))
    vector("issuer-not-configured", "token_issuer_unknown", good, policy={**POLICY, "issuer": "https://unknown.attest.test"})
    vector("expired", "token_time", changed((("exp",), NOW - 60)))
    vector("exp-missing", "token_time", changed((("exp",), None)))
    vector("exp-text", "token_time", changed((("exp",), str(NOW + 600))))
    vector("exp-fraction", "token_time", changed((("exp",), NOW + 600.5)))
    vector("exp-in-a-month", "token_time", changed((("exp",), NOW + 30 * 86400)))
    vector("not-yet-valid", "token_time", changed((("nbf",), NOW + 61)))
    vector("issued-in-the-future", "token_time", changed((("iat",), NOW + 61)))
    vector("jti-missing", "token_id", changed((("jti",), None)))
    vector("jti-empty", "token_id", changed((("jti",), "")))
    vector("jti-too-long", "token_id", changed((("jti",), "x" * 257)))
    for member in BINDING:
        vector(f"binding-{member.replace('_', '-')}-other", "token_binding",
               changed((("x-ms-runtime", "client-payload", "nonce"), nonce_of({**BINDING, member: "another"}))))
    vector("replayed-for-a-new-nonce", "token_binding", good, binding={**BINDING, "nonce": "the-next-challenge"})
    vector("runtime-data-missing", "token_binding", changed((("x-ms-runtime",), None)))
    vector("client-payload-missing", "token_binding", changed((("x-ms-runtime", "client-payload"), None)))
    vector("nonce-empty", "token_binding", changed((("x-ms-runtime", "client-payload", "nonce"), "")))
    vector("nonce-in-another-place", "token_binding", changed((("x-ms-runtime", "client-payload"), None), (("nonce",), nonce_of(BINDING))))
    # ---- the profile's claims ----
    vector("version-other", "token_version", changed((("x-ms-ver",), "2.0")))
    vector("enclave-not-a-machine", "token_machine_kind", changed((("x-ms-attestation-type",), "sgx")))
    vector("secure-boot-off", "token_secure_boot", changed((("secureboot",), False)))
    vector("secure-boot-text", "token_secure_boot", changed((("secureboot",), "true")))
    vector("debuggers-not-disabled", "token_debuggers", changed((("x-ms-azurevm-debuggersdisabled",), False)))
    vector("not-confidential", "token_tee_kind", changed(((TEE,), None)))
    vector("tee-kind-other", "token_tee_kind", changed(((TEE, "x-ms-attestation-type"), "tdxvm")))
    vector("compliance-other", "token_compliance", changed(((TEE, "x-ms-compliance-status"), "azure-signed-uvm")))
    vector("debuggable", "token_debuggable", changed(((TEE, SNP + "is-debuggable"), True)))
    vector("debuggable-missing", "token_debuggable", changed(((TEE, SNP + "is-debuggable"), None)))
    vector("debuggable-number", "token_debuggable", changed(((TEE, SNP + "is-debuggable"), 0)))
    vector("migration-allowed", "token_migration", changed(((TEE, SNP + "migration-allowed"), True)))
    vector("vmpl-other", "token_vmpl", changed(((TEE, SNP + "vmpl"), 1)))
    vector("smt-allowed", "token_smt", changed(((TEE, SNP + "smt-allowed"), True)))
    vector("console-enabled", "token_console", changed(((TEE, "x-ms-runtime", "vm-configuration", "console-enabled"), True)))
    vector("launch-measurement-outside-the-set", "token_launch_measurement", changed(((TEE, SNP + "launchmeasurement"), "a2" * 48)))
    vector("id-key-other", "token_id_key", good, policy=options(id_key_digests=["d4" * 48]))
    vector("host-data-other", "token_host_data", good, policy=options(host_data=["11" * 32]))
    vector("policy-hash-other", "token_policy_hash", good, policy=options(policy_hashes=["another"]))
    vector("vm-other", "token_vm", good, policy=options(vm_ids=["another"]))
    for name, low in {"bootloader": 5, "tee": 2, "snp": 25, "microcode": 220, "guest": 8}.items():
        vector(f"svn-{name}-low", "token_svn", good, policy=options(minimum_svn={name: low}))
    vector("svn-text", "token_svn", changed(((TEE, SNP + "tee-svn"), "9")), policy=options(minimum_svn={"tee": 1}))
    # ---- a contract's own rules ----
    vector("own-rule-beside-the-profile", "token_claim", good, policy={**POLICY, "claims": [{"path": ["x-ms-policy-signer"], "equals": "x"}]})
    vector("plain-equals-other", "token_claim", plain(hw={"debug": True, "svn": 5, "model": "a"}), policy=PLAIN_POLICY)
    vector("plain-at-least-low", "token_claim", plain(hw={"debug": False, "svn": 4, "model": "a"}), policy=PLAIN_POLICY)
    vector("plain-one-of-other", "token_claim", plain(hw={"debug": False, "svn": 5, "model": "c"}), policy=PLAIN_POLICY)
    vector("plain-missing", "token_claim", plain(hw={}), policy=PLAIN_POLICY)
    vector("plain-binding-other", "token_binding", plain(nonce="00" * 32), policy=PLAIN_POLICY)


def write():
    world = World()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.json"):
        old.unlink()
    dump(FOLDER / "keys.json", world.sets)
    for name, v in VECTORS.items():
        token = v["token"](world) if callable(v["token"]) else world.sign(v["token"])
        dump(FOLDER / f"{name}.json", {
            "refused_by": v["refused_by"], "now": "2026-06-01T12:00:00Z", "binding": v["binding"], "policy": v["policy"],
            "issuers": {ISSUER: v["keys"]}, "evidence": {"type": "token", "token": token, **(v["evidence"] or {})}})
    print(f"wrote {len(VECTORS)} vectors")


def dump(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def check():
    there = {p.stem: json.loads(p.read_text(encoding="utf-8")).get("refused_by") for p in FOLDER.glob("*.json") if p.stem != "keys"}
    named = {name: v["refused_by"] for name, v in VECTORS.items()}
    wrong = sorted(n for n in there.keys() | named.keys() if there.get(n, "-") != named.get(n, "-"))
    if wrong:
        sys.exit("vectors that are not those of token_vectors.py: " + ", ".join(wrong))
    print(f"{len(named)} vectors are those of token_vectors.py")


if __name__ == "__main__":
    declare_good()
    declare_forged()
    check() if sys.argv[1:] == ["--check"] else write()
