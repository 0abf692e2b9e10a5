#include "cli/publish_inputs.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"
#include "cli/interrupt.h"
#include "cli/paths.h"

namespace tb::cli {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kReadBytes = std::size_t{1} << 20;

/// Size and time of what `path` leads to.
std::string stat_text(const std::string& path) {
  struct stat seen{};
  if (stat(path.c_str(), &seen) != 0) throw error_from_errno(errno, path);
  return fmt::format("{}:{}.{:09}", seen.st_size, seen.st_mtim.tv_sec, seen.st_mtim.tv_nsec);
}

std::string tree_digest(const std::string& path) {
  if (!is_directory(path)) return sha256_hex(stat_text(path));
  std::vector<std::string> lines;
  std::error_code fault;
  for (fs::recursive_directory_iterator at(path, fault), end; !fault && at != end; at.increment(fault)) {
    throw_if_interrupted();
    if (at->is_directory(fault) && !at->is_symlink(fault)) continue;
    // NUL cannot stand in a name: two trees never give one text.
    lines.push_back(at->path().lexically_relative(path).string() + '\0' + stat_text(at->path().string()) + '\0');
  }
  if (fault) throw error_from_errno(fault.value(), path);
  std::ranges::sort(lines);
  Sha256 hash;
  for (const std::string& line : lines) hash.update(as_bytes(line));
  return to_hex(hash.finish());
}

std::string digest_of(const StepInput& input) {
  if (!fs::exists(input.path)) return "missing";
  switch (input.seen) {
    case Seen::kContent:
      return file_sha256(input.path);
    case Seen::kStat:
      return sha256_hex(stat_text(input.path));
    case Seen::kTree:
      return tree_digest(input.path);
  }
  return "missing";
}

/// Arguments that say by which way a place is reached and how fast, not what is made or where: flags with a value, and
/// flags without one. Where a step is done once for all, whoever finds another way in may go on.
constexpr std::array<std::string_view, 2> kPace = {"--parallel", "--max-bytes-per-second"};
constexpr std::array<std::string_view, 6> kAccess = {
    "--auth", "--account-key-file", "--sas-file", "--authorization-file", "--token-file", "--ca-path"};
constexpr std::array<std::string_view, 2> kAccessAlone = {"--create-container", "--allow-insecure-http"};

Json arguments_that_matter(const Step& step) {
  const auto is_one_of = [](const auto& flags, const std::string& argument) {
    return std::ranges::find(flags, argument) != flags.end();
  };
  Json kept = Json::array();
  for (std::size_t i = 0; i < step.arguments.size(); ++i) {
    const std::string& argument = step.arguments[i];
    if (is_one_of(kPace, argument) || (step.once && is_one_of(kAccess, argument))) {
      ++i;
    } else if (!step.once || !is_one_of(kAccessAlone, argument)) {
      kept.push(argument);
    }
  }
  return kept;
}

}  // namespace

std::string file_sha256(const std::string& path) {
  const Fd fd = value_or_throw(open_file(path, O_RDONLY));
  Bytes buffer(kReadBytes);
  Sha256 hash;
  for (std::size_t got = buffer.size(); got == buffer.size();) {
    throw_if_interrupted();
    got = value_or_throw(read_full(fd.get(), buffer, path));
    hash.update(ByteView(buffer).first(got));
  }
  return to_hex(hash.finish());
}

Fingerprints fingerprints_of(const Step& step) {
  Fingerprints now;
  Json arguments = arguments_that_matter(step);
  if (!step.facts.empty()) arguments.push(step.facts);
  now["arguments"] = sha256_hex(arguments.dump());
  for (const StepInput& input : step.inputs) now[input.label] = digest_of(input);
  return now;
}

}  // namespace tb::cli
