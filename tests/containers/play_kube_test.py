#!/usr/bin/python3
"""Both charts' pods, as rendered, in podman: a control plane, and a model with the sentinel beside the real llama.cpp engine.

What podman 4.3 lacks is done by this test, and only that: native sidecars (the sentinel becomes an ordinary container; the
runtime waits for its signal as in the cluster), `medium: Memory` (a tmpfs of this test is bound: podman's own would be a
disk), files of secrets (bound as fsGroup makes them: root's, mode 0440, of the pod's group), probes (this test asks what
they ask, and restarts the runtime where the kubelet would). KServe's pod is put together by kserve_test.py as its source
does it. No NetworkPolicy is enforced here: what is closed, is closed by where it listens. Two network namespaces, one for
the pods of each side; the provider and the user stand in the control plane's.
"""
import atexit
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(REPO, "deploy", "kubernetes"), os.path.join(REPO, "tests", "e2e"), os.path.join(REPO, "tests", "kubernetes")]
import chain  # noqa: E402
import kserve_manifests  # noqa: E402
import kserve_test  # noqa: E402
import policies  # noqa: E402
import render  # noqa: E402
import tls_files  # noqa: E402
import yaml_text  # noqa: E402

USER = 65532
CP, MODEL = "10.213.7.1", "10.213.7.2"
URL = f"https://{CP}:8443"
PLACE = tempfile.mkdtemp(prefix="tb-kube-")
SHM = tempfile.mkdtemp(prefix="tb-kube-", dir="/dev/shm")
NETWORKS = {side: f"tbk-{os.getpid()}-{side}" for side in ("provider", "consumer")}
os.environ.setdefault("CONTAINERS_CONF", REPO + "/tests/containers/containers.conf")  # where it is not run by scripts/e2e.sh
STORAGE = ["--root", PLACE + "/storage", "--runroot", PLACE + "/run"]


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False, timeout=options.pop("timeout", 240), **options)
    if done.returncode:
        raise AssertionError(f"{command[:6]} ended with {done.returncode}: {done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout


def podman(*arguments, **options):
    return run("podman", *STORAGE, *arguments, **options)


def clean():
    for command in (["podman", *STORAGE, "pod", "rm", "--all", "--force", "--time", "5"], ["podman", *STORAGE, "system", "reset", "--force"],
                    *(["ip", "netns", "del", name] for name in NETWORKS.values())):
        subprocess.run(command, capture_output=True, check=False, timeout=120)
    shutil.rmtree(PLACE, ignore_errors=True)
    shutil.rmtree(SHM, ignore_errors=True)


def step(text):
    print(f"play_kube: {text}", flush=True)


# ---- images of nothing but a program and its libraries ---------------------------------------------------------------------

def libraries_of(files):
    found = set()
    for file in files:
        said = subprocess.run(["ldd", file], text=True, capture_output=True, check=False).stdout
        found |= {path for path in re.findall(r"(/[^\s]+)", said) if os.path.isfile(path) and not path.startswith(REPO)}
    return found


def image(name, programs, trees=(), path="/opt/trustbridge/bin"):
    """`programs`: file to its place inside; `trees`: the same of folders, with all that they load."""
    root = f"{PLACE}/image-{name}"
    loaded = [os.path.join(at, one) for tree, _ in trees for at, _, names in os.walk(tree) for one in names if one.endswith((".node", ".so"))]
    for file, inside in [*programs, *((one, one) for one in libraries_of([file for file, _ in programs] + loaded))]:
        os.makedirs(os.path.dirname(root + inside), exist_ok=True)
        shutil.copy(file, root + inside)
    for tree, inside in trees:
        shutil.copytree(tree, root + inside, symlinks=True)
    for folder in ("/tmp", "/etc", "/proc", "/sys", "/dev"):
        os.makedirs(root + folder, exist_ok=True)
    with open(root + "/etc/passwd", "w", encoding="ascii") as file:
        file.write(f"root:x:0:0::/:/none\nuser:x:{USER}:{USER}::/tmp:/none\n")
    buildah = ["buildah", *STORAGE]
    container = run(*buildah, "from", "scratch").strip()
    run(*buildah, "copy", "-q", container, root, "/")
    run(*buildah, "config", "--env", "PATH=" + path, "--user", f"{USER}:{USER}", "--entrypoint", json.dumps([programs[0][1]]), container)
    run(*buildah, "commit", "-q", container, f"localhost/{name}:test")
    run(*buildah, "rm", container)
    shutil.rmtree(root)


def busybox():
    """What the runtime's image needs of a system: a shell, sed and sleep."""
    return [(shutil.which("busybox"), "/bin/" + name) for name in ("sh", "sed", "sleep")]


# ---- from a rendered pod to what podman can play ---------------------------------------------------------------------------

def handed(name, content, to_root=False):
    """A file as a Secret's volume has it: with fsGroup, or for a program that is root."""
    path = f"{SHM}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chown(path, 0, 0 if to_root else USER)
    os.chmod(path, 0o400 if to_root else 0o440)
    return path


def folder(path, mode=0o2770):
    """A volume as it comes with fsGroup: root's, and the group may write."""
    os.makedirs(path)
    os.chown(path, 0, USER)
    os.chmod(path, mode)
    return path


def bound(volume, files, name):
    kind = next(key for key in volume if key != "name")
    if kind == "emptyDir":
        in_memory = volume["emptyDir"].get("medium") == "Memory"
        return folder(f"{SHM if in_memory else PLACE}/volumes/{name}-{volume['name']}", 0o2777)
    return os.path.dirname(files[volume["name"]]) if volume["name"] in files else folder(f"{PLACE}/volumes/{name}-{volume['name']}")


def playable(name, pod, claims, files):
    """A rendered pod. `files`: name of a volume to a file in the folder that is bound for it. Sidecars become containers, init
    containers stay."""
    pod = copy.deepcopy(pod)
    initializers = [one for one in pod.get("initContainers", []) if one.get("restartPolicy") != "Always"]
    containers = [one for one in pod.get("initContainers", []) if one not in initializers] + pod["containers"]
    for container in initializers + containers:
        for key in ("restartPolicy", "startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "imagePullPolicy", "ports"):
            container.pop(key, None)
        container["securityContext"] = {"runAsUser": USER, "runAsGroup": USER} | container["securityContext"]
        container["resources"] = {}
    volumes = pod["volumes"] + [{"name": claim, "persistentVolumeClaim": {}} for claim in claims]
    spec = {"containers": containers, "restartPolicy": "Never", "hostname": name,
            "volumes": [{"name": one["name"], "hostPath": {"path": bound(one, files, name), "type": "Directory"}} for one in volumes]}
    if initializers:
        spec["initContainers"] = initializers
    path = f"{PLACE}/{name}.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write(yaml_text.dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}))
    return path


def rendered_pod(documents, files):
    [(name, pod, _, claims)] = policies.pods(documents)
    return playable(name, pod, claims, files)


# ---- what provider and user do, from the control plane's side of the wire --------------------------------------------------

def outside(*command, **options):
    return run(*in_network("provider", *command), **options)


def tb(*arguments):
    return outside(chain.CLI, *arguments, "--quiet", env=chain.bare(HOME=PLACE))


def curl(url, *flags):
    """(status, body); status 0 where nothing answers."""
    done = subprocess.run(in_network("provider", "curl", "-sS", "--max-time", "60", "-w", "\n%{http_code}", *flags, url), text=True, capture_output=True,
                          check=False)
    body, _, code = done.stdout.rpartition("\n")
    return int(code or 0), body


def ask(key, port=8000):
    body = {"messages": [{"role": "user", "content": "tell me a story"}], "max_tokens": 16, "temperature": 0}
    return curl(f"http://{MODEL}:{port}/v1/chat/completions", "-H", "Content-Type: application/json", "-H", "Authorization: Bearer " + key, "-d", json.dumps(body))


def wait(what, check, seconds=90):
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            logs = "".join(subprocess.run(["podman", *STORAGE, "logs", "--tail", "20", one], text=True, capture_output=True, check=False).stderr
                           for one in podman("ps", "-aq", "--filter", "status=running", "--filter", "status=exited").split())
            raise AssertionError(f"waited in vain: {what}\n{logs}")
        time.sleep(0.2)


def health(path):
    return curl(f"http://{MODEL}:8001{path}")[0]


def in_network(side, *command):
    return ["nsenter", "--net=/run/netns/" + NETWORKS[side], *command]


def connect():
    """Two networks, one for each side's pods, and a cable between them."""
    ends = (f"tbk{os.getpid() % 100000}a", f"tbk{os.getpid() % 100000}b")
    for name in NETWORKS.values():
        run("ip", "netns", "add", name)
    run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
    for end, (side, name), address in zip(ends, NETWORKS.items(), (CP, MODEL), strict=True):
        run("ip", "link", "set", end, "netns", name)
        for words in (["addr", "add", address + "/24", "dev", end], ["link", "set", end, "up"], ["link", "set", "lo", "up"]):
            run(*in_network(side, "ip", *words))


def play(side, path):
    """podman's pods cannot be given a network namespace: podman itself is put into it, and calls it the host's."""
    run(*in_network(side, "podman", *STORAGE, "play", "kube", "--network", "host", path))


def start_control_plane(tls):
    certificate, key = tls.issue("cp", f"subjectAltName=IP:{CP}", "serverAuth")
    with open(certificate, "rb") as one, open(key, "rb") as other:
        files = {"tls": handed("cp-tls/tls.crt", one.read())}
        handed("cp-tls/tls.key", other.read())
    files["kek"] = handed("cp-kek/kek", os.urandom(32).hex().encode() + b"\n")
    documents = render.render(render.HERE + "/charts/trustbridge-control-plane", "cp", "provider", {
        "image": {"repository": "localhost/control-plane", "tag": "test"}, "publicUrl": URL, "tls": {"secretName": "tls"}, "kek": {"secretName": "kek"}})[0]
    play("provider", rendered_pod(documents, files))
    wait("the control plane", lambda: curl(URL + "/readyz", "--cacert", tls.ca)[0] == 200)


def publish(tls, plain):
    """The activation token's text."""
    console = ["exec", "cp-control-plane", "trustbridge-control-plane"]
    for name, content in (("token", podman(*console, "token", "create", "--role", "provider", "--tenant", "acme")), ("cp.pub", podman(*console, "identity"))):
        with open(os.open(f"{SHM}/{name}", os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write(content)
    at = ["--edc-endpoint", URL, "--token-file", SHM + "/token", "--ca-path", tls.ca]
    sealed, manifest, key = PLACE + "/model.tbenc", PLACE + "/model.manifest.json", SHM + "/model.key"
    tb("encrypt", "--in", plain, "--asset-id", "tiny", "--out", sealed, "--manifest", manifest, "--key-file", key)
    tb("upload", "--store", "cp:", "--asset-id", "tiny", "--encrypted-file", sealed, "--manifest", manifest, *at)
    tb("register", "--store", "cp:", "--asset-id", "tiny", "--manifest", manifest, "--key-file", key, "--control-plane-key", SHM + "/cp.pub", *at)
    tb("contract", "create", "--contract-id", "acme-1", "--asset-id", "tiny", "--consumer", "acme", "--not-after", "1h", "--max-seats", 1,
       "--lease-seconds", 10, "--activation-token-file", SHM + "/activation", *at)
    with open(SHM + "/activation", "rb") as file:
        return file.read(), at


def model_documents(name="llama", **over):
    return render.render(render.HERE + "/charts/trustbridge-model", name, "models", render.merged({
        "contract": {"id": "acme-1", "assetId": "tiny", "activationTokenSecret": "activation"},
        "controlPlane": {"url": URL, "caConfigMap": "ca", "allowPrivateNetworks": True}, "model": {"sizeMiB": 64},
        "sentinel": {"image": {"repository": "localhost/sentinel", "tag": "test"}},
        "runtime": {"kind": "custom", "image": {"repository": "localhost/runtime", "tag": "test"},
                    "command": ["/opt/engine/node", "/opt/engine/server.mjs", "--model", "{model_path}", "--port", "8081"]}}, over))[0]


def model_files(tls, activation, name, to_root=False):
    with open(tls.ca, "rb") as file:
        return {"ca": handed(f"{name}/ca/ca.crt", file.read()), "activation": handed(f"{name}/activation/token", activation, to_root),
                "identity": handed(f"{name}/identity/pod", name.encode() + b"\n")}


def start_model(tls, activation):
    documents, files = model_documents(), model_files(tls, activation, "llama-0")
    assert policies.violations(documents) == []
    play("consumer", rendered_pod(documents, files))
    wait("the model", lambda: health("/readyz") == 200)


def start_served(tls, activation):
    """The pod that KServe composes: its storage initializer is a real init container here."""
    made = kserve_manifests.fetched(model_documents(state={"persistent": False}), "served", 64)
    initializer = made[0]["spec"]["container"]
    # In the house of the example the image has the CA; here it is this test's own.
    initializer["env"] += [{"name": "TB_CA_PATH", "value": "/etc/trustbridge/ca/ca.crt"}, {"name": "TB_ALLOW_PRIVATE_NETWORKS", "value": "true"}]
    initializer["volumeMounts"].append({"name": "ca", "mountPath": "/etc/trustbridge/ca", "readOnly": True})
    pod = kserve_test.composed(made)["spec"]
    play("consumer", playable("served", pod, [], model_files(tls, activation, "served")))
    wait("KServe's pod", lambda: health("/readyz") == 200)


def start_mounted(tls, activation):
    """The privileged variant: the sentinel is root and mounts, the runtime is not and sees the mount. Its volume must be shared, as
    the kubelet's are."""
    documents = model_documents("mounted", model={"delivery": "privileged-mount", "hydrate": "lazy"}, state={"persistent": False})
    path = rendered_pod(documents, model_files(tls, activation, "mounted", True))
    shared = f"{PLACE}/volumes/mounted-model"
    run("mount", "--bind", shared, shared)
    atexit.register(lambda: subprocess.run(["umount", "--recursive", "--lazy", shared], capture_output=True, check=False))
    run("mount", "--make-shared", shared)
    play("consumer", path)
    wait("the mount", lambda: health("/readyz") == 200)


def inside(container):
    """(user, capabilities, whether its root is read-only) of a container's first process."""
    pid = podman("inspect", "--format", "{{.State.Pid}}", container).strip()
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        status = dict(line.rstrip().split(":\t", 1) for line in file if ":\t" in line)
    with open(f"/proc/{pid}/mounts", encoding="utf-8") as file:
        root = next(line.split() for line in file if line.split()[1] == "/")
    return status["Uid"].split()[0], int(status["CapEff"], 16), "ro" in root[3].split(","), status["NoNewPrivs"]


def main():
    atexit.register(clean)
    tls = tls_files.TlsFiles()
    atexit.register(tls.close)
    chain.engine_command()
    bin_at = "/opt/trustbridge/bin/"
    step("images")
    for name, program in (("control-plane", chain.CONTROL_PLANE), ("sentinel", chain.PROGRAMS + "/trustbridge-sentinel")):
        image(name, [(program, bin_at + os.path.basename(program))])
    image("runtime", [*busybox(), (chain.ENGINE + "/node", "/opt/engine/node"), (chain.ENGINE + "/server.mjs", "/opt/engine/server.mjs")],
          [(chain.ENGINE + "/node_modules", "/opt/engine/node_modules")], "/bin")
    plain = SHM + "/model.gguf"
    run(sys.executable, REPO + "/runtime/make_tiny_gguf.py", plain)
    engine = chain.Engine(plain)
    told = chain.ask(engine.url)
    engine.close()

    connect()
    step("the control plane's pod")
    start_control_plane(tls)
    said = json.loads(podman("exec", "cp-control-plane", "trustbridge-control-plane", "doctor", "--json"))
    [kek] = [one for one in said["findings"] if one["name"] == "kek"]
    assert kek["health"] == "ok", kek
    activation, at = publish(tls, plain)
    step("the model's pod")
    start_model(tls, activation)
    for container in ("cp-control-plane", "llama-sentinel", "llama-runtime"):
        assert inside(container) == (str(USER), 0, True, "1"), (container, inside(container))
    key = podman("exec", "llama-sentinel", "trustbridge-sentinel", "keys", "add", "alice").strip()
    wait("the key", lambda: ask(key)[0] == 200, 30)
    assert json.loads(ask(key)[1])["choices"][0]["message"]["content"] == told, ask(key)
    step("the text equals the engine's own on the plaintext")

    assert curl(f"http://{MODEL}:8081/health")[0] == 0, "the runtime's port is open to other pods"
    pod_side = [*in_network("consumer", "curl"), "-sS", "-H", "Authorization: Bearer " + key]
    assert run(*pod_side, "http://127.0.0.1:8081/health"), "the runtime does not listen where it should"
    assert ask("tbk-wrong")[0] == 401
    status = json.loads(run(*pod_side, "http://127.0.0.1:8001/status"))
    assert (status["delivery"]["kind"], status["isolation"]["mode"]) == ("tmpfs", "external"), status
    model = f"{SHM}/volumes/llama-model/model"
    assert os.listdir(model), "the model is not where the chart says"
    searched = subprocess.run([sys.executable, REPO + "/tests/e2e/find_plaintext.py", plain, "--in", PLACE], text=True, capture_output=True, check=False)
    assert searched.returncode == 0, searched.stdout
    step("closed from outside, nothing of the plaintext on a disk: " + searched.stdout.strip().splitlines()[-1])

    tb("contract", "suspend", "acme-1", *at)
    wait("the end of the traffic", lambda: ask(key)[0] == 403, 60)
    wait("the end of the plaintext", lambda: [one for one in os.listdir(model) if not one.startswith(".")] == [], 60)
    assert health("/startupz") == 503 and health("/livez") == 200, "the runtime's liveness probe would let it live"
    # What the kubelet does, by that probe; in the pod's network, as that is podman's own here.
    run(*in_network("consumer", "podman", *STORAGE, "restart", "--time", "5", "llama-runtime"))
    tb("contract", "resume", "acme-1", *at)
    wait("the model again", lambda: ask(key)[0] == 200, 120)
    assert json.loads(ask(key)[1])["choices"][0]["message"]["content"] == told
    step("suspended: no traffic, no plaintext, the runtime's probe fails; resumed: the same text")

    podman("stop", "--time", "5", "llama-runtime")
    podman("stop", "--time", "30", "llama-sentinel")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "llama-sentinel").strip() == "0"
    assert [one for one in os.listdir(model) if not one.startswith(".")] == []
    step("stopped in the cluster's order, with exit status 0")

    step("KServe's pod, its ciphertext by the storage initializer")
    start_served(tls, activation)
    provisioned = f"{PLACE}/volumes/served-kserve-provision-location"
    assert chain.sha256_of_file(provisioned + "/model.tbenc") == chain.sha256_of_file(PLACE + "/model.tbenc")
    key = podman("exec", "served-sentinel", "trustbridge-sentinel", "keys", "add", "alice").strip()
    wait("the key", lambda: ask(key, 8080)[0] == 200, 30)
    assert json.loads(ask(key, 8080)[1])["choices"][0]["message"]["content"] == told
    searched = subprocess.run([sys.executable, REPO + "/tests/e2e/find_plaintext.py", plain, "--in", PLACE + "/volumes"], text=True, capture_output=True, check=False)
    assert searched.returncode == 0, searched.stdout
    step("the same text, from what the storage initializer brought")

    for one in ("served-kserve-container", "served-sentinel"):
        podman("stop", "--time", "30", one)
    start_mounted(tls, activation)
    assert inside("mounted-runtime") == (str(USER), 0, True, "1") and inside("mounted-sentinel")[0] == "0"
    key = podman("exec", "mounted-sentinel", "trustbridge-sentinel", "keys", "add", "alice").strip()
    wait("the key", lambda: ask(key)[0] == 200, 30)
    assert json.loads(ask(key)[1])["choices"][0]["message"]["content"] == told
    status = json.loads(run(*pod_side, "http://127.0.0.1:8001/status"))
    assert status["delivery"]["kind"] == "mount", status
    for one in ("mounted-runtime", "mounted-sentinel"):
        podman("stop", "--time", "30", one)
    step("the privileged variant: the runtime reads another container's mount")

    podman("stop", "--time", "30", "cp-control-plane")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "cp-control-plane").strip() == "0"


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("SKIPPED: podman is run as root here")
        sys.exit(77)
    main()
