// The managed application of an asset: made from flags into a zip, or a package that is there looked at.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "azure/app/check.h"
#include "azure/app/plan.h"
#include "cli/console.h"
#include "cli/settings.h"

namespace tb::cli {

struct PackageOptions {
  azure::AppPlan plan;  ///< control plane and its key come from the settings
  std::string output = "trustbridge-app.zip";
  bool force = false;
};

struct Packaged {
  std::string path;
  std::string sha256;  ///< of the zip, lower hex
  std::uint64_t bytes = 0;
  std::vector<std::string> files;
};

/// Nothing is written unless the plan is sound and what it makes passes every rule. Throws "usage", "output_exists",
/// "public_key_malformed", "package_refused".
Packaged make_package(const PackageOptions& options, const SettingFlags& settings);

/// What stands in a package's way; empty: nothing. Throws "package_malformed", "file_not_found".
std::vector<azure::Finding> look_at_package(const std::string& path);

/// The findings as lines for people, and as JSON.
std::string shown(const std::vector<azure::Finding>& findings);
Json to_json(const std::vector<azure::Finding>& findings);

}  // namespace tb::cli
