#include "oci/debian_packages.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/fs.h"

namespace tb::oci {
namespace {

constexpr std::size_t kMaxStatusBytes = std::size_t{256} << 20;
constexpr std::size_t kMaxListBytes = std::size_t{16} << 20;
constexpr std::string_view kUsr = "/usr";

// dpkg may record a file of /usr/lib by its older name in /lib.
std::string merged(std::string_view path) {
  for (const std::string_view top : {"/lib/", "/lib64/", "/bin/", "/sbin/"}) {
    if (path.starts_with(top)) return std::string(kUsr) + std::string(path);
  }
  return std::string(path);
}

std::string field(const std::map<std::string, std::string>& paragraph, const std::string& name) {
  const auto found = paragraph.find(name);
  return found == paragraph.end() ? "" : found->second;
}

// The licence of "Files: *" in a machine-readable copyright file.
std::string licence_in(const std::string& path) {
  const auto text = read_small_file(path, kMaxListBytes);
  if (!text || text->find("copyright-format/1.0") == std::string::npos) return {};
  for (const auto& paragraph : control_paragraphs(*text)) {
    if (field(paragraph, "Files") == "*") return field(paragraph, "License");
  }
  return {};
}

}  // namespace

std::vector<std::map<std::string, std::string>> control_paragraphs(std::string_view text) {
  std::vector<std::map<std::string, std::string>> out(1);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty()) {
      if (!out.back().empty()) out.emplace_back();
      continue;
    }
    const std::size_t colon = line.find(':');
    if (line.front() == ' ' || line.front() == '\t' || line.front() == '#' || colon == std::string_view::npos) continue;
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ')) value.remove_prefix(1);
    out.back().emplace(line.substr(0, colon), value);
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

DebianPackages::DebianPackages(const std::vector<std::string>& paths, const std::string& root) {
  std::map<std::string, std::string> wanted;  // as merged → as asked
  for (const std::string& path : paths) wanted.emplace(merged(path), path);
  std::map<std::string, std::string> owners;  // path → package, with its architecture where dpkg keeps one
  std::error_code fault;
  for (const auto& file : std::filesystem::directory_iterator(root + "/var/lib/dpkg/info", fault)) {
    if (file.path().extension() != ".list") continue;
    const auto list = read_small_file(file.path().string(), kMaxListBytes);
    if (!list) continue;
    for (std::string_view rest = *list; !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      const auto found = wanted.find(merged(rest.substr(0, end)));
      if (found != wanted.end()) owners.emplace(found->second, file.path().stem().string());
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  const auto status = read_small_file(root + "/var/lib/dpkg/status", kMaxStatusBytes);
  if (!status || owners.empty()) return;
  std::map<std::string, DebianPackage> known;
  std::set<std::string> names;
  for (const auto& [path, owner] : owners) names.insert(owner.substr(0, owner.find(':')));
  for (const auto& paragraph : control_paragraphs(*status)) {
    const std::string name = field(paragraph, "Package");
    if (!names.contains(name)) continue;
    DebianPackage package{.name = name,
                          .version = field(paragraph, "Version"),
                          .architecture = field(paragraph, "Architecture"),
                          .source = field(paragraph, "Source"),
                          .licence = licence_in(root + "/usr/share/doc/" + name + "/copyright")};
    if (package.source.empty()) package.source = name;
    package.source = package.source.substr(0, package.source.find(' '));
    known.emplace(name + ":" + package.architecture, package);
    known.emplace(name, std::move(package));
  }
  for (const auto& [path, owner] : owners) {
    const auto found = known.find(owner);
    if (found != known.end()) packages_.emplace(path, found->second);
  }
}

std::optional<DebianPackage> DebianPackages::of(const std::string& path) const {
  const auto found = packages_.find(path);
  if (found == packages_.end()) return std::nullopt;
  return found->second;
}

}  // namespace tb::oci
