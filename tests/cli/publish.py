"""publish with the real control plane: the plan, one run, the same command again, changed inputs, refusals, no secrets."""
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time

from control_plane_process import ControlPlane
from scenario import check, equal, play

ALL = ["encrypt", "verify", "upload", "register", "contract"]


def statuses(outcome):
    return {step["name"]: step["status"] for step in outcome.json()["steps"]}


def files_under(s, folder):
    return sorted(p.relative_to(s.folder / folder).as_posix() for p in (s.folder / folder).rglob("*") if p.is_file())


def plans(s, common):
    text = s.tb("publish", "m", *common, "--dry-run").out
    s.absent("m-1.publish")
    commands = [line for line in text.splitlines() if not line.startswith("#")]
    equal([line.split()[1] for line in commands], ALL, "commands of the plan")
    # Each line of the plan is a command that a person can run.
    told = s.tb("publish", "m", "--asset-id", "m-1", "--store", "file:b", "--skip-register", "--out", "it's here", "--dry-run").out
    (s.folder / "it's here").mkdir()
    done = subprocess.run(["sh", "-e"], input=f"trustbridge() {{ '{s.binary}' \"$@\"; }}\n{told}", text=True, cwd=s.folder, check=False,
                          capture_output=True, env=s.environment)
    equal(done.returncode, 0, f"the printed commands: {done.stderr}")
    equal(files_under(s, "b"), ["models/m-1/model.manifest.json", "models/m-1/model.tbenc"], "what the printed commands uploaded")


def refusals(s, common):
    s.fails("usage", 2, "publish", "m", *common)  # nobody to ask
    s.fails("usage", 2, "publish", "m", "--asset-id", "bad/id", "--yes")
    s.fails("usage", 2, "publish", "--asset-id", "m-1", "--yes")
    s.fails("usage", 2, "publish", "m", "--asset-id", "m-1", "--store", "file:b", "--yes")
    s.fails("usage", 2, "publish", "m", "--asset-id", "m-1", "--consumer", "acme", "--yes")
    s.fails("usage", 2, "publish", "m", "--asset-id", "m-1", "--store", "azure:", "--yes")
    signed = s.fails("usage", 2, "publish", "m", "--asset-id", "m-1", "--blob-url", "https://x.example/m?sig=SECRET", "--yes")
    check("SECRET" not in signed.out + signed.err, "a signed URL in an error")
    skipped = [f"--skip-{name}" for name in ("encrypt", "verify")]
    s.fails("usage", 2, "publish", "m", "--asset-id", "m-1", *skipped, "--yes")
    s.file("odd/state.json", '{"version": 2, "asset_id": "m-1", "steps": []}')
    s.fails("publish_state_malformed", 4, "publish", "m", "--asset-id", "m-1", "--out", "odd", "--yes")
    s.file("other/state.json", '{"version": 1, "asset_id": "m-0", "steps": []}')
    s.fails("publish_input_changed", 7, "publish", "m", "--asset-id", "m-1", "--out", "other", "--yes")
    equal(files_under(s, "odd") + files_under(s, "other"), ["state.json", "state.json"], "what refusals left")


