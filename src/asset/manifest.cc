#include "asset/manifest.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"

namespace tb::asset {
namespace {

constexpr std::int64_t kMaxInteger = (std::int64_t{1} << 53) - 1;
/// Bounds the memory of a parsed document: an index of kMaxIndexBytes fits.
constexpr std::size_t kMaxManifestValues = std::size_t{1} << 21;
constexpr std::size_t kMaxSignatures = 64;
constexpr std::string_view kDomain = "trustbridge manifest v1";

std::unexpected<Error> malformed(std::string message) {
  return fail("manifest_malformed", std::move(message));
}

JsonLimits manifest_limits() {
  return {.bytes = kMaxManifestBytes,
          .depth = 16,
          .integers_only = true,
          .ascii_names_only = true,
          .values = kMaxManifestValues};
}

bool is_lower_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool is_hex(std::string_view text, std::size_t digits) {
  return text.size() == digits && from_hex(text).has_value();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

Result<std::string> read_text(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  if (value == nullptr) return malformed(fmt::format("manifest: {} is missing", name));
  if (!value->is_string()) return malformed(fmt::format("manifest: {} is not a string", name));
  return value->as_string();
}

Result<std::int64_t> read_integer(const Json& object, std::string_view name, std::int64_t min, std::int64_t max) {
  const Json* value = object.find(name);
  if (value == nullptr) return malformed(fmt::format("manifest: {} is missing", name));
  if (!value->is_integer() || value->as_integer() < min || value->as_integer() > max) {
    return malformed(fmt::format("manifest: {} is not an integer from {} to {}", name, min, max));
  }
  return value->as_integer();
}

Result<Metadata> read_metadata(const Json& object) {
  Metadata metadata;
  metadata.format = TRY(read_text(object, "format"));
  if (metadata.format != kFormat) return malformed(fmt::format("manifest: format is not \"{}\"", kFormat));
  metadata.algo = TRY(read_text(object, "algo"));
  if (metadata.algo != kAlgo) return malformed(fmt::format("manifest: algo is not \"{}\"", kAlgo));
  metadata.chunk_bytes = static_cast<std::uint32_t>(TRY(read_integer(object, "chunk_bytes", 1, tbenc::kMaxChunkBytes)));
  metadata.plaintext_bytes = static_cast<std::uint64_t>(TRY(read_integer(object, "plaintext_bytes", 0, kMaxInteger)));
  const std::string sha256 = TRY(read_text(object, "sha256_ciphertext"));
  if (!is_hex(sha256, 64)) return malformed("manifest: sha256_ciphertext is not 64 hex digits");
  metadata.sha256_ciphertext = lower(sha256);
  return metadata;
}

/// Members of `mac` and of signatures are not covered by any proof, so none but the known ones are allowed.
Result<> only_members(const Json& object, std::initializer_list<std::string_view> known, std::string_view what) {
  if (!object.is_object()) return malformed(fmt::format("manifest: {} is not an object", what));
  for (const auto& [name, value] : object.as_object()) {
    if (std::ranges::find(known, name) == known.end()) {
      return malformed(fmt::format("manifest: {} has a member besides its own", what));
    }
    if (!value.is_string()) return malformed(fmt::format("manifest: {} of {} is not a string", name, what));
  }
  if (object.as_object().size() != known.size()) return malformed(fmt::format("manifest: {} is incomplete", what));
  return {};
}

Result<Digest> read_mac(const Json& json) {
  TRY(only_members(json, {"alg", "value"}, "mac"));
  if (json.find("alg")->as_string() != "HS256") return malformed("manifest: alg of mac is not HS256");
  const auto value = from_base64url(json.find("value")->as_string());
  Digest mac;
  if (!value || value->size() != mac.size()) return malformed("manifest: value of mac is not 32 bytes in base64url");
  std::ranges::copy(*value, mac.begin());
  return mac;
}

Result<ManifestSignature> read_signature(const Json& json) {
  TRY(only_members(json, {"alg", "keyid", "value"}, "a signature"));
  if (json.find("alg")->as_string() != "Ed25519") return malformed("manifest: alg of a signature is not Ed25519");
  ManifestSignature signature;
  signature.keyid = json.find("keyid")->as_string();
  if (!is_lower_hex(signature.keyid, 64))
    return malformed("manifest: keyid of a signature is not 64 lower-case hex digits");
  const auto value = from_base64url(json.find("value")->as_string());
  if (!value || value->size() != signature.value.size()) {
    return malformed("manifest: value of a signature is not 64 bytes in base64url");
  }
  std::ranges::copy(*value, signature.value.begin());
  return signature;
}

Result<std::vector<ManifestSignature>> read_signatures(const Json& json) {
  if (!json.is_array()) return malformed("manifest: signatures is not an array");
  if (json.as_array().size() > kMaxSignatures) {
    return malformed(fmt::format("manifest: more than {} signatures", kMaxSignatures));
  }
  std::vector<ManifestSignature> signatures;
  for (const Json& item : json.as_array()) {
    ManifestSignature signature = TRY(read_signature(item));
    if (std::ranges::find(signatures, signature.keyid, &ManifestSignature::keyid) != signatures.end()) {
      return malformed("manifest: two signatures by one key");
    }
    signatures.push_back(std::move(signature));
  }
  return signatures;
}

Result<tbenc::NoncePrefix> read_nonce_prefix(const Json& json) {
  if (!json.is_string() || !is_lower_hex(json.as_string(), 8)) {
    return malformed("manifest: nonce_prefix is not 8 lower-case hex digits");
  }
  const Bytes bytes = TRY(from_hex(json.as_string()));
  tbenc::NoncePrefix prefix;
  std::ranges::copy(bytes, prefix.begin());
  return prefix;
}

Digest mac_of(const FileKey& key, std::string_view proven) {
  const Secret<32> mac_key = hkdf_sha256(key.reveal(), kDomain);
  return hmac_sha256(mac_key.reveal(), as_bytes(proven));
}

}  // namespace

Json Metadata::to_json() const {
  Json json = Json::object();
  json.set("format", format);
  json.set("algo", algo);
  json.set("chunk_bytes", chunk_bytes);
  json.set("plaintext_bytes", plaintext_bytes);
  json.set("sha256_ciphertext", sha256_ciphertext);
  return json;
}

Result<Metadata> Metadata::from_json(const Json& json) {
  if (!json.is_object()) return malformed("metadata is not an object");
  return read_metadata(json);
}

Result<Manifest> Manifest::parse(std::string_view text) {
  if (text.size() > kMaxManifestBytes) return fail("manifest_too_large", "manifest exceeds 64 MiB");
  auto document = Json::parse(text, manifest_limits());
  if (!document)
    return fail(Error("manifest_malformed", "manifest is not acceptable JSON", std::move(document.error())));
  Manifest manifest;
  manifest.document_ = std::move(*document);
  TRY(manifest.read());
  return manifest;
}

Result<Manifest> Manifest::from_json(const Json& document) {
  return parse(document.dump());
}

Result<> Manifest::read() {
  if (!document_.is_object()) return malformed("manifest is not an object");
  Metadata metadata = TRY(read_metadata(document_));
  chunk_bytes_ = metadata.chunk_bytes;
  plaintext_bytes_ = metadata.plaintext_bytes;
  sha256_ciphertext_ = std::move(metadata.sha256_ciphertext);
  layout_ = TRY(tbenc::Layout::from_plaintext(plaintext_bytes_, chunk_bytes_));
  asset_id_ = TRY(read_text(document_, "asset_id"));
  if (!is_asset_id(asset_id_)) return malformed("manifest: asset_id is not 1 to 100 of a-z A-Z 0-9 _ -");
  weights_filename_ = TRY(read_text(document_, "weights_filename"));
  if (!is_weights_filename(weights_filename_)) return malformed("manifest: weights_filename is not a bare file name");

  if (const Json* prefix = document_.find("nonce_prefix")) nonce_prefix_ = TRY(read_nonce_prefix(*prefix));
  if (const Json* allow = document_.find("allow_finetune")) {
    if (!allow->is_bool()) return malformed("manifest: allow_finetune is not a boolean");
    allow_finetune_ = allow->as_bool();
  }
  if (document_.find("version") != nullptr) version_ = TRY(read_integer(document_, "version", 0, kMaxInteger));
  if (const Json* content = document_.find("content")) content_ = TRY(Content::from_json(*content, plaintext_bytes_));
  if (const Json* mac = document_.find("mac")) {
    mac_ = TRY(read_mac(*mac));
    if (!nonce_prefix_) return malformed("manifest: nonce_prefix is missing beside a mac");
  }
  if (const Json* signatures = document_.find("signatures")) signatures_ = TRY(read_signatures(*signatures));
  return {};
}

Metadata Manifest::metadata() const {
  return {std::string(kFormat), std::string(kAlgo), chunk_bytes_, plaintext_bytes_, sha256_ciphertext_};
}

std::string Manifest::sha256() const {
  // parse() admits integers only, which is all that canonical() can refuse.
  return sha256_hex(document_.canonical().value());
}

std::string Manifest::proven_bytes() const {
  Json proven = document_;
  proven.erase("mac");
  proven.erase("signatures");
  return std::string(kDomain) + "\n" + proven.canonical().value();
}

Result<> Manifest::verify_mac(const FileKey& key) const {
  if (!mac_) return fail("mac_missing", "the manifest has no mac");
  if (!equal_constant_time(mac_of(key, proven_bytes()), *mac_)) {
    return fail("mac_mismatch", "the manifest's mac does not verify under this key");
  }
  return {};
}

Result<> Manifest::verify_signature(const Ed25519PublicKey& key) const {
  const std::string keyid = keyid_of(key);
  const auto found = std::ranges::find(signatures_, keyid, &ManifestSignature::keyid);
  if (found == signatures_.end()) return fail("signature_missing", "the manifest has no signature by key " + keyid);
  if (!ed25519_verify(key, as_bytes(proven_bytes()), found->value)) {
    return fail("signature_mismatch", "the manifest's signature by key " + keyid + " does not verify");
  }
  return {};
}

void Manifest::sign(const Ed25519PrivateKey& key) {
  ManifestSignature signature{keyid_of(key.public_key()), key.sign(as_bytes(proven_bytes()))};
  std::erase_if(signatures_, [&](const ManifestSignature& old) { return old.keyid == signature.keyid; });
  signatures_.push_back(std::move(signature));
  Json list = Json::array();
  for (const ManifestSignature& one : signatures_) {
    Json entry = Json::object();
    entry.set("alg", "Ed25519");
    entry.set("keyid", one.keyid);
    entry.set("value", to_base64url(one.value));
    list.push(std::move(entry));
  }
  document_.set("signatures", std::move(list));
}

Result<Manifest> ManifestDraft::build(const FileKey& key) const {
  Json json = Json::object();
  json.set("format", kFormat);
  json.set("algo", kAlgo);
  json.set("chunk_bytes", header.chunk_bytes);
  json.set("plaintext_bytes", plaintext_bytes);
  json.set("sha256_ciphertext", to_hex(sha256_ciphertext));
  json.set("asset_id", asset_id);
  json.set("weights_filename", weights_filename);
  json.set("nonce_prefix", to_hex(header.nonce_prefix));
  json.set("allow_finetune", allow_finetune);
  if (version) json.set("version", *version);
  if (content) json.set("content", content->to_json());

  Manifest draft = TRY(Manifest::from_json(json));
  Json mac = Json::object();
  mac.set("alg", "HS256");
  mac.set("value", to_base64url(mac_of(key, draft.proven_bytes())));
  draft.document_.set("mac", std::move(mac));
  // Read back as a stranger will read it.
  return Manifest::parse(draft.text());
}

Result<> check_file(const Manifest& manifest, const tbenc::Header& header, std::uint64_t ciphertext_bytes) {
  TRY(tbenc::check_header(header, manifest.known()));
  return manifest.layout().check_file_bytes(ciphertext_bytes);
}

bool is_asset_id(std::string_view text) {
  return !text.empty() && text.size() <= 100 && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

bool is_weights_filename(std::string_view text) {
  return is_path_part(text) && text.front() != '.' && text.find('\\') == std::string_view::npos &&
         text.find("..") == std::string_view::npos;
}

std::string keyid_of(const Ed25519PublicKey& key) {
  return to_hex(tb::sha256(ByteView(key)));
}

}  // namespace tb::asset
