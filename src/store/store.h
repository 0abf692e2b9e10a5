// What the control plane remembers, as verbs of its domain.
//
// Every verb is atomic: it happens whole or not at all, also with many callers and many processes, and the event that
// tells of it is appended to the event log, hash chain and Merkle tree, in the same transaction. Nothing here judges
// (that is policy.cc) and nothing here decrypts. `scope` is the tenant whose rows are seen; no scope sees all of them.
// Functions are thread-safe. They throw Error: "database_busy" (try again), "disk_full", "database_failed".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/asset.h"
#include "api/contract.h"
#include "api/evidence.h"
#include "api/lease.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/json.h"
#include "obs/metrics.h"
#include "store/billing.h"
#include "store/metering.h"
#include "tlog/tree.h"

namespace tb::store {

using Scope = std::optional<std::string>;

/// What is appended to the event log with a change. Never a key, a token or a signed URL.
struct Event {
  std::string type;  ///< "contract_suspended"
  std::string tenant;
  std::string actor;    ///< token id, "sentinel", "operator"
  std::string subject;  ///< contract, asset or lease id
  Json detail = Json::object();
};

struct StoredEvent {
  std::int64_t seq = 0;
  std::string tenant;
  std::string line;  ///< the chain's own bytes
};

enum class Role { kProvider, kOperator, kAuditor };
std::string_view role_name(Role role);
/// Throws "usage".
Role role_from(std::string_view name);

/// A bearer token of a person or program: only its hash is kept.
struct Token {
  std::string token_id;
  Bytes hash;  ///< SHA-256 of the token
  Role role = Role::kAuditor;
  std::string tenant;  ///< empty for operators and auditors of everything
  UnixMs created_at = 0;
  std::optional<UnixMs> expires_at;
};

/// A key wrapped under another that is not in the database.
struct WrappedKey {
  std::string kek_id;
  Bytes wrapped;  ///< 40 bytes of RFC 3394, or what a KMS made of the key
};

struct AssetRow {
  api::AssetView view;
  WrappedKey key;
  std::string content_digest;  ///< what "the same registration" means; other under the same id is a conflict
};

enum class RegisterOutcome { kCreated, kSame, kConflict };

/// Hardware that a `pin_first` contract has seen first.
struct HardwarePin {
  std::string hw_id;
  bool approved = false;
};

struct ContractRow {
  api::Contract contract;
  Bytes activation_hash;  ///< SHA-256 of the activation token; empty: none
  std::optional<UnixMs> activation_expires_at;
  std::optional<HardwarePin> pin;
};

struct ContractName {
  std::string tenant, contract_id;
  auto operator<=>(const ContractName&) const = default;
};
struct ContractVersion {
  ContractName name;
  std::int64_t policy_version = 0;
};

struct ActivationToken {
  Bytes hash;
  std::optional<UnixMs> expires_at;
};

/// A proof of a sentinel's key, verified, to be used up with what it allows: in the same transaction, once.
struct ProofOnce {
  std::string sentinel_key;  ///< RFC 7638 thumbprint; empty: no proof came
  std::string jti;
  UnixMs expires_at = 0;  ///< from then on it is too old for anybody: it need not be remembered
};

/// A seat that policy has granted. Taken only if the contract is still as policy saw it.
struct SeatRequest {
  std::string tenant;
  std::string contract_id;
  std::int64_t policy_version = 0;
  std::string lease_id;  ///< new: its own random id; at renewal: the lease
  std::string asset_id;
  std::string hw_id;
  std::string client_version;
  std::int64_t max_seats = 1;
  UnixMs expires_at = 0;
  UnixMs seat_until = 0;       ///< expires_at plus the offline grace: so long the seat is not given to another
  std::string jwk_thumbprint;  ///< of the one-time key that the key is released to; empty: none
  ProofOnce proof;             ///< of the lease's owner; a lease without one is renewed without one
  Bytes renewal_hash;          ///< SHA-256 of the renewal token that the answer will carry
  Bytes shown_renewal_hash;    ///< renewal: of the one that came; empty: none, which only a lease without key may do
  Bytes request_digest;        ///< renewal: of the request, to know its repetition
};

enum class SeatOutcome {
  kGranted,
  kFull,       ///< all seats are held
  kChanged,    ///< the contract is not as policy saw it: decide again
  kGone,       ///< renewal: the lease is not active, has expired, or is of another asset or machine: final
  kJwkReused,  ///< the one-time key has served before
  kCloned,     ///< renewal: the lease is, or just became, revoked or superseded: somebody else holds its token or key
  kProofReplayed,  ///< the proof has served before
};

enum class ReleaseOutcome { kReleased, kGone, kProofReplayed };

/// What purge() took away.
struct Purged {
  std::int64_t proofs = 0, nonces = 0, jwks = 0, leases = 0;
  bool more = false;  ///< it took as many of something as it takes at once: call again
};

/// A machine's TPM keys while it answers the credential.
struct Enrolment {
  std::string ak_name;    ///< lower hex
  std::string ek_sha256;  ///< lower hex of the SPKI
  Bytes ek_public, ak_public;
  Bytes secret_hash;  ///< SHA-256 of what only its TPM can give back
  UnixMs expires_at = 0;
};

enum class EnrolOutcome {
  kEnrolled,
  kUnknown,  ///< no open enrolment of this key, it has expired, or the secret is another
  kFull,     ///< the contract has as many machines as may be, or this one already
};

/// A machine that proved its TPM.
struct Machine {
  std::string ak_name, ek_sha256;
  Bytes ek_public, ak_public;
  bool approved = false;  ///< by the provider; the contract's own list is policy's business
  UnixMs enrolled_at = 0;
  std::optional<UnixMs> seen_at;  ///< of its newest evidence
  api::TpmClock clock;            ///< of its newest evidence; zero before
};

/// One of the control plane's own keys, wrapped under the KEK, with its public half where it has one.
struct OwnKey {
  std::string name;
  WrappedKey key;
  Bytes public_part;
};

/// How long a lease that is over, and a one-time key that has served, are remembered: 90 days.
inline constexpr std::int64_t kRetentionMs = std::int64_t{90} * 86'400'000;

/// A wrapped key and the row that it stands in: one of the control plane's own, or an asset's.
struct StoredKey {
  std::string own_name;  ///< empty: an asset's
  std::string tenant;
  std::string asset_id;
  std::string sha256_ciphertext;
  WrappedKey key;
};

/// The same key under another KEK, for a row that still is as it was read.
struct Rewrap {
  StoredKey stored;
  WrappedKey rewrapped;
};

class Store {
 public:
  virtual ~Store() = default;

