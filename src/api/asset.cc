// Reading and writing the values of assets; every fault names its field.
#include "api/asset.h"

#include <algorithm>

#include "base/bytes.h"

namespace tb::api {
namespace {

bool name_of_at_most(std::string_view text, std::size_t max_bytes) {
  if (text.empty() || text.size() > max_bytes) return false;
  return std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

std::string lower(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

constexpr std::int64_t kMaxInteger = (std::int64_t{1} << 53) - 1;

const Json& object_member(const Json& json, std::string_view name, std::string_view what) {
  const Json* member = json.find(name);
  if (member == nullptr) throw Error("field_missing", std::string(what) + " lacks " + std::string(name));
  if (!member->is_object()) {
    throw Error("field_invalid", std::string(name) + " of the " + std::string(what) + " must be an object");
  }
  return *member;
}

}  // namespace

bool valid_asset_id(std::string_view id) {
  return name_of_at_most(id, 100);
}
bool valid_name(std::string_view name) {
  return name_of_at_most(name, 64);
}
bool valid_sha256_hex(std::string_view text) {
  return text.size() == 64 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

Json AssetMetadata::to_json() const {
  Json json = Json::object();
  json.set("format", format);
  json.set("algo", algo);
  json.set("chunk_bytes", chunk_bytes);
  json.set("plaintext_bytes", plaintext_bytes);
  json.set("sha256_ciphertext", sha256_ciphertext);
  return json;
}

AssetMetadata AssetMetadata::from_json(const Json& json) {
  const JsonReader reader(json, "metadata");
  AssetMetadata out;
  out.format = value_or_throw(reader.string("format"));
  out.algo = value_or_throw(reader.string("algo"));
  out.chunk_bytes = value_or_throw(reader.integer("chunk_bytes", 1, 67108864));
  out.plaintext_bytes = value_or_throw(reader.integer("plaintext_bytes", 0, kMaxInteger));
  out.sha256_ciphertext = lower(value_or_throw(reader.string("sha256_ciphertext")));
  if (out.format != "tbenc/v1") throw Error("field_invalid", "format of the metadata must be tbenc/v1");
  if (out.algo != "aes-256-gcm-chunked")
    throw Error("field_invalid", "algo of the metadata must be aes-256-gcm-chunked");
  if (!valid_sha256_hex(out.sha256_ciphertext)) {
    throw Error("field_invalid", "sha256_ciphertext of the metadata must be 64 hex digits");
  }
  return out;
}

Json BlobUrls::to_json() const {
  Json json = Json::object();
  json.set("ciphertext", ciphertext);
  json.set("manifest", manifest);
  return json;
}

Json RegisterRequest::to_json() const {
  Json json = Json::object();
  json.set("asset_id", asset_id);
  json.set("blob_urls", blob_urls.to_json());
  json.set("metadata", metadata.to_json());
  if (decryption_key) json.set("decryption_key_hex", to_hex(decryption_key->reveal()));
  if (wrapped_key) json.set("wrapped_key", *wrapped_key);
  if (manifest) json.set("manifest", *manifest);
  return json;
}

RegisterRequest RegisterRequest::parse(std::string_view text) {
  const Json json = value_or_throw(Json::parse(text, {.bytes = kMaxRegisterRequestBytes, .depth = 20}));
  if (!json.is_object()) throw Error("json_malformed", "a register request must be an object");
  const JsonReader reader(json, "register request");
  RegisterRequest out;
  out.asset_id = value_or_throw(reader.string("asset_id"));
  if (!valid_asset_id(out.asset_id)) {
    throw Error("field_invalid", "asset_id must be 1 to 100 letters, digits, hyphens or underscores");
  }
  const JsonReader urls(object_member(json, "blob_urls", "register request"), "blob_urls");
  out.blob_urls.ciphertext = value_or_throw(urls.string("ciphertext"));
  out.blob_urls.manifest = value_or_throw(urls.string("manifest"));
  out.metadata = AssetMetadata::from_json(object_member(json, "metadata", "register request"));
  if (const Json* manifest = json.find("manifest"); manifest != nullptr && !manifest->is_null()) {
    if (!manifest->is_object()) throw Error("field_invalid", "manifest of the register request must be an object");
    out.manifest = *manifest;
  }
  out.wrapped_key = value_or_throw(reader.optional_string("wrapped_key"));
  if (auto hex = value_or_throw(reader.optional_string("decryption_key_hex"))) {
    const SecretString kept(std::move(*hex));
    auto bytes = from_hex(kept.reveal());
    if (!bytes || bytes->size() != 32) throw Error("field_invalid", "decryption_key_hex must be 64 hex digits");
    out.decryption_key.emplace(std::span<const std::uint8_t, 32>(bytes->data(), 32));
    wipe(bytes->data(), bytes->size());
  }
  if (out.wrapped_key.has_value() == out.decryption_key.has_value()) {
    throw Error("field_invalid", "a register request carries exactly one of wrapped_key and decryption_key_hex");
  }
  return out;
}

Json AssetView::to_json() const {
  Json json = Json::object();
  json.set("tenant", tenant);
  json.set("asset_id", asset_id);
  json.set("blob_urls", blob_urls.to_json());
  json.set("metadata", metadata.to_json());
  if (manifest_sha256) json.set("manifest_sha256", *manifest_sha256);
  json.set("registered_at", to_rfc3339(registered_at));
  return json;
}

AssetView AssetView::from_json(const Json& json) {
  const JsonReader reader(json, "asset");
  AssetView out;
  out.tenant = value_or_throw(reader.string("tenant"));
  out.asset_id = value_or_throw(reader.string("asset_id"));
  const JsonReader urls(object_member(json, "blob_urls", "asset"), "blob_urls");
  out.blob_urls.ciphertext = value_or_throw(urls.string("ciphertext"));
  out.blob_urls.manifest = value_or_throw(urls.string("manifest"));
  out.metadata = AssetMetadata::from_json(object_member(json, "metadata", "asset"));
  out.manifest_sha256 = value_or_throw(reader.optional_string("manifest_sha256"));
  out.registered_at = value_or_throw(from_rfc3339(value_or_throw(reader.string("registered_at"))));
  return out;
}

}  // namespace tb::api
