// TLS contexts of servers: TLS 1.2 and 1.3, the operator's certificate, optionally client certificates.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"

typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;

namespace tb::http {

struct TlsConfig {
  std::string cert_path;       ///< PEM, the chain, leaf first
  std::string key_path;        ///< PEM, 0600
  std::string client_ca_path;  ///< PEM; if set, client certificates are asked for and verified against it
  bool require_client_cert = false;
  bool offer_http2 = false;  ///< by ALPN, before http/1.1
};

/// Throws "tls_config_invalid" naming the file, or the file's own error.
std::shared_ptr<SSL_CTX> make_server_tls(const TlsConfig& config);

/// Lower-case hex SHA-256 of the DER of the verified peer certificate; "" without one.
std::string peer_cert_sha256(const SSL* ssl);

/// Who the verified peer certificate is for: its first URI, DNS name or e-mail address among the alternative names,
/// else its common name. "" without a certificate, and where the name is not printable ASCII or holds a comma.
std::string peer_cert_subject(const SSL* ssl);

/// Whether the handshake has chosen HTTP/2.
bool chose_http2(const SSL* ssl);

/// When the certificate of a server's context ends.
UnixMs certificate_end(const SSL_CTX* context);

}  // namespace tb::http
