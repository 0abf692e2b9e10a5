// A KEK that lies in an HTTP KMS which speaks HashiCorp Vault's transit API: keys go there to be wrapped and opened,
// the KEK itself never comes here. The row's context travels as associated data, so that the KMS refuses another row's
// bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "async/backoff.h"
#include "base/result.h"
#include "controlplane/kek.h"

namespace tb::controlplane {

struct TransitSource {
  std::string origin;         ///< "https://host:8200"; http on loopback only
  std::string mount;          ///< of the secrets engine: "transit"
  std::string key;            ///< name of an AEAD key (aes256-gcm96, chacha20-poly1305)
  std::string token_file;     ///< 0600; read for each request, so that whoever renews the token only replaces the file
  std::string ca_path;        ///< "" = the system's
  std::string kms_namespace;  ///< X-Vault-Namespace; "" = none
};

/// `https://host:port/mount/key`; the mount may have several segments. "config_invalid".
Result<TransitSource> parse_transit(std::string_view url);
/// The id in the rows: `transit:[namespace/]mount/key`. The address is not part of it: a KMS may move.
std::string transit_kek_id(const TransitSource& source);

/// How long a request that needs a key waits for the KMS, in milliseconds.
struct TransitPatience {
  std::int64_t connect_ms = 2000;
  std::int64_t exchange_ms = 4000;  ///< one attempt in all, however slowly the answer trickles
  async::BackoffPolicy backoff{.first_ms = 200, .max_ms = 1000, .attempts = 3, .max_retry_after_ms = 1000};
};

/// Asks nothing of the KMS yet.
std::unique_ptr<Kek> open_transit_kek(TransitSource source, const TransitPatience& patience = {});

}  // namespace tb::controlplane
