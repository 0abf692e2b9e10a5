#!/usr/bin/env python3
"""Holds every answer that the handlers' tests got against src/controlplane/openapi.json: the status must be told there,
the body must fit its schema, with no member that is not told. Every 2xx that the document tells of must have been seen.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jsonschema

DOCUMENT = json.loads((pathlib.Path(__file__).resolve().parents[2] / "src/controlplane/openapi.json").read_text())
# Only a TPM can open the credential that is asked back here: tests/e2e/tpm_test.py.
SEEN_ELSEWHERE = {("post", "/api/v1/license/activate", "200")}
KEYWORDS_OF_OPEN = ("additionalProperties", "allOf", "oneOf", "anyOf")


def closed(schema):
    """Objects that do not say that they are open are closed: an answer has no member untold."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {name: closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and not any(word in schema for word in KEYWORDS_OF_OPEN):
        out["additionalProperties"] = False
    return out


def resolved(node):
    while "$ref" in node:
        target = DOCUMENT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def fault_of(answer):
    """What is wrong with one answer, or None."""
    operation = DOCUMENT["paths"][answer["pattern"]][answer["method"].lower()]
    status = str(answer["status"])
    told = operation["responses"].get(status) or operation["responses"].get(status[0] + "XX")
    if told is None:
        return "the document does not tell of this status"
    content = resolved(told).get("content")
    if content is None:
        return None if answer["body"] == "" else "the document tells of no body"
    media = answer["content_type"].split(";")[0]
    if media not in content:
        # A denial and a problem may share a status; the document tells of the denial by number, of problems by class.
        general = operation["responses"].get(status[0] + "XX")
        content = resolved(general)["content"] if general else {}
        if media not in content:
            return f"the document tells of no {media}"
    schema = content[media].get("schema")
    if schema is None:
        return None
    whole = {"$ref": "#/components/schemas/_", "components": {"schemas": {**COMPONENTS, "_": closed(schema)}}}
    errors = sorted(jsonschema.Draft202012Validator(whole).iter_errors(json.loads(answer["body"])), key=str)
    return "; ".join(f"{'/'.join(map(str, e.absolute_path)) or 'body'}: {e.message[:200]}" for e in errors) or None


COMPONENTS = closed(DOCUMENT["components"]["schemas"])


def main():
    with tempfile.TemporaryDirectory() as directory:
        recorded = pathlib.Path(directory) / "answers"
        run = subprocess.run([os.environ["TB_CONTROLPLANE_TEST"], "--gtest_brief=1"], check=False, timeout=280,
                             env={**os.environ, "TB_RECORD_ANSWERS": str(recorded)}, stdout=subprocess.DEVNULL)
        if run.returncode != 0:
            sys.exit("controlplane_test failed: see the test named controlplane")
        answers = [json.loads(line) for line in recorded.read_text().splitlines()]
    faults, seen = set(), set()
    for answer in answers:
        seen.add((answer["method"].lower(), answer["pattern"], str(answer["status"])))
        if fault := fault_of(answer):
            faults.add(f"{answer['method']} {answer['pattern']} {answer['status']}: {fault}")
    for path, item in DOCUMENT["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            for status in operation["responses"]:
                if status.startswith("2") and status.isdigit() and (method, path, status) not in seen | SEEN_ELSEWHERE:
                    faults.add(f"{method.upper()} {path} {status}: no test has seen this answer")
    for fault in sorted(faults):
        print(fault, file=sys.stderr)
    print(f"{len(answers)} answers of {len(seen)} kinds held against the document, {len(faults)} faults")
    sys.exit(1 if faults or len(answers) < 200 else 0)


if __name__ == "__main__":
    main()
