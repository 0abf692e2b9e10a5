"""One seat, really held: a sentinel that is killed has it back at once, another waits for it, a copied one gives itself away,
and a revocation is heard before the next renewal is due. On the real control plane and the real sentinel.

spec: wire 1.0, 1.1 (sentinel key, renewal tokens, grant), 1.2 (license/events)
"""
import os
import shutil
import signal
import time
import urllib.request

import chain

LEASE_SECONDS = 300  # renewed after 100 s: whatever happens sooner, a hint did


class Leases(chain.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        plain = cls.chain.shm + "/model.gguf"
        with open(plain, "wb") as file:
            file.write(os.urandom(100_000))
        cls.chain.publish("model", plain)

    def contract(self, name, seconds=LEASE_SECONDS):
        c = self.chain
        c.tb("contract", "create", "--contract-id", name, "--asset-id", "model", "--consumer", "consumer", "--not-after", "1h",
             "--max-seats", 1, "--lease-seconds", seconds, "--activation-token-file", f"{c.shm}/{name}.activation", *c.at)

    def begin(self, name):
        return self.start(name, "model", TB_DELIVERY="tmpfs")

    def wait_error(self, sentinel, code):
        sentinel.wait_for(code, lambda: (sentinel.status()["last_error"] or {}).get("code") == code, seconds=60)

    def post(self, path):
        """Straight to the control plane, so that what is measured is not the command line's own start."""
        with open(self.chain.token, encoding="ascii") as file:
            token = file.read().strip()
        request = urllib.request.Request(self.chain.url + path, data=b"", method="POST",
                                         headers={"Authorization": "Bearer " + token})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def test_a_killed_sentinel_has_its_seat_back_and_another_waits_for_it(self):
        self.contract("killed")
        first = self.begin("killed")
        first.wait_state("Ready", seconds=90)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        first.start()
        first.wait_state("Ready", seconds=90)
        second = self.begin("killed")
        self.wait_error(second, "seat_limit")
        self.assertIn("asks again when a seat may be free", second.log())
        leases = self.chain.tb("contract", "leases", "killed", "--json", *self.chain.at)
        self.assertEqual(leases.count('"active"'), 1, leases)
        self.assertEqual(leases.count('"superseded"'), 1, leases)

    def test_whoever_waits_gets_the_seat_when_its_lease_has_ended(self):
        self.contract("waits", seconds=chain.LEASE_S)
        first = self.begin("waits")
        first.wait_state("Ready", seconds=90)
        second = self.begin("waits")
        self.wait_error(second, "seat_limit")
        first.process.send_signal(signal.SIGKILL)  # nobody releases it: the clock does
        first.process.wait()
        second.wait_state("Ready", seconds=90)

    def test_a_copied_key_gives_itself_away(self):
        self.contract("copied", seconds=chain.LEASE_S)
        first = self.begin("copied")
        first.wait_state("Ready", seconds=90)
        second = self.begin("copied")
        self.wait_error(second, "seat_limit")
        second.stop()
        shutil.copyfile(first.work + "/state/sentinel-key", second.work + "/state/sentinel-key")
        second.start()
        second.wait_state("Ready", seconds=90)
        self.wait_error(first, "lease_cloned")
        self.assertEqual(first.status()["state"], "Suspended")

    def test_a_revocation_is_heard_long_before_the_next_renewal(self):
        self.contract("revoked")
        sentinel = self.begin("revoked")
        sentinel.wait_state("Ready", seconds=90)
        time.sleep(2)  # the sentinel listens
        began = time.monotonic()
        self.post("/api/v1/contracts/revoked/revoke")
        sentinel.wait_state("Suspended", seconds=60)
        print(f"from revoke to Suspended: {(time.monotonic() - began) * 1000:.0f} ms", flush=True)
        self.assertEqual(sentinel.status()["last_error"]["code"], "contract_revoked")

    def test_the_key_that_came_with_the_token_is_believed_and_no_other(self):
        self.contract("pinned")
        path = f"{self.chain.shm}/pinned.activation"
        with open(path, encoding="ascii") as file:
            token, pinned = file.read().splitlines()
        with open(self.chain.pinned, encoding="ascii") as file:
            self.assertEqual(pinned, "# control-plane-key " + file.read().strip())
        with open(path, "w", encoding="ascii") as file:
            file.write(token + "\n# control-plane-key " + "A" * 43 + "\n")
        sentinel = self.begin("pinned")
        self.wait_error(sentinel, "grant_refused")
        self.assertFalse(os.path.exists(sentinel.model))


if __name__ == "__main__":
    chain.main()
