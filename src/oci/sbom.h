// What our layer is made of, as SPDX 2.3 (ISO/IEC 5962) in JSON: each file with its digest, each Debian package with
// its version. A base image's own packages are its maker's to tell. Pure: the same parts give the same text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "oci/debian_packages.h"

namespace tb::oci {

struct SbomFile {
  std::string path;                      ///< in the image
  std::string sha256;                    ///< 64 hex digits
  std::optional<DebianPackage> package;  ///< nothing: our own, or of unknown origin
  bool ours = false;
};

struct SbomSubject {
  std::string name;  ///< "trustbridge-sentinel"
  std::string version;
  std::int64_t created_s = 0;
};

std::string spdx_document(const SbomSubject& subject, const std::vector<SbomFile>& files);

/// Debian's name of a licence as SPDX has it; "" where it is none of those that we know to be the same.
std::string spdx_licence(std::string_view debian);

}  // namespace tb::oci
