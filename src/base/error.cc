// The error table: the only place that decides codes, statuses, exits and retries.
#include "base/error.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/result.h"

namespace tb {
namespace {

using enum Code;

// Sorted by reason; one line each.
constexpr auto kTable = std::to_array<ReasonInfo>({
    {"address_unavailable", kUnavailable, 503, 6, false, "another program may hold the port: choose another one"},
    {"answer_malformed", kMalformed, 502, 4, false, ""},
    {"answer_too_large", kMalformed, 502, 4, false, ""},
    {"archive_failed", kInternal, 500, 1, false, ""},
    {"archive_malformed", kMalformed, 422, 4, false, "the archive does not say what its index says: encrypt the model again"},
    {"asset_conflict", kConflict, 409, 7, false, "register the new bytes under another asset id"},
    {"asset_in_use", kConflict, 409, 7, false, "end the contracts that name the asset first"},
    {"asset_mismatch", kTampered, 422, 4, false, "this manifest belongs to another asset"},
    {"asset_not_covered", kDenied, 403, 3, false, "ask the provider to add the asset to the contract"},
    {"asset_not_found", kNotFound, 404, 5, false, ""},
    {"attestation_failed", kDenied, 403, 3, false, "this machine is not in the state that the contract asks for"},
    {"attestation_required", kDenied, 403, 3, false, "the contract asks for an attested machine"},
    {"attestation_unavailable", kUnavailable, 503, 6, true, "it is asked again by itself"},
    {"audit_origin_unknown", kNotFound, 404, 5, false, "authorize first: the log's key is registered with the lease"},
    {"authentication_required", kDenied, 403, 3, false, "set TB_ACTIVATION_TOKEN_FILE to a valid activation token of this contract"},
    {"authorize_answer_malformed", kMalformed, 502, 4, false, "check that the endpoint is a trustbridge control plane"},
    {"backup_malformed", kMalformed, 422, 4, false, "give a file that the command backup wrote"},
    {"bad_address", kMalformed, 400, 2, false, "write IP:PORT, as in 127.0.0.1:8080 or [::1]:8080"},
    {"bad_base64", kMalformed, 400, 4, false, ""},
    {"bad_content_range", kMalformed, 400, 4, false, ""},
    {"bad_duration", kMalformed, 400, 2, false, "write a number with ms, s, m, h or d, as in 30s"},
    {"bad_hex", kMalformed, 400, 4, false, ""},
    {"bad_query", kMalformed, 400, 4, false, ""},
    {"bad_request", kMalformed, 400, 4, false, ""},
    {"bad_time", kMalformed, 400, 4, false, "write RFC 3339, as in 2026-12-31T23:59:59Z"},
    {"blob_changed", kConflict, 502, 7, false, "the blob was replaced while it was read: start again"},
    {"blob_conflict", kConflict, 409, 7, false, "a stored object is never replaced: use another asset id"},
    {"blob_cut_short", kUnavailable, 502, 6, true, ""},
    {"blob_not_found", kNotFound, 404, 5, false, "check that the asset was uploaded where it is registered"},
    {"blob_range_refused", kMalformed, 502, 4, false, "the store must answer byte ranges exactly (206, Content-Range)"},
    {"blob_refused", kDenied, 502, 3, false, ""},
    {"blob_unavailable", kUnavailable, 503, 6, true, ""},
    {"block_damaged", kTampered, 502, 4, true, "the connection or the machine damages what it carries: try another network"},
    {"body_too_large", kMalformed, 413, 4, false, ""},
    {"cancelled", kCancelled, 499, 130, false, ""},
    {"certificate_malformed", kMalformed, 400, 4, false, ""},
    {"chain_broken", kTampered, 500, 4, false, "the log was changed after it was written"},
    {"challenge_limit", kUnavailable, 429, 6, true, "use or wait for the challenges that were given"},
    {"checkpoint_malformed", kMalformed, 422, 4, false, ""},
    {"chunk_bytes_invalid", kMalformed, 400, 4, false, "choose a chunk size from 1024 bytes to 64 MiB"},
    {"ciphertext_digest_mismatch", kTampered, 502, 4, false, "the ciphertext is not the one of the manifest: upload both again"},
    {"ciphertext_truncated", kTruncated, 422, 4, false, "the file is incomplete: fetch it again"},
    {"client_too_old", kDenied, 403, 3, false, "install a newer version"},
    {"config_invalid", kMalformed, 400, 2, false, ""},
    {"container_not_found", kNotFound, 404, 5, false, "--create-container makes it, where the credential may"},
    {"content_malformed", kMalformed, 422, 4, false, ""},
    {"contract_conflict", kConflict, 409, 7, false, "choose another contract id"},
    {"contract_expired", kDenied, 403, 3, false, "ask the provider to renew the contract"},
    {"contract_final", kConflict, 409, 7, false, "make a new contract: a revoked one stays revoked"},
    {"contract_invalid", kMalformed, 400, 2, false, ""},
    {"contract_not_found", kNotFound, 404, 5, false, ""},
    {"contract_not_started", kDenied, 403, 3, false, "wait until the contract starts"},
    {"contract_revoked", kDenied, 403, 3, false, "the provider has ended this contract"},
    {"contract_suspended", kDenied, 403, 3, false, "ask the provider to resume the contract; it comes back by itself"},
    {"control_plane_key_mismatch", kTampered, 502, 4, false, "the pinned key is another control plane's, or something stands between it and here"},
    {"control_plane_refused", kMalformed, 502, 4, false, "check TB_EDC_ENDPOINT and what stands between it and here"},
    {"control_plane_unavailable", kUnavailable, 503, 6, true, "it is asked again by itself"},
    {"credential_unavailable", kUnavailable, 503, 6, true, "docs/upload.md says how each credential is given, and --auth chooses one"},
    {"cursor_invalid", kMalformed, 400, 2, false, "leave the cursor out to start from the beginning"},
    {"database_busy", kUnavailable, 503, 6, true, ""},
    {"database_conflict", kUnavailable, 503, 6, true, "try again shortly"},
    {"database_failed", kInternal, 500, 1, false, ""},
    {"database_newer", kConflict, 500, 7, false, "start the newer version that wrote this database"},
    {"database_not_empty", kConflict, 409, 7, false, "stop the service, and give --force to replace what the database holds"},
    {"database_unavailable", kUnavailable, 503, 6, true, "see that the database server runs; what was asked can be asked again"},
    {"delivery_impossible", kExhausted, 507, 8, false, "give FUSE (/dev/fuse, fusermount3) or more memory; or start the runtime by TB_RUNTIME_COMMAND; or set TB_DELIVERY"},
    {"disk_full", kExhausted, 507, 8, false, "free some space, or choose another place"},
    {"enrolment_limit", kConflict, 409, 7, false, "let the provider reset this contract's machines"},
    {"enrolment_pending", kDenied, 403, 3, false, "ask the provider to approve this machine"},
    {"evidence_malformed", kMalformed, 400, 4, false, "give the certificates that the host lacks in TB_SNP_CERTIFICATES"},
    {"evidence_unavailable", kUnavailable, 503, 6, true, "docs/attestation.md says what each TB_ATTESTATION needs of the machine"},
    {"expression_malformed", kMalformed, 422, 4, false, ""},
    {"field_invalid", kMalformed, 400, 4, false, ""},
    {"field_missing", kMalformed, 400, 4, false, ""},
    {"file_mode_unsafe", kDenied, 403, 3, false, "chmod 600 the file"},
    {"file_not_found", kNotFound, 404, 5, false, ""},
    {"file_too_large", kMalformed, 413, 4, false, ""},
    {"gguf_malformed", kMalformed, 422, 4, false, ""},
    {"grant_refused", kTampered, 502, 4, false, "the answer is not the pinned control plane's: check TB_CONTROL_PLANE_KEY and what stands between it and here"},
    {"hardware_mismatch", kDenied, 403, 3, false, "ask the provider to accept this machine"},
    {"header_malformed", kMalformed, 422, 4, false, "the file is not tbenc/v1"},
    {"header_mismatch", kMalformed, 422, 4, false, "file and manifest do not belong together"},
    {"header_too_large", kMalformed, 431, 4, false, ""},
    {"http_version_unsupported", kMalformed, 505, 4, false, "speak HTTP/1.1"},
    {"image_digest_mismatch", kTampered, 502, 4, false, "the registry, layout or archive holds other bytes than it names: fetch or build the image again"},
    {"image_malformed", kMalformed, 422, 4, false, ""},
    {"image_not_found", kNotFound, 404, 5, false, "check the name and the tag of the image, and that it is one for linux/amd64"},
    {"image_reference_invalid", kMalformed, 400, 2, false, "write registry.example/team/name:tag, in lower case"},
    {"internal", kInternal, 500, 1, false, ""},
    {"io_error", kInternal, 500, 1, false, "the disk reports an error: see the kernel's log"},
    {"isolation_impossible", kDenied, 403, 2, false, "trustbridge-sentinel --isolation-report says how to get what is missing; TB_RUNTIME_ISOLATION=partial does with what there is"},
    {"isolation_missing", kDenied, 403, 3, false, "let the sentinel start the runtime with TB_RUNTIME_ISOLATION=full and a user of its own, or ask the provider for a contract without runtime_isolation"},
    {"journal_malformed", kMalformed, 500, 4, false, ""},
    {"json_malformed", kMalformed, 400, 4, false, ""},
    {"json_not_canonical", kMalformed, 400, 4, false, ""},
    {"jwe_refused", kMalformed, 400, 4, false, ""},
    {"jwk_refused", kMalformed, 400, 4, false, ""},
    {"jws_refused", kTampered, 400, 4, false, ""},
    {"kek_missing", kNotFound, 500, 5, false, "put back the key file that these rows were wrapped under"},
    {"key_already_used", kConflict, 409, 7, false, "one key serves one encryption only: let encrypt make a new key, or run trustbridge keygen"},
    {"key_file_malformed", kMalformed, 400, 4, false, "a key file has 64 hex digits on its first line"},
    {"key_unwrap_failed", kTampered, 500, 4, false, ""},
    {"key_wrap_required", kDenied, 403, 3, false, "leave TB_KEY_RELEASE at wrapped"},
    {"kms_refused", kUnavailable, 503, 6, true, "renew the token in TB_CP_KEK_TOKEN_FILE, and let its policy encrypt and decrypt with the key"},
    {"kms_unavailable", kUnavailable, 503, 6, true, "the KMS of TB_CP_KEK did not answer as it should: it is asked again with the next request"},
    {"lease_cloned", kDenied, 403, 3, false, "another copy of this sentinel renewed the lease: start anew"},
    {"lease_expired", kExpired, 403, 3, false, "the control plane could not be asked in time; it is asked again by itself"},
    {"lease_not_found", kNotFound, 404, 5, false, ""},
    {"licence_denied", kDenied, 403, 3, false, "ask the provider"},
    {"link_loop", kMalformed, 400, 4, false, "remove the link, or give a copy made with cp -rL"},
    {"link_outside", kDenied, 403, 3, false, "give a copy without links (cp -rL), or download with hf download --local-dir"},
    {"log_forked", kTampered, 409, 4, false, "the log does not continue what was seen of it before: keep both checkpoints, and ask who runs it"},
    {"mac_mismatch", kTampered, 422, 4, false, "the manifest was changed or the key is another asset's"},
    {"mac_missing", kDenied, 422, 3, false, ""},
    {"machine_in_doubt", kExpired, 403, 3, false, "the machine slept, was restored or copied, and the lease could not be renewed; it is asked again by itself"},
    {"manifest_digest_mismatch", kTampered, 422, 4, false, "the manifest was replaced after registration: upload the registered one"},
    {"manifest_malformed", kMalformed, 422, 4, false, ""},
    {"manifest_too_large", kMalformed, 422, 4, false, ""},
    {"manifest_unauthenticated", kDenied, 403, 3, false, "give the key or the provider's public key, or accept it with the explicit flag"},
    {"marketplace_refused", kMalformed, 502, 4, false, "for the publisher: check TB_BILLING_RESOURCE_ID, TB_BILLING_PLAN_ID, TB_BILLING_DIMENSION and the identity"},
    {"marketplace_unavailable", kUnavailable, 503, 6, true, "it is asked again by itself; no usage is lost"},
    {"memory_short", kExhausted, 507, 8, false, "give the machine more memory, or deliver by fifo"},
    {"metadata_mismatch", kTampered, 422, 4, false, "the manifest was replaced after registration: upload the registered one"},
    {"method_not_allowed", kMalformed, 405, 4, false, ""},
    {"mount_refused", kDenied, 403, 3, false, "trustbridge doctor says what FUSE needs here; TB_DELIVERY=tmpfs does without it"},
    {"network_unreachable", kUnavailable, 502, 6, true, ""},
    {"nonce_invalid", kDenied, 403, 3, true, ""},
    {"nonce_prefix_mismatch", kTampered, 422, 4, false, "file and manifest do not belong together"},
    {"not_a_regular_file", kMalformed, 400, 4, false, ""},
    {"not_found", kNotFound, 404, 5, false, ""},
    {"note_malformed", kMalformed, 422, 4, false, ""},
    {"note_unverified", kTampered, 403, 4, false, "check that the key is the one of this log"},
    {"oms_bundle_malformed", kMalformed, 422, 4, false, "the file is not a bundle as OpenSSF Model Signing 1.0 has them"},
    {"oms_certificate_refused", kDenied, 422, 3, false, "look at the certificate's dates, its purpose (code signing) and its issuer (--oms-ca)"},
    {"oms_content_mismatch", kTampered, 422, 4, false, "this is not the model that was signed: get it again, or have it signed again"},
    {"oms_key_mismatch", kDenied, 422, 3, false, "ask the signer which key it was"},
    {"oms_key_refused", kMalformed, 400, 4, false, "model signing takes EC keys on P-256, P-384 or P-521 as PEM: trustbridge keygen --oms makes one"},
    {"oms_signature_mismatch", kTampered, 422, 4, false, "the bundle was changed after it was signed"},
    {"oms_unsupported", kMalformed, 422, 4, false, "sign the model again by key or certificate, with sha256"},
    {"out_of_memory", kExhausted, 507, 8, false, ""},
    {"output_exists", kConflict, 409, 7, false, "give another path, or --force to replace it"},
    {"output_is_input", kConflict, 409, 7, false, "give another path for the output"},
    {"package_malformed", kMalformed, 422, 4, false, "give a zip, or a directory, with mainTemplate.json and createUiDefinition.json at its root"},
    {"package_refused", kMalformed, 422, 4, false, "mend what the list names, and check again"},
    {"path_unsafe", kDenied, 403, 3, false, "remove it, or choose another path"},
    {"path_unsupported", kMalformed, 400, 4, false, "rename the file: UTF-8, no control characters, parts of at most 255 bytes"},
    {"permission_denied", kDenied, 403, 3, false, ""},
    {"pickle_refused", kDenied, 403, 3, false, "loading a pickle runs whatever code is in it: convert to safetensors, or --allow-pickle"},
    {"plain_http_refused", kDenied, 403, 2, false, "set a TLS certificate and key, or listen on 127.0.0.1"},
    {"plaintext_digest_mismatch", kTampered, 422, 4, false, ""},
    {"plaintext_on_disk", kDenied, 403, 2, false, "choose a path on tmpfs, as /dev/shm"},
    {"precondition_failed", kConflict, 412, 7, false, ""},
    {"proof_malformed", kMalformed, 422, 4, false, ""},
    {"proof_mismatch", kTampered, 422, 4, false, "proof, record and checkpoint do not belong together"},
    {"proof_refused", kDenied, 401, 3, false, "TB_EDC_ENDPOINT of the sentinel must be TB_CP_PUBLIC_URL of the control plane"},
    {"proof_replayed", kDenied, 401, 3, true, "every request needs a proof of its own"},
    {"proof_stale", kDenied, 401, 3, true, "take the time from the Date of this answer and try again"},
    {"public_key_malformed", kMalformed, 400, 4, false, "a public key file has 43 base64url characters on its first line"},
    {"publish_input_changed", kConflict, 409, 7, false, "what was published stays as it is: publish what changed under another --asset-id, or go back to the inputs it had"},
    {"publish_running", kConflict, 409, 7, true, "let it end, or end it"},
    {"publish_state_malformed", kMalformed, 422, 4, false, "give another --out, or move the directory's state.json away and skip the steps that are done"},
    {"quota_exhausted", kDenied, 403, 3, false, "ask the provider for a larger quota"},
    {"range_invalid", kMalformed, 416, 4, false, ""},
    {"range_outside_blob", kTruncated, 502, 4, false, ""},
    {"range_unsatisfiable", kMalformed, 416, 4, false, ""},
    {"rate_limited", kUnavailable, 429, 6, true, "ask less often, or let the operator raise TB_CP_RATE_LIMIT"},
    {"record_malformed", kMalformed, 422, 4, false, ""},
    {"record_truncated", kTruncated, 422, 4, false, "the file is incomplete: fetch it again"},
    {"registry_denied", kDenied, 403, 3, false, "log in with podman login or docker login, or name the login file by REGISTRY_AUTH_FILE"},
    {"registry_refused", kMalformed, 502, 4, false, ""},
    {"registry_unavailable", kUnavailable, 503, 6, true, "run the same command again: what has arrived is not sent again"},
    {"request_timeout", kUnavailable, 408, 6, true, ""},
    {"role_denied", kDenied, 403, 3, false, "use a token whose role may do this"},
    {"runtime_failed", kUnavailable, 503, 6, true, "look at the runtime's own messages in the log"},
    {"runtime_reachable", kUnavailable, 503, 6, true, "let the runtime listen on 127.0.0.1 or a unix socket, or let the sentinel start it (TB_RUNTIME_COMMAND); TB_ALLOW_REACHABLE_RUNTIME=true serves all the same"},
    {"runtime_uid_refused", kDenied, 403, 2, false, "run the sentinel as root, or with CAP_CHOWN, or as TB_RUNTIME_UID itself"},
    {"safetensors_malformed", kMalformed, 422, 4, false, ""},
    {"seat_limit", kDenied, 403, 3, false, "end another sentinel of this contract, or ask the provider for more seats"},
    {"sentinel_key_malformed", kMalformed, 400, 4, false, "delete the file: a new key is made, and the seat of the old one ends with its lease"},
    {"server_busy", kUnavailable, 503, 6, true, "try again shortly"},
    {"signature_mismatch", kTampered, 422, 4, false, "the manifest was changed after the provider signed it"},
    {"signature_missing", kDenied, 422, 3, false, "ask the provider for a manifest signed with the pinned key"},
    {"signing_key_malformed", kMalformed, 400, 4, false, "make one with trustbridge keygen --signing"},
    {"simulation_too_large", kExhausted, 413, 8, false, "ask for a shorter span of time"},
    {"size_overflow", kMalformed, 422, 4, false, ""},
    {"snp_unavailable", kDenied, 503, 2, false, "give the sentinel /dev/sev-guest of an SEV-SNP guest, or set TB_ATTESTATION to what this machine has"},
    {"source_changed", kConflict, 409, 7, false, "nothing else may write the file meanwhile"},
    {"source_empty", kMalformed, 400, 4, false, ""},
    {"source_kind_unsupported", kMalformed, 400, 4, false, "only regular files and directories can be encrypted"},
    {"store_answer_unexpected", kMalformed, 502, 4, false, "check the account, the endpoint and what stands between it and here"},
    {"store_unavailable", kUnavailable, 503, 6, true, "the store's credential could not be used: see the control plane's log"},
    {"subscription_inactive", kDenied, 403, 3, false, "renew the subscription at the marketplace"},
    {"swap_enabled", kDenied, 403, 2, false, "turn swap off (swapoff -a), or let the sentinel mount a tmpfs that never swaps and lock its memory (trustbridge doctor), or set TB_ALLOW_SWAP=true and accept that weights may reach a disk"},
    {"tag_mismatch", kTampered, 422, 4, false, "the file was changed or the key is another file's"},
    {"tls_config_invalid", kMalformed, 500, 2, false, ""},
    {"tls_failed", kDenied, 502, 3, false, "check the certificate, or name its CA with TB_CA_PATH"},
    {"token_refused", kDenied, 401, 3, false, "send a valid token as Authorization: Bearer"},
    {"too_many_files", kMalformed, 400, 4, false, "put the files into fewer, larger ones"},
    {"tpm_failed", kUnavailable, 503, 6, true, "trustbridge doctor says whether the TPM can be used here"},
    {"tpm_malformed", kMalformed, 400, 4, false, ""},
    {"tpm_timeout", kUnavailable, 503, 6, true, "the TPM does not answer: restart this machine if it stays"},
    {"tpm_unavailable", kDenied, 503, 2, false, "give the sentinel a TPM 2.0 (/dev/tpmrm0, group tss), or set TB_TPM_TCTI"},
    {"trailing_bytes", kMalformed, 422, 4, false, ""},
    {"unknown_field", kMalformed, 400, 4, false, ""},
    {"upload_blocks_lost", kConflict, 409, 7, true, "another upload to the same place may run: the same command again goes on"},
    {"upload_offset_wrong", kConflict, 409, 7, false, "ask for the stored size and go on from there"},
    {"upload_unverified", kTampered, 502, 4, false, "the store does not hold what it took: something stands between it and here, or it is broken"},
    {"url_expired", kExpired, 502, 3, false, "the signed URL was refused: ask for a new one, and check the clocks"},
    {"url_refused", kDenied, 403, 3, false, ""},
    {"url_signature_refused", kDenied, 403, 3, false, "ask the control plane for a new url"},
    {"usage", kMalformed, 400, 2, false, ""},
    {"usage_conflict", kConflict, 409, 7, false, "a usage record that was counted is never changed"},
    {"wrapping_key_last", kConflict, 409, 7, false, "publish a new one first: trustbridge-control-plane keys rotate-wrapping"},
});

}  // namespace

std::string_view code_name(Code code) {
  switch (code) {
    case kMalformed: return "malformed";
    case kTruncated: return "truncated";
    case kTampered: return "tampered";
    case kNotFound: return "not_found";
    case kDenied: return "denied";
    case kExpired: return "expired";
    case kConflict: return "conflict";
    case kUnavailable: return "unavailable";
    case kCancelled: return "cancelled";
    case kExhausted: return "exhausted";
    case kInternal: return "internal";
  }
  return "internal";
}

std::span<const ReasonInfo> reason_table() {
  return kTable;
}

const ReasonInfo& reason_info(std::string_view reason) {
  const auto row = std::ranges::lower_bound(kTable, reason, {}, &ReasonInfo::reason);
  if (row != kTable.end() && row->reason == reason) return *row;
  return *std::ranges::lower_bound(kTable, std::string_view("internal"), {}, &ReasonInfo::reason);
}

Error::Error(std::string_view reason_in, std::string message_in) : reason(reason_in), message(std::move(message_in)) {}
Error::Error(std::string_view reason_in, std::string message_in, Error cause_in)
    : reason(reason_in), message(std::move(message_in)), cause(std::make_shared<const Error>(std::move(cause_in))) {}
Error::Error(const Error& other) = default;
Error::Error(Error&& other) noexcept = default;
Error& Error::operator=(const Error& other) = default;
Error& Error::operator=(Error&& other) noexcept = default;
Error::~Error() = default;

Error&& Error::with_hint(std::string hint) && {
  own_hint = std::move(hint);
  return std::move(*this);
}

std::string Error::hint() const {
  return own_hint.empty() ? std::string(info().hint) : own_hint;
}

std::unexpected<Error> fail(std::string_view reason, std::string message) {
  return std::unexpected(Error(reason, std::move(message)));
}

std::unexpected<Error> fail(Error error) {
  return std::unexpected(std::move(error));
}

std::string Error::story() const {
  std::string text = message;
  for (const Error* e = cause.get(); e != nullptr; e = e->cause.get()) text += ": " + e->message;
  return text;
}

Error error_from_errno(int err, std::string_view what) {
  std::string_view reason = "io_error";
  switch (err) {
    case ENOENT:
    case ENOTDIR: reason = "file_not_found"; break;
    case EACCES:
    case EPERM:
    case EROFS: reason = "permission_denied"; break;
    case EEXIST: reason = "output_exists"; break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: reason = "disk_full"; break;
    case ENOMEM: reason = "out_of_memory"; break;
    default: break;
  }
  char buffer[128];
  const char* text = strerror_r(err, buffer, sizeof buffer);
  std::string lower(text);
  if (!lower.empty() && lower.size() > 1 && lower[1] >= 'a') lower[0] = static_cast<char>(std::tolower(lower[0]));
  return Error(reason, fmt::format("{}: {}", what, lower));
}

}  // namespace tb
