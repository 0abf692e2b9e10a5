// Path building, names, CA flags and times are OpenSSL's; algorithms and key sizes are held here, because OpenSSL takes
// any that its security level allows.
#include "attest/snp_certificate.h"

#include <fmt/format.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>

#include "attest/openssl_free.h"

namespace tb::attest {
namespace {

using Untrusted = std::unique_ptr<STACK_OF(X509), decltype([](STACK_OF(X509) * s) { sk_X509_free(s); })>;

constexpr std::size_t kMaxRevocationBytes = std::size_t{1} << 20;

/// OpenSSL's queue is the thread's: what is left there would be read as the fault of the next TLS connection.
struct CleanErrors {
  CleanErrors() = default;
  CleanErrors(const CleanErrors&) = delete;
  CleanErrors& operator=(const CleanErrors&) = delete;
  ~CleanErrors() { ERR_clear_error(); }
};

Bio memory_bio(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

bool signed_by_pss_sha384(const X509* x) {
  int digest = NID_undef;
  int key = NID_undef;
  return X509_get_signature_info(const_cast<X509*>(x), &digest, &key, nullptr, nullptr) == 1 && digest == NID_sha384 &&
         key == NID_rsassaPss;
}

bool has_rsa_4096(const X509* x) {
  const EVP_PKEY* key = X509_get0_pubkey(x);
  return key != nullptr && EVP_PKEY_is_a(key, "RSA") == 1 && EVP_PKEY_get_bits(key) == 4096;
}

bool has_p384(const X509* x) {
  EVP_PKEY* key = X509_get0_pubkey(x);
  char group[32] = {};
  std::size_t length = 0;
  return key != nullptr && EVP_PKEY_is_a(key, "EC") == 1 &&
         EVP_PKEY_get_group_name(key, group, sizeof group, &length) == 1 &&
         std::string_view(group, length) == "secp384r1";
}

std::unexpected<FailedCheck> bad_chain(std::string why) {
  return refuse("snp_chain", "send the certificates that AMD issued for this processor: " + std::move(why));
}

/// AMD's lists are the root's own and name intermediates; leaves all carry the serial number 0 and are not in them.
Verified<void> check_revocation(const X509* intermediate, X509* root, const SnpTrust& trust, std::time_t now) {
  for (const RevocationList& list : trust.revocations) {
    X509_CRL* crl = list.get();
    if (X509_NAME_cmp(X509_CRL_get_issuer(crl), X509_get_subject_name(root)) != 0) continue;
    if (X509_CRL_verify(crl, X509_get0_pubkey(root)) != 1) {
      return refuse("snp_revocation",
                    "ask the operator for AMD's revocation list: the configured one is not the root's");
    }
    const ASN1_TIME* next = X509_CRL_get0_nextUpdate(crl);
    if (X509_cmp_time(X509_CRL_get0_lastUpdate(crl), &now) >= 0 ||
        (next != nullptr && X509_cmp_time(next, &now) <= 0)) {
      return refuse("snp_revocation",
                    "ask the operator for AMD's newest revocation list: the configured one has run out");
    }
    X509_REVOKED* entry = nullptr;
    if (X509_CRL_get0_by_serial(crl, &entry, X509_get0_serialNumber(intermediate)) != 0) {
      return refuse("snp_revocation", "this processor's intermediate key was revoked by AMD: use another machine");
    }
  }
  return {};
}

/// DER INTEGER of 0 to 255.
std::optional<std::uint8_t> small_integer(const std::optional<Bytes>& value) {
  if (!value || value->size() < 3 || value->size() > 4 || (*value)[0] != V_ASN1_INTEGER) return {};
  if (value->size() == 3 && (*value)[1] == 1 && (*value)[2] < 0x80) return (*value)[2];
  if (value->size() == 4 && (*value)[1] == 2 && (*value)[2] == 0 && (*value)[3] >= 0x80) return (*value)[3];
  return {};
}

/// HWID stands bare in older certificates and as an OCTET STRING in newer ones.
std::optional<Bytes> hardware_id(std::optional<Bytes> value) {
  if (!value) return {};
  for (const std::size_t size : {std::size_t{64}, std::size_t{8}}) {
    if (value->size() == size) return value;
    if (value->size() == size + 2 && (*value)[0] == V_ASN1_OCTET_STRING && (*value)[1] == size) {
      return Bytes(value->begin() + 2, value->end());
    }
  }
  return {};
}

}  // namespace

void Certificate::Free::operator()(x509_st* x) const {
  X509_free(x);
}
void RevocationList::Free::operator()(X509_crl_st* x) const {
  X509_CRL_free(x);
}

Result<Certificate> Certificate::from_der(ByteView der) {
  const CleanErrors clean;
  if (der.size() > kMaxCertificateBytes) return fail("certificate_malformed", "the certificate is too long");
  const unsigned char* at = der.data();
  X509* x = d2i_X509(nullptr, &at, static_cast<long>(der.size()));
  if (x == nullptr) return fail("certificate_malformed", "the certificate is not DER");
  Certificate out(x);
  if (at != der.data() + der.size()) return fail("certificate_malformed", "bytes stand after the certificate");
  // OpenSSL reads looser encodings (BER), in which one certificate has many forms.
  if (!std::ranges::equal(out.der(), der)) return fail("certificate_malformed", "the certificate is not strict DER");
  return out;
}

Result<std::vector<Certificate>> Certificate::all_from_pem(std::string_view pem) {
  const CleanErrors clean;
  const Bio bio = memory_bio(pem);
  std::vector<Certificate> out;
  while (X509* x = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) out.push_back(Certificate(x));
  if (out.empty() || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    return fail("certificate_malformed", "the file is not a list of PEM certificates");
  }
  return out;
}

Result<RevocationList> RevocationList::parse(std::string_view bytes) {
  const CleanErrors clean;
  if (bytes.size() > kMaxRevocationBytes) return fail("certificate_malformed", "the revocation list is too long");
  const unsigned char* at = as_bytes(bytes).data();
  X509_CRL* crl = d2i_X509_CRL(nullptr, &at, static_cast<long>(bytes.size()));
  if (crl == nullptr) return fail("certificate_malformed", "the revocation list is not DER");
  RevocationList out(crl);
  if (at != as_bytes(bytes).data() + bytes.size()) {
    return fail("certificate_malformed", "bytes stand after the revocation list");
  }
  return out;
}

Result<std::vector<RevocationList>> RevocationList::all_from_pem(std::string_view pem) {
  const CleanErrors clean;
  const Bio bio = memory_bio(pem);
  std::vector<RevocationList> out;
  while (X509_CRL* crl = PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr))
    out.push_back(RevocationList(crl));
  if (out.empty() || ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
    return fail("certificate_malformed", "the file is not a list of PEM revocation lists");
  }
  return out;
}

Bytes Certificate::der() const {
  unsigned char* out = nullptr;
  const int size = i2d_X509(x509_.get(), &out);
  if (size < 0) return {};
  Bytes der(out, out + size);
  OPENSSL_free(out);
  return der;
}

std::string Certificate::common_name() const {
  const X509_NAME* name = X509_get_subject_name(x509_.get());
  const int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (at < 0) return {};
  unsigned char* text = nullptr;
  const int size = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
  if (size < 0) return {};
  std::string out(reinterpret_cast<const char*>(text), static_cast<std::size_t>(size));
  OPENSSL_free(text);
  return out;
}

std::optional<Bytes> Certificate::extension(const char* oid) const {
  const ObjectId object(OBJ_txt2obj(oid, 1));
  const int at = X509_get_ext_by_OBJ(x509_.get(), object.get(), -1);
  if (at < 0 || X509_get_ext_by_OBJ(x509_.get(), object.get(), at) >= 0) return {};
  const ASN1_OCTET_STRING* value = X509_EXTENSION_get_data(X509_get_ext(x509_.get(), at));
  const unsigned char* data = ASN1_STRING_get0_data(value);
  return Bytes(data, data + ASN1_STRING_length(value));
}

bool Certificate::signed_p384(ByteView message, ByteView r, ByteView s) const {
  const CleanErrors clean;
  if (!has_p384(x509_.get())) return false;
  const EcdsaSignature signature(ECDSA_SIG_new());
  BigNumber big_r(BN_lebin2bn(r.data(), static_cast<int>(r.size()), nullptr));
  BigNumber big_s(BN_lebin2bn(s.data(), static_cast<int>(s.size()), nullptr));
  if (!signature || !big_r || !big_s || ECDSA_SIG_set0(signature.get(), big_r.release(), big_s.release()) != 1)
    return false;
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature.get(), &der);
  if (size < 0) return false;
  const DigestContext digester(EVP_MD_CTX_new());
  const bool ok =
      digester &&
      EVP_DigestVerifyInit(digester.get(), nullptr, EVP_sha384(), nullptr, X509_get0_pubkey(x509_.get())) == 1 &&
      EVP_DigestVerify(digester.get(), der, static_cast<std::size_t>(size), message.data(), message.size()) == 1;
  OPENSSL_free(der);
  return ok;
}

