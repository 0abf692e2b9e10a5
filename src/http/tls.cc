#include "http/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::http {

namespace {

Error tls_error(std::string_view what, const std::string& path) {
  char text[160] = "no detail";
  if (const unsigned long code = ERR_get_error(); code != 0) ERR_error_string_n(code, text, sizeof text);
  ERR_clear_error();
  return Error("tls_config_invalid", fmt::format("{} {}: {}", what, path, text));
}

std::string plain(const ASN1_STRING* text) {
  const auto* bytes = reinterpret_cast<const char*>(ASN1_STRING_get0_data(text));
  std::string out(bytes, static_cast<std::size_t>(ASN1_STRING_length(text)));
  const bool ok = !out.empty() && out.size() <= 255 &&
                  std::ranges::all_of(out, [](char c) { return c > 0x20 && c < 0x7f && c != ','; });
  return ok ? out : std::string();
}

std::string alternative_name(const X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      GENERAL_NAMES_free);
  for (const int wanted : {GEN_URI, GEN_DNS, GEN_EMAIL}) {
    for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
      int kind = 0;
      const void* value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names.get(), i), &kind);
      if (kind == wanted) return plain(static_cast<const ASN1_STRING*>(value));
    }
  }
  return {};
}

constexpr std::string_view kHttp2 = "h2";

/// A client that offers neither of the two is served HTTP/1.1, as one that offers nothing is.
int choose_protocol(SSL*, const unsigned char** chosen, unsigned char* bytes, const unsigned char* offered,
                    unsigned int offered_bytes, void*) {
  static constexpr unsigned char kOurs[] = "\x02h2\x08http/1.1";
  unsigned char* found = nullptr;
  if (SSL_select_next_proto(&found, bytes, kOurs, sizeof kOurs - 1, offered, offered_bytes) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *chosen = found;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

std::shared_ptr<SSL_CTX> make_server_tls(const TlsConfig& config) {
  const std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  if (!context) throw Error("out_of_memory", "no memory for a TLS context");
  SSL_CTX* ctx = context.get();
  SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
  SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
  // TLS 1.2 with forward secrecy and an AEAD only.
  if (SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1) throw tls_error("cipher list", "");

  // Reading them first gives a missing file its own error.
  (void)value_or_throw(read_small_file(config.cert_path));
  if (SSL_CTX_use_certificate_chain_file(ctx, config.cert_path.c_str()) != 1) {
    throw tls_error("certificate", config.cert_path);
  }
  {
    const SecretString pem = value_or_throw(read_secret_file(config.key_path));
    const std::string& text = pem.reveal();
    const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())),
                                                        BIO_free);
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
    if (!key || SSL_CTX_use_PrivateKey(ctx, key.get()) != 1) throw tls_error("private key", config.key_path);
  }
  if (SSL_CTX_check_private_key(ctx) != 1) throw tls_error("the key does not belong to", config.cert_path);

  if (config.offer_http2) SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, nullptr);
  if (!config.client_ca_path.empty()) {
    (void)value_or_throw(read_small_file(config.client_ca_path));
    if (SSL_CTX_load_verify_file(ctx, config.client_ca_path.c_str()) != 1) {
      throw tls_error("client CA", config.client_ca_path);
    }
    SSL_CTX_set_client_CA_list(ctx, SSL_load_client_CA_file(config.client_ca_path.c_str()));
    const int need = config.require_client_cert ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | need, nullptr);
    // A session resumed under another context's CA must not carry its verdict over.
    constexpr unsigned char kSessionContext[] = "trustbridge";
    SSL_CTX_set_session_id_context(ctx, kSessionContext, sizeof kSessionContext - 1);
  }
  return context;
}

std::string peer_cert_sha256(const SSL* ssl) {
  if (SSL_get_verify_result(ssl) != X509_V_OK) return {};
  const std::unique_ptr<X509, decltype(&X509_free)> cert(SSL_get1_peer_certificate(ssl), X509_free);
  if (!cert) return {};
  unsigned char* der = nullptr;
  const int bytes = i2d_X509(cert.get(), &der);
  if (bytes <= 0) return {};
  const Digest digest = sha256(ByteView(der, static_cast<std::size_t>(bytes)));
  OPENSSL_free(der);
  return to_hex(digest);
}

std::string peer_cert_subject(const SSL* ssl) {
  if (SSL_get_verify_result(ssl) != X509_V_OK) return {};
  const std::unique_ptr<X509, decltype(&X509_free)> cert(SSL_get1_peer_certificate(ssl), X509_free);
  if (!cert) return {};
  if (X509_get_ext_by_NID(cert.get(), NID_subject_alt_name, -1) >= 0) return alternative_name(cert.get());
  const X509_NAME* name = X509_get_subject_name(cert.get());
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  return at < 0 ? std::string() : plain(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
}

bool chose_http2(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(ssl, &name, &bytes);
  return std::string_view(reinterpret_cast<const char*>(name), bytes) == kHttp2;
}

UnixMs certificate_end(const SSL_CTX* context) {
  const X509* cert = SSL_CTX_get0_certificate(context);
  std::tm time{};
  if (cert == nullptr || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &time) != 1) return 0;
  return UnixMs{timegm(&time)} * 1000;
}

}  // namespace tb::http
