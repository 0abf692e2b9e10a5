// Packages as files: a zip, or a directory. The zip that we write has the same bytes for the same files: sorted, stored
// without compression, with one fixed time. What we read is a stranger's: bounded in every direction.
#pragma once

#include <map>
#include <string>

#include "base/bytes.h"

namespace tb::azure {

inline constexpr std::size_t kMaxPackageBytes = std::size_t{8} << 20;  ///< of the zip
inline constexpr std::size_t kMaxFileBytes = std::size_t{4} << 20;     ///< of one file in it, unpacked
inline constexpr std::size_t kMaxPackageFiles = 64;                    ///< and kMaxPackageBytes unpacked, all together

using PackageFiles = std::map<std::string, std::string>;

std::string zip_of(const PackageFiles& files);
/// Throws "package_malformed": no zip, damaged, over a bound, an entry that is neither file nor directory, or a name
/// that leads out, or comes twice.
PackageFiles files_of_zip(ByteView zip);
/// A zip file, or the files right in a directory. Throws as files_of_zip, and what reading a file gives.
PackageFiles read_package(const std::string& path);

}  // namespace tb::azure