  /// Throws unless the store can be read now.
  virtual void check() = 0;

  /// What happens from now on is counted in tb_store_commits_total (groups of changes that are committed together) and
  /// tb_store_changes_total. `metrics` outlives this.
  virtual void measure(obs::Metrics& metrics) = 0;

  // ---- tokens ----
  /// Makes the tenant where there was none.
  virtual void add_token(const Token& token, const Event& event) = 0;
  /// Not one that has expired.
  virtual std::optional<Token> find_token(ByteView hash, UnixMs now) = 0;
  virtual std::vector<Token> list_tokens() = 0;
  virtual bool revoke_token(const std::string& token_id, const Event& event) = 0;

  // ---- the control plane's own keys ----
  virtual std::optional<OwnKey> find_own_key(const std::string& name) = 0;
  /// Keeps the one that is there already, if any; returns what is kept.
  virtual OwnKey add_own_key(const OwnKey& key) = 0;
  /// The key `family` and those named `family/…`, by name.
  virtual std::vector<OwnKey> list_own_keys(const std::string& family) = 0;
  /// False, and no event, if there is one of this name.
  virtual bool add_own_key(const OwnKey& key, const Event& event) = 0;
  /// False, and no event, if there is no such key or it is the last of its family.
  virtual bool retire_own_key(const std::string& family, const std::string& name, const Event& event) = 0;
  /// Ids of all KEKs that a stored key is wrapped under.
  virtual std::vector<std::string> kek_ids() = 0;
  /// At most `limit` keys that are wrapped under another KEK than this.
  virtual std::vector<StoredKey> keys_not_under(const std::string& kek_id, std::int64_t limit) = 0;
  /// Each row is changed only if its key is still `stored.key`. Returns how many were; the event if any was.
  virtual std::int64_t rewrap_keys(const std::vector<Rewrap>& rewraps, const Event& event) = 0;

