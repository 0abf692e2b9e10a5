"""Everything that the charts of deploy/kubernetes render, over a table of values: held against the API's own schemas and the
rules of policies.py; what must be refused; and, for each rule, a change that it must notice.
"""
import copy
import functools
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
DEPLOY = os.path.join(REPO, "deploy", "kubernetes")
MODELS = os.path.join(REPO, "build", "kubernetes")
sys.path.insert(0, DEPLOY)
import jsonschema  # noqa: E402
import policies  # noqa: E402
import render  # noqa: E402
import yaml_text  # noqa: E402

MODEL, CONTROL_PLANE = DEPLOY + "/charts/trustbridge-model", DEPLOY + "/charts/trustbridge-control-plane"
IMAGE = {"repository": "registry.example/image", "tag": "1"}
VALUES = {"contract": {"id": "c-1", "assetId": "a-1", "activationTokenSecret": "activation"},
          "controlPlane": {"url": "https://cp.example"}, "sentinel": {"image": IMAGE}, "runtime": {"image": IMAGE}}
CP_VALUES = {"image": IMAGE, "publicUrl": "https://cp.example", "tls": {"secretName": "tls"}, "kek": {"secretName": "kek"}}
RUNTIMES = {"vllm": {}, "llama-server": {}, "triton": {}, "custom": {"command": ["/opt/serve", "{model_path}", "--port=8081"]}}


def model(**over):
    return render.render(MODEL, "llama", "models", render.merged(VALUES, over))[0]


def control_plane(**over):
    return render.render(CONTROL_PLANE, "cp", "provider", render.merged(CP_VALUES, over))[0]


@functools.cache
def table():
    """(name, documents) of every combination that is worth one."""
    return list(combinations())


def combinations():
    for (kind, more), delivery, tls, keys, state in itertools.product(
            RUNTIMES.items(), ("memory", "privileged-mount"), ("", "public-tls"), ("", "api-keys"), (True, False)):
        yield f"{kind}, {delivery}, tls={tls}, keys={keys}, state={state}", model(
            runtime={"kind": kind} | more, model={"delivery": delivery}, tls={"secretName": tls}, access={"apiKeysSecret": keys},
            state={"persistent": state})
    for cache in ("none", "node", "persistent"):
        yield f"cache {cache}", model(cache={"kind": cache})
    yield "all of it", model(
        replicas=3, fullnameOverride="other", userNamespace=True, providerKeyConfigMap="provider", serviceMonitor={"enabled": True, "keySecret": "status"},
        controlPlane={"caConfigMap": "ca", "clientCertificateSecret": "client", "allowPrivateNetworks": True},
        tls={"secretName": "public-tls", "clientCaConfigMap": "client-ca"}, sentinel={"settings": {"TB_JWT_ISSUER": "https://issuer.example"}},
        runtime={"args": ["--max-model-len", "8192"], "env": {"NCCL_DEBUG": "WARN"}, "resources": {"limits": {"memory": "32Gi", "nvidia.com/gpu": 2}}},
        networkPolicy={"clients": [{"podSelector": {"matchLabels": {"a": "b"}}}], "monitoring": [{"namespaceSelector": {}}],
                       "egressPeers": [{"podSelector": {"matchLabels": {"app": "cp"}}}], "egressPorts": [443, 8443]},
        service={"type": "LoadBalancer", "annotations": {"a/b": "c"}}, podLabels={"team": "x"}, podAnnotations={"note": "y: z"},
        nodeSelector={"gpu": "true"}, tolerations=[{"key": "gpu", "operator": "Exists"}], priorityClassName="high", runtimeClassName="kata",
        topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"a": "b"}}}],
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]}}},
        imagePullSecrets=[{"name": "pull"}])
    for monitor in (False, True):
        yield f"control plane, sqlite, monitor={monitor}", control_plane(serviceMonitor={"enabled": monitor, "tokenSecret": "auditor", "serverName": "cp.example", "caConfigMap": "ca"})
    nodes = {"replicas": 3, "database": {"kind": "postgresql", "urlSecret": "db", "caConfigMap": "db-ca"}, "networkPolicy": {"egressPeers": [{"podSelector": {"matchLabels": {"app": "db"}}}]}}
    yield "control plane, nodes on a shared volume", control_plane(volume={"existingClaim": "shared"}, **nodes)
    for credential in ("workload-identity", "managed-identity", "key-file"):
        yield f"control plane, azure by {credential}", control_plane(
            blobs={"kind": "azure", "azurePlace": "account/models/{tenant}", "azureCredential": credential, "azureKeySecret": "store"},
            tls={"secretName": "tls", "clientCaConfigMap": "client-ca"}, **nodes)
    yield "control plane, kms", control_plane(
        kek={"secretName": "", "transit": {"url": "transit:https://kms.example:8200/transit/key", "tokenSecret": "kms", "caConfigMap": "kms-ca"}})


