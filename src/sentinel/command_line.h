// What the program was called for: to print something about itself, to manage keys, or to serve.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sentinel/config.h"

namespace tb::sentinel {

/// Runs what `arguments` (without the program's name) ask for; `serve` gets a configuration without faults. Returns the
/// exit status; prints errors, those of the configuration all together.
int run_program(const std::vector<std::string>& arguments, std::string_view version,
                const std::function<int(const Config&)>& serve);

}  // namespace tb::sentinel
