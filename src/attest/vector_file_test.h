// Reading the vectors of tests/vectors: JSON files, in which a text "@name" stands for an entry of the folder's shared
// file.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "attest/binding.h"
#include "base/fs.h"
#include "base/json.h"

namespace tb::attest {

inline Json vector_json(const std::filesystem::path& path) {
  return value_or_throw(Json::parse(value_or_throw(read_small_file(path.string()))));
}

/// `value` with every "@name" in it replaced.
inline Json with_shared(const Json& value, const Json& shared) {
  if (value.is_string() && value.as_string().starts_with('@')) {
    const Json* entry = shared.find(value.as_string().substr(1));
    if (entry == nullptr) throw Error("internal", "the shared file lacks " + value.as_string());
    return *entry;
  }
  Json out = value;
  if (out.is_array()) {
    for (Json& entry : out.as_array()) entry = with_shared(entry, shared);
  } else if (out.is_object()) {
    for (auto& [name, member] : out.as_object()) member = with_shared(member, shared);
  }
  return out;
}

/// All vectors of a folder by name, with the entries of `shared_name` put in.
inline std::map<std::string, Json> vectors_of(const std::string& folder, const std::string& shared_name) {
  const std::filesystem::path root = std::filesystem::path(TB_SOURCE_DIR) / "tests/vectors" / folder;
  const Json shared = vector_json(root / (shared_name + ".json"));
  std::map<std::string, Json> out;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() == ".json" && name != shared_name) {
      out.emplace(name, with_shared(vector_json(entry.path()), shared));
    }
  }
  return out;
}

inline Binding binding_of(const Json& json) {
  const auto text = [&](std::string_view name) { return json.find(name)->as_string(); };
  return {.nonce = text("nonce"),
          .thumbprint = text("thumbprint"),
          .contract_id = text("contract_id"),
          .asset_id = text("asset_id"),
          .lease_id = text("lease_id"),
          .config_sha256 = text("config_sha256")};
}

}  // namespace tb::attest
