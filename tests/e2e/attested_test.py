"""Contracts that want an SEV-SNP report, or a token of an attestation service, with the real programs. The firmware and the
service are played by the test, which signs with keys of its own: no hardware of that kind was there.

spec: wire 1.1 "Evidence", docs/attestation-policies.md
"""
import base64
import datetime
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import unittest

import chain

import sys  # the vectors' own signers
sys.path.insert(0, os.path.join(chain.REPO, "tests", "vectors"))
import snp_signing  # noqa: E402
from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: E402

TCB = {"bootloader": 4, "tee": 1, "snp": 24, "microcode": 219}
CHIP = bytes(range(64))
MEASUREMENT = "a1" * 48
ISSUER = "https://attestation.test"


def pem(der):
    return "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der).decode() + "-----END CERTIFICATE-----\n"


class Attested(chain.Case):
    """A chain whose operator trusts what `trust(folder)` gives as settings, and a contract for each test."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="tb-attested-")
        cls.addClassCleanup(shutil.rmtree, cls.folder, True)
        cls.chain = chain.Chain(**cls.trust())
        cls.addClassCleanup(cls.chain.close)
        plain = cls.chain.shm + "/model.gguf"
        with open(plain, "wb") as file:
            file.write(os.urandom(100_000))
        cls.sha256 = chain.sha256_of_file(plain)
        cls.chain.publish("m", plain)

    @classmethod
    def file(cls, name, content):
        path = f"{cls.folder}/{name}"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        return path

    def contract(self, name, kind, policy):
        self.chain.tb("contract", "create", "--contract-id", name, "--asset-id", "m", "--consumer", "consumer", "--not-after", "1h",
                      "--max-seats", 1, "--lease-seconds", chain.LEASE_S, "--attestation", kind,
                      "--attestation-policy", self.file(name + "-policy", json.dumps(policy)),
                      "--activation-token-file", f"{self.chain.shm}/{name}.activation", *self.chain.at)

    def events(self, contract, kind):
        return [e for e in self.chain.events() if e["subject"] == contract and e["type"] == kind]

    def serves(self, sentinel):
        self.assertEqual(chain.sha256_of_file(self.delivered(sentinel, "tmpfs")), self.sha256)

    def denied(self, sentinel, reason, words):
        sentinel.wait_for(reason, lambda: (sentinel.status()["last_error"] or {}).get("code") == reason, seconds=60)
        sentinel.wait_state("Suspended")
        self.assertIn(words, sentinel.log())


class Firmware:
    """AMD's firmware and the host: answers each request with a report that a VCEK of the test signed."""

    def __init__(self, folder):
        now = datetime.datetime.now(snp_signing.UTC)
        span = {"start": now - snp_signing.DAY, "end": now + snp_signing.DAY}
        self.root = snp_signing.Authority("ARK-Milan", **span)
        self.ask = snp_signing.Authority("SEV-Milan", self.root, serial=0x20000, **span)
        self.vcek = snp_signing.Leaf(self.ask, "Milan-B0", TCB, CHIP, **span)
        self.table = [self.vcek.der, self.ask.der]
        self.path = folder + "/firmware"
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(self.path)
        self.server.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.server.accept()
            except OSError:
                return
            with peer:
                data = peer.recv(64, socket.MSG_WAITALL)
                if len(data) == 64:
                    report = snp_signing.sign_report(snp_signing.report("Milan", TCB, data, CHIP), self.vcek.key)
                    peer.sendall((bytes(4) + len(report).to_bytes(4, "little") + bytes(24) + report).ljust(4000, b"\0") + self.certificates())

    def certificates(self):
        head, body, start = b"", b"", 24 * (len(self.table) + 1)
        for der in self.table:
            head += b"\x63" * 16 + (start + len(body)).to_bytes(4, "little") + len(der).to_bytes(4, "little")
            body += der
        return (head + bytes(24) + body).ljust(0x4000, b"\0")


