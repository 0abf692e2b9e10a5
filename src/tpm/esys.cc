#include "tpm/esys.h"

#include <fmt/format.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>

#include <algorithm>

#include "base/fs.h"

namespace tb::tpm {
namespace {

// TCG EK Credential Profile 2.2.1.4: where a TPM keeps its certificates.
constexpr TPMI_RH_NV_INDEX kRsaCertificate = 0x01C00002;
constexpr TPMI_RH_NV_INDEX kEccCertificate = 0x01C0000A;
constexpr std::uint16_t kNvPieceBytes = 512;
constexpr std::uint16_t kMaxCertificateBytes = 4096;
constexpr std::array<std::uint8_t, 32> kEkPolicy = {0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xB3, 0xF8, 0x1A, 0x90, 0xCC,
                                                    0x8D, 0x46, 0xA5, 0xD7, 0x24, 0xFD, 0x52, 0xD7, 0x6E, 0x06, 0x52,
                                                    0x0B, 0x64, 0xF2, 0xA1, 0xDA, 0x1B, 0x33, 0x14, 0x69, 0xAA};

TPM2B_PUBLIC ek_template(bool rsa) {
  TPM2B_PUBLIC out = {};
  TPMT_PUBLIC& area = out.publicArea;
  area.type = rsa ? TPM2_ALG_RSA : TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                          TPMA_OBJECT_ADMINWITHPOLICY | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
  area.authPolicy.size = kEkPolicy.size();
  std::ranges::copy(kEkPolicy, area.authPolicy.buffer);
  TPMT_SYM_DEF_OBJECT symmetric = {};
  symmetric.algorithm = TPM2_ALG_AES;
  symmetric.keyBits.aes = 128;
  symmetric.mode.aes = TPM2_ALG_CFB;
  if (rsa) {
    area.parameters.rsaDetail.symmetric = symmetric;
    area.parameters.rsaDetail.scheme.scheme = TPM2_ALG_NULL;
    area.parameters.rsaDetail.keyBits = 2048;
    area.unique.rsa.size = 256;  // zeros, as the profile's template L-1 has it
  } else {
    area.parameters.eccDetail.symmetric = symmetric;
    area.parameters.eccDetail.scheme.scheme = TPM2_ALG_NULL;
    area.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
    area.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
    area.unique.ecc.x.size = area.unique.ecc.y.size = 32;
  }
  return out;
}

TPM2B_PUBLIC ak_template() {
  TPM2B_PUBLIC out = {};
  TPMT_PUBLIC& area = out.publicArea;
  area.type = TPM2_ALG_ECC;
  area.nameAlg = TPM2_ALG_SHA256;
  area.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_SENSITIVEDATAORIGIN |
                          TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT;
  area.parameters.eccDetail.symmetric.algorithm = TPM2_ALG_NULL;
  area.parameters.eccDetail.scheme.scheme = TPM2_ALG_ECDSA;
  area.parameters.eccDetail.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
  area.parameters.eccDetail.curveID = TPM2_ECC_NIST_P256;
  area.parameters.eccDetail.kdf.scheme = TPM2_ALG_NULL;
  return out;
}

Bytes marshalled(const TPMT_PUBLIC& area) {
  Bytes out(sizeof(TPMT_PUBLIC));
  std::size_t bytes = 0;
  require(Tss2_MU_TPMT_PUBLIC_Marshal(&area, out.data(), out.size(), &bytes), "marshal a key");
  out.resize(bytes);
  return out;
}

std::uint16_t bank_alg(const std::string& bank) {
  if (bank == "sha384") return TPM2_ALG_SHA384;
  return bank == "sha512" ? TPM2_ALG_SHA512 : TPM2_ALG_SHA256;
}

struct Blobs {
  TPM2B_PUBLIC public_part = {};
  TPM2B_PRIVATE private_part = {};
};

/// Nothing if the directory has no key that can be read.
std::optional<Blobs> read_blobs(const std::string& directory) {
  const auto public_part = read_small_file(directory + "/ak.pub", 4096);
  const auto private_part = read_small_file(directory + "/ak.priv", 4096);
  if (!public_part || !private_part) return std::nullopt;
  Blobs out;
  std::size_t at = 0;
  const ByteView pub = as_bytes(*public_part), priv = as_bytes(*private_part);
  if (Tss2_MU_TPM2B_PUBLIC_Unmarshal(pub.data(), pub.size(), &at, &out.public_part) != 0) return std::nullopt;
  at = 0;
  if (Tss2_MU_TPM2B_PRIVATE_Unmarshal(priv.data(), priv.size(), &at, &out.private_part) != 0) return std::nullopt;
  return out;
}

void write_blobs(const std::string& directory, const Blobs& blobs) {
  value_or_throw(make_directories(directory, 0700));
  Bytes pub(sizeof(TPM2B_PUBLIC)), priv(sizeof(TPM2B_PRIVATE));
  std::size_t bytes = 0;
  require(Tss2_MU_TPM2B_PRIVATE_Marshal(&blobs.private_part, priv.data(), priv.size(), &bytes), "marshal a key");
  value_or_throw(write_file_atomically(directory + "/ak.priv", as_text(ByteView(priv).first(bytes)), 0600, true));
  bytes = 0;
  require(Tss2_MU_TPM2B_PUBLIC_Marshal(&blobs.public_part, pub.data(), pub.size(), &bytes), "marshal a key");
  value_or_throw(write_file_atomically(directory + "/ak.pub", as_text(ByteView(pub).first(bytes)), 0600, true));
}

}  // namespace

void require(TSS2_RC rc, std::string_view what) {
  if (rc == TSS2_RC_SUCCESS) return;
  throw Error("tpm_failed", fmt::format("the TPM could not {}: {} (0x{:x})", what, Tss2_RC_Decode(rc), rc));
}

void Handle::reset() {
  if (handle_ != ESYS_TR_NONE) Esys_FlushContext(esys_, handle_);
  handle_ = ESYS_TR_NONE;
}

Handle endorsement_session(ESYS_CONTEXT* esys) {
  const TPMT_SYM_DEF symmetric = {.algorithm = TPM2_ALG_NULL, .keyBits = {}, .mode = {}};
  ESYS_TR session = ESYS_TR_NONE;
  require(Esys_StartAuthSession(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nullptr,
                                TPM2_SE_POLICY, &symmetric, TPM2_ALG_SHA256, &session),
          "start a session");
  Handle out(esys, session);
  require(Esys_PolicySecret(esys, ESYS_TR_RH_ENDORSEMENT, session, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                            nullptr, nullptr, nullptr, 0, nullptr, nullptr),
          "authorize the endorsement hierarchy");
  return out;
}

EndorsementKey load_endorsement_key(ESYS_CONTEXT* esys) {
  const TPM2B_SENSITIVE_CREATE sensitive = {};
  const TPM2B_DATA outside = {};
  const TPML_PCR_SELECTION no_pcrs = {};
  TSS2_RC rc = 0;
  for (const bool rsa : {true, false}) {
    const TPM2B_PUBLIC wanted = ek_template(rsa);
    ESYS_TR handle = ESYS_TR_NONE;
    TPM2B_PUBLIC* made = nullptr;
    rc = Esys_CreatePrimary(esys, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                            &wanted, &outside, &no_pcrs, &handle, &made, nullptr, nullptr, nullptr);
    if (rc != 0) continue;
    const Owned<TPM2B_PUBLIC> owned(made);
    return {.handle = Handle(esys, handle), .public_area = marshalled(owned->publicArea), .rsa = rsa};
  }
  require(rc, "make its endorsement key");
  throw Error("tpm_failed", "the TPM has no endorsement key");
}

Bytes read_ek_certificate(ESYS_CONTEXT* esys, bool rsa) {
  ESYS_TR index = ESYS_TR_NONE;
  if (Esys_TR_FromTPMPublic(esys, rsa ? kRsaCertificate : kEccCertificate, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                            &index) != 0) {
    return {};
  }
  TPM2B_NV_PUBLIC* info = nullptr;
  const TSS2_RC rc = Esys_NV_ReadPublic(esys, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &info, nullptr);
  const Owned<TPM2B_NV_PUBLIC> owned(info);
  Bytes out;
  const std::uint16_t bytes = rc == 0 ? owned->nvPublic.dataSize : 0;
  while (out.size() < bytes && bytes <= kMaxCertificateBytes) {
    const auto at = static_cast<std::uint16_t>(out.size());
    const std::uint16_t piece = std::min<std::uint16_t>(kNvPieceBytes, bytes - at);
    TPM2B_MAX_NV_BUFFER* data = nullptr;
    const TSS2_RC read =
        Esys_NV_Read(esys, index, index, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, piece, at, &data);
    const Owned<TPM2B_MAX_NV_BUFFER> kept(data);
    if (read != 0 || kept->size == 0) break;
    out.insert(out.end(), kept->buffer, kept->buffer + kept->size);
  }
  Esys_TR_Close(esys, &index);
  if (out.size() != bytes) out.clear();
  return out;
}

AttestationKey load_attestation_key(ESYS_CONTEXT* esys, const EndorsementKey& ek, const std::string& directory) {
  auto blobs = read_blobs(directory);
  for (int attempt = 0; attempt < 2; ++attempt) {
    if (!blobs) {
      const TPM2B_SENSITIVE_CREATE sensitive = {};
      const TPM2B_DATA outside = {};
      const TPML_PCR_SELECTION no_pcrs = {};
      const TPM2B_PUBLIC wanted = ak_template();
      const Handle session = endorsement_session(esys);
      TPM2B_PRIVATE* private_part = nullptr;
      TPM2B_PUBLIC* public_part = nullptr;
      require(Esys_Create(esys, ek.handle.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &wanted,
                          &outside, &no_pcrs, &private_part, &public_part, nullptr, nullptr, nullptr),
              "make an attestation key");
      const Owned<TPM2B_PRIVATE> owned_private(private_part);
      const Owned<TPM2B_PUBLIC> owned_public(public_part);
      blobs = Blobs{.public_part = *owned_public, .private_part = *owned_private};
      write_blobs(directory, *blobs);
    }
    const Handle session = endorsement_session(esys);
    ESYS_TR handle = ESYS_TR_NONE;
    const TSS2_RC rc = Esys_Load(esys, ek.handle.get(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &blobs->private_part,
                                 &blobs->public_part, &handle);
    if (rc == 0) return {.handle = Handle(esys, handle), .public_area = marshalled(blobs->public_part.publicArea)};
    // Blobs of another TPM: this machine is not the one that they were made on, and gets keys of its own.
    if (attempt == 1) require(rc, "load the attestation key");
    blobs.reset();
  }
  throw Error("tpm_failed", "the TPM does not load its own key");
}

TPML_PCR_SELECTION selection_of(const api::PcrIndices& indices) {
  TPML_PCR_SELECTION out = {};
  for (const auto& [bank, members] : indices) {
    TPMS_PCR_SELECTION& one = out.pcrSelections[out.count++];
    one.hash = bank_alg(bank);
    one.sizeofSelect = 3;
    for (const unsigned index : members) {
      one.pcrSelect[index / 8] = static_cast<BYTE>(one.pcrSelect[index / 8] | 1U << (index % 8));
    }
  }
  return out;
}

api::PcrValues read_pcr_values(ESYS_CONTEXT* esys, const api::PcrIndices& selection) {
  api::PcrValues out;
  // One at a time: a TPM answers at most eight digests, and leaves out what it has not.
  for (const auto& [bank, members] : selection) {
    for (const unsigned index : members) {
      const TPML_PCR_SELECTION one = selection_of({{bank, {index}}});
      TPML_DIGEST* values = nullptr;
      require(Esys_PCR_Read(esys, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &one, nullptr, nullptr, &values),
              "read its PCRs");
      const Owned<TPML_DIGEST> owned(values);
      if (owned->count != 1) throw Error("tpm_failed", fmt::format("the TPM has no bank {}", bank));
      out[bank][index] = to_hex(ByteView(owned->digests[0].buffer, owned->digests[0].size));
    }
  }
  return out;
}

}  // namespace tb::tpm
