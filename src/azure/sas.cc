// The fields in their order, and the query of those that are set.
#include "azure/sas.h"

#include <fmt/format.h>

#include <vector>

#include "base/bytes.h"
#include "base/crypto.h"

namespace tb::azure {
namespace {

using Fields = std::vector<std::string>;

constexpr const char* kRead = "r";
constexpr const char* kOneBlob = "b";

std::string canonical_resource(const BlobPath& blob) {
  return fmt::format("/blob/{}/{}/{}", blob.account, blob.container, blob.blob);
}

std::string protocols(const SasTerms& terms) {
  return terms.https_only ? "https" : "https,http";
}

std::string joined(const Fields& fields) {
  return fmt::format("{}", fmt::join(fields, "\n"));
}

SecretString query(const SasTerms& terms, const Fields& more, std::string_view to_sign, const SecretString& key) {
  std::string out = fmt::format("sv={}&spr={}&se={}&sr={}&sp={}", kServiceVersion, escaped(protocols(terms)),
                                escaped(to_rfc3339(terms.expires_at)), kOneBlob, kRead);
  for (const auto& field : more) out += "&" + field;
  const Digest signature = hmac_sha256(as_bytes(key.reveal()), as_bytes(to_sign));
  return SecretString(out + "&sig=" + escaped(to_base64(signature)));
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

std::string service_string_to_sign(const BlobPath& blob, const SasTerms& terms) {
  return joined({kRead,
                 "",  // st
                 to_rfc3339(terms.expires_at), canonical_resource(blob),
                 "",  // si
                 "",  // sip
                 protocols(terms), kServiceVersion, kOneBlob,
                 "",                    // snapshot
                 "",                    // ses
                 "", "", "", "", ""});  // rscc rscd rsce rscl rsct
}

std::string delegation_string_to_sign(const BlobPath& blob, const SasTerms& terms, const DelegationKey& key) {
  return joined({kRead,
                 "",  // st
                 to_rfc3339(terms.expires_at),
                 canonical_resource(blob),
                 key.oid,
                 key.tid,
                 key.start,
                 key.expiry,
                 key.service,
                 key.version,
                 "",
                 "",
                 "",  // saoid suoid scid
                 "",  // sip
                 protocols(terms),
                 kServiceVersion,
                 kOneBlob,
                 "",  // snapshot
                 "",  // ses
                 "",
                 "",
                 "",
                 "",
                 ""});  // rscc rscd rsce rscl rsct
}

SecretString service_sas(const BlobPath& blob, const SasTerms& terms, const SecretString& account_key) {
  return query(terms, {}, service_string_to_sign(blob, terms), account_key);
}

SecretString delegation_sas(const BlobPath& blob, const SasTerms& terms, const DelegationKey& key) {
  return query(terms,
               {"skoid=" + escaped(key.oid), "sktid=" + escaped(key.tid), "skt=" + escaped(key.start),
                "ske=" + escaped(key.expiry), "sks=" + escaped(key.service), "skv=" + escaped(key.version)},
               delegation_string_to_sign(blob, terms, key), key.value);
}

}  // namespace tb::azure
