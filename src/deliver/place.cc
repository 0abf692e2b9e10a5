#include "deliver/place.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fs.h"
#include "deliver/wipe.h"

namespace tb::deliver {
namespace {

constexpr const char* kMarker = ".trustbridge-delivered";

Result<> remove_ours(int dir_fd, const std::string& path, const std::string& name, uid_t runtime_uid) {
  struct stat st{};
  if (fstatat(dir_fd, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};
  const bool ours = st.st_uid == geteuid() || st.st_uid == runtime_uid;
  if (!ours || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
    return fail("path_unsafe", fmt::format("{}/{} is neither ours nor the runtime's", path, name));
  }
  return wipe_tree_at(dir_fd, name);
}

}  // namespace

Result<std::string> model_name(const asset::Manifest& manifest) {
  const auto& content = manifest.content();
  std::string name;
  if (content && !content->is_tar() && !content->name.empty()) {
    name = content->name;
  } else {
    name = manifest.weights_filename();
    constexpr std::string_view suffix = ".tbenc";
    if (name.size() > suffix.size() && name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  }
  if (!asset::is_path_part(name) || name.starts_with('.')) {
    return fail("path_unsafe", "the model's name cannot be a file name");
  }
  return name;
}

Result<> write_marker(int dir_fd, const std::string& name) {
  TRY(remove_marker(dir_fd));
  const Fd fd(openat(dir_fd, kMarker, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return fail(error_from_errno(errno, kMarker));
  return write_full(fd.get(), as_bytes(name), kMarker);
}

Result<> remove_marker(int dir_fd) {
  if (unlinkat(dir_fd, kMarker, 0) != 0 && errno != ENOENT) return fail(error_from_errno(errno, kMarker));
  return {};
}

Result<> remove_leftovers(int dir_fd, const std::string& path, uid_t runtime_uid) {
  for (const std::string& name : TRY(names_in(dir_fd, path))) {
    if (name.starts_with(kHiddenPrefix)) TRY(remove_ours(dir_fd, path, name, runtime_uid));
  }
  const Fd marker(openat(dir_fd, kMarker, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!marker) {
    if (errno == ENOENT) return {};
    return fail("path_unsafe", fmt::format("{}/{} cannot be read", path, kMarker));
  }
  struct stat st{};
  if (fstat(marker.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
    return fail("path_unsafe", fmt::format("{}/{} is not ours", path, kMarker));
  }
  Bytes text(256);
  text.resize(TRY(read_full(marker.get(), text, kMarker)));
  const std::string name(as_text(text));
  if (asset::is_path_part(name) && !name.starts_with('.')) TRY(remove_ours(dir_fd, path, name, runtime_uid));
  return remove_marker(dir_fd);
}

}  // namespace tb::deliver
