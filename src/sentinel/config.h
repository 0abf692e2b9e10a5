// What the sentinel was told, understood and checked once; everybody else gets it const. Filled from settings.h.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto.h"
#include "blob/folder.h"
#include "http/listen.h"
#include "obs/log.h"
#include "sentinel/settings.h"
#include "sentinel/user_token.h"

namespace tb::sentinel {

enum class DeliveryChoice { kAuto, kMount, kTmpfs, kFifo };
enum class AttestationChoice { kNone, kTpm, kSnp, kToken };
enum class IsolationChoice { kFull, kPartial, kOff };
enum class HydrateChoice { kOverlap, kStrict, kLazy };

/// Where the runtime answers: loopback TCP or a unix socket.
struct RuntimeAddress {
  std::string unix_path;  ///< set: a unix socket, and host and port mean nothing
  std::string host = "127.0.0.1";
  std::uint16_t port = 8081;
  bool is_unix() const { return !unix_path.empty(); }
  std::string to_text() const;
};

struct Config {
  std::string contract_id, asset_id;
  std::string control_plane_url;  ///< TB_EDC_ENDPOINT without a slash at its end
  bool control_plane_is_loopback = false;
  std::string activation_token_file;
  bool plain_key_allowed = false;
  std::string ca_path, client_cert_path, client_key_path;
  bool allow_insecure_http = false, allow_private_networks = false;
  std::string hw_id_file;
  std::string vm_generation_file;  ///< empty: none
  AttestationChoice attestation = AttestationChoice::kNone;
  std::string tpm_tcti;                                ///< empty: the kernel's own device
  std::string snp_certificates_path;                   ///< empty: what the host gives is enough
  std::vector<std::string> attestation_token_command;  ///< never empty for kToken
  std::optional<Ed25519PublicKey> provider_key;
  std::optional<Ed25519PublicKey> control_plane_key;  ///< pinned by configuration; the token file may have one, too
  bool allow_unauthenticated_manifest = false;

  DeliveryChoice delivery = DeliveryChoice::kAuto;
  std::string model_dir, pipe_path, ready_signal;
  HydrateChoice hydrate = HydrateChoice::kOverlap;
  bool cache_on_disk = true;
  std::string target_dir;
  unsigned download_connections = 4;  ///< 0: found by watching
  std::uint64_t download_request_bytes = 0;
  std::uint64_t download_bytes_per_second = 0;  ///< 0: no limit
  std::optional<blob::Folder> source;           ///< TB_SOURCE: ciphertext and manifest lie here; none: at signed URLs
  bool allow_swap = false;

  RuntimeAddress runtime;
  std::vector<std::string> runtime_command;  ///< empty: somebody else starts the runtime
  std::string runtime_health_path;
  uid_t runtime_uid = 0;
  bool shared_user_allowed = false;  ///< runtime_uid may be ours
  IsolationChoice isolation = IsolationChoice::kFull;
  std::vector<std::string> runtime_read_paths, runtime_devices;
  std::uint64_t runtime_scratch_bytes = 0;
  std::uint64_t runtime_memory_bytes = 0;  ///< 0: no limit
  bool reachable_runtime_allowed = false;
  std::int64_t startup_timeout_ms = 0;

  http::ListenAddress public_address, health_address;
  std::string tls_cert_path, tls_key_path, tls_client_ca_path;
  std::vector<std::string> tls_client_subjects;  ///< certificates that need no key
  bool proxy_http2 = true;
  std::string jwt_keys;  ///< a file or an https URL; empty: tokens let nobody in
  TokenRules jwt_rules;
  std::string served_model_name;
  std::vector<std::string> hidden_paths;  ///< of TB_HIDDEN_PATHS
  std::string api_keys_file;
  bool allow_anonymous = false;
  std::vector<std::string> allowed_paths;  ///< empty: the whole allow-list
  std::uint64_t max_body_bytes = 0;
  std::int64_t drain_ms = 0;
  std::int64_t drain_accept_ms = 0;  ///< of drain_ms

  std::string state_dir, audit_dir;
  bool audit_hash_responses = true, audit_keyed = true;
  std::int64_t audit_checkpoint_ms = 60'000;
  std::uint64_t audit_segment_bytes = 0;
  std::int64_t audit_retention_ms = 0;  ///< 0: for ever
  std::int64_t model_context_tokens = 0;
  std::int64_t report_ms = 60'000;
  struct Billing {
    std::string endpoint, resource, plan, credential;  ///< endpoint without a slash at its end
    std::vector<std::string> dimensions;
  };
  std::optional<Billing> billing;  ///< nothing: only the control plane is reported to
  bool exit_on_denial = false;
  obs::Level log_level = obs::Level::kInfo;

  bool dev = false;
  std::vector<std::string> notes;  ///< for the log
};

/// Understands `settings`; adds every fault to `faults`, one sentence each. The result is good only if none was added.
Config make_config(const Settings& settings, std::vector<std::string>& faults);

/// One `NAME=value  # source` a line, masked settings as `(set)`.
std::string print_config(const Settings& settings);

/// An absolute `http(s)://host[:port][/path]` URL that may be the control plane's: https, or http to loopback or with
/// `allow_insecure`; no userinfo, query or fragment. Empty if it may, else what is wrong.
std::string endpoint_fault(std::string_view url, bool allow_insecure);
/// The host of such a URL, without brackets.
std::string host_of(std::string_view url);

}  // namespace tb::sentinel
