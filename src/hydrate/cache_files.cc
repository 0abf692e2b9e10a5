#include "hydrate/cache_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "hydrate/journal.h"

namespace tb::hydrate {
namespace {

constexpr std::string_view kCiphertext = ".ciphertext";
constexpr std::string_view kJournal = ".journal";
constexpr std::size_t kNameBytes = 16;  ///< of the digest
constexpr std::uint64_t kMostJournalBytes = std::uint64_t{256} << 20;

Result<Fd> open_directory(const std::string& path) {
  TRY(make_directories(path, 0700));
  Fd fd = TRY(open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct stat st{};
  if (fstat(fd.get(), &st) != 0) return fail(error_from_errno(errno, path));
  if (st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
    return fail("path_unsafe", path + " is owned by another user, or others may write it");
  }
  return fd;
}

Result<Fd> open_at(int dir, const std::string& name, int flags) {
  const int fd = openat(dir, name.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
  if (fd < 0) return fail(error_from_errno(errno, name));
  Fd owned(fd);
  struct stat st{};
  if (fstat(fd, &st) != 0) return fail(error_from_errno(errno, name));
  if (!S_ISREG(st.st_mode) || st.st_uid != geteuid()) return fail("path_unsafe", name + " is not a file of ours");
  return owned;
}

bool lock(const Fd& fd) {
  return flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
}

/// Reserves `bytes`; where a file system cannot, the file is only made as long.
Result<> reserve(const Fd& fd, std::uint64_t bytes, const std::string& what) {
  int rc;
  do rc = fallocate(fd.get(), 0, 0, static_cast<off_t>(bytes));
  while (rc != 0 && errno == EINTR);
  if (rc != 0 && errno == EOPNOTSUPP) rc = ftruncate(fd.get(), static_cast<off_t>(bytes));
  if (rc != 0) return fail(error_from_errno(errno, what));
  return {};
}

std::uint64_t free_bytes(int dir) {
  struct statvfs fs{};
  return fstatvfs(dir, &fs) == 0 ? std::uint64_t{fs.f_bavail} * fs.f_frsize : 0;
}

std::vector<std::string> names_in(int dir) {
  std::vector<std::string> names;
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
                                                    closedir);
  if (!listing) return names;
  while (const dirent* entry = readdir(listing.get())) names.emplace_back(entry->d_name);
  return names;
}

/// Removes caches of other manifests, the oldest first, until `bytes` are free or none is left that nobody uses.
void make_room(int dir, const std::string& own, std::uint64_t bytes) {
  std::vector<std::pair<timespec, std::string>> others;
  for (const std::string& entry : names_in(dir)) {
    struct stat st{};
    if (!entry.ends_with(kJournal) || entry.starts_with(own)) continue;
    if (fstatat(dir, entry.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) continue;
    others.emplace_back(st.st_mtim, entry.substr(0, entry.size() - kJournal.size()));
  }
  std::ranges::sort(others, [](const auto& a, const auto& b) {
    return std::pair(a.first.tv_sec, a.first.tv_nsec) < std::pair(b.first.tv_sec, b.first.tv_nsec);
  });
  for (const auto& [when, name] : others) {
    if (free_bytes(dir) >= bytes) return;
    const auto journal = open_at(dir, name + std::string(kJournal), O_RDWR);
    if (!journal || !lock(*journal)) continue;
    (void)unlinkat(dir, (name + std::string(kCiphertext)).c_str(), 0);
    (void)unlinkat(dir, (name + std::string(kJournal)).c_str(), 0);
  }
}

/// `held`: bytes of the file that are on the disk already.
Result<> require_room(int dir, const std::string& directory, const std::string& own, std::uint64_t bytes,
                      std::uint64_t held) {
  const std::uint64_t wanted = bytes > held ? bytes - held : 0;
  if (free_bytes(dir) < wanted) make_room(dir, own, wanted);
  const std::uint64_t free = free_bytes(dir);
  if (free >= wanted) return {};
  return fail("disk_full", fmt::format("the ciphertext cache needs {} MiB more in {}, {} MiB are free",
                                       (wanted >> 20) + 1, directory, free >> 20));
}

std::uint64_t held_bytes(const Fd& fd) {
  struct stat st{};
  return fstat(fd.get(), &st) == 0 ? static_cast<std::uint64_t>(st.st_blocks) * 512 : 0;
}

Result<std::vector<bool>> read_journal(const Fd& journal, const Digest& digest, const tbenc::Layout& layout) {
  const std::uint64_t bytes = TRY(file_size(journal.get(), "journal"));
  if (bytes > kMostJournalBytes) return fail("journal_malformed", "the journal is too long");
  Bytes text(static_cast<std::size_t>(bytes));
  text.resize(TRY(pread_full(journal.get(), text, 0, "journal")));
  return parse_journal(text, digest, layout);
}

Result<> make_journal(const Fd& journal, const Digest& digest, const tbenc::Layout& layout) {
  if (ftruncate(journal.get(), 0) != 0) return fail(error_from_errno(errno, "journal"));
  TRY(reserve(journal, journal_bytes(layout.chunk_count()), "journal"));
  return pwrite_full(journal.get(), journal_head(digest, layout), 0, "journal");
}

Result<CacheFiles> nameless(int dir, const std::string& directory, const std::string& own,
                            const tbenc::Layout& layout) {
  TRY(require_room(dir, directory, own, layout.ciphertext_bytes(), 0));
  const std::string name = "." + random_token(12) + std::string(kCiphertext);
  CacheFiles files;
  files.ciphertext = TRY(open_at(dir, name, O_RDWR | O_CREAT | O_EXCL));
  if (unlinkat(dir, name.c_str(), 0) != 0) return fail(error_from_errno(errno, name));
  TRY(reserve(files.ciphertext, layout.ciphertext_bytes(), "ciphertext cache in " + directory));
  files.present.resize(static_cast<std::size_t>(layout.chunk_count()));
  return files;
}

}  // namespace

std::string ciphertext_file_name(std::string_view manifest_sha256) {
  return std::string(manifest_sha256.substr(0, 2 * kNameBytes)).append(kCiphertext);
}

Result<CacheFiles> open_cache_files(const std::string& directory, const Digest& manifest_sha256,
                                    const tbenc::Layout& layout) {
  const Fd dir = TRY(open_directory(directory));
  const std::string own = to_hex(ByteView(manifest_sha256).first(kNameBytes));
  CacheFiles files;
  files.journal = TRY(open_at(dir.get(), own + std::string(kJournal), O_RDWR | O_CREAT));
  if (!lock(files.journal)) return nameless(dir.get(), directory, own, layout);
  files.ciphertext = TRY(open_at(dir.get(), own + std::string(kCiphertext), O_RDWR | O_CREAT));

  const std::uint64_t bytes = layout.ciphertext_bytes();
  const std::uint64_t size = TRY(file_size(files.ciphertext.get(), "ciphertext cache"));
  auto present = read_journal(files.journal, manifest_sha256, layout);
  if (present && size == bytes) {
    files.present = std::move(*present);
  } else {
    if (ftruncate(files.ciphertext.get(), 0) != 0) return fail(error_from_errno(errno, directory));
    TRY(require_room(dir.get(), directory, own, bytes + journal_bytes(layout.chunk_count()), 0));
    TRY(make_journal(files.journal, manifest_sha256, layout));
    files.present.resize(static_cast<std::size_t>(layout.chunk_count()));
  }
  // Also for a file that an earlier run could not reserve wholly: what is there stays.
  TRY(require_room(dir.get(), directory, own, bytes, held_bytes(files.ciphertext)));
  TRY(reserve(files.ciphertext, bytes, "ciphertext cache in " + directory));
  return files;
}

}  // namespace tb::hydrate
