"""kserve/*.yaml, made from the model chart's own pod, so that both are the same sentinel and the same runtime.

Two ways (docs/kserve-kv-cache.md): `inferenceservice` has the sentinel as a native sidecar, which downloads by itself;
`fetched` has KServe's storage initializer bring the ciphertext first, by a ClusterStorageContainer for trustbridge:// URIs,
and the sentinel in a ServingRuntime, which knows no init containers, as an ordinary one beside the runtime.
"""
import copy

MODELS = "/mnt/models"  # where KServe puts what a storage initializer brings
PROVISIONED = "kserve-provision-location"  # the volume's name there
PUBLIC_PORT = 8080  # what KServe's Services lead to


def pod_of(documents):
    return copy.deepcopy(next(one for one in documents if one["kind"] == "StatefulSet")["spec"]["template"]["spec"])


def set_variable(container, name, value):
    for variable in container["env"]:
        if variable["name"] == name:
            variable["value"] = value
            return
    container["env"].append({"name": name, "value": value})


def for_kserve(documents):
    """(sentinel, runtime, rest of the pod): the sentinel takes KServe's port, the runtime has KServe's name."""
    pod = pod_of(documents)
    [sentinel], [runtime] = pod.pop("initContainers"), pod.pop("containers")
    set_variable(sentinel, "TB_PUBLIC_ADDR", f"0.0.0.0:{PUBLIC_PORT}")
    sentinel["ports"][0]["containerPort"] = PUBLIC_PORT
    runtime["name"] = "kserve-container"
    pod.pop("serviceAccountName")
    return sentinel, runtime, pod


def inference_service(name, predictor):
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
            "metadata": {"name": name, "annotations": {"serving.kserve.io/deploymentMode": "RawDeployment"}},
            "spec": {"predictor": predictor}}


def network_policy(documents, name):
    policy = copy.deepcopy(next(one for one in documents if one["kind"] == "NetworkPolicy"))
    policy["metadata"] = {"name": name}
    policy["spec"]["podSelector"] = {"matchLabels": {"serving.kserve.io/inferenceservice": name}}
    policy["spec"]["ingress"][0]["ports"] = [{"port": PUBLIC_PORT, "protocol": "TCP"}]
    return policy


def native(documents, name):
    sentinel, runtime, pod = for_kserve(documents)
    predictor = pod | {"minReplicas": 1, "maxReplicas": 1, "initContainers": [sentinel], "containers": [runtime],
                       # A second pod would ask for a second seat and a second GPU.
                       "deploymentStrategy": {"type": "Recreate"}}
    return [inference_service(name, predictor), network_policy(documents, name)]


def variable(container, name):
    return next(one["value"] for one in container["env"] if one["name"] == name)


def fetched(documents, name, cache_mib):
    sentinel, runtime, pod = for_kserve(documents)
    uri = f"trustbridge://{variable(sentinel, 'TB_CONTRACT_ID')}/{variable(sentinel, 'TB_ASSET_ID')}"
    initializer = {
        "name": "storage-initializer", "image": sentinel["image"], "command": ["trustbridge-sentinel", "fetch"],
        "env": [{"name": "TB_EDC_ENDPOINT", "value": variable(sentinel, "TB_EDC_ENDPOINT")},
                {"name": "TB_ACTIVATION_TOKEN_FILE", "value": variable(sentinel, "TB_ACTIVATION_TOKEN_FILE")},
                # The pod's own identity is no volume that every pod has; the node's boot is as good for a fetch.
                {"name": "TB_HW_ID_FILE", "value": "/proc/sys/kernel/random/boot_id"}],
        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": copy.deepcopy(sentinel["securityContext"]),
        "volumeMounts": [{"name": "activation", "mountPath": "/etc/trustbridge/activation", "readOnly": True}]}
    storage = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ClusterStorageContainer", "metadata": {"name": "trustbridge"},
               "spec": {"container": initializer, "supportedUriFormats": [{"prefix": "trustbridge://"}], "workloadType": "initContainer",
                        "supportsMultiModelDownload": False}}
    del sentinel["restartPolicy"]
    # It starts together with the runtime, which waits for its signal.
    del sentinel["startupProbe"]
    set_variable(sentinel, "TB_SOURCE", "file:" + MODELS)
    sentinel["volumeMounts"].append({"name": PROVISIONED, "mountPath": MODELS, "readOnly": True})
    volumes = pod.pop("volumes") + [{"name": PROVISIONED, "emptyDir": {"sizeLimit": f"{cache_mib}Mi"}}]
    serving = {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": {"name": name},
               "spec": {"supportedModelFormats": [{"name": "trustbridge"}], "protocolVersions": ["v2"], "containers": [runtime, sentinel],
                        "volumes": volumes}}
    predictor = pod | {"minReplicas": 1, "maxReplicas": 1, "deploymentStrategy": {"type": "Recreate"},
                       "model": {"modelFormat": {"name": "trustbridge"}, "runtime": name, "storageUri": uri}}
    return [storage, serving, inference_service(name, predictor), network_policy(documents, name)]


def all_of(documents, name, cache_mib):
    """File's name to its documents."""
    return {"inferenceservice": native(documents, name), "fetched": fetched(documents, name, cache_mib)}
