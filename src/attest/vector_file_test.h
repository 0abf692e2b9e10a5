// Reading the vectors of tests/vectors: JSON files, in which a text "@name" stands for an entry of the folder's shared
// file.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "base/crypto.h"
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

/// docs/spec/wire.md 1.1, Evidence: written out here, so that vectors and product do not share one mistake.
inline Digest request_digest(const Json& binding) {
  Bytes message;
  const auto append = [&message](std::string_view text) { message.insert(message.end(), text.begin(), text.end()); };
  append("trustbridge/evidence/v1");
  for (const char* name : {"nonce", "thumbprint", "contract_id", "asset_id", "lease_id", "config_sha256"}) {
    const std::string& text = binding.find(name)->as_string();
    std::uint8_t length[4];
    store_be32(length, static_cast<std::uint32_t>(text.size()));
    append(as_text(length));
    append(text);
  }
  return sha256(message);
}

}  // namespace tb::attest
