#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <locale.h>
#include <sys/stat.h>

#include <memory>

#include "asset/tar_header.h"

namespace tb::asset {
namespace {

/// libarchive turns names into UTF-8 from the locale's charset; this thread's is UTF-8 while the guard lives.
class Utf8Locale {
 public:
  Utf8Locale() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", locale_t{})) {
    if (locale_ != locale_t{}) before_ = uselocale(locale_);
  }
  ~Utf8Locale() {
    if (locale_ == locale_t{}) return;
    uselocale(before_);
    freelocale(locale_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t locale_;
  locale_t before_{};
};

/// Takes the header and nothing after it: when the writer is freed, libarchive would add zeros in place of the file's
/// bytes, all of them, and stops at the first refusal. (Without the attempt it would not free what it holds.)
struct Output {
  std::string text;
  bool complete = false;
};

la_ssize_t append(archive*, void* out, const void* bytes, std::size_t count) {
  Output& output = *static_cast<Output*>(out);
  if (output.complete) return -1;
  output.text.append(static_cast<const char*>(bytes), count);
  return static_cast<la_ssize_t>(count);
}

}  // namespace

Result<std::string> encode_tar_header(const TarEntry& entry) {
  const Utf8Locale locale;
  Output out;
  const std::unique_ptr<archive, decltype(&archive_write_free)> writer(archive_write_new(), archive_write_free);
  const std::unique_ptr<archive_entry, decltype(&archive_entry_free)> header(archive_entry_new(), archive_entry_free);
  if (writer == nullptr || header == nullptr) return fail("out_of_memory", "no memory for a tar header");

  const auto failed = [&](int status) { return status != ARCHIVE_OK; };
  archive* a = writer.get();
  if (failed(archive_write_set_format_pax_restricted(a)) || failed(archive_write_set_bytes_per_block(a, 0)) ||
      failed(archive_write_open(a, &out, nullptr, append, nullptr))) {
    return fail("archive_failed", "libarchive cannot write a pax archive");
  }
  archive_entry_copy_pathname(header.get(), entry.path.c_str());
  archive_entry_set_filetype(header.get(), entry.is_directory ? AE_IFDIR : AE_IFREG);
  archive_entry_set_perm(header.get(), entry.mode);
  archive_entry_set_size(header.get(), static_cast<la_int64_t>(entry.bytes));
  archive_entry_set_mtime(header.get(), 0, 0);
  archive_entry_set_uid(header.get(), 0);
  archive_entry_set_gid(header.get(), 0);
  const int written = archive_write_header(a, header.get());
  out.complete = true;
  if (failed(written)) {
    const char* story = archive_error_string(a);
    return fail("archive_failed", fmt::format("cannot write the tar header of '{}': {}", entry.path,
                                              story != nullptr ? story : "libarchive gave no reason"));
  }
  if (out.text.empty() || out.text.size() % kTarBlockBytes != 0) {
    return fail("archive_failed", fmt::format("libarchive wrote half a header for '{}'", entry.path));
  }
  return std::move(out.text);
}

}  // namespace tb::asset
