#include "sentinel/runtime/resource_group.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "base/error.h"
#include "base/fs.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::string_view kLeaf = "trustbridge-sentinel";

bool write_value(const std::string& path, std::string_view value) {
  const auto fd = open_file(path, O_WRONLY);
  return fd && write_full(fd->get(), as_bytes(value), path).has_value();
}

bool has_word(const std::string& path, std::string_view word) {
  std::istringstream words(read_small_file(path).value_or(""));
  for (std::string next; words >> next;) {
    if (next == word) return true;
  }
  return false;
}

/// The path after "0::" of the group in the one hierarchy of cgroup v2, or empty.
std::string own_group(const std::string& root) {
  std::istringstream lines(read_small_file(root + "/proc/self/cgroup").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::/")) return line.substr(3);
  }
  return {};
}

/// Where cgroup v2 is mounted, from its root on.
std::string hierarchy(const std::string& root) {
  std::istringstream lines(read_small_file(root + "/proc/self/mountinfo").value_or(""));
  for (std::string line; std::getline(lines, line);) {
    const std::size_t dash = line.find(" - cgroup2 ");
    if (dash == std::string::npos) continue;
    std::istringstream fields(line);
    std::string field;
    for (int i = 0; i < 5; ++i) fields >> field;
    return root + field;
  }
  return {};
}

}  // namespace

GroupPlace find_group_place(bool make_room, const std::string& root) {
  const std::string group = own_group(root);
  const std::string top = hierarchy(root);
  if (group.empty() || top.empty()) return {"", "cgroup v2 is not mounted here"};
  std::string own = top + (group == "/" ? "" : group);
  if (own.ends_with("/" + std::string(kLeaf))) own.resize(own.size() - kLeaf.size() - 1);  // we have moved before
  if (!has_word(own + "/cgroup.controllers", "memory")) return {"", "cgroup v2 has no memory controller here"};
  if (has_word(own + "/cgroup.subtree_control", "memory")) {
    if (access(own.c_str(), W_OK) == 0) return {own, ""};
    return {"", "the control group is not delegated to this user"};
  }
  if (!make_room) {
    if (access((own + "/cgroup.subtree_control").c_str(), W_OK) == 0) return {own, ""};
    return {"", "the control group is not delegated to this user"};
  }
  if (write_value(own + "/cgroup.subtree_control", "+memory +pids")) return {own, ""};
  // A group that gives its controllers to children holds no processes of its own.
  const std::string leaf = own + "/" + std::string(kLeaf);
  if ((mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST) ||
      !write_value(leaf + "/cgroup.procs", std::to_string(getpid())) ||
      !write_value(own + "/cgroup.subtree_control", "+memory +pids")) {
    return {"", fmt::format("the control group is not delegated to this user, or is not ours alone: {}",
                            std::strerror(errno))};
  }
  return {own, ""};
}

ResourceGroup::ResourceGroup(const std::string& directory, std::uint64_t memory_bytes, std::uint64_t processes) {
  static std::atomic<unsigned> number = 0;
  path_ = fmt::format("{}/trustbridge-runtime-{}-{}", directory, getpid(), ++number);
  if (mkdir(path_.c_str(), 0755) != 0) throw error_from_errno(errno, path_);
  const bool swap_stays_empty =
      write_value(path_ + "/memory.swap.max", "0") || access((path_ + "/memory.swap.max").c_str(), F_OK) != 0;
  // All processes of it end together when its memory is used up: half a runtime serves nobody.
  const bool limited = memory_bytes == 0 || (write_value(path_ + "/memory.max", std::to_string(memory_bytes)) &&
                                             write_value(path_ + "/memory.oom.group", "1"));
  if (processes != 0) (void)write_value(path_ + "/pids.max", std::to_string(processes));
  if (swap_stays_empty && limited) return;
  const int error = errno;
  rmdir(path_.c_str());
  throw Error("runtime_failed", fmt::format("the control group takes no limit: {}", std::strerror(error)));
}

ResourceGroup::~ResourceGroup() {
  rmdir(path_.c_str());
}

void ResourceGroup::take(pid_t pid) {
  if (!write_value(path_ + "/cgroup.procs", std::to_string(pid))) {
    throw Error("runtime_failed", fmt::format("the control group does not take the runtime: {}", std::strerror(errno)));
  }
}

}  // namespace tb::sentinel::runtime
