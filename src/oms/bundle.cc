#include "oms/bundle.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

#include "base/json.h"
#include "oms/statement.h"

namespace tb::oms {
namespace {

constexpr std::string_view kSameMediaType = "application/vnd.dev.sigstore.bundle+json;version=0.3";
constexpr std::string_view kAnyMediaType = "application/vnd.dev.sigstore.bundle";
constexpr std::size_t kMaxKeyBytes = 8192;
constexpr std::size_t kMaxSignatureBytes = 256;

[[noreturn]] void malformed(std::string what) {
  throw Error("oms_bundle_malformed", "the bundle: " + std::move(what));
}

const Json& object_member(const Json& object, std::string_view name) {
  const Json* found = object.find(name);
  if (found == nullptr || !found->is_object()) malformed(fmt::format("{} is not an object", name));
  return *found;
}

std::string text_member(const Json& object, std::string_view name) {
  const Json* found = object.find(name);
  if (found == nullptr || !found->is_string()) malformed(fmt::format("{} is not a string", name));
  return found->as_string();
}

void require_only(const Json& object, std::initializer_list<std::string_view> known, std::string_view where) {
  for (const auto& [name, value] : object.as_object()) {
    if (std::ranges::find(known, name) == known.end())
      malformed(fmt::format("{} has a member of another format", where));
  }
}

Bytes base64_member(const Json& object, std::string_view name, std::size_t max_bytes) {
  Result<Bytes> bytes = from_base64(text_member(object, name));
  if (!bytes) malformed(fmt::format("{} is not base64", name));
  if (bytes->empty() || bytes->size() > max_bytes) malformed(fmt::format("{} is empty or too large", name));
  return std::move(*bytes);
}

void read_media_type(const Json& bundle) {
  const std::string type = text_member(bundle, "mediaType");
  if (type == kMediaType || type == kSameMediaType) return;
  if (type.starts_with(kAnyMediaType)) throw Error("oms_unsupported", "the bundle is not of version 0.3");
  malformed("mediaType is not the one of a bundle");
}

void read_public_key(const Json& key, Bundle& bundle) {
  if (key.find("hint") == nullptr) {
    bundle.public_key = base64_member(key, "rawBytes", kMaxKeyBytes);
    return;
  }
  bundle.hint = text_member(key, "hint");
  const bool hex =
      std::ranges::all_of(bundle.hint, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
  if (bundle.hint.size() != 64 || !hex) malformed("hint is not a SHA-256 in lower-case hex");
}

void read_chain(const Json& chain, Bundle& bundle) {
  const Json* list = chain.find("certificates");
  if (list == nullptr || !list->is_array() || list->as_array().empty()) malformed("certificates is not a list of them");
  if (list->as_array().size() > kMaxCertificates) malformed("certificates has too many of them");
  for (const Json& certificate : list->as_array()) {
    if (!certificate.is_object()) malformed("a certificate is not an object");
    bundle.certificates.push_back(base64_member(certificate, "rawBytes", kMaxKeyBytes));
  }
}

void read_material(const Json& material, Bundle& bundle) {
  require_only(material,
               {"publicKey", "x509CertificateChain", "certificate", "tlogEntries", "timestampVerificationData"},
               "verificationMaterial");
  const Json* key = material.find("publicKey");
  const Json* chain = material.find("x509CertificateChain");
  const Json* certificate = material.find("certificate");
  if ((key != nullptr) + (chain != nullptr) + (certificate != nullptr) != 1) {
    malformed("verificationMaterial does not hold one of publicKey, x509CertificateChain and certificate");
  }
  if (certificate != nullptr) {
    throw Error("oms_unsupported", "the bundle was signed with a Sigstore identity, which needs its transparency log");
  }
  if (const Json* log = material.find("tlogEntries"); log != nullptr && !log->is_array()) {
    malformed("tlogEntries is not an array");
  }
  const Json& owner = key != nullptr ? *key : *chain;
  if (!owner.is_object()) malformed("verificationMaterial holds what is not an object");
  key != nullptr ? read_public_key(owner, bundle) : read_chain(owner, bundle);
}

void read_envelope(const Json& envelope, Bundle& bundle) {
  require_only(envelope, {"payload", "payloadType", "signatures"}, "dsseEnvelope");
  if (text_member(envelope, "payloadType") != kPayloadType)
    malformed("payloadType is not the one of an in-toto statement");
  const Bytes payload = base64_member(envelope, "payload", kMaxBundleBytes);
  bundle.payload = as_text(payload);
  const Json* list = envelope.find("signatures");
  if (list == nullptr || !list->is_array() || list->as_array().size() != 1 || !list->as_array().front().is_object()) {
    malformed("signatures is not one signature");
  }
  const Json& signature = list->as_array().front();
  require_only(signature, {"sig", "keyid"}, "the signature");
  if (const Json* keyid = signature.find("keyid"); keyid != nullptr && !keyid->is_null() && !keyid->is_string()) {
    malformed("keyid is not a string");
  }
  bundle.signature = base64_member(signature, "sig", kMaxSignatureBytes);
}

}  // namespace

Bundle Bundle::parse(std::string_view text) {
  Result<Json> parsed = Json::parse(text, {.bytes = kMaxBundleBytes});
  if (!parsed) throw Error("oms_bundle_malformed", "the bundle is no JSON", std::move(parsed.error()));
  if (!parsed->is_object()) malformed("it is not an object");
  read_media_type(*parsed);
  require_only(*parsed, {"mediaType", "verificationMaterial", "dsseEnvelope"}, "it");
  Bundle bundle;
  read_material(object_member(*parsed, "verificationMaterial"), bundle);
  read_envelope(object_member(*parsed, "dsseEnvelope"), bundle);
  return bundle;
}

std::string Bundle::text() const {
  Json material = Json::object();
  if (!certificates.empty()) {
    Json::Array list;
    for (const Bytes& certificate : certificates) {
      list.push_back(std::move(Json::object().set("rawBytes", to_base64(certificate))));
    }
    material.set("x509CertificateChain", std::move(Json::object().set("certificates", Json(std::move(list)))));
  } else if (!public_key.empty()) {
    material.set("publicKey", std::move(Json::object().set("rawBytes", to_base64(public_key))));
  } else {
    material.set("publicKey", std::move(Json::object().set("hint", hint)));
  }
  material.set("tlogEntries", Json::array());
  Json signed_by = Json::object();
  signed_by.set("sig", to_base64(signature));
  signed_by.set("keyid", "");
  Json envelope = Json::object();
  envelope.set("payload", to_base64(as_bytes(payload)));
  envelope.set("payloadType", kPayloadType);
  envelope.set("signatures", Json::array().push(std::move(signed_by)));
  Json bundle = Json::object();
  bundle.set("mediaType", kMediaType);
  bundle.set("verificationMaterial", std::move(material));
  bundle.set("dsseEnvelope", std::move(envelope));
  return bundle.pretty() + "\n";
}

}  // namespace tb::oms
