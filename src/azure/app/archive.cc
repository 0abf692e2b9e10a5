#include "azure/app/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <memory>

#include "base/error.h"
#include "base/fs.h"

namespace tb::azure {
namespace {

constexpr time_t kFixedTime = 315'532'800;  // 1980-01-01, the first that a zip can say

[[noreturn]] void malformed(std::string message) {
  throw Error("package_malformed", std::move(message));
}

struct CloseWrite {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct CloseRead {
  void operator()(archive* a) const { archive_read_free(a); }
};
struct FreeEntry {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

void must(archive* a, int result) {
  if (result != ARCHIVE_OK)
    throw Error("archive_failed", fmt::format("the zip cannot be written: {}", archive_error_string(a)));
}

/// What a file of a package may be called: printable ASCII, no way out, no backslash.
bool is_safe_name(std::string_view name) {
  if (name.empty() || name.size() > 255 || name.front() == '/') return false;
  for (char c : name) {
    if (c < 0x20 || c > 0x7e || c == '\\') return false;
  }
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

std::string content_of(archive* a, std::string_view name, std::size_t left) {
  std::string out;
  for (;;) {
    const void* block = nullptr;
    std::size_t bytes = 0;
    la_int64_t offset = 0;
    const int result = archive_read_data_block(a, &block, &bytes, &offset);
    if (result == ARCHIVE_EOF) return out;
    if (result != ARCHIVE_OK || offset != static_cast<la_int64_t>(out.size()))
      malformed(fmt::format("{} is damaged", name));
    if (out.size() + bytes > std::min(kMaxFileBytes, left)) malformed(fmt::format("{} is too large", name));
    out.append(static_cast<const char*>(block), bytes);
  }
}

PackageFiles files_of_directory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (directory == nullptr) throw error_from_errno(errno, path);
  PackageFiles out;
  std::size_t bytes = 0;
  while (const dirent* entry = readdir(directory.get())) {
    const std::string name = entry->d_name;
    struct stat info{};
    if (fstatat(dirfd(directory.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode))
      continue;
    if (!is_safe_name(name)) malformed("a file's name is not allowed");
    std::string content = value_or_throw(read_small_file(path + "/" + name, kMaxFileBytes));
    bytes += content.size();
    if (out.size() >= kMaxPackageFiles || bytes > kMaxPackageBytes) malformed("too many or too large files");
    out.emplace(name, std::move(content));
  }
  return out;
}

}  // namespace

std::string zip_of(const PackageFiles& files) {
  const std::unique_ptr<archive, CloseWrite> zip(archive_write_new());
  must(zip.get(), archive_write_set_format_zip(zip.get()));
  must(zip.get(), archive_write_set_format_option(zip.get(), "zip", "compression", "store"));
  must(zip.get(), archive_write_set_bytes_per_block(zip.get(), 0));
  std::string out;
  const auto append = [](archive*, void* to, const void* bytes, std::size_t count) -> la_ssize_t {
    static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), count);
    return static_cast<la_ssize_t>(count);
  };
  must(zip.get(), archive_write_open2(zip.get(), &out, nullptr, append, nullptr, nullptr));
  for (const auto& [name, content] : files) {
    const std::unique_ptr<archive_entry, FreeEntry> entry(archive_entry_new());
    archive_entry_set_pathname(entry.get(), name.c_str());
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_perm(entry.get(), 0644);
    archive_entry_set_size(entry.get(), static_cast<la_int64_t>(content.size()));
    archive_entry_set_mtime(entry.get(), kFixedTime, 0);
    must(zip.get(), archive_write_header(zip.get(), entry.get()));
    if (archive_write_data(zip.get(), content.data(), content.size()) != static_cast<la_ssize_t>(content.size())) {
      must(zip.get(), ARCHIVE_FATAL);
    }
  }
  must(zip.get(), archive_write_close(zip.get()));
  return out;
}

PackageFiles files_of_zip(ByteView zip) {
  if (zip.size() > kMaxPackageBytes) malformed("the zip is too large");
  const std::unique_ptr<archive, CloseRead> reader(archive_read_new());
  archive_read_support_format_zip_seekable(reader.get());
  if (archive_read_open_memory(reader.get(), zip.data(), zip.size()) != ARCHIVE_OK) malformed("it is no zip");
  PackageFiles out;
  std::size_t left = kMaxPackageBytes;
  for (std::size_t entries = 0;; ++entries) {
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(reader.get(), &entry);
    if (result == ARCHIVE_EOF) break;
    if (result != ARCHIVE_OK) malformed("it is no zip, or damaged");
    if (entries >= kMaxPackageFiles) malformed("the zip has too many files");
    const char* pathname = archive_entry_pathname(entry);
    const std::string name = pathname == nullptr ? "" : pathname;
    if (archive_entry_filetype(entry) == AE_IFDIR) continue;
    if (archive_entry_filetype(entry) != AE_IFREG)
      malformed("the zip holds something that is neither file nor directory");
    if (!is_safe_name(name)) malformed("a file's name in the zip is not allowed");
    std::string content = content_of(reader.get(), name, left);
    left -= content.size();
    if (!out.emplace(name, std::move(content)).second) malformed(fmt::format("{} is twice in the zip", name));
  }
  return out;
}

PackageFiles read_package(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) throw error_from_errno(errno, path);
  if (S_ISDIR(info.st_mode)) return files_of_directory(path);
  return files_of_zip(as_bytes(value_or_throw(read_small_file(path, kMaxPackageBytes))));
}

}  // namespace tb::azure
