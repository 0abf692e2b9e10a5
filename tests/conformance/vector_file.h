// One conformance vector, as tests/vectors/README.md describes the form.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/secret.h"

namespace tb::conformance {

struct Vector {
  std::string name;
  std::map<std::string, std::string> fields;
  std::optional<std::string> manifest;
  Bytes file;

  /// "" where the field does not stand.
  std::string get(const std::string& field) const;
  std::optional<std::uint64_t> number(const std::string& field) const;
  FileKey key() const;
  /// True if `code` is one of those that `field` allows ("truncated|tampered").
  bool allows(const std::string& field, std::string_view code) const;
};

/// All vectors of the folder, by name. Throws std::runtime_error for one that is not in form.
std::vector<Vector> load_vectors(const std::string& folder);

}  // namespace tb::conformance
