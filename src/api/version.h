// Versions as Semantic Versioning 2.0.0 orders them: for the oldest client that a contract lets run.
#pragma once

#include <string_view>

namespace tb::api {

/// MAJOR.MINOR.PATCH with an optional -prerelease and +build, without leading zeros, at most 64 bytes.
bool is_version(std::string_view text);

/// Clause 11: a prerelease comes before its release, build metadata does not count. What is no version is older than
/// every version.
bool is_older(std::string_view version, std::string_view than);

}  // namespace tb::api
