// Which Debian package a file of this machine is from, by dpkg's own records: read as files, nothing is executed.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tb::oci {

struct DebianPackage {
  std::string name, version, architecture, source;
  std::string licence;  ///< as its copyright file names it for all files, or empty
};

class DebianPackages {
 public:
  /// Of the files of `paths`. A machine without dpkg gives none.
  explicit DebianPackages(const std::vector<std::string>& paths, const std::string& root = "");
  std::optional<DebianPackage> of(const std::string& path) const;

 private:
  std::map<std::string, DebianPackage> packages_;
};

/// The paragraphs of a control file (deb822): fields by name, continuation lines left out. Pure, bounded by its text.
std::vector<std::map<std::string, std::string>> control_paragraphs(std::string_view text);

}  // namespace tb::oci