Verified<void> verify_snp_chain(const Certificate& leaf, const Certificate& intermediate, const SnpTrust& trust,
                                UnixMs now) {
  const CleanErrors clean;
  const std::time_t seconds = now / 1000;
  const TrustStore store(X509_STORE_new());
  const Verification context(X509_STORE_CTX_new());
  const Untrusted untrusted(sk_X509_new_null());
  if (!store || !context || !untrusted) throw Error("out_of_memory", "no memory to verify a certificate");
  for (const Certificate& root : trust.roots) X509_STORE_add_cert(store.get(), root.get());
  sk_X509_push(untrusted.get(), intermediate.get());
  if (X509_STORE_CTX_init(context.get(), store.get(), leaf.get(), untrusted.get()) != 1) {
    throw Error("internal", "openssl could not set up a verification");
  }
  X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(context.get()), seconds);
  if (X509_verify_cert(context.get()) != 1) {
    const int error = X509_STORE_CTX_get_error(context.get());
    const std::string why = X509_verify_cert_error_string(error);
    if (error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID) {
      return refuse("snp_certificate_time",
                    "fetch this processor's certificates from AMD anew, and check the clocks: " + why);
    }
    return bad_chain(why);
  }
  const STACK_OF(X509)* chain = X509_STORE_CTX_get0_chain(context.get());
  if (sk_X509_num(chain) != 3) return bad_chain("it must be leaf, intermediate, root");
  X509* root = sk_X509_value(chain, 2);
  if (!has_p384(leaf.get()) || !has_rsa_4096(intermediate.get()) || !has_rsa_4096(root)) {
    return bad_chain("a key of it is not of AMD's kind and size");
  }
  if (!signed_by_pss_sha384(leaf.get()) || !signed_by_pss_sha384(intermediate.get())) {
    return bad_chain("it is not signed by RSA-PSS with SHA-384");
  }
  return check_revocation(intermediate.get(), root, trust, seconds);
}

