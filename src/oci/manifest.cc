#include "oci/manifest.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/crypto.h"
#include "oci/reference.h"

namespace tb::oci {
namespace {

constexpr std::size_t kMaxTextBytes = 4096;
constexpr std::string_view kOs = "linux";
constexpr std::string_view kArchitecture = "amd64";

// What a runtime can unpack; the Docker names are the same bytes.
constexpr auto kLayerTypes = std::to_array<std::string_view>({
    "application/vnd.oci.image.layer.v1.tar",
    kLayerType,
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
});

std::unexpected<Error> malformed(std::string what) {
  return fail("image_malformed", std::move(what));
}

Result<Json> document(std::string_view text, std::string_view what) {
  auto parsed = Json::parse(text, {.bytes = kMaxDocumentBytes, .depth = 16, .values = 100'000});
  if (!parsed)
    return fail(Error("image_malformed", fmt::format("the {} is not JSON", what), std::move(parsed.error())));
  if (!parsed->is_object()) return malformed(fmt::format("the {} is no object", what));
  const Json* version = parsed->find("schemaVersion");
  if (version == nullptr || !version->is_integer() || version->as_integer() != 2) {
    return malformed(fmt::format("the {} is not of schema version 2", what));
  }
  return std::move(*parsed);
}

Result<std::string> member_text(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  if (value == nullptr || value->is_null()) return std::string();
  if (!value->is_string() || value->as_string().size() > kMaxTextBytes) {
    return malformed(fmt::format("{} is no text of at most {} bytes", name, kMaxTextBytes));
  }
  return value->as_string();
}

Result<Descriptor> parse_descriptor(const Json& value) {
  if (!value.is_object()) return malformed("a descriptor is no object");
  Descriptor out;
  out.media_type = TRY(member_text(value, "mediaType"));
  out.digest = TRY(member_text(value, "digest"));
  if (out.media_type.empty()) return malformed("a descriptor has no mediaType");
  if (!is_digest(out.digest)) return malformed("a descriptor's digest is not sha256 and 64 lower-case hex digits");
  const Json* size = value.find("size");
  if (size == nullptr || !size->is_integer() || size->as_integer() < 0 ||
      static_cast<std::uint64_t>(size->as_integer()) > kMaxBlobBytes) {
    return malformed("a descriptor's size is no number, or too large");
  }
  out.bytes = static_cast<std::uint64_t>(size->as_integer());
  if (const Json* urls = value.find("urls"); urls != nullptr && !(urls->is_array() && urls->as_array().empty())) {
    return malformed("a blob that lies elsewhere (urls) is not taken");
  }
  if (const Json* platform = value.find("platform"); platform != nullptr) {
    if (!platform->is_object()) return malformed("a platform is no object");
    out.os = TRY(member_text(*platform, "os"));
    out.architecture = TRY(member_text(*platform, "architecture"));
    out.variant = TRY(member_text(*platform, "variant"));
  }
  if (const Json* annotations = value.find("annotations"); annotations != nullptr) {
    if (!annotations->is_object()) return malformed("annotations are no object");
    out.ref_name = TRY(member_text(*annotations, kRefName));
  }
  return out;
}

Result<std::vector<Descriptor>> descriptors(const Json& object, std::string_view name) {
  const Json* list = object.find(name);
  if (list == nullptr || !list->is_array()) return malformed(fmt::format("{} is no list", name));
  if (list->as_array().size() > kMaxEntries) return malformed(fmt::format("more than {} {}", kMaxEntries, name));
  std::vector<Descriptor> out;
  for (const Json& one : list->as_array()) out.push_back(TRY(parse_descriptor(one)));
  return out;
}

// Docker's media type of what OCI calls otherwise.
std::string as_oci(std::string_view layer_type) {
  return std::string(layer_type == kLayerTypes.back() ? kLayerType : layer_type);
}

}  // namespace

Json Descriptor::to_json() const {
  Json out = Json::object();
  out.set("mediaType", media_type);
  out.set("digest", digest);
  out.set("size", bytes);
  if (!os.empty()) {
    Json platform = Json::object();
    platform.set("architecture", architecture);
    platform.set("os", os);
    if (!variant.empty()) platform.set("variant", variant);
    out.set("platform", std::move(platform));
  }
  if (!ref_name.empty()) {
    Json annotations = Json::object();
    annotations.set(kRefName, ref_name);
    out.set("annotations", std::move(annotations));
  }
  return out;
}

std::string Manifest::to_text() const {
  Json out = Json::object();
  out.set("schemaVersion", 2);
  out.set("mediaType", kManifestType);
  out.set("config", config.to_json());
  Json list = Json::array();
  for (const Descriptor& layer : layers) list.push(layer.to_json());
  out.set("layers", std::move(list));
  if (!annotations.empty()) {
    Json noted = Json::object();
    for (const auto& [name, value] : annotations) noted.set(name, value);
    out.set("annotations", std::move(noted));
  }
  return out.dump();
}

bool is_index_type(std::string_view media_type) {
  return media_type == kIndexType || media_type == kDockerListType;
}
bool is_manifest_type(std::string_view media_type) {
  return media_type == kManifestType || media_type == kDockerManifestType;
}

Result<Manifest> parse_manifest(std::string_view text) {
  const Json object = TRY(document(text, "manifest"));
  const std::string type = TRY(member_text(object, "mediaType"));
  if (!type.empty() && !is_manifest_type(type)) return malformed("the manifest says that it is something else");
  const Json* config = object.find("config");
  if (config == nullptr) return malformed("the manifest has no config");
  Manifest out;
  out.config = TRY(parse_descriptor(*config));
  if (out.config.bytes > kMaxDocumentBytes) return malformed("the config is too large");
  out.config.media_type = kConfigType;
  out.layers = TRY(descriptors(object, "layers"));
  for (Descriptor& layer : out.layers) {
    if (std::ranges::find(kLayerTypes, layer.media_type) == kLayerTypes.end()) {
      return malformed("a layer is of a kind that is not taken");
    }
    layer.media_type = as_oci(layer.media_type);
  }
  return out;
}

Result<std::vector<Descriptor>> parse_index(std::string_view text) {
  const Json object = TRY(document(text, "index"));
  const std::string type = TRY(member_text(object, "mediaType"));
  if (!type.empty() && !is_index_type(type)) return malformed("the index says that it is something else");
  return descriptors(object, "manifests");
}

std::string index_text(const std::vector<Descriptor>& manifests) {
  Json out = Json::object();
  out.set("schemaVersion", 2);
  out.set("mediaType", kIndexType);
  Json list = Json::array();
  for (const Descriptor& one : manifests) list.push(one.to_json());
  out.set("manifests", std::move(list));
  return out.dump();
}

Result<Descriptor> choose_manifest(const std::vector<Descriptor>& manifests, std::string_view ref_name) {
  std::vector<Descriptor> fitting;
  for (const Descriptor& one : manifests) {
    if (!is_manifest_type(one.media_type) && !is_index_type(one.media_type)) continue;
    if (!ref_name.empty() && one.ref_name != ref_name) continue;
    if (!one.os.empty() && (one.os != kOs || one.architecture != kArchitecture)) continue;
    if (std::ranges::none_of(fitting, [&](const Descriptor& other) { return other.digest == one.digest; })) {
      fitting.push_back(one);
    }
  }
  if (fitting.empty()) return fail("image_not_found", "the index has no image for linux/amd64 of that name");
  if (fitting.size() > 1) return fail("image_not_found", "the index has more than one image that fits: name a tag");
  return fitting.front();
}

std::string digest_of(std::string_view text) {
  return "sha256:" + to_hex(sha256(text));
}

Descriptor describe(std::string_view media_type, std::string_view text) {
  return {.media_type = std::string(media_type), .digest = digest_of(text), .bytes = text.size()};
}

}  // namespace tb::oci
