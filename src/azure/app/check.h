// `package --check`: what stands between a package and the marketplace, found before it is uploaded.
//
// Rules bear the names that Azure's own template test kit (arm-ttk) gives them, so that its pages explain them; the
// code and the words are ours. What that kit blocks a submission for, blocks here; what it warns of, warns. Five rules
// are ours alone and are marked so in the table. The package may be anybody's: nothing in it is trusted, and a check
// only reads.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "azure/app/archive.h"

namespace tb::azure {

struct Finding {
  std::string_view rule;
  bool blocks = true;
  std::string file;      ///< of the package
  std::string pointer;   ///< RFC 6901, empty for the whole document
  std::size_t line = 0;  ///< 1 for the first; 0 where there is none
  std::string message;
  std::string_view hint;
};

struct RuleInfo {
  std::string_view id;
  bool blocks;
  bool own;  ///< not one of arm-ttk's
  std::string_view hint;
};

/// All rules, sorted by id.
std::span<const RuleInfo> check_rules();

/// What blocks first, then in the order of files and lines. Comments in JSON are passed over, as the resource manager
/// does. Throws
/// "package_malformed" for a template that is made to take forever. `today` as "2026-11-26": age of API versions.
std::vector<Finding> check_package(const PackageFiles& files, std::string_view today);

/// Line of what `pointer` names in `text`, which is JSON; 0 if it is not there.
std::size_t line_of(std::string_view text, std::string_view pointer);

}  // namespace tb::azure
