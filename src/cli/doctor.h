// What this machine can do for TrustBridge, and what to change: facts read from the system, each judged on its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "deliver/kernel.h"

namespace tb::cli {

enum class Health { kOk, kWarning, kFault };

struct Finding {
  std::string name;  ///< stable: "aes", "swap"
  Health health = Health::kOk;
  std::string value;   ///< what was found
  std::string advice;  ///< what to change; empty when all is well
};

/// Everything but the network. `root` is "" for this machine; tests give a directory with proc/, sys/ and dev/.
std::vector<Finding> examine_machine(const std::string& root = "");

/// What a delivery can use of the kernel: own_tmpfs, huge_pages, pipe, locked_memory.
std::vector<Finding> examine_delivery(const deliver::Kernel& kernel);

/// {"findings": [{"name", "health", "value", "advice"}], "healthy": bool}
Json to_json(const std::vector<Finding>& findings);
/// A line for each finding, and its advice below it.
std::string to_text(const std::vector<Finding>& findings);

}  // namespace tb::cli
