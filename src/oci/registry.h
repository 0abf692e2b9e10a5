// A client of one repository of a registry (OCI distribution spec 1.1, Docker Registry HTTP API V2). A blob that is
// there is not sent again, so the same push after a fault goes on where it was; within one run an upload that was cut
// is continued at the byte that the registry holds. What is pulled is kept only if its digest is right. Credentials go
// to the registry's own origin and to the token server that it names, never where it redirects to.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "async/backoff.h"
#include "oci/auth_file.h"
#include "oci/blobs.h"
#include "oci/manifest.h"
#include "oci/reference.h"

namespace tb::oci {

struct RegistryOptions {
  std::string ca_path;    ///< PEM; "" = the system's
  bool insecure = false;  ///< plain http to a registry that is not loopback
  std::string user_agent = "trustbridge";
  std::uint64_t piece_bytes = std::uint64_t{16} << 20;  ///< blobs above are sent in pieces of this
  async::BackoffPolicy retry{.first_ms = 300, .max_ms = 20'000, .attempts = 5};
  std::function<std::optional<RegistryLogin>()> login;  ///< asked once, at the first challenge; may be empty
  std::function<void(std::int64_t ms)> sleep;           ///< between attempts
  std::function<void(std::uint64_t bytes)> progress;    ///< bytes that have gone or come; may throw, as "cancelled"
};

/// Not for use by two threads at once.
class Registry {
 public:
  /// `place` names registry and repository. Loopback is spoken to by http, everybody else by https unless insecure.
  Registry(const Reference& place, RegistryOptions options);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // All throw: "registry_denied" (401 and 403 after the login was shown), "registry_unavailable" (network, 429, 5xx,
  // after all attempts), "registry_refused" (an answer that the specification does not have here), "image_not_found".

  bool has_blob(const Descriptor& blob);
  /// Takes a blob over from another repository of this registry, unsent; false if that does not have it or is not ours.
  bool mount_blob(const Descriptor& blob, const std::string& from);
  /// From a file of these bytes. True if it had to be sent, false if it was there.
  bool push_blob(const Descriptor& blob, const std::string& path);
  /// Under `target` (a tag or a digest), then read back: throws "image_digest_mismatch" if that is another manifest.
  void push_manifest(const std::string& target, std::string_view media_type, const std::string& text);

  struct FoundManifest {
    Descriptor descriptor;
    std::string text;
  };
  /// An index, or a manifest. Throws "image_digest_mismatch" if `target` is a digest and the answer is not of it.
  FoundManifest manifest(const std::string& target);
  /// Into `folder`, unless it is there.
  void pull_blob(const Descriptor& blob, const BlobFolder& folder);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tb::oci
