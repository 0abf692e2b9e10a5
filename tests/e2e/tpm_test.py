"""A contract that wants a TPM, with the real programs and a real software TPM (swtpm): enrolment, approval, evidence at
every start, and what a copied state directory, a changed boot state, changed settings and a reset machine meet.

spec: wire 1.1 "Evidence", 1.2, 1.3 (attestation_policy)
"""
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

import chain

SWTPM = shutil.which("swtpm")


class SoftwareTpm:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tb-tpm-")
        os.mkdir(self.folder + "/state")
        self.tcti = f"swtpm:path={self.folder}/sock"
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [SWTPM, "socket", "--tpm2", "--tpmstate", f"dir={self.folder}/state", "--server", f"type=unixio,path={self.folder}/sock",
             "--ctrl", f"type=unixio,path={self.folder}/sock.ctrl", "--flags", "not-need-init,startup-clear"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not os.path.exists(self.folder + "/sock"):
            assert self.process.poll() is None and time.monotonic() < deadline, "swtpm does not start"
            time.sleep(0.02)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        for name in ("/sock", "/sock.ctrl"):
            if os.path.exists(self.folder + name):
                os.unlink(self.folder + name)

    def extend(self, index):
        """TPM2_PCR_Extend of a SHA-256 digest, as bytes: no tool is needed for it."""
        body = (0x8002).to_bytes(2, "big") + (65).to_bytes(4, "big") + (0x182).to_bytes(4, "big") + index.to_bytes(4, "big")
        body += (9).to_bytes(4, "big") + (0x40000009).to_bytes(4, "big") + bytes(5)
        body += (1).to_bytes(4, "big") + (0x000B).to_bytes(2, "big") + b"\x01" * 32
        assert self.command(body)[6:10] == bytes(4)

    def command(self, body):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(self.folder + "/sock")
            sock.sendall(body)
            return sock.recv(4096)

    def free(self):
        """What the kernel's resource manager does when a process ends: its transient objects and sessions go."""
        for handle in [0x80000000 + i for i in range(3)] + [0x03000000 + i for i in range(3)]:
            self.command((0x8001).to_bytes(2, "big") + (14).to_bytes(4, "big") + (0x165).to_bytes(4, "big") + handle.to_bytes(4, "big"))

    def close(self):
        if self.process.poll() is None:
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@unittest.skipUnless(SWTPM, "NOT PROVEN: swtpm is not installed")
class Tpm(chain.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = cls.chain.shm + "/model.gguf"
        with open(cls.plain, "wb") as file:
            file.write(os.urandom(100_000))
        cls.chain.publish("m", cls.plain)

    def tpm(self):
        tpm = SoftwareTpm()
        self.addCleanup(tpm.close)
        return tpm

    def report(self, tpm, **settings):
        """What --print-evidence says: a provider's source of values."""
        work = tempfile.mkdtemp(prefix="tb-report-")
        self.addCleanup(shutil.rmtree, work, True)
        environment = chain.bare(TB_CONTRACT_ID="c", TB_ASSET_ID="m", TB_EDC_ENDPOINT=self.chain.url, TB_TPM_TCTI=tpm.tcti, **settings)
        done = subprocess.run([chain.peers.BINARY, "--dev", work, "--print-evidence"], env=environment, capture_output=True,
                              text=True, check=False, timeout=60)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def contract(self, name, policy):
        path = self.chain.own_file(name + "-policy", json.dumps(policy).encode())
        self.chain.tb("contract", "create", "--contract-id", name, "--asset-id", "m", "--consumer", "consumer", "--not-after", "1h",
                      "--max-seats", 4, "--lease-seconds", chain.LEASE_S, "--attestation", "tpm", "--attestation-policy", path,
                      "--activation-token-file", f"{self.chain.shm}/{name}.activation", *self.chain.at)

    def sentinel(self, contract, tpm, state=None, **settings):
        if tpm.process.poll() is None:
            tpm.free()
        if state:
            # The settings of chain.start, but with a state directory that was there before.
            original = chain.peers.Sentinel.start

            def start(sentinel):
                shutil.copytree(state, sentinel.work + "/state/tpm", dirs_exist_ok=True)
                os.chmod(sentinel.work + "/state", 0o700)
                original(sentinel)
            chain.peers.Sentinel.start = start
            try:
                return self.start(contract, "m", TB_ATTESTATION="tpm", TB_TPM_TCTI=tpm.tcti, TB_DELIVERY="tmpfs", **settings)
            finally:
                chain.peers.Sentinel.start = original
        return self.start(contract, "m", TB_ATTESTATION="tpm", TB_TPM_TCTI=tpm.tcti, TB_DELIVERY="tmpfs", **settings)

    def denied(self, sentinel, reason):
        sentinel.wait_for(reason, lambda: (sentinel.status()["last_error"] or {}).get("code") == reason, seconds=60)
        sentinel.wait_state("Suspended")

    def test_a_machine_enrols_waits_is_approved_and_serves(self):
        tpm = self.tpm()
        report = self.report(tpm)
        self.contract("life", {"pcrs": {"sha256": {i: report["pcrs"]["sha256"][i] for i in ("0", "4", "7")}}})
        sentinel = self.sentinel("life", tpm)
        self.denied(sentinel, "enrolment_pending")
        machines = json.loads(self.chain.tb("contract", "machines", "life", "--json", *self.chain.at))["items"]
        self.assertEqual([(m["ek_sha256"], m["approved"]) for m in machines], [(report["ek_sha256"], False)])
        self.chain.tb("contract", "machines", "life", "--approve", report["ek_sha256"], *self.chain.at)
        keys = sentinel.work + "/state/tpm"
        self.assertEqual(sorted(os.listdir(keys)), ["ak.priv", "ak.pub"])
        kept = tempfile.mkdtemp(prefix="tb-kept-")
        self.addCleanup(shutil.rmtree, kept, True)
        shutil.copytree(keys, kept + "/tpm")
        sentinel.close()

        # The same keys, the same TPM: no second approval.
        again = self.sentinel("life", tpm, state=kept + "/tpm")
        self.delivered(again, "tmpfs")
        # It renews, with evidence each time.
        def renewed():
            return [e for e in self.chain.events() if e["type"] == "lease_renewed" and e["subject"] == "life"]
        again.wait_for("a renewal", renewed, seconds=60)
        self.assertEqual(renewed()[0]["detail"]["ek_sha256"], report["ek_sha256"])
        again.close()

        # Another TPM with the same state directory: it cannot load the keys, makes its own, and waits for approval.
        other = self.tpm()
        self.denied(self.sentinel("life", other, state=kept + "/tpm"), "enrolment_pending")
        # Forgotten by the provider, the first one waits again.
        self.chain.tb("contract", "machines", "life", "--forget", report["ek_sha256"], *self.chain.at)
        self.denied(self.sentinel("life", tpm, state=kept + "/tpm"), "enrolment_pending")

    def test_a_changed_boot_state_is_refused_by_name(self):
        tpm = self.tpm()
        report = self.report(tpm)
        policy = {"pcrs": {"sha256": {i: report["pcrs"]["sha256"][i] for i in ("0", "7")}}, "ek_sha256": [report["ek_sha256"]]}
        self.contract("boot", policy)
        first = self.sentinel("boot", tpm)
        self.delivered(first, "tmpfs")
        first.close()
        tpm.extend(7)
        changed = self.sentinel("boot", tpm)
        self.denied(changed, "attestation_failed")
        self.assertIn("Check pcr_values failed (PCR 7 of sha256 is", changed.log())
        self.assertNotIn(report["pcrs"]["sha256"]["7"], changed.log())
        event = [e for e in self.chain.events() if e["type"] == "license_denied" and e["subject"] == "boot"][-1]
        self.assertEqual(event["detail"]["check"], "pcr_values")
        self.assertEqual(event["detail"]["expected"], {"sha256:7": [report["pcrs"]["sha256"]["7"]]})

    def test_other_settings_are_refused_by_name(self):
        tpm = self.tpm()
        report = self.report(tpm)
        self.contract("settings", {"ek_sha256": [report["ek_sha256"]], "config_sha256": "0" * 64})
        changed = self.sentinel("settings", tpm)
        self.denied(changed, "attestation_failed")
        self.assertIn("Check config_sha256 failed", changed.log())

    def test_a_machine_without_a_tpm_says_so(self):
        tpm = self.tpm()
        tpm.stop()
        self.contract("absent", {})
        self.denied(self.sentinel("absent", tpm), "tpm_unavailable")
        sentinel = self.start("absent", "m")
        self.denied(sentinel, "attestation_required")

    def test_doctor_shows_what_a_provider_pins(self):
        tpm = self.tpm()
        said = json.loads(self.chain.tb("doctor", "--tpm", tpm.tcti, "--json"))
        findings = {finding["name"]: finding["value"] for finding in said["findings"]}
        report = self.report(tpm)
        self.assertEqual(findings["tpm_ek_sha256"], report["ek_sha256"])
        self.assertEqual(findings["tpm_pcr_sha256_0"], report["pcrs"]["sha256"]["0"])
        tpm.stop()
        said = json.loads(self.chain.tb("doctor", "--tpm", tpm.tcti, "--json"))
        self.assertEqual(next(f for f in said["findings"] if f["name"] == "tpm")["health"], "warning")


if __name__ == "__main__":
    chain.main()
