"""The same chaos with the real control plane beside the real sentinel: it is killed and comes back, its contract is suspended and
resumed, and the provider goes on changing it. Afterwards nothing is left of it in either process, the log verifies and is
countersigned, and the control plane's usage is the sentinel's ledger, to the token.
"""
import json
import os
import sqlite3
import subprocess
import time
import unittest

import chaos_test
import chain  # chaos_test has put its folder into the path


class RealControlPlane(chaos_test.Chaos):
    @classmethod
    def start(cls, runtime_url, **settings):
        cls.chain = chain.Chain(TB_CP_RATE_LIMIT="0")
        cls.addClassCleanup(cls.chain.close)
        plain = cls.chain.shm + "/model.gguf"
        with open(plain, "wb") as file:
            file.write(os.urandom(300_000))
        cls.chain.publish("model", plain)
        cls.chain.tb("contract", "create", "--contract-id", "chaos", "--asset-id", "model", "--consumer", "consumer", "--not-after", "2h",
                     "--max-seats", 2, "--lease-seconds", 30, "--offline-grace-seconds", 60,
                     "--activation-token-file", f"{cls.chain.shm}/chaos.activation", *cls.chain.at)
        cls.kills = cls.suspensions = 0
        return cls.chain.sentinel("chaos", "model", runtime_url, TB_BILLING_INTERVAL="1s", TB_EXIT_ON_DENIAL="false",
                                  TB_AUDIT_CHECKPOINT_SECONDS=1, **settings)

    # What the world does.

    def suspend(self):
        self.chain.tb("contract", "suspend", "chaos", *self.chain.at)
        self.sentinel.wait_for("not Ready", lambda: self.sentinel.status()["state"] != "Ready", seconds=60)
        self.kill_the_control_plane()
        self.chain.tb("contract", "resume", "chaos", *self.chain.at)
        self.sentinel.wait_state("Ready", seconds=120)
        type(self).suspensions += 1

    def kill_the_control_plane(self):
        self.chain.restart()
        type(self).kills += 1

    def change_the_contract(self):
        for notice in ("pay", ""):
            self.chain.tb("contract", "update", "chaos", "--notice", notice, *self.chain.at)

    def doings(self):
        return [self.kill_the_control_plane, self.suspend, self.change_the_contract, *super().doings()]

    # What is measured.

    def control_plane_descriptors(self):
        return len(os.listdir(f"/proc/{self.chain.process.pid}/fd"))

    def before(self):
        # One life of it for the round to end with: what a chaos leaves in it would be seen.
        self.chain.restart()
        self.sentinel.wait_state("Ready", seconds=60)
        time.sleep(2)
        type(self).descriptors_before = self.control_plane_descriptors()
        type(self).memory_before = self.status_value("VmRSS", self.chain.process)

    def counted(self):
        """What the control plane has of the contract."""
        sums = json.loads(self.chain.tb("usage", "--contract", "chaos", "--by", "total", "--json", *self.chain.at))
        self.assertEqual(sums["gaps"], [])
        return {item["dimension"]: item["quantity"] for item in sums["items"]}

    def in_the_ledger(self):
        with sqlite3.connect(f"file:{self.sentinel.work}/state/usage.db?mode=ro", uri=True) as db:
            row = db.execute("SELECT sum(requests), sum(input_tokens), sum(output_tokens), sum(bytes) FROM hour").fetchone()
        return dict(zip(("requests", "input_tokens", "output_tokens", "bytes"), row)) | {"tokens": row[1] + row[2]}

    def after(self):
        used = [record["usage"] for record in self.records() if record.get("usage")]
        tokens = sum(usage["input_tokens"] + usage["output_tokens"] for usage in used)
        self.assertGreater(tokens, 0)
        self.sentinel.wait_for("the ledger", lambda: self.in_the_ledger()["tokens"] == tokens, seconds=60)
        self.sentinel.wait_for("all usage told", lambda: self.counted().items() >= self.in_the_ledger().items(), seconds=60)
        self.assertGreaterEqual(self.counted()["requests"], len(used))
        self.assertEqual(self.metric("trustbridge_sentinel_usage_conflicting_records"), 0)
        self.assertEqual(self.metric("trustbridge_sentinel_usage_refused_records"), 0)
        self.assertGreater(self.kills, 1)
        self.assertGreater(self.suspensions, 0)
        self.assertIsNone(self.chain.process.poll())
        self.assertLessEqual(self.control_plane_descriptors(), self.descriptors_before + 16)
        self.assertLess(self.status_value("VmRSS", self.chain.process) - self.memory_before, chaos_test.MAX_GROWTH_KIB)
        self.chain.operator("events", "verify")

    def verified(self):
        folder = self.sentinel.work + "/state/audit"
        # It fails, too, if nothing of the log is countersigned.
        self.chain.tb("audit", "verify", folder + "/audit.jsonl", "--key", folder + "/audit.pub", "--witness-key", self.chain.pinned)


if __name__ == "__main__":
    unittest.main(verbosity=2)
