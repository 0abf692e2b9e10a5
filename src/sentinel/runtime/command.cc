#include "sentinel/runtime/command.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace tb::sentinel::runtime {
namespace {

/// A directory is its own; a file's is what it lies in.
std::string directory_of(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return path;
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos || slash == 0 ? "/" : path.substr(0, slash);
}

constexpr std::array<std::string_view, 10> kCredentialWords = {
    "TOKEN",   "SECRET",     "PASSWORD",    "PASSWD", "CREDENTIAL",
    "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "_SAS",   "CONNECTION_STRING"};

/// What systemd gives to a service is the sentinel's: whom it tells, and the directories that are its own.
constexpr std::array<std::string_view, 14> kServiceVariables = {
    "NOTIFY_SOCKET",   "WATCHDOG_PID",    "WATCHDOG_USEC",     "LISTEN_PID",     "LISTEN_FDS",
    "LISTEN_FDNAMES",  "MAINPID",         "INVOCATION_ID",     "JOURNAL_STREAM", "SYSTEMD_EXEC_PID",
    "STATE_DIRECTORY", "CACHE_DIRECTORY", "RUNTIME_DIRECTORY", "LOGS_DIRECTORY"};

}  // namespace

std::vector<std::string> expand_command(const std::vector<std::string>& command, const CommandWords& stand_for) {
  const RuntimeAddress& address = stand_for.address;
  const std::array<std::pair<std::string_view, std::string>, 7> words = {{
      {"{model_path}", stand_for.model_path},
      {"{model_dir}", directory_of(stand_for.model_path)},
      {"{served_model_name}", stand_for.served_model_name},
      {"{runtime_host}", address.host},
      {"{runtime_port}", std::to_string(address.port)},
      {"{runtime_socket}", address.unix_path},
      {"{api_key_file}", kApiKeyPath},
  }};
  std::vector<std::string> out;
  for (const std::string& argument : command) {
    std::string done;
    for (std::size_t at = 0; at < argument.size();) {
      const auto word = std::ranges::find_if(
          words, [&](const auto& w) { return std::string_view(argument).substr(at).starts_with(w.first); });
      if (word == words.end()) {
        done += argument[at++];
      } else {
        done += word->second;
        at += word->first.size();
      }
    }
    out.push_back(std::move(done));
  }
  return out;
}

std::vector<std::string> runtime_environment(const std::vector<std::string>& own) {
  std::vector<std::string> out;
  for (const std::string& entry : own) {
    std::string name = entry.substr(0, entry.find('='));
    std::ranges::transform(name, name.begin(),
                           [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
    if (name.starts_with("TB_") || name.starts_with("LD_")) continue;
    if (std::ranges::find(kServiceVariables, name) != kServiceVariables.end()) continue;
    const bool credential = std::ranges::any_of(
        kCredentialWords, [&](std::string_view word) { return name.find(word) != std::string::npos; });
    if (!credential) out.push_back(entry);
  }
  return out;
}

bool wants_api_key(const std::vector<std::string>& command) {
  return std::ranges::any_of(
      command, [](const std::string& argument) { return argument.find("{api_key_file}") != std::string::npos; });
}

void make_socket_directory(const std::string& socket_path, uid_t uid) {
  const std::string directory = socket_path.substr(0, socket_path.rfind('/'));
  if (mkdir(directory.c_str(), 0700) == 0) {
    if (uid != geteuid() && chown(directory.c_str(), uid, static_cast<gid_t>(-1)) != 0) {
      throw Error("runtime_failed",
                  fmt::format("{} cannot be given to user {}: {}", directory, uid, std::strerror(errno)));
    }
  } else if (errno != EEXIST) {
    throw Error("runtime_failed", fmt::format("{} cannot be made: {}", directory, std::strerror(errno)));
  }
  struct stat info{};
  if (lstat(socket_path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) unlink(socket_path.c_str());
}

std::string find_program(const std::string& name, const std::vector<std::string>& environment) {
  if (name.find('/') != std::string::npos) return name;
  std::string_view path = "/usr/local/bin:/usr/bin:/bin";
  for (const std::string& entry : environment) {
    if (entry.starts_with("PATH=")) path = std::string_view(entry).substr(5);
  }
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    std::string candidate = std::string(path.substr(0, end)) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  throw Error("runtime_failed", fmt::format("program {} was not found in PATH", name));
}

}  // namespace tb::sentinel::runtime
