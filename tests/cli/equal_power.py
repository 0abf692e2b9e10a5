"""What can be asked over HTTP can be asked by command: every operation of the OpenAPI document has one here, every field of a
contract has a flag, and an operation that is new fails this test until it has its row."""
import json

from scenario import SOURCE, check, equal, play

PROVIDER = {
    "registerAsset": "register", "putBlob": "upload", "wrappingKeys": "register",
    "listAssets": "asset list", "getAsset": "asset show", "deleteAsset": "asset delete",
    "createContract": "contract create", "listContracts": "contract list", "getContract": "contract show", "patchContract": "contract update",
    "simulateContract": "contract simulate", "suspendContract": "contract suspend", "resumeContract": "contract resume",
    "revokeContract": "contract revoke", "replaceActivationToken": "contract token", "setHardware": "contract hardware",
    "listMachines": "contract machines", "setMachine": "contract machines", "listLeases": "contract leases", "evictLease": "contract evict",
    "listAuditLogs": "contract audit-logs", "listUsage": "usage", "listEvents": "events", "proveEvent": "audit prove",
    "proveLogConsistency": "audit verify", "readyz": "doctor",
}
# Of the sentinel, which is a program of its own.
SENTINEL = {"authorize", "release", "challenge", "enroll", "activate", "waitForHint", "reportUsage", "addCheckpoint", "getBlob"}
# Of programs that ask by themselves: orchestrators, Prometheus, monitors of the log (C2SP clients), makers of clients.
MACHINES = {"healthz", "metrics", "getLogCheckpoint", "getLogTile1", "getLogTile2", "getLogTile3", "getLogTile4", "openapi"}
# Told by one flag each, under another name.
FLAG_OF = {"asset_ids": "--asset-id", "allowed_paths": "--allowed-path", "client_certificates": "--client-certificate"}


def story(s):
    document = json.loads((SOURCE / "src/controlplane/openapi.json").read_text())
    operations = {operation["operationId"] for item in document["paths"].values() for method, operation in item.items()
                  if method != "parameters"}
    check(len(operations) > 30, f"only {len(operations)} operations")
    known = set(PROVIDER) | SENTINEL | MACHINES
    equal(sorted(operations - known), [], "operations without a command: add a command, and its row here")
    equal(sorted(known - operations), [], "rows of operations that are not there")
    for command in sorted(set(PROVIDER.values())):
        text = s.tb(*command.split(), "--help").out
        check(f"trustbridge {command}" in text.split("Example:")[1], f"no help of {command}")

    fields = set(document["components"]["schemas"]["ContractTerms"]["properties"])
    check(len(fields) >= 18, f"only {len(fields)} fields")
    for command in ("create", "update", "simulate"):
        text = s.tb("contract", command, "--help").out
        for field in sorted(fields):
            flag = FLAG_OF.get(field, "--" + field.replace("_", "-"))
            check(f"{flag} " in text or f"{flag}\n" in text, f"contract {command} has no {flag}")


play(story)
