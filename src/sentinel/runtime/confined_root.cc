#include "sentinel/runtime/confined_root.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <utility>

#include "base/error.h"
#include "base/fs.h"

namespace tb::sentinel::runtime {
namespace {

constexpr std::uint64_t kQuiet = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
constexpr std::uint64_t kReadOnly = kQuiet | MOUNT_ATTR_RDONLY;

[[noreturn]] void failed(std::string_view what, const std::string& path) {
  throw Error("runtime_failed", fmt::format("confinement: {} {}: {}", what, path, std::strerror(errno)));
}

void set_attributes(const Fd& mount, std::uint64_t set, const std::string& path) {
  mount_attr attr{};
  attr.attr_set = set;
  if (mount_setattr(mount.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr) != 0) failed("limiting", path);
}

/// A copy of what is mounted at `path` and below it, attached nowhere yet. Invalid where there is nothing.
Fd copy_of(int at, const std::string& path, std::uint64_t attributes) {
  Fd tree(open_tree(at, path.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
  if (!tree && (errno == ENOENT || errno == ENOTDIR || errno == EACCES)) return tree;
  if (!tree) failed("taking", path);
  set_attributes(tree, attributes, path);
  return tree;
}

/// A file system of its own. Options that this kernel or our rights do not allow end with an invalid one.
Fd new_mount(const char* type, std::initializer_list<std::pair<const char*, std::string>> options,
             unsigned attributes) {
  const Fd context(fsopen(type, FSOPEN_CLOEXEC));
  if (!context) return Fd();
  for (const auto& [key, value] : options) {
    const bool is_flag = value.empty();
    if (fsconfig(context.get(), is_flag ? FSCONFIG_SET_FLAG : FSCONFIG_SET_STRING, key,
                 is_flag ? nullptr : value.c_str(), 0) != 0) {
      return Fd();
    }
  }
  if (fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return Fd();
  return Fd(fsmount(context.get(), FSMOUNT_CLOEXEC, attributes));
}

Fd scratch_mount(std::uint64_t bytes) {
  const std::string size = std::to_string(bytes);
  const std::string inodes = std::to_string(std::max<std::uint64_t>(4096, bytes / 16384));
  // Its pages may not reach a disk; a user namespace is not allowed to ask for that.
  Fd out = new_mount("tmpfs", {{"size", size}, {"nr_inodes", inodes}, {"mode", "0755"}, {"noswap", ""}}, kQuiet);
  if (!out) out = new_mount("tmpfs", {{"size", size}, {"nr_inodes", inodes}, {"mode", "0755"}}, kQuiet);
  if (!out) failed("making", "the scratch");
  return out;
}

class NewRoot {
 public:
  NewRoot() {
    root_ = new_mount("tmpfs", {{"size", "1048576"}, {"mode", "0755"}}, kQuiet);
    if (!root_) failed("making", "the root");
  }

  /// Attached over `place`, from where root() moves.
  void attach(const char* place) {
    if (move_mount(root_.get(), "", AT_FDCWD, place, MOVE_MOUNT_F_EMPTY_PATH) != 0) failed("attaching", place);
  }

  /// Where `path` is in the new tree, made as a directory or an empty file. No link is followed.
  Fd make(const std::string& path, bool directory) {
    Fd at(fcntl(root_.get(), F_DUPFD_CLOEXEC, 0));
    std::size_t begin = 1;
    while (at && begin < path.size()) {
      const std::size_t end = std::min(path.find('/', begin), path.size());
      const std::string name = path.substr(begin, end - begin);
      const bool last = end >= path.size();
      if (name == "..") break;
      if (!name.empty() && name != ".") {
        if (!last || directory) {
          if (mkdirat(at.get(), name.c_str(), 0755) != 0 && errno != EEXIST && errno != EROFS) failed("making", path);
        } else {
          const Fd file(openat(at.get(), name.c_str(), O_CREAT | O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0444));
          if (!file && errno != EROFS) failed("making", path);
        }
        at = Fd(
            openat(at.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC | (last && !directory ? 0 : O_DIRECTORY)));
      }
      begin = end + 1;
    }
    if (!at) failed("making", path);
    return at;
  }

  void put(const Fd& tree, const std::string& path, bool directory) {
    const Fd target = make(path, directory);
    if (move_mount(tree.get(), "", target.get(), "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
      failed("binding", path);
    }
  }

  void link(const std::string& to, const std::string& path) {
    const std::size_t slash = path.rfind('/');
    const Fd parent = make(path.substr(0, slash), true);
    if (symlinkat(to.c_str(), parent.get(), path.substr(slash + 1).c_str()) != 0) failed("linking", path);
  }

  void write(const std::string& path, std::string_view content) {
    const std::size_t slash = path.rfind('/');
    const Fd parent = make(path.substr(0, slash), true);
    const Fd file(openat(parent.get(), path.substr(slash + 1).c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644));
    if (!file) failed("writing", path);
    value_or_throw(write_full(file.get(), as_bytes(content), path));
  }

  void close() {
    mount_attr attr{};
    attr.attr_set = MOUNT_ATTR_RDONLY;
    if (mount_setattr(root_.get(), "", AT_EMPTY_PATH, &attr, sizeof attr) != 0) failed("limiting", "/");
  }

  int fd() const { return root_.get(); }

 private:
  Fd root_;
};

struct Copy {
  std::string path;
  Fd tree;
  bool directory = true;
};

/// Copies are taken before anything is covered.
std::vector<Copy> take_copies(const ConfinePlan& plan, NewRoot& root) {
  std::vector<Copy> out;
  const auto take = [&](const std::string& path, std::uint64_t attributes, bool required) {
    struct stat info{};
    Fd tree = copy_of(AT_FDCWD, path, attributes);
    if (!tree || fstat(tree.get(), &info) != 0) {
      if (required) failed("taking", path);
      return;
    }
    out.push_back({path, std::move(tree), S_ISDIR(info.st_mode)});
  };
  for (const std::string& path : plan.system_paths) {
    char target[256];
    const ssize_t bytes = readlink(path.c_str(), target, sizeof target);
    if (bytes > 0 && std::count(path.begin(), path.end(), '/') == 1) {  // /bin -> usr/bin
      root.link(std::string(target, static_cast<std::size_t>(bytes)), path);
    } else {
      take(path, kReadOnly, false);
    }
  }
  for (const std::string& path : plan.read_paths) take(path, kReadOnly, true);
  // A device is opened for writing, so its mount may be; the node itself is the operator's choice.
  for (const char* path : kHarmlessDevices) take(path, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, false);
  for (const std::string& path : plan.devices) take(path, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, true);
  std::ranges::sort(out, {}, [](const Copy& copy) { return std::ranges::count(copy.path, '/'); });
  return out;
}

void write_accounts(NewRoot& root, const ConfinePlan& plan) {
  root.write("/etc/passwd", fmt::format("root:x:0:0::/:/usr/sbin/nologin\nruntime:x:{}:{}::{}:/usr/sbin/nologin\n",
                                        plan.uid, plan.gid, kRuntimeHome));
  root.write("/etc/group", fmt::format("root:x:0:\nruntime:x:{}:\n", plan.gid));
  root.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
  root.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n");
}

/// `name` of the scratch, seen at `path`, owned by the runtime.
void put_scratch(NewRoot& root, const Fd& scratch, const char* name, const std::string& path, mode_t mode,
                 const ConfinePlan& plan) {
  if (mkdirat(scratch.get(), name, 0700) != 0) failed("making", path);
  const uid_t uid = plan.change_user ? plan.uid : geteuid();
  const gid_t gid = plan.change_user ? plan.gid : getegid();
  if (fchownat(scratch.get(), name, uid, gid, 0) != 0 || fchmodat(scratch.get(), name, mode, 0) != 0)
    failed("owning", path);
  root.put(copy_of(scratch.get(), name, kQuiet), path, true);
}

}  // namespace

void enter_confined_root(const ConfinePlan& plan) {
  // Nothing of ours shows outside; what is unmounted outside goes away in here as well.
  if (mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) failed("separating", "/");
  NewRoot root;
  std::vector<Copy> copies = take_copies(plan, root);
  struct stat info{};
  const Fd model = copy_of(AT_FDCWD, plan.model_path, kReadOnly | MOUNT_ATTR_NOEXEC);
  if (!model || fstat(model.get(), &info) != 0) failed("taking", plan.model_path);

  const Fd proc = new_mount("proc", {}, kReadOnly | MOUNT_ATTR_NOEXEC);
  if (!proc) failed("making", "/proc");
  const Fd scratch = scratch_mount(plan.scratch_bytes);
  const char* staging = nullptr;
  for (const char* place : {"/tmp", "/run", "/dev/shm", "/mnt"}) {
    if (staging == nullptr && access(place, F_OK) == 0) staging = place;
  }
  if (staging == nullptr) failed("attaching", "a directory to stand on");
  const Fd sys = plan.has(CLONE_NEWNET) ? new_mount("sysfs", {}, kReadOnly | MOUNT_ATTR_NOEXEC) : Fd();
  root.attach(staging);

  root.put(proc, "/proc", true);
  if (sys) root.put(sys, "/sys", true);
  write_accounts(root, plan);
  for (const auto& [to, path] :
       {std::pair{"/proc/self/fd", "/dev/fd"}, std::pair{"/proc/self/fd/0", "/dev/stdin"},
        std::pair{"/proc/self/fd/1", "/dev/stdout"}, std::pair{"/proc/self/fd/2", "/dev/stderr"}}) {
    root.link(to, path);
  }
  // One file system, one limit.
  if (move_mount(scratch.get(), "", root.make("/.scratch", true).get(), "",
                 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0) {
    failed("attaching", "the scratch");
  }
  put_scratch(root, scratch, "tmp", "/tmp", 01777, plan);
  put_scratch(root, scratch, "shm", "/dev/shm", 01777, plan);
  put_scratch(root, scratch, "home", kRuntimeHome, 0700, plan);
  root.link("/tmp", "/var/tmp");
  if (!plan.socket_directory.empty()) put_scratch(root, scratch, "socket", plan.socket_directory, 0700, plan);
  // Last, as they may lie where the scratch is seen.
  for (const Copy& copy : copies) root.put(copy.tree, copy.path, copy.directory);
  root.put(model, plan.model_path, S_ISDIR(info.st_mode));
  root.close();

  if (fchdir(root.fd()) != 0 || syscall(SYS_pivot_root, ".", ".") != 0) failed("entering", "the root");
  if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0) failed("leaving", "the tree before");
  if (umount2("/.scratch", MNT_DETACH) != 0) failed("closing", "the scratch");
}

}  // namespace tb::sentinel::runtime
