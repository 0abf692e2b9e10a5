"""What ends or holds back a contract, on the real control plane and the real sentinel: the grades short of a suspension, a
suspension from the provider's word to the last byte of plaintext, a control plane that has gone, and a machine that may not be
the one that was authorized. And the audit log of it all: countersigned, and checked by command.

spec: wire 1.3 (enforcement), 2.1, 2.5
"""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import chain

LEASE_SECONDS = 300  # renewed after 100 s: whatever happens sooner, a hint did
MODEL_BYTES = 3_000_000


class SuspensionCase(chain.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        plain = cls.chain.shm + "/model.gguf"
        with open(plain, "wb") as file:
            file.write(os.urandom(MODEL_BYTES))
        cls.chain.publish("model", plain)

    def contract(self, name, seconds=LEASE_SECONDS, **terms):
        flags = [part for flag, value in terms.items() for part in ("--" + flag.replace("_", "-"), value)]
        self.chain.tb("contract", "create", "--contract-id", name, "--asset-id", "model", "--consumer", "consumer", "--not-after", "1h",
                      "--max-seats", 1, "--lease-seconds", seconds, *flags,
                      "--activation-token-file", f"{self.chain.shm}/{name}.activation", *self.chain.at)

    def begin(self, name, **settings):
        settings = {"TB_DELIVERY": "tmpfs", "TB_AUDIT_CHECKPOINT_SECONDS": 1} | settings
        sentinel = self.start(name, "model", **settings)
        sentinel.wait_state("Ready", seconds=90)
        return sentinel

    def update(self, name, *flags):
        self.chain.tb("contract", "update", name, *flags, *self.chain.at)

    def ask(self, sentinel, test="echo", body=b"{}"):
        """Status, head fields and body of one request."""
        request = urllib.request.Request(f"http://{sentinel.addresses()['public']}/v1/completions", body)
        for name, value in (("Authorization", "Bearer " + sentinel.api_key()), ("X-Test", test), ("Content-Type", "application/json")):
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def code(self, answer):
        return json.loads(answer[2])["error"]["code"]

    def wait_gone(self, sentinel, code):
        """Suspended shows first; what was plaintext is gone when the sentinel says how long that took."""
        sentinel.wait_state("Suspended", seconds=90)
        sentinel.wait_for("the end", lambda: (sentinel.status()["last_suspension"] or {}).get("code") == code, seconds=60)
        self.assertFalse(os.path.exists(sentinel.model))

    def wait_audit(self, sentinel, check, what):
        sentinel.wait_for(what, lambda: check(sentinel.status()["audit"]), seconds=60)

    def verified(self, sentinel):
        """What `trustbridge audit verify` says, with both keys."""
        folder = sentinel.work + "/state/audit"
        return json.loads(self.chain.tb("audit", "verify", folder + "/audit.jsonl", "--key", folder + "/audit.pub",
                                        "--witness-key", self.chain.pinned, "--json"))


class Suspended(SuspensionCase):
    def test_from_the_providers_word_to_the_last_byte(self):
        self.contract("revoked")
        sentinel = self.begin("revoked", TB_RUNTIME_COMMAND=chain.reading_runtime()["TB_RUNTIME_COMMAND"], TB_RUNTIME_URL="http://127.0.0.1:0")
        with open(sentinel.signal_file, encoding="utf-8") as file:
            path = json.load(file)["path"]
        held = os.open(path if os.path.isfile(path) else os.path.join(path, os.listdir(path)[0]), os.O_RDONLY)
        self.addCleanup(os.close, held)
        self.assertEqual(os.fstat(held).st_size, MODEL_BYTES)
        pid = chain.runtime_pid(sentinel)
        time.sleep(1)  # the sentinel listens for hints
        began = time.monotonic()
        self.chain.tb("contract", "revoke", "revoked", *self.chain.at)
        sentinel.wait_for("the end", lambda: sentinel.status()["last_suspension"] is not None, seconds=60)
        seen_ms = (time.monotonic() - began) * 1000

        times = sentinel.status()["last_suspension"]
        self.assertEqual(times["code"], "contract_revoked")
        parts = ["denied_ms", "closed_ms", "cut_ms", "runtime_ended_ms", "plaintext_gone_ms"]
        self.assertEqual([times[part] for part in parts], sorted(times[part] for part in parts), times)
        self.assertFalse(os.path.exists(f"/proc/{pid}"), "the runtime lives")
        self.assertFalse(os.path.exists(path), "the model lies there")
        self.assertFalse(os.path.exists(sentinel.signal_file))
        self.assertEqual(set(os.pread(held, MODEL_BYTES, 0)), {0} if os.fstat(held).st_size else set(), "who had it open still reads it")
        answer = self.ask(sentinel)
        self.assertEqual((answer[0], self.code(answer)), (403, "contract_suspended"))
        self.assertIn("trustbridge_sentinel_last_suspension_seconds", sentinel.health("/metrics")[1])
        print(f"revoked: {times}; seen from outside after {seen_ms:.0f} ms, the command's own start included", flush=True)

    def test_resumed_it_comes_back_from_its_cache(self):
        self.contract("resumed")
        sentinel = self.begin("resumed", TB_EXIT_ON_DENIAL="false")
        self.assertEqual(sentinel.status()["hydrate"]["from_cache_bytes"], 0)
        self.chain.tb("contract", "suspend", "resumed", *self.chain.at)
        self.wait_gone(sentinel, "contract_suspended")
        self.chain.tb("contract", "resume", "resumed", *self.chain.at)
        sentinel.wait_state("Ready", seconds=180)
        hydrate = sentinel.status()["hydrate"]
        self.assertEqual(hydrate["from_cache_bytes"], hydrate["total"], "it was downloaded again")
        self.assertEqual(self.ask(sentinel)[0], 200)

    def test_who_wants_it_so_exits_with_3(self):
        self.contract("exits")
        sentinel = self.begin("exits", TB_EXIT_ON_DENIAL="true")
        time.sleep(1)
        self.chain.tb("contract", "revoke", "exits", *self.chain.at)
        self.assertEqual(sentinel.process.wait(timeout=90), 3)
        self.assertFalse(os.path.exists(sentinel.model))


class Grades(SuspensionCase):
    def test_each_grade_is_in_force_soon_and_can_be_lifted(self):
        self.contract("graded")
        sentinel = self.begin("graded", TB_DRAIN_SECONDS=2)

        def graded(grade):
            sentinel.wait_for(grade, lambda: sentinel.status()["lease"]["enforcement"] == grade, seconds=60)

        self.update("graded", "--enforcement", "warn", "--notice", "invoice 7 is due")
        graded("warn")
        self.assertEqual(sentinel.status()["lease"]["notice"], "invoice 7 is due")
        self.assertEqual(self.ask(sentinel)[0], 200)

        self.update("graded", "--enforcement", "throttle", "--throttle-requests-per-minute", 2)
        graded("throttle")
        statuses = [self.ask(sentinel)[0] for _ in range(4)]
        self.assertIn(200, statuses)
        self.assertIn(429, statuses)

        self.update("graded", "--enforcement", "none")
        graded("none")
        ended = threading.Event()

        def stream():
            try:
                self.ask(sentinel, "endless")
            except OSError:  # cut, or ended early
                pass
            except Exception:  # http.client's own for a body that is cut
                pass
            ended.set()

        threading.Thread(target=stream, daemon=True).start()
        sentinel.wait_for("a stream", lambda: "trustbridge_sentinel_requests_in_flight 1" in sentinel.health("/metrics")[1])
        self.update("graded", "--enforcement", "drain")
        graded("drain")
        answer = self.ask(sentinel)
        self.assertEqual((answer[0], self.code(answer)), (403, "contract_draining"))
        self.assertTrue(ended.wait(60), "a request goes on for ever")
        self.assertEqual(sentinel.status()["state"], "Ready")
        self.update("graded", "--enforcement", "none")
        graded("none")
        self.assertEqual(self.ask(sentinel)[0], 200)


class Offline(SuspensionCase):
    def test_it_serves_until_lease_and_grace_are_over(self):
        self.contract("offline", seconds=6, offline_grace_seconds=6)
        sentinel = self.begin("offline")
        began = time.monotonic()
        self.chain.process.send_signal(signal.SIGKILL)
        self.chain.process.wait()
        sentinel.wait_for("the grace", lambda: sentinel.status()["lease"]["expires_in_seconds"] < 0, seconds=60)
        self.assertEqual(self.ask(sentinel)[0], 200)
        self.wait_gone(sentinel, "lease_expired")
        self.assertGreater(time.monotonic() - began, 5, "it ended before its time")
        self.assertEqual(sentinel.status()["last_error"]["code"], "lease_expired")
        self.assertEqual(self.ask(sentinel)[0], 403)
        sentinel.process.send_signal(signal.SIGKILL)
        sentinel.process.wait()
        sentinel.start()  # and none starts without the control plane: the key is nowhere here
        time.sleep(3)
        self.assertNotEqual(sentinel.status()["state"], "Ready")
        self.assertFalse(os.path.exists(sentinel.model))


class Doubt(SuspensionCase):
    def test_a_changed_generation_is_renewed_before_it_serves_on(self):
        self.contract("generation")
        generation = self.chain.work + "/generation"
        with open(generation, "w", encoding="ascii") as file:
            file.write("1")
        sentinel = self.begin("generation", TB_VM_GENERATION_FILE=generation)
        renewals = sentinel.status()["lease"]["renewals"]
        with open(generation, "w", encoding="ascii") as file:
            file.write("2")
        sentinel.wait_for("a renewal", lambda: sentinel.status()["lease"]["renewals"] > renewals, seconds=60)
        sentinel.wait_state("Ready", seconds=60)
        self.assertIn("generation id has changed", sentinel.log())
        self.assertIn("machine in doubt", sentinel.log())
        self.assertEqual(self.ask(sentinel)[0], 200)
        renewals = sentinel.status()["lease"]["renewals"]
        time.sleep(2)
        self.assertEqual(sentinel.status()["lease"]["renewals"], renewals, "one change, one renewal")

        self.chain.process.send_signal(signal.SIGKILL)
        self.chain.process.wait()
        with open(generation, "w", encoding="ascii") as file:
            file.write("3")
        sentinel.wait_for("closed", lambda: self.ask(sentinel)[0] == 503, seconds=60)
        self.wait_gone(sentinel, "machine_in_doubt")


class Audit(SuspensionCase):
    def test_the_log_is_countersigned_and_a_cut_one_begins_anew_with_the_gap_recorded(self):
        self.contract("logged")
        sentinel = self.begin("logged")
        for _ in range(5):
            self.assertEqual(self.ask(sentinel)[0], 200)
        self.wait_audit(sentinel, lambda audit: audit["countersigned_records"] >= 5, "a countersignature")
        verdict = self.verified(sentinel)
        self.assertGreaterEqual(verdict["cosigned_records"], 5)
        origin = sentinel.status()["audit"]["origin"]
        listed = json.loads(self.chain.tb("contract", "audit-logs", "logged", "--json", *self.chain.at))["items"]
        self.assertEqual([log["origin"] for log in listed], [origin])

        self.ask(sentinel)
        self.assertEqual(sentinel.stop(), 0)
        verdict = self.verified(sentinel)
        self.assertEqual(verdict["cosigned_records"], verdict["records"], "what came last was not shown at the exit")
        folder = sentinel.work + "/state/audit"
        self.chain.tb("audit", "prove", folder + "/audit.jsonl", "--record", 2, "--key", folder + "/audit.pub",
                      "--out", sentinel.work + "/proof")
        self.chain.tb("audit", "verify", "--proof", sentinel.work + "/proof", "--key", folder + "/audit.pub")

        shutil.copy(self.chain.pinned, sentinel.work + "/state/control-plane.pub")
        with open(chain.REPO + "/docs/audit.md", encoding="utf-8") as file:
            blocks = re.findall(r"```sh run\n(.*?)```", file.read(), re.DOTALL)
        self.assertEqual(len(blocks), 1)
        played = "set -eux\n" + blocks[0].replace("/var/lib/trustbridge-sentinel", sentinel.work + "/state")
        done = subprocess.run(["bash", "-c", played], env=chain.bare(PATH=chain.PROGRAMS + ":" + os.environ["PATH"]), capture_output=True,
                              text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"ok: {len(sentinel.audit())} of {len(sentinel.audit())} records are countersigned", done.stdout)

        with open(folder + "/audit.jsonl", "rb") as file:
            lines = file.readlines()
        with open(folder + "/audit.jsonl", "wb") as file:
            file.writelines(lines[:3])
        sentinel.start()
        sentinel.wait_state("Ready", seconds=90)
        self.assertNotEqual(sentinel.status()["audit"]["origin"], origin)
        first = json.loads(sentinel.audit()[0])
        self.assertEqual((first["event"], first["records_found"], first["records_signed"]), ("origin_begun", 3, len(lines)))
        self.wait_audit(sentinel, lambda audit: audit["countersigned_records"] >= 1, "the new log's countersignature")

    def test_a_log_restored_with_everything_beside_it_is_found_out_by_the_control_plane(self):
        self.contract("restored")
        sentinel = self.begin("restored")
        self.ask(sentinel)
        self.assertEqual(sentinel.stop(), 0)
        snapshot = sentinel.work + "/snapshot"
        shutil.copytree(sentinel.work + "/state", snapshot)
        sentinel.start()
        sentinel.wait_state("Ready", seconds=90)
        origin = sentinel.status()["audit"]["origin"]
        for _ in range(3):
            self.ask(sentinel)
        self.assertEqual(sentinel.stop(), 0)
        shutil.rmtree(sentinel.work + "/state")
        shutil.copytree(snapshot, sentinel.work + "/state")
        sentinel.start()
        sentinel.wait_state("Ready", seconds=90)
        self.wait_audit(sentinel, lambda audit: audit["origin"] != origin and audit["countersigned_records"] >= 1, "a new origin")
        self.assertEqual(json.loads(sentinel.audit()[0])["event"], "origin_begun")

    def test_parts_that_are_countersigned_and_old_go_and_the_rest_is_proven(self):
        self.contract("parts")
        sentinel = self.begin("parts", TB_AUDIT_SEGMENT_BYTES=65536, TB_AUDIT_RETENTION_DAYS=1)
        folder = sentinel.work + "/state/audit"

        def closed():
            return sorted(name for name in os.listdir(folder) if re.fullmatch(r"audit-\d+\.jsonl", name))

        for part in (1, 2):
            with socket.create_connection(("127.0.0.1", int(sentinel.addresses()["public"].rsplit(":", 1)[1]))) as connection:
                for _ in range(200):  # refused, and recorded
                    connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
                    got = b""
                    while not got.endswith(b"}"):
                        got += connection.recv(65536)
            sentinel.wait_for("a closed part", lambda number=part: len(closed()) == number)
        self.wait_audit(sentinel, lambda audit: audit["countersigned_records"] == audit["records"] >= 300, "countersignatures")
        old = time.time() - 3 * 86400
        for name in closed():
            os.utime(f"{folder}/{name}", (old, old))
        before = self.verified(sentinel)
        self.assertEqual(before["first"], 0)
        self.ask(sentinel)
        sentinel.wait_for("retention", lambda: not closed(), seconds=60)
        after = self.verified(sentinel)
        self.assertGreater(after["first"], 0)
        self.assertGreater(after["records"], before["records"])
        self.chain.tb("audit", "prove", folder + "/audit.jsonl", "--record", after["first"], "--key", folder + "/audit.pub",
                      "--out", sentinel.work + "/proof")
        self.assertEqual(sentinel.stop(), 0)
        sentinel.start()
        sentinel.wait_state("Ready", seconds=90)
        self.assertEqual(self.verified(sentinel)["first"], after["first"], "it did not go on with what is left")

    @chain.needs_root
    def test_a_full_disk_refuses_requests_and_goes_on_when_there_is_room(self):
        place = self.chain.work + "/small"
        os.mkdir(place, 0o700)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", place], capture_output=True, text=True, check=False)
        if done.returncode:
            self.skipTest(f"NOT PROVEN: no tmpfs can be mounted: {done.stderr}")
        self.addCleanup(subprocess.run, ["umount", "-l", place], check=False)
        self.contract("full")
        sentinel = self.begin("full", TB_AUDIT_DIR=place + "/audit", TB_AUDIT_CHECKPOINT_SECONDS=3600)
        refused = None
        for _ in range(2000):
            answer = self.ask(sentinel)
            if answer[0] != 200:
                refused = answer
                break
        self.assertEqual((refused[0], self.code(refused)), (503, "audit_unavailable"))
        self.assertFalse(sentinel.status()["audit"]["writable"])
        subprocess.run(["mount", "-o", "remount,size=16m", place], check=True)
        self.wait_audit(sentinel, lambda audit: audit["writable"] and not audit["pending_records"] and not audit["unrecorded_refusals"],
                        "room again")
        self.assertEqual(self.ask(sentinel)[0], 200)
        self.assertEqual(sentinel.stop(), 0)
        folder = place + "/audit"
        verdict = json.loads(self.chain.tb("audit", "verify", folder + "/audit.jsonl", "--key", folder + "/audit.pub",
                                           "--witness-key", self.chain.pinned, "--json"))
        self.assertEqual(verdict["cosigned_records"], verdict["records"])
        with open(folder + "/audit.jsonl", "rb") as file:
            records = [json.loads(line) for line in file]
        self.assertGreaterEqual(sum(record.get("requests", 0) for record in records if record.get("event") == "refused_unrecorded"), 1)


if __name__ == "__main__":
    chain.main()
