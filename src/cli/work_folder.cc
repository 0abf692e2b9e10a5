#include "cli/work_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace tb::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStart = "trustbridge-work-";
constexpr int kTries = 16;

/// The lock of an own folder that nobody holds; nothing for everything else that may lie there.
Fd take(const std::string& path) {
  Result<Fd> folder = open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!folder) return {};
  struct stat opened{}, named{};
  if (fstat(folder->get(), &opened) != 0 || opened.st_uid != geteuid()) return {};
  if (flock(folder->get(), LOCK_EX | LOCK_NB) != 0) return {};
  // Between its making and its lock another command may have taken it for abandoned.
  const bool is_there =
      lstat(path.c_str(), &named) == 0 && named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
  return is_there ? std::move(*folder) : Fd();
}

void remove_abandoned(const std::string& parent) {
  std::error_code fault;
  for (fs::directory_iterator at(parent, fault), end; !fault && at != end; at.increment(fault)) {
    if (!at->path().filename().string().starts_with(kStart)) continue;
    const Fd lock = take(at->path().string());
    std::error_code ignored;
    if (lock.get() >= 0) fs::remove_all(at->path(), ignored);
  }
}

}  // namespace

WorkFolder::WorkFolder(const std::string& parent) {
  remove_abandoned(parent);
  for (int i = 0; i < kTries && lock_.get() < 0; ++i) {
    path_ = parent + "/" + std::string(kStart) + "XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) throw error_from_errno(errno, path_);
    lock_ = take(path_);
  }
  if (lock_.get() < 0) throw error_from_errno(EBUSY, path_);
}

WorkFolder::~WorkFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace tb::cli