def api_faults(documents):
    """For each document what the API's schemas find."""
    lines = "".join(json.dumps(one) + "\n" for one in documents)
    done = subprocess.run([os.path.join(REPO, "build", "engine", "node"), HERE + "/api_check.mjs", MODELS], input=lines, text=True,
                          capture_output=True, check=False, timeout=120)
    if done.returncode:
        raise AssertionError(done.stderr)
    out = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(out) == len(documents), "a document was not looked at"
    return out


def closed(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


TEXT = {"type": "string"}
KEY_OF = closed(("name", "key"), name=TEXT, key=TEXT)
# What the charts use of the Prometheus operator's ServiceMonitor (monitoring.coreos.com/v1), which is no kind of Kubernetes' own.
SERVICE_MONITOR = jsonschema.Draft7Validator(closed(
    ("apiVersion", "kind", "metadata", "spec"), apiVersion={"const": "monitoring.coreos.com/v1"}, kind={"const": "ServiceMonitor"}, metadata={"type": "object"},
    spec=closed(("selector", "endpoints"), selector=closed(("matchLabels",), matchLabels={"type": "object", "additionalProperties": TEXT}),
                endpoints={"type": "array", "minItems": 1, "items": closed(
                    ("port", "path"), port=TEXT, path=TEXT, interval=TEXT, scheme={"enum": ["http", "https"]},
                    authorization=closed(("type", "credentials"), type=TEXT, credentials=KEY_OF),
                    tlsConfig=closed((), serverName=TEXT, ca=closed(("configMap",), configMap=KEY_OF)))})))


def own_kinds(documents):
    return [one for one in documents if one["kind"] != "ServiceMonitor"]


class Table(unittest.TestCase):
    def test_every_object_fits_the_apis_schemas(self):
        names, documents = [], []
        for name, rendered in table():
            for one in own_kinds(rendered):
                names.append(f"{name}: {one['kind']}")
                documents.append(one)
        self.assertGreater(len(documents), 300)
        for name, faults in zip(names, api_faults(documents), strict=True):
            self.assertEqual(faults, [], name)

    def test_every_rule_holds(self):
        for name, documents in table():
            found = policies.violations(documents)
            if "privileged-mount" in name:
                self.assertTrue(any("sentinel is privileged" in one for one in found), name)
                for change, about in ((lambda pod: pod["securityContext"].update(fsGroup=65532, fsGroupChangePolicy="OnRootMismatch"), "opened to a group"),
                                      (lambda pod: next(v for v in pod["volumes"] if "secret" in v)["secret"].update(defaultMode=0o440), "not by us")):
                    changed = copy.deepcopy(documents)
                    change(pod_of(changed))
                    self.assertTrue(any(about in one for one in policies.private_files_stay_private(changed)), about)
                found = [one for one in found if not one.startswith("restricted: llama/sentinel")]
            self.assertEqual(found, [], name)

    def test_every_service_monitor_fits_and_finds_its_service(self):
        seen = 0
        for name, documents in table():
            for one in documents:
                if one["kind"] != "ServiceMonitor":
                    continue
                seen += 1
                self.assertEqual([fault.message for fault in SERVICE_MONITOR.iter_errors(one)], [], name)
                services = [other for other in documents if other["kind"] == "Service" and policies.selects(one["spec"]["selector"]["matchLabels"], other["metadata"]["labels"])]
                self.assertEqual(len(services), 1, name)
                self.assertIn(one["spec"]["endpoints"][0]["port"], [port["name"] for port in services[0]["spec"]["ports"]])
        self.assertGreaterEqual(seen, 2)

    def test_the_schemas_notice_what_is_wrong(self):
        def changed(change):
            pod = copy.deepcopy(next(one for one in model() if one["kind"] == "StatefulSet"))
            change(pod["spec"]["template"]["spec"])
            return pod
        cases = [(lambda pod: pod.update(serviceAcountName="x"), "/spec/template/spec/serviceAcountName is unknown"),
                 (lambda pod: pod["initContainers"][0].update(restartPolicy=1), "restartPolicy"),
                 (lambda pod: pod["initContainers"][0]["startupProbe"].update(failureTreshold=1), "failureTreshold is unknown"),
                 (lambda pod: pod["containers"][0].pop("name"), "required"),
                 (lambda pod: pod["volumes"][0]["emptyDir"].update(sizelimit="1Gi"), "sizelimit is unknown"),
                 (lambda pod: pod["containers"][0]["env"].append({"name": "A", "value": 1}), "value"),
                 (lambda pod: pod["securityContext"].update(fsGroup="65532"), "fsGroup")]
        for (_, about), faults in zip(cases, api_faults([changed(change) for change, _ in cases]), strict=True):
            self.assertTrue(any(about in one for one in faults), (about, faults))
        self.assertEqual(api_faults([{"apiVersion": "v1", "kind": "Pond"}]), [["no schema of v1 Pond"]])


def pod_of(documents):
    return next(one for one in documents if one["kind"] in policies.WORKLOADS)["spec"]["template"]["spec"]


def sentinel_of(documents):
    return pod_of(documents)["initContainers"][0]


def runtime_of(documents):
    return pod_of(documents)["containers"][0]


def kind_of(documents, kind):
    return next(one for one in documents if one["kind"] == kind)


def set_env(documents, name, value):
    next(one for one in sentinel_of(documents)["env"] if one["name"] == name)["value"] = value


MUTATIONS = [
    (lambda d: runtime_of(d)["securityContext"].update(allowPrivilegeEscalation=True), "may escalate"),
    (lambda d: runtime_of(d)["securityContext"].pop("allowPrivilegeEscalation"), "may escalate"),
    (lambda d: sentinel_of(d)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]), "keeps capabilities"),
    (lambda d: sentinel_of(d)["securityContext"].pop("capabilities"), "keeps capabilities"),
    (lambda d: sentinel_of(d)["securityContext"].update(runAsNonRoot=False), "may run as root"),
    (lambda d: sentinel_of(d)["securityContext"].update(runAsUser=0), "no user of its own"),
    (lambda d: sentinel_of(d)["securityContext"].update(privileged=True), "is privileged"),
    (lambda d: sentinel_of(d)["securityContext"].update(seccompProfile={"type": "Unconfined"}), "no seccomp profile"),
    (lambda d: runtime_of(d)["securityContext"].update(readOnlyRootFilesystem=False), "can write its root"),
    (lambda d: pod_of(d)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "mounts the host's"),
    (lambda d: pod_of(d)["volumes"].append({"name": "x", "nfs": {"server": "a", "path": "/"}}), "forbidden kind"),
    (lambda d: pod_of(d).update(hostNetwork=True), "has hostNetwork"),
    (lambda d: pod_of(d).update(hostPID=True), "has hostPID"),
    (lambda d: pod_of(d).update(shareProcessNamespace=True), "shares process namespaces"),
    (lambda d: sentinel_of(d)["ports"][0].update(hostPort=8000), "takes a port of the host"),
    (lambda d: runtime_of(d)["env"].append({"name": "HF_TOKEN", "value": "x"}), "HF_TOKEN holds a secret"),
    (lambda d: runtime_of(d)["env"].append({"name": "DB", "value": "postgresql://a:b@c/d"}), "DB holds a secret"),
    (lambda d: runtime_of(d)["env"].append({"name": "URL", "value": "https://a.example/b?sig=c"}), "URL holds a secret"),
    (lambda d: d.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {}}), "is a Secret with its content"),
    (lambda d: pod_of(d).update(automountServiceAccountToken=True), "gets a token"),
    (lambda d: set_env(d, "TB_RUNTIME_URL", "http://0.0.0.0:8081"), "the runtime is at"),
    (lambda d: runtime_of(d).update(ports=[{"containerPort": 8081}]), "declares the runtime's port"),
    (lambda d: runtime_of(d)["args"].append("--host=0.0.0.0"), "told to listen everywhere"),
    (lambda d: kind_of(d, "Service")["spec"]["ports"].append({"name": "r", "port": 81, "targetPort": 8081}), "has the runtime's port"),
    (lambda d: kind_of(d, "NetworkPolicy")["spec"]["ingress"][0]["ports"].append({"port": 8081}), "opens the runtime's port"),
    (lambda d: kind_of(d, "NetworkPolicy")["spec"]["ingress"].append({}), "opens all ports"),
    (lambda d: kind_of(d, "NetworkPolicy")["spec"]["egress"].append({"ports": [{"port": 443}]}), "may go out to everywhere"),
    (lambda d: kind_of(d, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].update(other="x"), "no NetworkPolicy selects llama for Egress"),
    (lambda d: kind_of(d, "NetworkPolicy")["spec"].update(policyTypes=["Ingress"]), "no NetworkPolicy selects llama for Egress"),
    (lambda d: d.remove(kind_of(d, "NetworkPolicy")), "no NetworkPolicy selects llama for Ingress"),
    (lambda d: kind_of(d, "Service")["spec"]["selector"].update(other="x"), "selects nothing"),
    (lambda d: kind_of(d, "Service")["spec"]["ports"][0].update(targetPort="publik"), "leads to the port publik"),
    (lambda d: kind_of(d, "StatefulSet")["spec"]["selector"]["matchLabels"].update(other="x"), "does not select its own pods"),
    (lambda d: kind_of(d, "StatefulSet")["spec"].update(serviceName="none"), "names the Service none"),
    (lambda d: kind_of(d, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(other="x"), "PodDisruptionBudget llama selects nothing"),
    (lambda d: pod_of(d).update(serviceAccountName="none"), "names the ServiceAccount none"),
    (lambda d: sentinel_of(d)["readinessProbe"]["httpGet"].update(port="helth"), "readinessProbe asks a port that is not there"),
    (lambda d: runtime_of(d)["livenessProbe"]["httpGet"].update(port=8081), "livenessProbe asks a port that is not there"),
    (lambda d: sentinel_of(d).pop("startupProbe"), "lacks a probe"),
    (lambda d: sentinel_of(d).pop("restartPolicy"), "no native sidecar"),
    (lambda d: pod_of(d)["containers"].append(pod_of(d)["initContainers"].pop()), "no native sidecar"),
    (lambda d: pod_of(d)["volumes"].pop(), "which is not there"),
    (lambda d: sentinel_of(d)["volumeMounts"].append({"name": "typo", "mountPath": "/x"}), "mounts typo"),
    (lambda d: pod_of(d)["volumes"].append({"name": "x", "emptyDir": {"sizeLimit": "1Mi"}}), "which nobody mounts"),
    (lambda d: set_env(d, "TB_STATE_DIR", "/var/other"), "TB_STATE_DIR lies on no volume"),
    (lambda d: set_env(d, "TB_ACTIVATION_TOKEN_FILE", "/etc/trustbridge/token"), "TB_ACTIVATION_TOKEN_FILE lies on no volume"),
    (lambda d: sentinel_of(d)["resources"]["limits"].update(memory="8192Mi"), "memory limit does not hold"),
    (lambda d: sentinel_of(d)["resources"].pop("limits"), "has no memory limit"),
    (lambda d: runtime_of(d)["resources"]["limits"].update(memory="1Gi"), "memory limit does not hold"),
    (lambda d: pod_of(d)["volumes"][1]["emptyDir"].pop("medium"), "which is not memory"),
    (lambda d: pod_of(d)["volumes"][0]["emptyDir"].pop("sizeLimit"), "has no limit"),
    (lambda d: pod_of(d)["securityContext"].update(fsGroupChangePolicy="Always"), "opened to the group"),
    (lambda d: pod_of(d)["securityContext"].pop("fsGroup"), "its group cannot read its secrets"),
    (lambda d: next(v for v in pod_of(d)["volumes"] if "secret" in v)["secret"].pop("defaultMode"), "can be read by others"),
    (lambda d: runtime_of(d).pop("lifecycle"), "stopped under its requests"),
    (lambda d: pod_of(d).update(terminationGracePeriodSeconds=30), "too short"),
    (lambda d: kind_of(d, "Service")["metadata"].update(name="A_b"), "has the name A_b"),
    (lambda d: kind_of(d, "StatefulSet")["spec"]["template"]["metadata"]["labels"].update(a="b c"), "has the label a="),
    (lambda d: kind_of(d, "Service")["metadata"]["labels"].update(a="x" * 64), "has the label a="),
    (lambda d: sentinel_of(d)["env"].append({"name": "TB_CACHE", "value": "disk"}), "sentinel's variables have one twice"),
    (lambda d: runtime_of(d)["volumeMounts"].append({"name": "model", "mountPath": "/tmp"}), "runtime's mounts have one twice"),
    (lambda d: sentinel_of(d)["ports"][0].update(name="a-name-that-is-too-long"), "has the port name"),
]


