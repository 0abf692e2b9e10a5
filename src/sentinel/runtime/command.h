// From TB_RUNTIME_COMMAND to what is executed: arguments with their words replaced, and an environment without secrets.
// Pure functions.
#pragma once

#include <string>
#include <vector>

#include "sentinel/config.h"

namespace tb::sentinel::runtime {

/// Replaces `{model_path}`, `{model_dir}`, `{runtime_host}`, `{runtime_port}` and `{runtime_socket}` in every argument.
/// Other braces stay as they are.
std::vector<std::string> expand_command(const std::vector<std::string>& command, const std::string& model_path,
                                        const RuntimeAddress& address);

/// `NAME=value` entries that a runtime may have: not TB_*, and no name that looks like a credential (TOKEN, SECRET,
/// PASSWORD, CREDENTIAL, API_KEY, ACCESS_KEY, PRIVATE_KEY, CONNECTION_STRING, SAS), nor what makes the loader run other
/// code (LD_*).
std::vector<std::string> runtime_environment(const std::vector<std::string>& own);

}  // namespace tb::sentinel::runtime
