#include "asset/pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "asset/tar_header.h"

namespace tb::asset {
namespace {

constexpr std::size_t kMaxDepth = 64;
/// Of an index entry without its path, as indented JSON with every field.
constexpr std::size_t kEntryBytes = 260;

/// A name that is safe to print, whatever bytes are in it.
std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) out.push_back(static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c);
  if (!is_utf8(out)) std::ranges::replace_if(out, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return out;
}

Result<std::string> real_path_of(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> real(realpath(path.c_str(), nullptr), free);
  if (real == nullptr) return fail(error_from_errno(errno, printable(path)));
  return std::string(real.get());
}

Result<struct stat> stat_of(const std::string& path, bool follow) {
  struct stat st{};
  if ((follow ? stat(path.c_str(), &st) : lstat(path.c_str(), &st)) != 0) {
    return fail(error_from_errno(errno, printable(path)));
  }
  return st;
}

Result<std::vector<std::string>> names_in(const std::string& directory) {
  const std::unique_ptr<DIR, decltype(&closedir)> dir(opendir(directory.c_str()), closedir);
  if (dir == nullptr) return fail(error_from_errno(errno, printable(directory)));
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  if (errno != 0) return fail(error_from_errno(errno, printable(directory)));
  return names;
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

bool same_state(const struct stat& a, const struct stat& b) {
  return same_file(a, b) && a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec &&
         a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

std::string base_name(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path.substr(path.rfind('/') + 1);
}

/// Directories of `path` that are not directories of `before`, which precedes it in bytewise order.
std::vector<std::string> new_directories(std::string_view before, std::string_view path) {
  std::vector<std::string> directories;
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos; slash = path.find('/', slash + 1)) {
    if (!before.starts_with(path.substr(0, slash + 1))) directories.emplace_back(path.substr(0, slash));
  }
  return directories;
}

std::unexpected<Error> changed(std::string_view path) {
  return fail("source_changed", fmt::format("'{}' changed while it was read", path));
}

}  // namespace

Result<PackSource> PackSource::scan(const std::string& path, bool plaintext_hashes, std::size_t max_index_bytes) {
  PackSource source;
  source.max_index_bytes_ = max_index_bytes;
  source.root_ = path;
  source.hashing_ = plaintext_hashes;
  source.real_root_ = TRY(real_path_of(path));
  const struct stat root = TRY(stat_of(source.real_root_, true));
  if (S_ISDIR(root.st_mode)) {
    source.content_.kind = Content::Kind::kTar;
    std::vector<struct stat> ancestors{root};
    TRY(source.walk(source.real_root_, "", ancestors));
    if (source.entries_.empty()) return fail("source_empty", fmt::format("'{}' holds no file", printable(path)));
  } else if (S_ISREG(root.st_mode)) {
    source.content_.name = base_name(path);
    if (!is_path_part(source.content_.name)) {
      return fail("path_unsupported", fmt::format("'{}' cannot be named in a manifest", printable(path)));
    }
    TRY(source.add(source.content_.name, {source.real_root_, root}));
  } else {
    return fail("source_kind_unsupported", fmt::format("'{}' is neither a file nor a directory", printable(path)));
  }
  TRY(source.plan());
  return source;
}

Result<> PackSource::walk(const std::string& real_path, const std::string& prefix,
                          std::vector<struct stat>& ancestors) {
  for (const std::string& name : TRY(names_in(real_path))) {
    const std::string path = prefix + name;
    if (!is_path_part(name)) {
      return fail("path_unsupported", fmt::format("'{}' cannot be named in a manifest", printable(path)));
    }
    std::string real = real_path + "/" + name;
    struct stat st = TRY(stat_of(real, false));
    if (S_ISLNK(st.st_mode)) {
      followed_link_ = true;
      real = TRY(real_path_of(real));
      if (real != real_root_ && !real.starts_with(real_root_ == "/" ? "/" : real_root_ + "/")) {
        return fail("link_outside", fmt::format("the link '{}' leaves the directory", path));
      }
      st = TRY(stat_of(real, false));
    }
    if (S_ISDIR(st.st_mode)) {
      if (std::ranges::any_of(ancestors, [&](const struct stat& a) { return same_file(a, st); })) {
        return fail("link_loop", fmt::format("the link '{}' leads to a directory that holds it", path));
      }
      if (ancestors.size() >= kMaxDepth) {
        return fail("path_unsupported", fmt::format("'{}' lies more than {} directories deep", path, kMaxDepth));
      }
      ancestors.push_back(st);
      TRY(walk(real, path + "/", ancestors));
      ancestors.pop_back();
    } else if (S_ISREG(st.st_mode)) {
      TRY(add(path, {real, st}));
    } else {
      return fail("source_kind_unsupported", fmt::format("'{}' is neither a file nor a directory", path));
    }
  }
  return {};
}

Result<> PackSource::add(const std::string& path, Entry entry) {
  index_bytes_ += kEntryBytes + 2 * path.size();
  if (index_bytes_ > max_index_bytes_) {
    return fail("too_many_files", fmt::format("the files of '{}' do not fit in a manifest", printable(root_)));
  }
  TRY(open_file(entry.real_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  content_.files.push_back({.path = path,
                            .bytes = static_cast<std::uint64_t>(entry.seen.st_size),
                            .mode = (entry.seen.st_mode & S_IXUSR) != 0 ? kExecutableMode : kPlainMode});
  entries_.push_back(std::move(entry));
  return {};
}

Result<> PackSource::plan() {
  if (content_.is_tar()) {
    std::vector<std::size_t> order(entries_.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::sort(order, {}, [&](std::size_t i) -> const std::string& { return content_.files[i].path; });
    std::vector<ContentFile> files;
    std::vector<Entry> entries;
    for (const std::size_t i : order) {
      files.push_back(std::move(content_.files[i]));
      entries.push_back(std::move(entries_[i]));
    }
    content_.files = std::move(files);
    entries_ = std::move(entries);
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    total_ += TRY(gap(i)).size();
    content_.files[i].offset = total_;
    total_ += content_.files[i].bytes;
  }
  total_ += TRY(gap(entries_.size())).size();
  gap_ = TRY(gap(0));
  if (!content_.is_tar()) content_.files.clear();
  return validate(content_, total_);
}

/// Padding of the file before, headers of directories that begin here, header of the file; or the end of the archive.
Result<std::string> PackSource::gap(std::size_t file) const {
  if (!content_.is_tar()) return std::string();
  const auto& files = content_.files;
  std::string text;
  if (file > 0) text.append(tar_padding(files[file - 1].bytes), '\0');
  if (file == files.size()) return text.append(kTarEndBytes, '\0');
  for (const std::string& directory : new_directories(file > 0 ? files[file - 1].path : "", files[file].path)) {
    text += TRY(encode_tar_header({true, directory, 0, kExecutableMode}));
  }
  return text += TRY(encode_tar_header({false, files[file].path, files[file].bytes, files[file].mode}));
}

Result<> PackSource::open_current() {
  const Entry& entry = entries_[file_];
  open_ = TRY(open_file(entry.real_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  struct stat now{};
  if (fstat(open_.get(), &now) != 0) return fail(error_from_errno(errno, entry.real_path));
  if (!same_state(entry.seen, now)) return changed(entry.real_path);
  left_ = static_cast<std::uint64_t>(entry.seen.st_size);
  return {};
}

Result<> PackSource::close_current() {
  const Entry& entry = entries_[file_];
  struct stat now{};
  if (fstat(open_.get(), &now) != 0) return fail(error_from_errno(errno, entry.real_path));
  if (!same_state(entry.seen, now)) return changed(entry.real_path);
  open_.reset();
  if (hashing_) {
    (content_.is_tar() ? content_.files[file_].sha256 : content_.plaintext_sha256) = hash_.finish();
  }
  ++file_;
  gap_ = TRY(gap(file_));
  gap_at_ = 0;
  return {};
}

Result<std::size_t> PackSource::read(MutableBytes out) {
  std::size_t done = 0;
  while (done < out.size()) {
    const std::size_t room = out.size() - done;
    if (gap_at_ < gap_.size()) {
      const std::size_t n = std::min(room, gap_.size() - gap_at_);
      std::copy_n(gap_.begin() + static_cast<std::ptrdiff_t>(gap_at_), n,
                  out.begin() + static_cast<std::ptrdiff_t>(done));
      gap_at_ += n;
      done += n;
    } else if (!open_) {
      if (file_ == entries_.size()) break;
      TRY(open_current());
      if (left_ == 0) TRY(close_current());
    } else {
      const MutableBytes part = out.subspan(done, static_cast<std::size_t>(std::min<std::uint64_t>(room, left_)));
      if (TRY(read_full(open_.get(), part, entries_[file_].real_path)) != part.size()) {
        return changed(entries_[file_].real_path);
      }
      if (hashing_) hash_.update(part);
      left_ -= part.size();
      done += part.size();
      if (left_ == 0) TRY(close_current());
    }
  }
  return done;
}

std::vector<std::string> PackSource::pickle_files() const {
  std::vector<std::string> found;
  if (!content_.is_tar() && is_pickle_path(content_.name)) found.push_back(content_.name);
  for (const ContentFile& file : content_.files) {
    if (is_pickle_path(file.path)) found.push_back(file.path);
  }
  return found;
}

bool is_pickle_path(std::string_view path) {
  std::string lower(path);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return std::ranges::any_of(std::to_array<std::string_view>({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}),
                             [&](std::string_view suffix) { return lower.ends_with(suffix); });
}

}  // namespace tb::asset