class Rules(unittest.TestCase):
    def test_each_notices_what_it_is_for(self):
        sound = model(replicas=2)
        self.assertEqual(policies.violations(sound), [])
        noticed = set()
        for index, (mutate, about) in enumerate(MUTATIONS):
            documents = copy.deepcopy(sound)
            mutate(documents)
            found = policies.violations(documents)
            with self.subTest(index=index, about=about):
                self.assertTrue(any(about in one for one in found), found)
            noticed |= {one.split(":")[0] for one in found if about in one}
        self.assertEqual(noticed, {rule.__name__ for rule in policies.RULES}, "a rule that nothing here breaks")


HOSTILE = ["a\nb: c", "a\n", "x'y", 'x"y', "{{ .Release.Name }}", "$(rm -rf /)", "`id`", "../..", "a b", "", "x" * 300, "- a", "*", "a: b # c", "\u0000", "é"]


class Refused(unittest.TestCase):
    def refused(self, chart, values, about):
        with self.assertRaises(render.ChartError) as caught:
            render.render(chart, "llama", "models", values)
        self.assertRegex(str(caught.exception), about)

    def test_values_that_a_schema_does_not_know(self):
        for over in ({"replica": 2}, {"contract": {"token": "x"}}, {"sentinel": {"image": {"name": "x"}}}, {"networkPolicy": {"enable": False}},
                     {"networkPolicy": {"clients": [{"podselector": {}}]}}):
            self.refused(MODEL, render.merged(VALUES, over), "Additional properties")
        self.refused(CONTROL_PLANE, render.merged(CP_VALUES, {"kekk": {}}), "Additional properties")

    def test_what_is_required(self):
        for path in (("contract", "id"), ("contract", "assetId"), ("contract", "activationTokenSecret"), ("controlPlane", "url"), ("sentinel", "image"), ("runtime", "image")):
            values = copy.deepcopy(VALUES)
            del values[path[0]][path[1]]
            self.refused(MODEL, values, path[0])
        for name in ("image", "publicUrl", "tls", "kek"):
            self.refused(CONTROL_PLANE, {key: value for key, value in CP_VALUES.items() if key != name}, name)

    def test_combinations_that_cannot_work(self):
        for over in ({"runtime": {"kind": "custom"}}, {"runtime": {"command": ["x"]}}, {"runtime": {"port": 8000}}, {"runtime": {"port": 80}},
                     {"model": {"hydrate": "lazy"}}, {"userNamespace": True, "model": {"delivery": "privileged-mount"}}, {"tls": {"clientCaConfigMap": "ca"}}, {"controlPlane": {"url": "http://cp.example"}},
                     {"controlPlane": {"url": "https://user@cp.example"}}, {"userId": 0}, {"replicas": "2"}, {"networkPolicy": {"egress": []}},
                     {"sentinel": {"settings": {"TB_STATE_DIR": "/x"}}}, {"sentinel": {"settings": {"PATH": "/x"}}}, {"runtime": {"env": {"TB_X": "y"}}},
                     {"runtime": {"env": {"VLLM_SERVER_DEV_MODE": "1"}}}, {"podLabels": {"app.kubernetes.io/name": "x"}}, {"podLabels": {"a": "b c"}},
                     {"sentinel": {"image": {"repository": "x", "tag": "", "digest": ""}}}, {"sentinel": {"memoryMiB": 16}}):
            with self.subTest(over=over):
                self.refused(MODEL, render.merged(VALUES, over), "values do not fit")
        for over in ({"replicas": 2}, {"database": {"kind": "postgresql"}}, {"database": {"kind": "postgresql", "urlSecret": "x"}},
                     {"blobs": {"kind": "azure"}}, {"kek": {"secretName": ""}}, {"settings": {"TB_CP_KEK": "x"}}, {"publicUrl": "http://x"}):
            with self.subTest(over=over):
                self.refused(CONTROL_PLANE, render.merged(CP_VALUES, over), "values do not fit")

    def test_hostile_names_are_refused(self):
        places = [("contract", "id"), ("contract", "assetId"), ("contract", "activationTokenSecret"), ("contract", "activationTokenKey"), ("controlPlane", "url")]
        for (outer, inner), text in itertools.product(places, HOSTILE):
            with self.subTest(place=inner, text=text):
                self.refused(MODEL, render.merged(VALUES, {outer: {inner: text}}), "values do not fit")
        for text in HOSTILE:
            for name, namespace in ((text, "models"), ("llama", text)):
                with self.assertRaises(render.ChartError):
                    render.render(MODEL, name, namespace, VALUES)
            if text:
                self.refused(MODEL, render.merged(VALUES, {"fullnameOverride": text}), "values do not fit")
                self.refused(MODEL, render.merged(VALUES, {"model": {"servedName": text}}), "values do not fit")

    def test_hostile_texts_stay_where_they_are(self):
        for text in HOSTILE:
            documents = model(runtime={"args": [text], "env": {"A": text}}, sentinel={"settings": {"TB_JWT_AUDIENCE": text}}, podAnnotations={"note": text})
            self.assertEqual(runtime_of(documents)["args"][-1], text)
            self.assertIn({"name": "A", "value": text}, runtime_of(documents)["env"])
            self.assertIn({"name": "TB_JWT_AUDIENCE", "value": text}, sentinel_of(documents)["env"])
            self.assertEqual(kind_of(documents, "StatefulSet")["spec"]["template"]["metadata"]["annotations"]["note"], text)
            self.assertEqual(len(documents), len(model()), "an object too many")
            self.assertEqual(policies.violations(documents), [])
            self.assertEqual(yaml_text.load_all(render.as_manifest(documents)), documents)


