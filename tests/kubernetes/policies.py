"""What must hold of everything that deploy/kubernetes renders, beyond what the API's schemas know: each rule gives the list of
its violations, in words. Pod Security's rules are those of the "restricted" profile (kubernetes.io, Pod Security Standards).
"""
import re

WORKLOADS = {"StatefulSet", "Deployment"}
VOLUMES_ALLOWED = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def bytes_of(quantity):
    found = re.fullmatch(r"([0-9]+)([A-Za-z]*)", str(quantity))
    return int(found[1]) * UNITS[found[2]]


def workloads(documents):
    return [one for one in documents if one["kind"] in WORKLOADS]


def pods(documents):
    """(name, pod spec, labels, names of claims) of every pod that is made."""
    for one in documents:
        if one["kind"] in WORKLOADS:
            claims = [claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", [])]
            yield one["metadata"]["name"], one["spec"]["template"]["spec"], one["spec"]["template"]["metadata"]["labels"], claims
        elif one["kind"] == "Pod":
            yield one["metadata"]["name"], one["spec"], one["metadata"].get("labels", {}), []


def containers(pod):
    return pod.get("initContainers", []) + pod.get("containers", [])


def restricted(documents):
    out = []
    for name, pod, _, _ in pods(documents):
        about = pod.get("securityContext", {})
        for container in containers(pod):
            own, where = container.get("securityContext", {}), f"{name}/{container['name']}"
            if own.get("privileged"):
                out.append(f"{where} is privileged")
            if own.get("allowPrivilegeEscalation") is not False:
                out.append(f"{where} may escalate its privileges")
            if own.get("capabilities", {}).get("drop") != ["ALL"] or set(own["capabilities"].get("add", [])) - {"NET_BIND_SERVICE"}:
                out.append(f"{where} keeps capabilities")
            if not own.get("runAsNonRoot", about.get("runAsNonRoot")):
                out.append(f"{where} may run as root")
            if own.get("runAsUser", about.get("runAsUser")) in (0, None):
                out.append(f"{where} has no user of its own")
            if own.get("seccompProfile", about.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"):
                out.append(f"{where} has no seccomp profile")
            if own.get("readOnlyRootFilesystem") is not True:
                out.append(f"{where} can write its root file system")
            if own.get("procMount", "Default") != "Default":
                out.append(f"{where} has another /proc")
        for volume in pod.get("volumes", []):
            if set(volume) - {"name"} - VOLUMES_ALLOWED:
                out.append(f"{name} has a volume of a forbidden kind: {volume['name']}")
        if about.get("sysctls"):
            out.append(f"{name} sets sysctls")
    return out


def closed_to_the_host(documents):
    out = []
    for name, pod, _, _ in pods(documents):
        out += [f"{name} has {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
        out += [f"{name} mounts the host's {volume['hostPath']}" for volume in pod.get("volumes", []) if "hostPath" in volume]
        out += [f"{name}/{container['name']} takes a port of the host" for container in containers(pod)
                for port in container.get("ports", []) if "hostPort" in port]
        if pod.get("shareProcessNamespace"):
            out.append(f"{name} shares process namespaces")
    return out


def secrets_by_reference(documents):
    """No Secret is made here, and no variable holds what looks like one."""
    out = [f"{one['metadata']['name']} is a Secret with its content" for one in documents if one["kind"] == "Secret"]
    federated = any(one["kind"] == "ServiceAccount" and one["metadata"].get("annotations") for one in documents)
    for name, pod, _, _ in pods(documents):
        for container in containers(pod):
            for variable in container.get("env", []):
                value = variable.get("value", "")
                names_one = re.search(r"PASSWORD|SECRET|API_KEY$|_TOKEN$|CREDENTIALS", variable["name"])
                holds_one = re.search(r"://[^/\s]*:[^/\s]*@|[?&]sig=|-----BEGIN|\btbk-|[0-9a-f]{64}", value)
                if (names_one and value) or holds_one:
                    out.append(f"{name}/{container['name']}: {variable['name']} holds a secret")
        if pod.get("automountServiceAccountToken") is not False and not federated:
            out.append(f"{name} gets a token of its service account")
    return out


def runtime_is_closed(documents):
    """The runtime has no port, listens on loopback, and stands in no Service and no policy."""
    out = []
    for name, pod, _, _ in pods(documents):
        sentinel = next((one for one in containers(pod) if one["name"] == "sentinel"), None)
        if sentinel is None:
            continue
        url = next(one["value"] for one in sentinel["env"] if one["name"] == "TB_RUNTIME_URL")
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)", url)
        if not found:
            out.append(f"{name}: the runtime is at {url}")
            continue
        port = int(found[1])
        for container in pod["containers"]:
            if any(one.get("containerPort") == port for one in container.get("ports", [])):
                out.append(f"{name}/{container['name']} declares the runtime's port")
            words = " ".join(container.get("args", []))
            if re.search(r"0\.0\.0\.0|\[::\]|--host[ =]::", words):
                out.append(f"{name}/{container['name']} is told to listen everywhere")
        for one in documents:
            ports = one["spec"].get("ports", []) if one["kind"] == "Service" else []
            if any(port in (entry.get("targetPort"), entry.get("port")) for entry in ports):
                out.append(f"the Service {one['metadata']['name']} has the runtime's port")
            rules = one["spec"].get("ingress", []) if one["kind"] == "NetworkPolicy" else []
            if any(entry.get("port") == port for rule in rules for entry in rule.get("ports", [])):
                out.append(f"the NetworkPolicy {one['metadata']['name']} opens the runtime's port")
    return out


def selects(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def network_is_held(documents):
    """A NetworkPolicy selects each pod, for both ways, and every rule of it names ports."""
    out = []
    policies = [one["spec"] for one in documents if one["kind"] == "NetworkPolicy"]
    for name, _, labels, _ in pods(documents):
        mine = [one for one in policies if selects(one["podSelector"].get("matchLabels"), labels)]
        for way, where in (("Ingress", "ingress"), ("Egress", "egress")):
            if not any(way in one["policyTypes"] for one in mine):
                out.append(f"no NetworkPolicy selects {name} for {way}")
            for one in mine:
                if any(not rule.get("ports") for rule in one.get(where, [])):
                    out.append(f"a rule for {way} of {name} opens all ports")
        if any(not rule.get("to") for one in mine for rule in one.get("egress", [])):
            out.append(f"{name} may go out to everywhere")
    return out


def selectors_fit(documents):
    out = []
    every = {name: (pod, labels) for name, pod, labels, _ in pods(documents)}
    for one in documents:
        name, spec = one["metadata"]["name"], one.get("spec", {})
        if one["kind"] == "Service":
            hit = [pod for pod, labels in every.values() if selects(spec.get("selector"), labels)]
            ports = {str(value) for pod in hit for container in containers(pod) for port in container.get("ports", [])
                     for value in (port["containerPort"], port.get("name"))}
            if not hit:
                out.append(f"the Service {name} selects nothing")
            out += [f"the Service {name} leads to the port {port['targetPort']}, which is not there"
                    for port in spec["ports"] if hit and str(port["targetPort"]) not in ports]
        if one["kind"] in WORKLOADS and not selects(spec["selector"]["matchLabels"], spec["template"]["metadata"]["labels"]):
            out.append(f"{name} does not select its own pods")
        if one["kind"] == "PodDisruptionBudget" and not any(selects(spec["selector"]["matchLabels"], labels) for _, labels in every.values()):
            out.append(f"the PodDisruptionBudget {name} selects nothing")
        if one["kind"] == "StatefulSet" and spec["serviceName"] not in {other["metadata"]["name"] for other in documents if other["kind"] == "Service"}:
            out.append(f"{name} names the Service {spec['serviceName']}, which is not there")
    accounts = {one["metadata"]["name"] for one in documents if one["kind"] == "ServiceAccount"}
    out += [f"{name} names the ServiceAccount {pod['serviceAccountName']}, which is not there"
            for name, pod, _, _ in pods(documents) if accounts and pod.get("serviceAccountName") not in accounts]
    return out


def probes_point_at_ports(documents):
    out = []
    for name, pod, _, _ in pods(documents):
        ports = {str(value) for container in containers(pod) for port in container.get("ports", [])
                 for value in (port["containerPort"], port.get("name"))}
        for container in containers(pod):
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = container.get(kind)
                if probe and str(probe["httpGet"]["port"]) not in ports:
                    out.append(f"{name}/{container['name']}: {kind} asks a port that is not there")
            if container["name"] in ("sentinel", "control-plane") and not all(
                    kind in container for kind in ("startupProbe", "livenessProbe", "readinessProbe")):
                out.append(f"{name}/{container['name']} lacks a probe")
    return out


def sentinel_comes_first(documents):
    """As a native sidecar, whose startup probe holds the runtime back and which ends after it."""
    out = []
    for name, pod, _, _ in pods(documents):
        for container in containers(pod):
            if container["name"] == "sentinel" and (container.get("restartPolicy") != "Always" or container not in pod.get("initContainers", [])):
                out.append(f"{name}: the sentinel is no native sidecar")
    return out


def volumes_exist(documents):
    out = []
    for name, pod, _, claims in pods(documents):
        there = {volume["name"] for volume in pod.get("volumes", [])} | set(claims)
        used = set()
        for container in containers(pod):
            for mount in container.get("volumeMounts", []):
                used.add(mount["name"])
                if mount["name"] not in there:
                    out.append(f"{name}/{container['name']} mounts {mount['name']}, which is not there")
        out += [f"{name} has the volume {volume}, which nobody mounts" for volume in there - used]
        for container in containers(pod):
            mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            for variable in container.get("env", []):
                value = variable.get("value", "")
                if re.match(r"TB_.*(_PATH|_FILE|_DIR|_KEY|_SIGNAL)$", variable["name"]) and value.startswith("/") and not value.startswith("/proc/") and variable["name"] != "TB_RUNTIME_HEALTH_PATH":
                    if not any(value.startswith(mount + "/") for mount in mounts):
                        if not (variable["name"] == "TB_TARGET_DIR" and {"name": "TB_CACHE", "value": "memory"} in container["env"]):
                            out.append(f"{name}/{container['name']}: {variable['name']} lies on no volume")
    return out


def memory_suffices(documents):
    """The sentinel's limit holds the model beside its own; what the runtime can write is in memory, and its limit holds that."""
    out = []
    for name, pod, _, claims in pods(documents):
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for container in containers(pod):
            limit = container.get("resources", {}).get("limits", {}).get("memory")
            if limit is None:
                out.append(f"{name}/{container['name']} has no memory limit")
                continue
            written = 0
            for mount in container.get("volumeMounts", []):
                empty = volumes.get(mount["name"], {}).get("emptyDir")
                if empty is not None and "sizeLimit" not in empty:
                    out.append(f"{name}: the volume {mount['name']} has no limit")
                in_memory = empty is not None and empty.get("medium") == "Memory"
                if in_memory and not mount.get("readOnly"):
                    written += bytes_of(empty.get("sizeLimit", 0))
                if container["name"] in ("runtime", "kserve-container") and not mount.get("readOnly") and not in_memory:
                    out.append(f"{name}/{container['name']} can write {mount['mountPath']}, which is not memory")
            spare = 128 << 20 if container["name"] == "sentinel" else 0
            if bytes_of(limit) < written + spare:
                out.append(f"{name}/{container['name']}: its memory limit does not hold what it may write into memory")
    return out


def private_files_stay_private(documents):
    """Secrets come as root's files. A program that is not root reads them by the pod's group, one that is root wants no group
    there; and no volume's files are opened to a group at each start."""
    out = []
    for name, pod, _, claims in pods(documents):
        context = pod.get("securityContext", {})
        of_root = any(one.get("securityContext", {}).get("runAsUser") == 0 for one in containers(pod))
        secrets = [volume for volume in pod.get("volumes", []) if "secret" in volume]
        if claims and "fsGroup" in context and context.get("fsGroupChangePolicy") != "OnRootMismatch":
            out.append(f"{name}: private files of a volume would be opened to the group at each start")
        for volume in secrets:
            if volume["secret"].get("defaultMode") != (0o400 if of_root else 0o440):
                out.append(f"{name}: the secret {volume['name']} can be read by others, or not by us")
        if secrets and of_root == ("fsGroup" in context):
            out.append(f"{name}: its group cannot read its secrets" if not of_root else f"{name}: secrets of root would be opened to a group")
        if not of_root and context.get("fsGroup") != context.get("runAsGroup"):
            out.append(f"{name}: its group cannot read its secrets")
    return out


def stops_in_order(documents):
    """Answers under way, then the runtime, then the sentinel: all within the grace period."""
    out = []
    for name, pod, _, _ in pods(documents):
        grace = pod.get("terminationGracePeriodSeconds", 30)
        for container in pod["containers"]:
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            if container["name"] in ("runtime", "kserve-container") and sleep < 1:
                out.append(f"{name}: the runtime is stopped under its requests")
            if sleep + 30 > grace:
                out.append(f"{name}: the grace period of {grace} s is too short")
    return out


LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?\Z")
LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")


def names_are_valid(documents):
    """What an API server checks beyond types: names, labels, and that nothing stands twice."""
    out = []
    for one in documents:
        metadata = [one["metadata"]] + ([one["spec"]["template"]["metadata"]] if one["kind"] in WORKLOADS else [])
        if not DNS_LABEL.match(one["metadata"]["name"]):
            out.append(f"{one['kind']} has the name {one['metadata']['name']}")
        for key, value in [pair for about in metadata for pair in about.get("labels", {}).items()]:
            if not LABEL_KEY.match(key) or not LABEL.match(value):
                out.append(f"{one['kind']} has the label {key}={value[:80]!r}")
    for name, pod, _, claims in pods(documents):
        lists = {"volumes": [one["name"] for one in pod.get("volumes", [])] + claims, "containers": [one["name"] for one in containers(pod)]}
        for container in containers(pod):
            where = container["name"]
            lists |= {f"{where}'s variables": [one["name"] for one in container.get("env", [])],
                      f"{where}'s mounts": [one["mountPath"] for one in container.get("volumeMounts", [])]}
            out += [f"{name}/{where} has the port name {one['name']}" for one in container.get("ports", []) if len(one.get("name", "")) > 15]
        out += [f"{name}: {what} have one twice" for what, names in lists.items() if len(names) != len(set(names))]
        out += [f"{name} has a part of the name {one}" for one in lists["volumes"] + lists["containers"] if not DNS_LABEL.match(one)]
    return out


RULES = [restricted, closed_to_the_host, secrets_by_reference, runtime_is_closed, network_is_held, selectors_fit, probes_point_at_ports,
         sentinel_comes_first, volumes_exist, memory_suffices, private_files_stay_private, stops_in_order, names_are_valid]


def violations(documents, rules=None):
    return [f"{rule.__name__}: {one}" for rule in (rules or RULES) for one in rule(documents)]
