"""A runtime that can do nothing but answer through the gate: the real sentinel starts a hostile one and the real engine, contracts
demand a confinement, and a runtime of somebody else's that others can reach is refused.

spec: wire 2.2 (TB_RUNTIME_COMMAND), 2.4 (the channel to the runtime)
"""
import concurrent.futures
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import chain
import peers
import probe_port

RUNTIME_UID = 61002
MEASURES = ["network_namespace", "mount_namespace", "pid_namespace", "ipc_namespace", "uts_namespace", "own_user", "no_capabilities",
            "no_new_privileges", "seccomp", "landlock", "no_core_dumps", "process_limit"]


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def outer_address():
    """One of this machine's own that is not loopback, or one that is nobody's."""
    return next((address for address in list(probe_port.addresses())[2:] if ":" not in address), "192.0.2.1")


def attempts_of(sentinel):
    """{attempt: error} out of what the hostile runtime printed, which is in the sentinel's log."""
    said = {}
    for line in sentinel.log().splitlines():
        message = json.loads(line).get("msg", "") if line.startswith("{") else ""
        if message.startswith('{"attempt"'):
            attempt = json.loads(message)
            said[attempt["attempt"]] = attempt["error"]
    return said


def report(*prefix, **settings):
    """`trustbridge-sentinel --isolation-report --json`, as whom `prefix` says."""
    done = subprocess.run([*prefix, peers.BINARY, "--isolation-report", "--json"], env=chain.bare(**settings), capture_output=True,
                          text=True, check=True)
    return json.loads(done.stdout)