Verified<SnpEndorsement> snp_endorsement(const Certificate& leaf) {
  const auto malformed = [](std::string_view what) {
    return refuse("snp_certificate_form", fmt::format("send the VCEK or VLEK certificate as AMD issued it: {}", what));
  };
  SnpEndorsement out;
  const std::string name = leaf.common_name();
  if (name == "SEV-VCEK") {
    out.key = SnpKey::kVcek;
  } else if (name == "SEV-VLEK") {
    out.key = SnpKey::kVlek;
  } else {
    return malformed("its name is neither SEV-VCEK nor SEV-VLEK");
  }
  const auto product = leaf.extension("1.3.6.1.4.1.3704.1.2");
  if (!product || product->size() < 2 || (*product)[0] != V_ASN1_IA5STRING || (*product)[1] != product->size() - 2) {
    return malformed("its product name is missing");
  }
  const auto known = snp_product_from(as_text(ByteView(*product).subspan(2)));
  if (!known) return malformed("its product is none of Milan, Genoa, Turin");
  out.product = *known;
  const auto level = [&leaf](const char* oid) { return small_integer(leaf.extension(oid)); };
  const auto bootloader = level("1.3.6.1.4.1.3704.1.3.1");
  const auto tee = level("1.3.6.1.4.1.3704.1.3.2");
  const auto snp = level("1.3.6.1.4.1.3704.1.3.3");
  const auto microcode = level("1.3.6.1.4.1.3704.1.3.8");
  const auto fmc = out.product == SnpProduct::kTurin ? level("1.3.6.1.4.1.3704.1.3.9") : std::uint8_t{0};
  if (!bootloader || !tee || !snp || !microcode || !fmc) return malformed("a patch level in it is missing");
  out.tcb = {.bootloader = *bootloader, .tee = *tee, .snp = *snp, .microcode = *microcode, .fmc = *fmc};
  if (out.key == SnpKey::kVcek) {
    out.hw_id = hardware_id(leaf.extension("1.3.6.1.4.1.3704.1.4"));
    if (!out.hw_id) return malformed("its hardware id is missing");
  }
  return out;
}

}  // namespace tb::attest