  // ---- assets ----
  /// kSame changes nothing and appends no event. After a deletion only the same ciphertext may return.
  virtual RegisterOutcome register_asset(const AssetRow& asset, const Event& event) = 0;
  virtual std::optional<AssetRow> find_asset(const std::string& tenant, const std::string& asset_id) = 0;
  /// By tenant and asset id, at most `limit` after `cursor` ("tenant/asset_id" of the last one, or "").
  virtual std::vector<AssetRow> list_assets(const Scope& scope, const std::string& cursor, std::int64_t limit) = 0;
  /// Forgets the key at once; keeps the id and the ciphertext's digest. "asset_not_found"; "asset_in_use" while a
  /// contract that is not revoked and not past its end at `now` names it.
  virtual void delete_asset(const std::string& tenant, const std::string& asset_id, UnixMs now, const Event& event) = 0;

  // ---- contracts ----
  /// "contract_conflict" if the tenant has the id; "asset_not_found" if it names an asset that the tenant has not.
  virtual void create_contract(const api::Contract& contract, const std::optional<ActivationToken>& token,
                               const Event& event) = 0;
  virtual std::optional<ContractRow> find_contract(const std::string& tenant, const std::string& contract_id) = 0;
  /// Of every tenant: an id is one tenant's own, and a sentinel names no tenant. At most 64.
  virtual std::vector<ContractRow> find_contracts(const std::string& contract_id) = 0;
  /// policy_version of those that are there, in any order. For who waits for a change.
  virtual std::vector<ContractVersion> contract_versions(const std::vector<ContractName>& names) = 0;
  /// As list_assets.
  virtual std::vector<ContractRow> list_contracts(const Scope& scope, const std::string& cursor,
                                                  std::int64_t limit) = 0;
  /// New terms, policy_version one more. "contract_not_found", "contract_final" (revoked), "database_busy" if the
  /// version is not `expected_version` any more, "asset_not_found".
  virtual ContractRow update_terms(const std::string& tenant, const std::string& contract_id,
                                   std::int64_t expected_version, const api::ContractTerms& terms, UnixMs now,
                                   const Event& event) = 0;
  /// policy_version one more; the same state again changes nothing. Revoking ends all leases. "contract_not_found",
  /// "contract_final" (nothing leaves revoked).
  virtual ContractRow set_contract_state(const std::string& tenant, const std::string& contract_id,
                                         api::ContractState state, UnixMs now, const Event& event) = 0;
  virtual void set_activation_token(const std::string& tenant, const std::string& contract_id,
                                    const ActivationToken& token, const Event& event) = 0;
  /// Remembers the first hardware of a `pin_first` contract; returns what is pinned, which may be another's.
  virtual HardwarePin pin_hardware(const std::string& tenant, const std::string& contract_id, const std::string& hw_id,
                                   const Event& event) = 0;
  /// Approves `hw_id`, or with nothing forgets the pin. "contract_not_found".
  virtual void set_hardware_pin(const std::string& tenant, const std::string& contract_id,
                                const std::optional<std::string>& hw_id, const Event& event) = 0;

