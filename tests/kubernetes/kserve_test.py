"""deploy/kubernetes/kserve: objects by a closed schema of what we use of KServe's API, and the pods that KServe would make of
them by its own steps, as far as its source tells them, by the API's schemas and the rules of policies.py. Not run in a cluster.
"""
import copy
import json
import os
import unittest

import jsonschema

import chart_test
import policies
import yaml_text
from chart_test import DEPLOY, HERE

with open(HERE + "/kserve_schema.json", encoding="utf-8") as _file:
    SCHEMA = jsonschema.Draft7Validator(json.load(_file))
EXTENSIONS = {"minReplicas", "maxReplicas", "deploymentStrategy", "model"}


def documents(name):
    with open(f"{DEPLOY}/kserve/{name}.yaml", encoding="utf-8") as file:
        return yaml_text.load_all(file.read())


def of_kind(objects, kind):
    return next(one for one in objects if one["kind"] == kind)


def composed(objects):
    """The pod that KServe makes: the runtime's spec below the predictor's, then the storage initializer, which is appended to the
    init containers, gets URI and place as its arguments, and writes where kserve-container only reads."""
    service = of_kind(objects, "InferenceService")
    predictor = service["spec"]["predictor"]
    spec = {key: copy.deepcopy(value) for key, value in predictor.items() if key not in EXTENSIONS}
    if "model" in predictor:
        serving = of_kind(objects, "ServingRuntime")
        assert serving["metadata"]["name"] == predictor["model"]["runtime"]
        spec |= {"containers": copy.deepcopy(serving["spec"]["containers"]), "volumes": copy.deepcopy(serving["spec"]["volumes"])}
        storage, uri = of_kind(objects, "ClusterStorageContainer")["spec"], predictor["model"]["storageUri"]
        assert any(uri.startswith(entry["prefix"]) for entry in storage["supportedUriFormats"])
        mount = {"name": "kserve-provision-location", "mountPath": "/mnt/models"}
        initializer = copy.deepcopy(storage["container"]) | {"args": [uri, "/mnt/models"]}
        initializer["volumeMounts"].append(mount)
        spec.setdefault("initContainers", []).append(initializer)
        next(one for one in spec["containers"] if one["name"] == "kserve-container")["volumeMounts"].append(mount | {"readOnly": True})
    name = service["metadata"]["name"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"serving.kserve.io/inferenceservice": name}}, "spec": spec}


class KServe(unittest.TestCase):
    def test_every_object_fits(self):
        for name in ("inferenceservice", "fetched"):
            objects = documents(name)
            own = [one for one in objects if one["apiVersion"].startswith("serving.kserve.io/")]
            self.assertTrue(own)
            for one in own:
                self.assertEqual([fault.message for fault in SCHEMA.iter_errors(one)], [], one["kind"])
            others = [one for one in objects if one not in own] + [composed(objects)]
            self.assertEqual(chart_test.api_faults(others), [[]] * len(others), name)

    def test_the_schema_refuses_what_kserve_does_not_know(self):
        changes = [("InferenceService", lambda one: one["spec"]["predictor"].update(storageUri="x")),
                   ("InferenceService", lambda one: one["spec"]["predictor"].pop("model")),
                   ("InferenceService", lambda one: one["spec"].update(predictors={})),
                   ("ServingRuntime", lambda one: one["spec"].update(initContainers=[])),
                   ("ServingRuntime", lambda one: one["spec"]["containers"].pop(0)),
                   ("ClusterStorageContainer", lambda one: one["spec"]["container"].update(name="fetch")),
                   ("ClusterStorageContainer", lambda one: one["spec"]["container"].update(args=["x"])),
                   ("ClusterStorageContainer", lambda one: one["spec"]["supportedUriFormats"].append({"prefix": "a", "regex": "b"})),
                   ("ClusterStorageContainer", lambda one: one["spec"].update(workloadType="job"))]
        for kind, change in changes:
            one = copy.deepcopy(of_kind(documents("fetched"), kind))
            change(one)
            self.assertFalse(SCHEMA.is_valid(one), kind)

    def test_the_rules_hold_for_the_pods_that_kserve_makes(self):
        native = documents("inferenceservice")
        self.assertEqual(policies.violations([composed(native), of_kind(native, "NetworkPolicy")]), [])
        fetched = documents("fetched")
        # A ServingRuntime has no init containers: there the sentinel is an ordinary container, and the runtime waits for its signal.
        rules = [rule for rule in policies.RULES if rule is not policies.sentinel_comes_first]
        found = policies.violations([composed(fetched), of_kind(fetched, "NetworkPolicy")], rules)
        self.assertEqual(found, ["probes_point_at_ports: llama/sentinel lacks a probe"])

    def test_what_the_storage_initializer_writes_is_read_by_the_sentinel_alone_in_clear(self):
        pod = composed(documents("fetched"))["spec"]
        sentinel = next(one for one in pod["containers"] if one["name"] == "sentinel")
        self.assertIn({"name": "TB_SOURCE", "value": "file:/mnt/models"}, sentinel["env"])
        [initializer] = pod["initContainers"]
        self.assertEqual(initializer["command"] + initializer["args"],
                         ["trustbridge-sentinel", "fetch", "trustbridge://acme-1/llama-8b", "/mnt/models"])
        volumes = {one["name"]: one for one in pod["volumes"]}
        self.assertEqual(volumes["model"]["emptyDir"]["medium"], "Memory")
        self.assertNotIn("medium", volumes["kserve-provision-location"]["emptyDir"])
        self.assertNotIn("model", [mount["name"] for mount in initializer["volumeMounts"]])


if __name__ == "__main__":
    unittest.main(verbosity=1)