class Manifests(unittest.TestCase):
    def test_they_are_up_to_date(self):
        render.run_examples(check=True)

    def test_a_stale_one_is_noticed(self):
        name, chart, values = next(iter(render.examples()))
        self.assertNotEqual(render.example_manifest(name, chart, values), render.example_manifest(name, chart, render.merged(values, {"userId": 1234})))

    def test_notes_say_what_costs(self):
        notes = render.render(MODEL, "llama", "models", render.merged(VALUES, {"model": {"delivery": "privileged-mount"}, "state": {"persistent": False}}))[1]
        for about in ("privileged", "plain HTTP", "state.persistent", "keys add"):
            self.assertIn(about, notes)

    def test_every_setting_is_one_of_the_programs(self):
        """What the charts set and forbid are settings that the programs know."""
        with open(REPO + "/docs/config.md", encoding="utf-8") as page, open(REPO + "/docs/control-plane-config.md", encoding="utf-8") as other:
            known = set(re.findall(r"TB_[A-Z0-9_]+", page.read() + other.read()))
        for chart in (MODEL, CONTROL_PLANE):
            for name in os.listdir(chart + "/templates"):
                used = set(re.findall(r"TB_[A-Z0-9_]+", render.read(f"{chart}/templates/{name}")))
                self.assertLessEqual(used, known, name)
            forbidden = set(re.findall(r'"(TB_[A-Z0-9_]+)"', render.read(chart + "/values.schema.json")))
            self.assertGreater(len(forbidden), 10)
            self.assertLessEqual(forbidden, known)


