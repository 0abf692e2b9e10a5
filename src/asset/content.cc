#include "asset/content.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"

namespace tb::asset {
namespace {

constexpr std::size_t kMaxPartBytes = 255;
constexpr std::int64_t kMaxInteger = (std::int64_t{1} << 53) - 1;

bool has_control(std::string_view text) {
  return std::ranges::any_of(text, [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u < 0x20 || u == 0x7f;
  });
}

std::unexpected<Error> malformed(std::string message) {
  return fail("content_malformed", std::move(message));
}

/// Paths may hold anything a terminal would obey: errors name an entry by number until its path is known to be sound.
std::string entry_name(std::size_t index) {
  return fmt::format("content entry {}", index);
}

Result<> validate_file(const ContentFile& file, std::size_t index, std::uint64_t plaintext_bytes) {
  if (!is_relative_path(file.path)) return malformed(entry_name(index) + " has an unsafe path");
  if (file.mode != kPlainMode && file.mode != kExecutableMode) {
    return malformed(fmt::format("content entry '{}' has a mode other than 0644 and 0755", file.path));
  }
  if (file.bytes > plaintext_bytes || file.offset > plaintext_bytes - file.bytes) {
    return malformed(fmt::format("content entry '{}' ends beyond the plaintext", file.path));
  }
  return {};
}

/// Sorting does not put a file beside those under it ("a", "a-b", "a/c"): the first path from "a/" on tells.
bool is_directory_of_another(const std::vector<ContentFile>& files, const std::string& path) {
  const std::string prefix = path + "/";
  const auto found = std::ranges::lower_bound(files, prefix, {}, &ContentFile::path);
  return found != files.end() && found->path.starts_with(prefix);
}

Result<> validate_order(const std::vector<ContentFile>& files) {
  for (std::size_t i = 1; i < files.size(); ++i) {
    const ContentFile& before = files[i - 1];
    const ContentFile& file = files[i];
    if (before.path == file.path) return malformed(fmt::format("content path '{}' stands twice", file.path));
    if (before.path > file.path)
      return malformed(fmt::format("content entry '{}' is not in bytewise order", file.path));
    if (file.offset <= before.offset) return malformed(fmt::format("content entry '{}' does not ascend", file.path));
    if (file.offset < before.offset + before.bytes) {
      return malformed(fmt::format("content entry '{}' overlaps the one before", file.path));
    }
  }
  for (const ContentFile& file : files) {
    if (is_directory_of_another(files, file.path)) {
      return malformed(fmt::format("content entry '{}' is a file and a directory of another", file.path));
    }
  }
  return {};
}

Result<std::optional<Digest>> read_digest(const Json& json, std::string_view name, const std::string& what) {
  const Json* value = json.find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string() || value->as_string().size() != 2 * std::tuple_size_v<Digest>) {
    return malformed(fmt::format("{}: {} is not 64 hex digits", what, name));
  }
  auto bytes = from_hex(value->as_string());
  if (!bytes) return malformed(fmt::format("{}: {} is not 64 hex digits", what, name));
  Digest digest;
  std::ranges::copy(*bytes, digest.begin());
  return digest;
}

Result<std::uint64_t> read_count(const Json& json, std::string_view name, const std::string& what) {
  const Json* value = json.find(name);
  if (value == nullptr || !value->is_integer() || value->as_integer() < 0) {
    return malformed(fmt::format("{}: {} is not an integer of 0 or more", what, name));
  }
  return static_cast<std::uint64_t>(value->as_integer());
}

Result<ContentFile> read_file(const Json& json, std::size_t index) {
  const std::string what = entry_name(index);
  if (!json.is_object()) return malformed(what + " is not an object");
  ContentFile file;
  const Json* path = json.find("path");
  if (path == nullptr || !path->is_string()) return malformed(what + ": path is not a string");
  file.path = path->as_string();
  file.offset = TRY(read_count(json, "offset", what));
  file.bytes = TRY(read_count(json, "bytes", what));
  if (const Json* mode = json.find("mode")) {
    if (!mode->is_string() || (mode->as_string() != "0644" && mode->as_string() != "0755")) {
      return malformed(what + ": mode is neither \"0644\" nor \"0755\"");
    }
    file.mode = mode->as_string() == "0755" ? kExecutableMode : kPlainMode;
  }
  file.sha256 = TRY(read_digest(json, "sha256", what));
  return file;
}

}  // namespace

bool is_path_part(std::string_view part) {
  return !part.empty() && part.size() <= kMaxPartBytes && part != "." && part != ".." &&
         part.find('/') == std::string_view::npos && !has_control(part) && is_utf8(part);
}

bool is_relative_path(std::string_view path) {
  while (true) {
    const std::size_t slash = path.find('/');
    if (!is_path_part(path.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

const ContentFile* Content::find(std::string_view path) const {
  const auto found = std::ranges::lower_bound(files, path, {}, &ContentFile::path);
  return found != files.end() && found->path == path ? &*found : nullptr;
}

Result<> validate(const Content& content, std::uint64_t plaintext_bytes) {
  if (plaintext_bytes > static_cast<std::uint64_t>(kMaxInteger)) return malformed("plaintext_bytes exceeds 2^53 - 1");
  if (!content.is_tar()) {
    if (!is_path_part(content.name)) return malformed("content name is not a bare file name");
    if (!content.files.empty()) return malformed("content of kind file has an index");
    return {};
  }
  if (content.files.empty()) return malformed("content of kind tar names no file");
  for (std::size_t i = 0; i < content.files.size(); ++i) {
    TRY(validate_file(content.files[i], i, plaintext_bytes));
  }
  return validate_order(content.files);
}

Result<Content> Content::from_json(const Json& json, std::uint64_t plaintext_bytes) {
  if (!json.is_object()) return malformed("content is not an object");
  const Json* kind = json.find("kind");
  if (kind == nullptr || !kind->is_string()) return malformed("content: kind is not a string");
  Content content;
  content.plaintext_sha256 = TRY(read_digest(json, "plaintext_sha256", "content"));
  if (kind->as_string() == "file") {
    const Json* name = json.find("name");
    if (name == nullptr || !name->is_string()) return malformed("content: name is not a string");
    content.name = name->as_string();
  } else if (kind->as_string() == "tar") {
    content.kind = Kind::kTar;
    const Json* files = json.find("files");
    if (files == nullptr || !files->is_array()) return malformed("content: files is not an array");
    content.files.reserve(files->as_array().size());
    for (const Json& file : files->as_array()) {
      content.files.push_back(TRY(read_file(file, content.files.size())));
    }
  } else {
    return malformed("content: kind is neither \"file\" nor \"tar\"");
  }
  TRY(validate(content, plaintext_bytes));
  return content;
}

Json Content::to_json() const {
  Json json = Json::object();
  json.set("kind", is_tar() ? "tar" : "file");
  if (is_tar()) {
    Json::Array list;
    list.reserve(files.size());
    for (const ContentFile& file : files) {
      Json entry = Json::object();
      entry.set("path", file.path);
      entry.set("offset", file.offset);
      entry.set("bytes", file.bytes);
      if (file.mode != kPlainMode) entry.set("mode", "0755");
      if (file.sha256) entry.set("sha256", to_hex(*file.sha256));
      list.push_back(std::move(entry));
    }
    json.set("files", Json(std::move(list)));
  } else {
    json.set("name", name);
  }
  if (plaintext_sha256) json.set("plaintext_sha256", to_hex(*plaintext_sha256));
  return json;
}

}  // namespace tb::asset