def asked(s, answer):
    """Runs publish on a terminal of its own and types `answer`; gives the exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(s.folder)
        os.execve(s.binary, ["trustbridge", "publish", "m", "--asset-id", "asked", "--skip-verify"], s.environment)
    seen, end = b"", time.monotonic() + 60
    while b"[y/N]" not in seen and time.monotonic() < end:
        seen += os.read(fd, 4096)
    os.write(fd, answer)
    try:
        while os.read(fd, 4096):
            pass
    except OSError:
        pass
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def no_secrets(s, where):
    key = (s.folder / where / "model.tbenc.key").read_text().split()[0]
    token = (s.folder / where / "activation.token").read_text().split()[0]
    bearer = (s.folder / "provider.token").read_text().strip()
    for name in ("state.json", "summary.json"):
        text = (s.folder / where / name).read_text()
        for secret in (key, token, bearer):
            check(secret not in text, f"a secret in {name}")
    equal((s.folder / where / "state.json").stat().st_mode & 0o777, 0o600, "mode of the state")


def one_run(s, common, at):
    first = s.tb("publish", "m", *common, "--yes", "--json")
    equal(statuses(first), {name: "done now" for name in ALL}, "first run")
    equal(json.loads((s.folder / "m-1.publish/summary.json").read_text()), first.json(), "the summary's file")
    no_secrets(s, "m-1.publish")
    again = s.tb("publish", "m", *common, "--yes", "--json")
    equal(statuses(again), {name: "done before" for name in ALL}, "second run")
    equal(len(s.tb("contract", "list", *at, "--json").json()["items"]), 1, "contracts")
    check("register (done)" in s.tb("publish", "m", *common, "--dry-run").out, "the plan does not say what is done")


def changed(s, common, at):
    os.utime(s.folder / "m/w.gguf", ns=(1, 1))
    told = s.fails("publish_input_changed", 7, "publish", "m", *common, "--yes")
    check("encrypt was done with other inputs: model" in told.err, told.err)
    check("# encrypt (changed: model)" in s.tb("publish", "m", *common, "--dry-run").out, "the plan does not name what changed")
    more = [*common[:-1], "60d"]
    s.fails("publish_input_changed", 7, "publish", "m", *more, "--skip-encrypt", "--yes")
    # What can be done again is: another directory of a file: store.
    s.tb("publish", "m", "--asset-id", "m-1", "--skip-encrypt", "--skip-register", "--store", "file:again", "--yes")
    equal(files_under(s, "again"), ["models/m-1/model.manifest.json", "models/m-1/model.tbenc"], "the other store")
    equal(len(s.tb("contract", "list", *at, "--json").json()["items"]), 1, "contracts")


def other_way(s, common, at):
    """Another token for the same place: nothing that is done once is done again, or refused."""
    s.file("renewed.token", (s.folder / "provider.token").read_text()).chmod(0o600)
    renewed = [*common]
    renewed[renewed.index("provider.token")] = "renewed.token"
    again = statuses(s.tb("publish", "m", *renewed, "--skip-encrypt", "--yes", "--json"))
    equal((again["verify"], again["contract"]), ("done before", "done before"), "with another token")


def by_certificate(s, common, at):
    """A contract whose sentinels show a certificate has no token; killed before that was noted, it is found again."""
    mine = [*common[common.index("--store"):], "--asset-id", "m-6", "--authentication", "mtls", "--client-certificate", "ab" * 32,
            "--lease-seconds", "60", "--allowed-path", "/v1/chat/completions"]
    mine[mine.index("c-1")] = "c-6"
    for status in ("done now", "done before", "done now"):
        equal(statuses(s.tb("publish", "m", *mine, "--yes", "--json"))["contract"], status, "contract")
        s.absent("m-6.publish/activation.token")
        state = json.loads((s.folder / "m-6.publish/state.json").read_text())
        if status == "done before":
            state["steps"][-1] |= {"status": "begun", "result": {}}
            s.file("m-6.publish/state.json", json.dumps(state))
    made = s.tb("contract", "show", "c-6", *at, "--json").json()
    equal((made["authentication"], made["lease_seconds"], made["allowed_paths"]), ("mtls", 60, ["/v1/chat/completions"]), "terms")
    s.fails("usage", 2, "publish", "m", *mine, "--lease-seconds", "70", "--yes")


def failures(s, common):
    """A step that fails leaves a state from which the same command goes on."""
    at = common.index("--asset-id")
    other = [*common[:at + 1], "m-2", *common[at + 2:]]
    other[other.index("c-1")] = "c-2"
    right = (s.folder / "provider.token").read_text()
    s.file("provider.token", "tbp_nonsense\n").chmod(0o600)
    stopped = s.tb("publish", "m", *other, "--yes", "--json", rc=3)
    summary = stopped.json()
    equal((summary["ok"], summary["steps"][-1]["name"], summary["steps"][-1]["exit_status"]), (False, "upload", 3), "where it stopped")
    s.file("provider.token", right).chmod(0o600)
    went_on = s.tb("publish", "m", *other, "--yes", "--json")
    equal(statuses(went_on), {"encrypt": "done before", "verify": "done before", "upload": "done now", "register": "done now",
                              "contract": "done now"}, "the same command goes on")
    # A contract that somebody else has made under the id is never taken for ours.
    third = [*common[:at + 1], "m-3", *common[at + 2:]]
    s.tb("publish", "m", *third, "--yes", rc=7)
    s.absent("m-3.publish/activation.token")
    # Of a claimed key nothing is encrypted again, whoever asks.
    s.fails_in_step("encrypt", 7, "publish", "m", "--asset-id", "m-4", "--key-file", "m-1.publish/model.tbenc.key", "--yes")


class LossyRelay:
    """Stands before the control plane and, once, takes an answer away: the request arrived, its answer does not."""

    def __init__(self, port, request):
        self.port, self.request, self.lost = port, request, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.relay, args=(client,), daemon=True).start()

    def relay(self, client):
        server, losing = socket.create_connection(("127.0.0.1", self.port)), threading.Event()
        threading.Thread(target=self.answers, args=(server, client, losing), daemon=True).start()
        while data := client.recv(65536):
            if self.request in data and not self.lost:
                self.lost += 1
                losing.set()
            server.sendall(data)
        server.close()

    @staticmethod
    def answers(server, client, losing):
        try:
            while data := server.recv(65536):
                if losing.is_set():
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def lost_answer(s, common, control_plane):
    """The contract was made and nobody has its token: the same command finds it and gets another token."""
    relay = LossyRelay(int(control_plane.url.rsplit(":", 1)[1]), b"POST /api/v1/contracts ")
    at = common.index("--asset-id")
    mine = [*common[:at + 1], "m-5", *common[at + 2:]]
    mine[mine.index("c-1")], mine[mine.index(control_plane.url)] = "c-5", relay.url
    stopped = s.tb("publish", "m", *mine, "--yes", "--json", rc=6).json()
    equal((stopped["steps"][-1]["name"], relay.lost), ("contract", 1), "where it stopped")
    s.absent("m-5.publish/activation.token")
    s.tb("contract", "show", "c-5", "--edc-endpoint", control_plane.url, "--token-file", "provider.token")
    s.tb("publish", "m", *mine, "--yes")
    check((s.folder / "m-5.publish/activation.token").read_text().startswith("tb"), "no token")
    relay.listener.close()


def begun(s, asset, **more):
    """The directory as a kill leaves it in the midst of encrypt: the state says that it began."""
    folder = s.folder / f"{asset}.publish"
    folder.mkdir()
    out = [f"{asset}.publish/{name}" for name in ("model.tbenc.key", "model.manifest.json", "model.tbenc")]
    absent = [str(s.folder / path) for path in out if path not in more.get("there", [])]
    (folder / "state.json").write_text(json.dumps({"version": 1, "asset_id": asset, "steps": [
        {"name": "encrypt", "status": "begun", "inputs": {"arguments": "", "model": ""}, "absent": absent, "result": {}}]}))
    return folder


def half_encrypted(s):
    """Killed when key and manifest had their names and the ciphertext had not: the key has sealed nothing that is kept."""
    folder = begun(s, "half")
    s.tb("encrypt", "m", "--asset-id", "half", "--out", folder / "model.tbenc")
    old_key = (folder / "model.tbenc.key").read_text()
    os.rename(folder / "model.tbenc", folder / ".model.tbenc.AbCd1234.partial")
    s.tb("publish", "m", "--asset-id", "half", "--yes")
    equal(sorted(p.name for p in folder.iterdir()), ["model.manifest.json", "model.tbenc", "model.tbenc.key", "state.json",
                                                     "state.lock", "summary.json"], "files")
    check((folder / "model.tbenc.key").read_text() != old_key, "the key has served twice")
    # A key that was there before is never removed, and never used again.
    folder = begun(s, "mine", there=["mine.publish/model.tbenc.key"])
    s.tb("encrypt", "m", "--asset-id", "mine", "--out", folder / "model.tbenc")
    os.unlink(folder / "model.tbenc")
    key = (folder / "model.tbenc.key").read_text()
    s.fails_in_step("encrypt", 7, "publish", "m", "--asset-id", "mine", "--yes")
    equal((folder / "model.tbenc.key").read_text(), key, "the key that was there before")
    # Killed after all was done and before that was noted, with the model changed since.
    folder = begun(s, "late")
    s.tb("encrypt", "m", "--asset-id", "late", "--out", folder / "model.tbenc")
    s.fails("publish_input_changed", 7, "publish", "m", "--asset-id", "late", "--yes")


def interrupted(s):
    s.sparse("big/w.gguf", 600 << 20)
    process = s.start("publish", "big", "--asset-id", "big", "--yes", stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while s.unfinished_bytes() == 0 and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    equal(process.wait(timeout=60), 130, "exit status after an interrupt")
    check(not list(s.folder.glob("big.publish/.*.partial")), "the step did not clean up")
    process.stderr.close()


def story(s):
    s.file("m/config.json", "{}")
    s.model("m/w.gguf", 400_000)
    s.fails_in_step = lambda step, rc, *args: equal(s.tb(*args, "--json", rc=rc).json()["steps"][-1]["name"], step, "the step that fails")
    held = os.open(s.file("locked/state.lock"), os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    locked = s.start("publish", "m", "--asset-id", "locked", "--out", "locked", "--yes", "--json", stdout=subprocess.PIPE,
                     stderr=subprocess.DEVNULL)
    with ControlPlane(s) as control_plane:
        token = control_plane.token_file("provider", "--tenant", "acme-ai")
        s.file("cp.pub", control_plane.run("identity"))
        at = ["--edc-endpoint", control_plane.url, "--token-file", token]
        common = ["--asset-id", "m-1", "--store", "cp:", *at, "--control-plane-key", "cp.pub", "--contract-id", "c-1",
                  "--consumer", "acme", "--not-after", "30d"]
        plans(s, common)
        refusals(s, common)
        one_run(s, common, at)
        other_way(s, common, at)
        changed(s, common, at)
        failures(s, common)
        lost_answer(s, common, control_plane)
        by_certificate(s, common, at)
    equal(asked(s, b"n\n"), 130, "after a no")
    s.absent("asked.publish")
    equal(asked(s, b"y\n"), 0, "after a yes")
    half_encrypted(s)
    interrupted(s)
    out = locked.communicate(timeout=60)[0]
    equal((locked.returncode, json.loads(out)["error"]["reason"]), (7, "publish_running"), "beside another publish")
    os.close(held)
    s.tb("publish", "m", "--asset-id", "locked", "--out", "locked", "--yes")


play(story)
