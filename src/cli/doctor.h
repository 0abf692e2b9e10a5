// What this machine can do for TrustBridge, and what to change: facts read from the system, each judged on its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "deliver/kernel.h"
#include "obs/finding.h"

namespace tb::cli {

using obs::Finding;
using obs::Health;

/// Everything but the network. `root` is "" for this machine; tests give a directory with proc/, sys/ and dev/.
std::vector<Finding> examine_machine(const std::string& root = "");

/// What a delivery can use of the kernel: own_tmpfs, huge_pages, pipe, locked_memory.
std::vector<Finding> examine_delivery(const deliver::Kernel& kernel);

/// What of a runtime's confinement this machine can give: `trustbridge-sentinel --isolation-report` of the program
/// beside this one; a warning where that is not there.
std::vector<Finding> examine_confinement();

/// Whether this TPM can attest, its EK hash and PCR values; `tcti` as tpm2-tss names it, "" for the kernel's device.
std::vector<Finding> examine_tpm(const std::string& tcti);

}  // namespace tb::cli
