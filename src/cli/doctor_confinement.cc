// doctor's findings about the confinement of runtimes: the sentinel's own report, as it is the sentinel that confines.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>

#include "base/fs.h"
#include "base/json.h"
#include "cli/doctor.h"

namespace tb::cli {
namespace {

constexpr std::size_t kMaxReportBytes = 65536;
constexpr int kReportMs = 10'000;
constexpr const char* kSentinel = "trustbridge-sentinel";

std::string sentinel_beside_us() {
  std::error_code failed;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? std::string() : (own.parent_path() / kSentinel).string();
}

/// What the program prints, or empty.
std::string output_of(const std::string& program) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return {};
  const Fd output(ends[0]);
  Fd input(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input.get(), STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  // As for a runtime that the sentinel starts as another user: what is missing then is what the machine cannot do.
  std::string user = fmt::format("TB_RUNTIME_UID={}", geteuid() == 65534 ? 65533 : 65534);
  std::string command = "TB_RUNTIME_COMMAND=[\"/bin/true\"]";
  std::string limit = "TB_RUNTIME_MEMORY_BYTES=1073741824";
  const std::array<char*, 4> environment = {user.data(), command.data(), limit.data(), nullptr};
  std::string name = kSentinel, report = "--isolation-report", json = "--json";
  const std::array<char*, 4> arguments = {name.data(), report.data(), json.data(), nullptr};
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  input.reset();
  if (failed != 0) return {};
  std::string text;
  pollfd wait{output.get(), POLLIN, 0};
  while (text.size() < kMaxReportBytes && poll(&wait, 1, kReportMs) == 1) {
    std::array<char, 4096> buffer{};
    const ssize_t got = read(output.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  return text;
}

}  // namespace

std::vector<Finding> examine_confinement() {
  std::vector<Finding> out;
  const auto report = Json::parse(output_of(sentinel_beside_us()));
  const Json* list = report ? report->find("findings") : nullptr;
  if (list == nullptr || !list->is_array()) {
    return {{"confinement", Health::kWarning, "unknown",
             "trustbridge-sentinel --isolation-report says it where that is installed"}};
  }
  for (const Json& item : list->as_array()) {
    const JsonReader reader(item, "finding");
    const auto name = reader.string("name");
    const auto health = reader.string("health");
    const auto value = reader.string("value");
    const auto advice = reader.optional_string("advice");
    if (!name || !health || !value || !advice || *name == "mode") continue;
    // For the doctor nothing of it is a fault: there are runtimes that somebody else starts.
    out.push_back({*name, *health == "ok" ? Health::kOk : Health::kWarning, *value, advice->value_or("")});
  }
  return out;
}

}  // namespace tb::cli