class WaitForModel(unittest.TestCase):
    """The few lines of shell in the runtime's container, as rendered, by a real shell."""

    def setUp(self):
        work = tempfile.TemporaryDirectory()
        self.addCleanup(work.cleanup)
        self.signal = work.name + "/ready.signal"
        container = runtime_of(model(runtime={"kind": "custom", "command": ["x"]}))
        self.command, self.script = container["command"], container["args"][0]

    def begin(self, *arguments):
        process = subprocess.Popen([*self.command, self.script, "wait-for-model", self.signal, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def say(self, path):
        with open(self.signal + ".partial", "w", encoding="utf-8") as file:
            file.write(json.dumps({"ready": True, "path": path, "plaintext_bytes": 5}, separators=(",", ":")) + "\n")
        os.rename(self.signal + ".partial", self.signal)

    def test_it_waits_and_becomes_the_runtime_with_the_path_in_its_arguments(self):
        show = [sys.executable, "-c", "import sys, json; print(json.dumps(sys.argv[1:]))", "{model_path}", "--repository={model_path}/x", "a b", "$(id)", "", "*", "it's"]
        process = self.begin(*show)
        time.sleep(0.2)
        self.assertIsNone(process.poll(), "it did not wait")
        self.say("/models/model/a b.gguf")
        out, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, err), (0, ""))
        self.assertEqual(json.loads(out), ["/models/model/a b.gguf", "--repository=/models/model/a b.gguf/x", "a b", "$(id)", "", "*", "it's"])

    def test_it_ends_when_it_is_told_to_while_it_waits(self):
        process = self.begin("true")
        time.sleep(0.3)
        process.terminate()
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 143)

    def test_a_path_that_it_cannot_read_is_refused(self):
        self.say('/models/a"b')
        process = self.begin("true")
        _, err = process.communicate(timeout=60)
        self.assertEqual((process.returncode, err), (1, "the ready signal names no path\n"))


if __name__ == "__main__":
    if not os.path.isdir(MODELS + "/node_modules"):
        sys.exit("the Kubernetes API's schemas are missing: run scripts/test-tools.sh")
    unittest.main(verbosity=1)
