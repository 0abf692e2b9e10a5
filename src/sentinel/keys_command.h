// `trustbridge-sentinel keys add|limits|list|revoke`: the API keys of one sentinel, without restarting it.
#pragma once

#include <string>
#include <vector>

namespace tb::sentinel {

/// Runs the verb in `arguments` on the key file; the new key of `add` goes to stdout, once. Returns the exit status.
int keys_command(const std::vector<std::string>& arguments, const std::string& keys_file);

}  // namespace tb::sentinel
