// What a doctor finds: facts, each judged on its own, with what to change. One shape for the doctors of all programs.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace tb::obs {

enum class Health { kOk, kWarning, kFault };

struct Finding {
  std::string name;  ///< stable: "aes", "swap"
  Health health = Health::kOk;
  std::string value;   ///< what was found
  std::string advice;  ///< what to change; empty when all is well
};

/// True if none is a fault.
bool is_healthy(const std::vector<Finding>& findings);
/// {"findings": [{"name", "health", "value", "advice"}], "healthy": bool}
Json to_json(const std::vector<Finding>& findings);
/// A line for each finding, and its advice below it.
std::string to_text(const std::vector<Finding>& findings);

}  // namespace tb::obs