  // ---- seats ----
  /// Never more than max_seats leases whose seat_until is after `now`; those past it free themselves here. What the
  /// same sentinel key held under this contract is superseded (event "lease_superseded"): a sentinel that was killed
  /// has its seat back at once, and never two.
  virtual SeatOutcome take_seat(const SeatRequest& seat, UnixMs now, const Event& event) = 0;
  /// One conditional update: the lease is this contract's, asset's, machine's and key's, active and not past its
  /// seat_until, the token shown is its newest, and the contract is active and at policy_version. The token before is
  /// taken once more with the very request that it came with (the answer was lost). Any other token revokes the lease,
  /// event "lease_cloned": kCloned.
  virtual SeatOutcome renew_lease(const SeatRequest& seat, UnixMs now, const Event& event) = 0;
  /// The lease without sentinel key that this machine holds for this asset, if it is active and not past its
  /// seat_until; or "".
  virtual std::string find_seat(const std::string& tenant, const std::string& contract_id, const std::string& asset_id,
                                const std::string& hw_id, UnixMs now) = 0;
  /// When the first of the contract's active leases ends unless it is renewed; nothing if there is none.
  virtual std::optional<UnixMs> next_seat_end(const std::string& tenant, const std::string& contract_id,
                                              UnixMs now) = 0;
  /// True if the lease is an active one of this contract, not past its seat_until, and of this sentinel key.
  virtual bool holds_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                           const std::string& sentinel_key, UnixMs now) = 0;
  /// True if the lease, over or not, is of this contract and of this sentinel key ("": one without).
  virtual bool owns_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                          const std::string& sentinel_key) = 0;
  /// For a route that changes nothing else of a lease. False if the proof was used before; one without a key never is.
  virtual bool take_proof(const ProofOnce& proof) = 0;
  /// By its holder: only with a proof of the lease's own key, or none where it has none. kGone: no such active lease.
  virtual ReleaseOutcome release_lease(const std::string& tenant, const std::string& contract_id,
                                       const std::string& lease_id, const ProofOnce& proof, UnixMs now,
                                       const Event& event) = 0;
  /// By others (kEvicted); frees the seat at once. False if it is not an active lease of this contract.
  virtual bool end_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                         api::LeaseState state, UnixMs now, const Event& event) = 0;
  /// By creation, newest first, at most `limit` after `cursor` (a lease id, or "").
  virtual std::vector<api::Lease> list_leases(const std::string& tenant, const std::string& contract_id,
                                              const std::string& cursor, std::int64_t limit) = 0;
  /// Of all tenants: active and not past their seat_until.
  virtual std::int64_t count_active_leases(UnixMs now) = 0;
  /// True if the lease is active, not past its seat_until, for this asset, and its contract is in state active.
  virtual bool lease_serves(const std::string& tenant, const std::string& lease_id, const std::string& asset_id,
                            UnixMs now) = 0;

  // ---- machines with a TPM ----
  /// Replaces an open enrolment of the same key. False if the contract has `max_open` others.
  virtual bool begin_enrolment(const std::string& tenant, const std::string& contract_id, const Enrolment& enrolment,
                               UnixMs now, std::int64_t max_open, const Event& event) = 0;
  /// The open enrolment becomes a machine, once.
  virtual EnrolOutcome finish_enrolment(const std::string& tenant, const std::string& contract_id,
                                        const std::string& ak_name, ByteView secret_hash, UnixMs now,
                                        std::int64_t max_machines, const Event& event) = 0;
  virtual std::optional<Machine> find_machine(const std::string& tenant, const std::string& contract_id,
                                              const std::string& ak_name) = 0;
  /// By ak_name, at most `limit` after `cursor`.
  virtual std::vector<Machine> list_machines(const std::string& tenant, const std::string& contract_id,
                                             const std::string& cursor, std::int64_t limit) = 0;
  /// Compares and keeps in one step: false, and nothing changes, if `clock` is before the one kept.
  virtual bool advance_clock(const std::string& tenant, const std::string& contract_id, const std::string& ak_name,
                             const api::TpmClock& clock, UnixMs now) = 0;
  /// Approves an endorsement key, also before its machine enrols. "contract_not_found".
  virtual void approve_machine(const std::string& tenant, const std::string& contract_id, const std::string& ek_sha256,
                               UnixMs now, const Event& event) = 0;
  /// Forgets approval, keys and clock of all machines with this endorsement key. "contract_not_found".
  virtual void forget_machine(const std::string& tenant, const std::string& contract_id, const std::string& ek_sha256,
                              const Event& event) = 0;

  // ---- nonces ----
  /// False if the contract has `max_outstanding` unused ones already.
  virtual bool add_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now,
                         UnixMs expires_at, std::int64_t max_outstanding) = 0;
  /// True once, before it expires.
  virtual bool use_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now) = 0;

  // ---- housekeeping ----
  /// Takes away, in portions that do not hold others up, what nobody asks for any more: proofs and nonces past their
  /// end, and one-time keys and leases over for kRetentionMs (an event "leases_purged", if any). Call it now and then.
  virtual Purged purge(UnixMs now) = 0;

  // ---- events ----
  /// For what changes nothing else: a denial.
  virtual void append_event(const Event& event) = 0;
  /// Ascending, `seq` above `after` (-1: from the start).
  virtual std::vector<StoredEvent> list_events(const Scope& scope, std::int64_t after, std::int64_t limit) = 0;
  /// Newest first: events whose subject this is, `seq` below `before` (none: from the end). By an index.
  virtual std::vector<StoredEvent> list_events_about(const std::string& tenant, const std::string& subject,
                                                     const std::optional<std::int64_t>& before, std::int64_t limit) = 0;
  /// Nothing if it is another tenant's or not there.
  virtual std::optional<StoredEvent> find_event(const Scope& scope, std::int64_t seq) = 0;

  // ---- the Merkle tree over the events: each is a leaf, added in the transaction that appends it ----
  /// The tree as it is now; its size is the number of events.
  virtual tlog::Frontier event_tree() = 0;
  /// `count` hashes of a row of tiles from `first` on (tlog::RowReader); fewer where the tree ends.
  virtual std::vector<Digest> event_hashes(unsigned level, std::uint64_t first, std::uint64_t count) = 0;

  // ---- audit logs of sentinels ----
  virtual std::optional<WitnessedLog> find_audit_log(const std::string& tenant, const std::string& contract_id,
                                                     const std::string& origin) = 0;
  /// Keeps a checkpoint that was found to continue the one of `old_size`; with none, the log's first. The key stays
  /// that of the first.
  virtual WitnessOutcome advance_audit_log(const std::string& tenant, const std::string& contract_id,
                                           const std::optional<std::uint64_t>& old_size, const WitnessedLog& log,
                                           const Event& event) = 0;
  /// By origin, at most `limit` after `cursor` (an origin, or "").
  virtual std::vector<WitnessedLog> list_audit_logs(const std::string& tenant, const std::string& contract_id,
                                                    const std::string& cursor, std::int64_t limit) = 0;

  // ---- usage ----
  /// Counts each record once; what conflicts is left out and the rest counted. `event` says who and of what: the types
  /// `usage_reported`, `usage_conflict` and `usage_gap` and their details are set here. "lease_not_found" unless the
  /// lease is the contract's, in whatever state.
  virtual UsageOutcome append_usage(const std::string& tenant, const api::UsageReport& report, UnixMs now,
                                    const Event& event) = 0;
  /// Sum of one dimension over all hours from the one of `since` on.
  virtual std::int64_t usage_since(const std::string& tenant, const std::string& contract_id,
                                   const std::string& dimension, UnixMs since) = 0;
  /// By start, tenant, contract, asset and dimension, at most `limit` after `after`.
  virtual std::vector<UsageSum> list_usage(const Scope& scope, const UsageQuery& query,
                                           const std::optional<UsageSum>& after, std::int64_t limit) = 0;
  /// Audit logs of which records were never reported, as of now.
  virtual std::vector<UsageGap> list_usage_gaps(const Scope& scope, const std::optional<std::string>& contract_id,
                                                std::int64_t limit) = 0;

  // ---- turns of nodes ----
  /// Until `until`, or longer by a next call of the same holder. Nothing while another has it; `holder` is random, of
  /// one process.
  virtual std::optional<Turn> take_turn(const std::string& name, const std::string& holder, UnixMs now,
                                        UnixMs until) = 0;
  /// Another may take it at once. Nothing happens if another has.
  virtual void end_turn(const Turn& turn) = 0;

  // ---- billing: usage that goes from here to a marketplace ----
  /// Of all contracts that name, or named, a marketplace: who was billed longest ago first. From when a contract names
  /// a dimension, its usage is owed.
  virtual std::vector<BillingAccount> billing_accounts() = 0;
  virtual BillingStanding billing_standing(const BillingPlace& place, const std::string& dimension, UnixMs oldest,
                                           UnixMs newest) = 0;
  virtual void add_billing_events(const Turn& turn, const BillingPlace& place,
                                  const std::vector<BillingEvent>& events) = 0;
  /// Those that are pending, by hour.
  virtual std::vector<BillingEvent> waiting_billing_events(const BillingPlace& place) = 0;
  /// Of those that are pending; others stay as they are.
  virtual void set_billing_events(const Turn& turn, const BillingPlace& place, const std::vector<BillingEvent>& events,
                                  BillingState state, const std::string& detail) = 0;
  /// What all contracts know to have been taken for the resource and plan in one day of UTC.
  virtual BilledDay billed_of_day(const BillingPlace& place, const std::string& dimension, UnixMs day) = 0;
  /// Of the contract, wherever it went.
  virtual BillingSums billing_sums(const BillingPlace& place, const std::string& dimension) = 0;
};

}  // namespace tb::store
