// ESAPI's objects with owners, and its return codes as errors. Everything here runs on the TPM's own thread.
#pragma once

#include <tss2/tss2_esys.h>

#include <memory>
#include <string>

#include "api/evidence.h"

namespace tb::tpm {

struct EsysFree {
  void operator()(void* p) const { Esys_Free(p); }
};
template <typename T>
using Owned = std::unique_ptr<T, EsysFree>;

/// Throws "tpm_failed" with the code's own text.
void require(TSS2_RC rc, std::string_view what);

/// A loaded object or session, flushed at its end.
class Handle {
 public:
  Handle() = default;
  Handle(ESYS_CONTEXT* esys, ESYS_TR handle) : esys_(esys), handle_(handle) {}
  ~Handle() { reset(); }
  Handle(Handle&& other) noexcept : esys_(other.esys_), handle_(std::exchange(other.handle_, ESYS_TR_NONE)) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      reset();
      esys_ = other.esys_;
      handle_ = std::exchange(other.handle_, ESYS_TR_NONE);
    }
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ESYS_TR get() const { return handle_; }
  explicit operator bool() const { return handle_ != ESYS_TR_NONE; }
  void reset();

 private:
  ESYS_CONTEXT* esys_ = nullptr;
  ESYS_TR handle_ = ESYS_TR_NONE;
};

/// A policy session that may use the endorsement key: PolicySecret of the endorsement hierarchy.
Handle endorsement_session(ESYS_CONTEXT* esys);

struct EndorsementKey {
  Handle handle;
  Bytes public_area;  ///< TPMT_PUBLIC
  bool rsa = true;
};
EndorsementKey load_endorsement_key(ESYS_CONTEXT* esys);
/// Of the key's kind, from the TPM's NV memory; empty if it holds none.
Bytes read_ek_certificate(ESYS_CONTEXT* esys, bool rsa);

struct AttestationKey {
  Handle handle;
  Bytes public_area;
};
/// The blobs of `directory`, or a new key whose blobs are put there.
AttestationKey load_attestation_key(ESYS_CONTEXT* esys, const EndorsementKey& ek, const std::string& directory);

api::PcrValues read_pcr_values(ESYS_CONTEXT* esys, const api::PcrIndices& selection);
TPML_PCR_SELECTION selection_of(const api::PcrIndices& indices);

}  // namespace tb::tpm
