// The embedded store over HTTP: providers put objects in, piece by piece; whoever holds a signed URL reads them.
#include "api/asset.h"
#include "controlplane/caller.h"
#include "controlplane/handlers.h"
#include "controlplane/url_signature.h"
#include "http/file_response.h"
#include "http/range.h"

namespace tb::controlplane {
namespace {

BlobName named(const http::Request& request) {
  const std::string& kind = request.param("kind");
  if (kind != "ciphertext" && kind != "manifest") throw Error("not_found", "there is no such object kind");
  if (!api::valid_asset_id(request.param("id"))) throw Error("field_invalid", "the asset id is not one");
  return {.tenant = tenant_of(request),
          .asset_id = request.param("id"),
          .name = kind == "ciphertext" ? kCiphertextName : kManifestName};
}

/// One refusal for whatever is wrong with a URL: nothing about assets or leases is told by it.
[[noreturn]] void refuse_url() {
  throw Error("url_signature_refused", "the url is not valid or has expired");
}

}  // namespace

http::Response handle_put_blob(const http::Request& request, Deps& deps) {
  const BlobName blob = named(request);
  const std::string* header = request.headers.find("Content-Range");
  if (header == nullptr) {
    if (request.body.empty()) throw Error("bad_request", "an empty object is none");
    const auto state = deps.blobs.add(blob, 0, request.body.size(), as_bytes(request.body));
    return http::json(201, state.to_json());
  }
  const http::ContentRange range = value_or_throw(http::parse_content_range(*header));
  if (!range.total || *range.total == 0 || *range.total > (std::uint64_t{1} << 50)) {
    throw Error("bad_content_range", "the Content-Range must say the object's size");
  }
  if (!range.range) {
    if (!request.body.empty()) throw Error("bad_content_range", "a question about an upload has no body");
    return http::json(200, deps.blobs.state(blob, *range.total).to_json());
  }
  if (range.range->bytes() != request.body.size()) {
    throw Error("bad_content_range", "the Content-Range is not as long as the body");
  }
  const auto state = deps.blobs.add(blob, range.range->first, *range.total, as_bytes(request.body));
  return http::json(state.complete ? 201 : 202, state.to_json());
}

http::Response handle_get_blob(const http::Request& request, Deps& deps) {
  const std::size_t mark = request.target.find('?');
  if (mark == std::string::npos || request.target.substr(0, mark) != request.path) refuse_url();
  const auto query = parse_signed_query(std::string_view(request.target).substr(mark + 1));
  if (!query) refuse_url();
  const std::string& tenant = request.param("tenant");
  const std::string& asset_id = request.param("asset_id");
  const std::string_view name = request.param("name") == kCiphertextName ? kCiphertextName : kManifestName;
  const auto asset = deps.store.find_asset(tenant, asset_id);
  const BlobClaim claim{.tenant = tenant,
                        .asset_id = asset_id,
                        .name = request.param("name"),
                        .object_digest = asset ? asset->view.metadata.sha256_ciphertext : std::string(64, '0'),
                        .lease_id = query->lease_id,
                        .expires_at_seconds = query->expires_at_seconds};
  const bool fits = signature_fits(deps.keyring.url_key(), deps.keyring.url_kid(), claim, *query);
  const UnixMs now = deps.clock();
  if (!fits || !asset || now >= query->expires_at_seconds * 1000) refuse_url();
  if (!deps.store.lease_serves(tenant, query->lease_id, asset_id, now)) refuse_url();
  auto object = deps.blobs.open({.tenant = tenant, .asset_id = asset_id, .name = name});
  if (!object) throw Error("blob_not_found", "the object is not stored here any more");
  http::FileRepresentation shape{.size = object->bytes};
  shape.etag = '"' + asset->view.metadata.sha256_ciphertext + (name == kManifestName ? "-manifest\"" : "\"");
  if (name == kManifestName) shape.content_type = "application/json";
  return http::file_response(request, std::move(object->fd), shape);
}

}  // namespace tb::controlplane