class Isolation(chain.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.plain = cls.chain.shm + "/model.gguf"
        subprocess.run(["/usr/bin/python3", chain.REPO + "/runtime/make_tiny_gguf.py", cls.plain], check=True, stdout=subprocess.DEVNULL)
        cls.chain.publish("model", cls.plain)
        os.chmod(cls.chain.work, 0o755)
        cls.programs = cls.chain.work + "/programs"
        os.mkdir(cls.programs, 0o755)
        shutil.copy(chain.PROGRAMS + "/hostile_runtime", cls.programs)

    def contract(self, name, *flags):
        c = self.chain
        c.tb("contract", "create", "--contract-id", name, "--asset-id", "model", "--consumer", "consumer", "--not-after", "1h",
             "--max-seats", 1, "--lease-seconds", chain.LEASE_S, "--activation-token-file", f"{c.shm}/{name}.activation", *flags, *c.at)

    def get(self, url, api_key):
        request = urllib.request.Request(url, headers={"Authorization": "Bearer " + api_key})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()

    def wait_error(self, sentinel, code):
        sentinel.wait_for(code, lambda: (sentinel.status()["last_error"] or {}).get("code") == code, seconds=60)

    def hostile(self, name, url, serve):
        """Ready with a hostile runtime under a contract that asks for confinement: what it came to, and the sentinel."""
        self.contract(name, "--runtime-isolation", "required")
        with socket.create_server(("0.0.0.0", 0)) as outside:
            command = [self.programs + "/hostile_runtime", f"host_ip={outer_address()}", f"tcp_port={outside.getsockname()[1]}", "tcp6_port=9",
                       "udp_port=9", "abstract_name=nobody", "unix_path=/run/nobody", f"state_dir={self.chain.work}",
                       f"outer_memory={self.chain.shm}", "model_path={model_path}", f"secret_file={self.chain.token}",
                       f"victim_pid={os.getpid()}", f"host_name={socket.gethostname()}", serve]
            sentinel = self.start(name, "model", TB_RUNTIME_COMMAND=json.dumps(command), TB_RUNTIME_URL=url,
                                  TB_RUNTIME_READ_PATHS=self.programs, TB_RUNTIME_ISOLATION="full", TB_RUNTIME_UID=RUNTIME_UID)
            os.chmod(sentinel.shm, 0o711)
            sentinel.wait_state("Ready", seconds=120)
        return attempts_of(sentinel), sentinel

    def many_at_once(self, sentinel):
        """Each request has a connection of its own, as this runtime closes after each: all are opened inside, and none is left over."""
        url, key = f"http://{sentinel.addresses()['public']}/v1/models", sentinel.api_key()

        def descriptors():
            return len(os.listdir(f"/proc/{sentinel.process.pid}/fd"))

        before = descriptors()
        with concurrent.futures.ThreadPoolExecutor(32) as threads:
            answers = list(threads.map(lambda _: self.get(url, key), range(2000)))
        self.assertEqual(set(answers), {(200, b"{}")})
        # Its own client may have opened a connection to the control plane meanwhile.
        sentinel.wait_for("the descriptors of before", lambda: descriptors() <= before + 8)

    @chain.needs_root
    def test_a_hostile_runtime_answers_and_does_nothing_else(self):
        for name, url, serve in (("hostile-tcp", "http://127.0.0.1:0", "serve={runtime_port}"),
                                 ("hostile-unix", "unix:/run/gate/runtime.sock", "serve_unix={runtime_socket}")):
            with self.subTest(name):
                attempts, sentinel = self.hostile(name, url, serve)
                self.assertGreater(len(attempts), 60)
                self.assertEqual([attempt for attempt, error in attempts.items() if not error], ["done"])
                self.assertEqual(self.get(f"http://{sentinel.addresses()['public']}/v1/models", sentinel.api_key()), (200, b"{}"))
                isolation = sentinel.status()["isolation"]
                self.assertEqual((isolation["mode"], isolation["missing"]), ("full", []))
                self.assertEqual([measure for measure in MEASURES if not isolation[measure]], [])
                self.assertIn("opened by the sentinel alone", isolation["channel"])
                self.many_at_once(sentinel)
                pid = sentinel.runtime_pid()
                with open(f"/proc/{pid}/status", encoding="ascii") as file:
                    status = file.read()
                for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2",
                             f"Uid:\t{RUNTIME_UID}\t{RUNTIME_UID}\t{RUNTIME_UID}\t{RUNTIME_UID}"):
                    self.assertIn(line, status)
                self.assertFalse(os.path.exists("/run/gate"), "the socket's directory was to be inside")
                self.assertEqual(sentinel.stop(), 0)
                self.assertFalse(os.path.exists(f"/proc/{pid}"))

    @chain.needs_root
    def test_a_contract_that_asks_for_it_is_not_served_without(self):
        self.contract("asks", "--runtime-isolation", "required")
        settings = chain.reading_runtime()
        for more, why in (({"TB_RUNTIME_ISOLATION": "off"}, "this one is off"), ({"TB_RUNTIME_ISOLATION": "partial"}, "without own_user")):
            sentinel = self.start("asks", "model", **settings, **more)
            self.wait_error(sentinel, "isolation_missing")
            self.assertIn(why, sentinel.log())
            self.assertEqual(sentinel.status()["hydrate"]["bytes"], 0)
            sentinel.stop()
        sentinel = self.start("asks", "model")  # a runtime that somebody else starts
        self.wait_error(sentinel, "isolation_missing")
        self.assertIn("this one is external", sentinel.log())

    @chain.needs_root
    def test_a_renewal_may_ask_for_it_too(self):
        self.contract("later")
        sentinel = self.start("later", "model", TB_RUNTIME_ISOLATION="off", **chain.reading_runtime())
        sentinel.wait_state("Ready", seconds=90)
        self.chain.tb("contract", "update", "later", "--runtime-isolation", "required", *self.chain.at)
        self.wait_error(sentinel, "isolation_missing")

    @chain.needs_root
    def test_full_is_refused_where_it_cannot_be_had_and_named(self):
        # The sentinel's user may not take on another: then the runtime's own user is what is missing.
        place = self.chain.work + "/user"
        os.mkdir(place)
        os.chown(place, RUNTIME_UID, RUNTIME_UID)
        shutil.copy(peers.BINARY, self.programs)
        settings = chain.bare(TB_CONTRACT_ID="c", TB_ASSET_ID="model", TB_EDC_ENDPOINT=self.chain.url, TB_RUNTIME_ISOLATION="full",
                              TB_RUNTIME_UID="65534", TB_RUNTIME_COMMAND='["/bin/true"]')
        done = subprocess.run(["setpriv", f"--reuid={RUNTIME_UID}", f"--regid={RUNTIME_UID}", "--clear-groups",
                               self.programs + "/trustbridge-sentinel", "--dev", place], env=settings, capture_output=True, text=True,
                              check=False, timeout=60)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn("own_user", done.stderr)
        self.assertIn("--isolation-report", done.stderr)

    def test_the_report_names_every_measure_and_how_to_get_it(self):
        said = report(TB_RUNTIME_COMMAND='["/bin/true"]', TB_RUNTIME_UID="65534", TB_RUNTIME_MEMORY_BYTES="1073741824")
        names = [finding["name"] for finding in said["findings"]]
        self.assertEqual(names, ["mode", *MEASURES, "memory_limit", "no_swap"])
        for finding in said["findings"]:
            self.assertEqual(finding["health"] == "ok", not finding["advice"], finding)
        external = report()
        self.assertIn("external", external["findings"][0]["value"])

    def serve_on(self, host):
        server = http.server.ThreadingHTTPServer((host, 0), Answers)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        return f"http://127.0.0.1:{server.server_address[1]}"

    def test_a_runtime_of_somebody_elses_that_others_reach_is_refused(self):
        self.contract("external")
        url = self.serve_on("0.0.0.0")
        sentinel = self.start("external", "model", TB_RUNTIME_COMMAND=None, runtime_url=url)
        self.wait_error(sentinel, "runtime_reachable")
        self.assertNotIn("public", sentinel.addresses())
        self.assertIn("0.0.0.0", sentinel.status()["isolation"]["reach"])
        sentinel.stop()
        for runtime_url, more, where in ((url, {"TB_ALLOW_REACHABLE_RUNTIME": "true"}, "0.0.0.0"), (self.serve_on("127.0.0.1"), {}, "127.0.0.1")):
            sentinel = self.start("external", "model", TB_RUNTIME_COMMAND=None, runtime_url=runtime_url, **more)
            sentinel.wait_state("Ready", seconds=90)
            isolation = sentinel.status()["isolation"]
            self.assertEqual(isolation["mode"], "external")
            self.assertIn(where, isolation["reach"])
            self.assertEqual([measure for measure in MEASURES if isolation[measure]], [])
            sentinel.stop()

    @chain.needs_root
    def test_the_real_engine_is_confined_and_says_the_same(self):
        engine = chain.Engine(self.plain)
        reference = chain.ask(engine.url)
        engine.close()
        for name, more in (("engine-user", {"TB_RUNTIME_ISOLATION": "full", "TB_RUNTIME_UID": RUNTIME_UID}),
                           ("engine-memory", {"TB_DELIVERY": "tmpfs"})):
            with self.subTest(name):
                self.contract(name)
                sentinel = self.start(name, "model", **chain.engine_settings(), **more)
                os.chmod(sentinel.shm, 0o711)
                sentinel.wait_state("Ready", seconds=120)
                self.assertEqual(chain.ask(f"http://{sentinel.addresses()['public']}", sentinel.api_key()), reference)
                self.assertNotEqual(os.readlink(f"/proc/{sentinel.runtime_pid()}/ns/net"), os.readlink("/proc/self/ns/net"))
                sentinel.stop()

    def read_inside(self, delivery):
        self.contract("inside-" + delivery)
        sentinel = self.start("inside-" + delivery, "model", TB_DELIVERY=delivery, **chain.reading_runtime())
        sentinel.wait_state("Ready", seconds=90)
        self.assertEqual(sentinel.status()["delivery"]["kind"], delivery)
        isolation = sentinel.status()["isolation"]
        if not (isolation["network_namespace"] and isolation["mount_namespace"]):
            self.skipTest(f"NOT PROVEN: this user may not have namespaces: {isolation['missing']}")
        self.assertEqual(chain.what_it_read(sentinel), chain.sha256_of_file(self.plain))
        sentinel.stop()

    @chain.needs_mount
    def test_a_mount_is_read_inside(self):
        self.read_inside("mount")

    def test_memory_is_read_inside(self):
        self.read_inside("tmpfs")

    def test_a_fifo_is_read_inside(self):
        self.read_inside("fifo")

    def test_without_a_network_of_its_own_a_key_keeps_others_out(self):
        self.contract("key")
        command = chain.engine_command() + ["--api-key-file", "{api_key_file}"]
        sentinel = self.start("key", "model", TB_RUNTIME_COMMAND=json.dumps(command), TB_RUNTIME_URL="http://127.0.0.1:0",
                              TB_RUNTIME_ISOLATION="off")
        sentinel.wait_state("Ready", seconds=120)
        self.assertEqual(sentinel.status()["isolation"]["channel"], "loopback port, with a key of this start")
        self.assertGreater(len(chain.ask(f"http://{sentinel.addresses()['public']}", sentinel.api_key())), 8)
        port = re.search(r"port (\d+)", sentinel.status()["isolation"]["reach"])[1]
        with self.assertRaises(urllib.error.HTTPError) as refused:
            chain.ask(f"http://127.0.0.1:{port}", sentinel.api_key())
        self.assertEqual(refused.exception.code, 401)


if __name__ == "__main__":
    chain.main()
