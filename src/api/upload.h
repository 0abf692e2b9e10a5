// Uploading to the embedded store: `PUT /api/v1/assets/{id}/blobs/{ciphertext|manifest}` (docs/spec/wire.md 1.2).
//
// The object goes up in pieces, in order, each a PUT with `Content-Range: bytes a-b/total` and a body of exactly those
// bytes. `a` must be what is stored already, or 0 to begin again: 202 with an UploadState after a piece, 201 after the
// last, which makes the object appear. Another `a` is 409 "upload_offset_wrong". A PUT with `Content-Range: bytes
// */total` and no body asks where to go on: 200 with an UploadState, `complete` if the object is there with that size.
// An object is never replaced: a piece for one that is there is 409 "blob_conflict".
#pragma once

#include <cstdint>
#include <string_view>

#include "base/json.h"

namespace tb::api {

/// Most bytes of one piece.
inline constexpr std::uint64_t kMaxUploadPieceBytes = std::uint64_t{16} << 20;

struct UploadState {
  std::int64_t received_bytes = 0;
  std::int64_t total_bytes = 0;
  bool complete = false;

  Json to_json() const;
  /// Throws an error that names the field.
  static UploadState from_json(const Json& json);
};

/// `typ` of the JWS that GET /api/v1/keys/wrapping answers as {"jws": …}; its payload is {"keys": [JWK…], "tenant"}:
/// the tenant of the token that asked, which the header of a `wrapped_key` names.
inline constexpr std::string_view kWrappingKeysType = "trustbridge-wrapping-keys+jws";

}  // namespace tb::api