class Snp(Attested):
    @classmethod
    def trust(cls):
        cls.firmware = Firmware(cls.folder)
        cls.addClassCleanup(cls.firmware.server.close)
        cls.library = cls.folder + "/sev_guest.so"
        subprocess.run([os.environ.get("TB_CC", "clang-19"), "-x", "c", "-shared", "-fPIC", "-O1", "-o", cls.library, chain.HERE + "/sev_guest.c", "-ldl"],
                       check=True)
        return {"TB_CP_SNP_ROOTS": cls.file("roots.pem", pem(cls.firmware.root.der))}

    def machine(self, contract, **settings):
        return self.start(contract, "m", TB_ATTESTATION="snp", TB_DELIVERY="tmpfs", LD_PRELOAD=self.library,
                          TB_TEST_SEV_GUEST=self.firmware.path, **settings)

    def test_a_machine_with_the_contracts_measurement_serves_and_renews(self):
        self.contract("snp-good", "snp", {"measurements": [MEASUREMENT], "minimum_tcb": TCB})
        sentinel = self.machine("snp-good")
        self.serves(sentinel)
        released = self.events("snp-good", "license_released")[0]["detail"]["attestation"]
        self.assertEqual((released["measurement"], released["product"], released["chip_id"]), (MEASUREMENT, "Milan", CHIP.hex()))
        sentinel.wait_for("a renewal", lambda: self.events("snp-good", "lease_renewed"), seconds=60)
        self.assertEqual(self.events("snp-good", "lease_renewed")[0]["detail"]["attestation"], released)

    def test_another_measurement_is_refused_by_name(self):
        self.contract("snp-other", "snp", {"measurements": ["a2" * 48]})
        sentinel = self.machine("snp-other")
        self.denied(sentinel, "attestation_failed", "Check snp_measurement failed (it showed " + MEASUREMENT)
        self.assertNotIn("a2" * 48, sentinel.log())
        detail = self.events("snp-other", "license_denied")[-1]["detail"]
        self.assertEqual((detail["check"], detail["expected"], detail["seen"]), ("snp_measurement", "a2" * 48, MEASUREMENT))

    def test_certificates_that_the_host_lacks_come_from_a_file(self):
        self.contract("snp-file", "snp", {"measurements": [MEASUREMENT]})
        self.firmware.table = [self.firmware.vcek.der]
        self.addCleanup(setattr, self.firmware, "table", [self.firmware.vcek.der, self.firmware.ask.der])
        self.denied(self.machine("snp-file"), "evidence_malformed", "no certificate above its VCEK")
        self.serves(self.machine("snp-file", TB_SNP_CERTIFICATES=self.file("ask.pem", pem(self.firmware.ask.der))))

    def test_print_evidence_says_what_a_provider_pins(self):
        environment = chain.bare(TB_CONTRACT_ID="c", TB_ASSET_ID="m", TB_EDC_ENDPOINT=self.chain.url, TB_ATTESTATION="snp",
                                 LD_PRELOAD=self.library, TB_TEST_SEV_GUEST=self.firmware.path)
        done = subprocess.run([chain.peers.BINARY, "--dev", self.folder + "/dev", "--print-evidence"], env=environment,
                              capture_output=True, text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual((said["measurement"], said["tcb"]["snp"]), (MEASUREMENT, TCB["snp"]))

    @unittest.skipIf(os.path.exists("/dev/sev-guest"), "NOT PROVEN: this machine is an SEV-SNP guest")
    def test_a_machine_without_the_device_says_so(self):
        self.contract("snp-none", "snp", {"measurements": [MEASUREMENT]})
        self.denied(self.start("snp-none", "m", TB_ATTESTATION="snp"), "snp_unavailable", "/dev/sev-guest")
        self.denied(self.start("snp-none", "m"), "attestation_required", "TB_ATTESTATION")


# The platform's agent: reads the digest of a request, prints a token of the service.
AGENT = """
import base64, json, os, sys, time
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
if any(name.startswith("TB_") or name == "SECRET_TOKEN" for name in os.environ): sys.exit("secrets came along")
print("asking the service", file=sys.stderr)
with open(sys.argv[1], "rb") as file: key = serialization.load_pem_private_key(file.read(), None)
encode = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
now = int(time.time())
claims = {"iss": sys.argv[2], "iat": now, "nbf": now, "exp": now + 600, "jti": encode(os.urandom(16)),
          "nonce": sys.stdin.readline().strip(), "model": sys.argv[3]}
text = encode(json.dumps({"alg": "RS256", "typ": "JWT", "kid": "k"}).encode()) + "." + encode(json.dumps(claims).encode())
print(text + "." + encode(key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())))
"""


class Token(Attested):
    @classmethod
    def trust(cls):
        key = rsa.generate_private_key(65537, 2048)
        cls.key = cls.file("service.key", key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                            serialization.NoEncryption()).decode())
        n = key.public_key().public_numbers().n.to_bytes(256, "big")
        keys = cls.file("keys.json", json.dumps({"keys": [{"kty": "RSA", "kid": "k", "e": "AQAB", "n": snp_signing.b64(n)}]}))
        return {"TB_CP_TOKEN_ISSUERS": cls.file("issuers.json", json.dumps([{"issuer": ISSUER, "keys_file": keys}]))}

    def machine(self, contract, model):
        command = [chain.PYTHON, "-c", AGENT, self.key, ISSUER, model]
        return self.start(contract, "m", TB_ATTESTATION="token", TB_DELIVERY="tmpfs", TB_ATTESTATION_TOKEN_COMMAND=json.dumps(command))

    def policy(self):
        return {"issuer": ISSUER, "binding": ["nonce"], "claims": [{"path": ["model"], "equals": "sealed"}]}

    def test_a_machine_that_the_service_vouches_for_serves_and_renews(self):
        self.contract("token-good", "token", self.policy())
        sentinel = self.machine("token-good", "sealed")
        self.serves(sentinel)
        released = self.events("token-good", "license_released")[0]["detail"]["attestation"]
        self.assertEqual((released["issuer"], released["model"]), (ISSUER, "sealed"))
        sentinel.wait_for("a renewal", lambda: self.events("token-good", "lease_renewed"), seconds=60)
        self.assertNotEqual(self.events("token-good", "lease_renewed")[0]["detail"]["attestation"]["jti"], released["jti"])
        self.assertNotIn("eyJ", sentinel.log())

    def test_a_claim_that_does_not_hold_is_refused_by_name(self):
        self.contract("token-claim", "token", self.policy())
        sentinel = self.machine("token-claim", "open")
        self.denied(sentinel, "attestation_failed", "Check token_claim failed (it showed model = open)")
        self.assertNotIn("sealed", sentinel.log())


if __name__ == "__main__":
    chain.main()
