#include "cli/paths.h"

#include <fmt/format.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "cli/console.h"

namespace tb::cli {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kCiphertextSuffix = ".tbenc";

// With every link and dot resolved as far as the path exists.
fs::path resolved(const std::string& path) {
  std::error_code ignored;
  fs::path result = fs::weakly_canonical(fs::absolute(path, ignored), ignored);
  return result.empty() ? fs::path(path) : result;
}

bool lies_in(const fs::path& path, const fs::path& directory) {
  const auto [at, end] = std::ranges::mismatch(directory, path);
  static_cast<void>(end);
  return at == directory.end();
}

std::string parent_of(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

}  // namespace

bool is_directory(const std::string& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool exists(const std::string& path) {
  std::error_code ignored;
  return fs::exists(fs::symlink_status(path, ignored));
}

std::string ciphertext_path(const std::string& out) {
  return is_directory(out) ? (fs::path(out) / "model.tbenc").string() : out;
}

std::string manifest_path_of(const std::string& ciphertext) {
  std::string stem = ciphertext;
  if (stem.ends_with(kCiphertextSuffix)) stem.resize(stem.size() - kCiphertextSuffix.size());
  return stem + ".manifest.json";
}

std::string key_path_of(const std::string& ciphertext) {
  return ciphertext + ".key";
}

std::string base_name(const std::string& path) {
  return fs::path(path).filename().string();
}

void require_apart(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
  std::vector<fs::path> seen;
  for (const std::string& output : outputs) {
    const fs::path target = resolved(output);
    for (const std::string& input : inputs) {
      if (input.empty() || input == "-") continue;
      const fs::path source = resolved(input);
      if (target == source) throw Error("output_is_input", fmt::format("{} is an input itself", output));
      if (is_directory(input) && lies_in(target, source)) {
        throw Error("output_is_input", fmt::format("{} lies inside the input directory {}", output, input));
      }
    }
    if (std::ranges::find(seen, target) != seen.end()) {
      throw Error("output_is_input", fmt::format("{} is given for two outputs", output));
    }
    seen.push_back(target);
  }
}

void require_free(const std::string& path) {
  if (exists(path)) throw Error("output_exists", fmt::format("{} exists", path));
}

void require_space(const std::string& path, std::uint64_t bytes) {
  struct statvfs info{};
  if (statvfs(parent_of(path).c_str(), &info) != 0) return;
  const std::uint64_t free = static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
  if (free < bytes) {
    throw Error("disk_full", fmt::format("{} needs {} and its file system has {} free", path, human_bytes(bytes),
                                         human_bytes(free)));
  }
}

}  // namespace tb::cli
