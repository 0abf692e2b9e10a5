// From TB_RUNTIME_COMMAND to what is executed: arguments with their words replaced, and an environment without secrets.
// Pure functions.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "sentinel/config.h"

namespace tb::sentinel::runtime {

/// What `{api_key_file}` becomes: a file in memory that only the runtime has, as its descriptor 3.
inline constexpr const char* kApiKeyPath = "/dev/fd/3";

/// What the words of a command stand for.
struct CommandWords {
  std::string model_path, served_model_name;
  RuntimeAddress address;
};

/// Replaces `{model_path}`, `{model_dir}`, `{served_model_name}`, `{runtime_host}`, `{runtime_port}`,
/// `{runtime_socket}` and `{api_key_file}` in every argument. Other braces stay as they are.
std::vector<std::string> expand_command(const std::vector<std::string>& command, const CommandWords& stand_for);

/// `NAME=value` entries that a runtime may have: not TB_*, and no name that looks like a credential (TOKEN, SECRET,
/// PASSWORD, CREDENTIAL, API_KEY, ACCESS_KEY, PRIVATE_KEY, CONNECTION_STRING, SAS), nor what makes the loader run other
/// code (LD_*).
std::vector<std::string> runtime_environment(const std::vector<std::string>& own);

/// True if an argument has `{api_key_file}`.
bool wants_api_key(const std::vector<std::string>& command);

/// For a runtime that is not in a mount namespace: the socket's directory, made if it is not there, open to `uid` and
/// root alone; a socket that an earlier run left is removed. Throws "runtime_failed".
void make_socket_directory(const std::string& socket_path, uid_t uid);

/// Where `name` is: itself if it has a slash, else the first in the PATH of `environment`. Throws "runtime_failed".
std::string find_program(const std::string& name, const std::vector<std::string>& environment);

}  // namespace tb::sentinel::runtime
