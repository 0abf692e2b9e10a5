#include "tpm/tpm.h"

#include <fmt/format.h>
#include <tss2/tss2_mu.h>
#include <tss2/tss2_rc.h>
#include <tss2/tss2_tctildr.h>

#include "tpm/esys.h"
#include "tpm/worker.h"

namespace tb::tpm {
namespace {

constexpr const char* kDefaultTcti = "device:/dev/tpmrm0";

struct TctiFree {
  void operator()(TSS2_TCTI_CONTEXT* p) const { Tss2_TctiLdr_Finalize(&p); }
};
struct EsysFinalize {
  void operator()(ESYS_CONTEXT* p) const { Esys_Finalize(&p); }
};

/// Content of a TPM2B that came as bytes: what is longer than the TPM's own limit is refused.
template <typename T, std::size_t N>
void fill(UINT16& size, BYTE (&buffer)[N], const T& bytes) {
  if (bytes.size() > N) throw Error("tpm_failed", "the credential is too long for a TPM");
  size = static_cast<UINT16>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), buffer);
}

}  // namespace

/// Everything that the TPM's thread touches; the thread's work keeps it alive.
class Tpm::Device {
 public:
  explicit Device(Options options) : options_(std::move(options)) {}

  ESYS_CONTEXT* esys() {
    if (esys_) return esys_.get();
    const std::string name = options_.tcti.empty() ? kDefaultTcti : options_.tcti;
    TSS2_TCTI_CONTEXT* tcti = nullptr;
    if (const TSS2_RC rc = Tss2_TctiLdr_Initialize(name.c_str(), &tcti); rc != 0) {
      throw Error("tpm_unavailable", fmt::format("no TPM answers at {}: {}", name, Tss2_RC_Decode(rc)));
    }
    tcti_.reset(tcti);
    ESYS_CONTEXT* esys = nullptr;
    if (const TSS2_RC rc = Esys_Initialize(&esys, tcti, nullptr); rc != 0) {
      tcti_.reset();
      throw Error("tpm_unavailable", fmt::format("the TPM at {} cannot be used: {}", name, Tss2_RC_Decode(rc)));
    }
    esys_.reset(esys);
    return esys;
  }

  void open(const std::string& directory) {
    ek_ = load_endorsement_key(esys());
    if (!directory.empty()) ak_ = load_attestation_key(esys(), ek_, directory);
  }
  const EndorsementKey& ek() const { return ek_; }
  const AttestationKey& ak() const {
    if (!ak_.handle) throw Error("tpm_failed", "the TPM's keys were not opened");
    return ak_;
  }

  const Options options_;
  Worker worker_;

 private:
  // In this order: keys are flushed before the context ends, and the context before its transport.
  std::unique_ptr<TSS2_TCTI_CONTEXT, TctiFree> tcti_;
  std::unique_ptr<ESYS_CONTEXT, EsysFinalize> esys_;
  EndorsementKey ek_;
  AttestationKey ak_;
};

namespace {

/// Runs `work(device)` on the device's thread. The result lives in the work, as the caller may be gone when it comes.
template <typename T, typename D, typename F>
T on_device(const std::shared_ptr<D>& device, const std::stop_token& stop, F work) {
  const auto result = std::make_shared<std::optional<T>>();
  device->worker_.run([device, result, work = std::move(work)] { result->emplace(work(*device)); },
                      device->options_.timeout_ms, stop);
  return std::move(**result);
}

}  // namespace

Tpm::Tpm(Options options) : device_(std::make_shared<Device>(std::move(options))) {
  // tpm2-tss would write refusals to stderr in a form of its own; they come as errors. Somebody who debugs it may set
  // it.
  setenv("TSS2_LOG", "all+NONE", 0);
}
Tpm::~Tpm() = default;

Keys Tpm::open_keys(const std::string& directory, std::stop_token stop) {
  return on_device<Keys>(device_, stop, [directory](Device& device) {
    device.open(directory);
    return Keys{.ek_public = device.ek().public_area,
                .ek_certificate = read_ek_certificate(device.esys(), device.ek().rsa),
                .ak_public = device.ak().public_area};
  });
}

Keys Tpm::endorsement_key(std::stop_token stop) {
  return on_device<Keys>(device_, stop, [](Device& device) {
    device.open("");
    return Keys{.ek_public = device.ek().public_area,
                .ek_certificate = read_ek_certificate(device.esys(), device.ek().rsa),
                .ak_public = {}};
  });
}

SecretString Tpm::activate(const Bytes& id_object, const Bytes& encrypted_secret, std::stop_token stop) {
  return on_device<SecretString>(device_, stop, [id_object, encrypted_secret](Device& device) {
    TPM2B_ID_OBJECT credential = {};
    fill(credential.size, credential.credential, id_object);
    TPM2B_ENCRYPTED_SECRET seed = {};
    fill(seed.size, seed.secret, encrypted_secret);
    const Handle session = endorsement_session(device.esys());
    TPM2B_DIGEST* info = nullptr;
    require(Esys_ActivateCredential(device.esys(), device.ak().handle.get(), device.ek().handle.get(), ESYS_TR_PASSWORD,
                                    session.get(), ESYS_TR_NONE, &credential, &seed, &info),
            "open the credential");
    const Owned<TPM2B_DIGEST> owned(info);
    SecretString secret(to_base64url(ByteView(owned->buffer, owned->size)));
    wipe(owned->buffer, owned->size);
    return secret;
  });
}

SignedQuote Tpm::quote(const api::PcrIndices& selection, const Digest& qualifier, std::stop_token stop) {
  return on_device<SignedQuote>(device_, stop, [selection, qualifier](Device& device) {
    TPM2B_DATA extra = {};
    fill(extra.size, extra.buffer, qualifier);
    const TPMT_SIG_SCHEME scheme = {.scheme = TPM2_ALG_NULL, .details = {}};
    const TPML_PCR_SELECTION pcrs = selection_of(selection);
    TPM2B_ATTEST* quoted = nullptr;
    TPMT_SIGNATURE* signature = nullptr;
    require(Esys_Quote(device.esys(), device.ak().handle.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &extra,
                       &scheme, &pcrs, &quoted, &signature),
            "quote its PCRs");
    const Owned<TPM2B_ATTEST> owned_quote(quoted);
    const Owned<TPMT_SIGNATURE> owned_signature(signature);
    SignedQuote out;
    out.quote.assign(owned_quote->attestationData, owned_quote->attestationData + owned_quote->size);
    out.signature.resize(sizeof(TPMT_SIGNATURE));
    std::size_t bytes = 0;
    require(Tss2_MU_TPMT_SIGNATURE_Marshal(owned_signature.get(), out.signature.data(), out.signature.size(), &bytes),
            "marshal a signature");
    out.signature.resize(bytes);
    out.pcrs = read_pcr_values(device.esys(), selection);
    return out;
  });
}

api::PcrValues Tpm::read_pcrs(const api::PcrIndices& selection, std::stop_token stop) {
  return on_device<api::PcrValues>(device_, stop,
                                   [selection](Device& device) { return read_pcr_values(device.esys(), selection); });
}

}  // namespace tb::tpm
