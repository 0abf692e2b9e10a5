// The class behind open_sqlite_store and open_postgres_store: one SQL for both; its verbs stand in a file a subject.
//
// A verb that reads has a connection of its own for that long. A verb that writes is one Change, which the commit queue
// runs, with those of other callers, in one transaction; its event is appended in it.
#pragma once

#include <string>

#include "sql/connection.h"
#include "sql/pool.h"
#include "store/commit_queue.h"
#include "store/store.h"
#include "tlog/chain.h"

namespace tb::store {

class SqlStore final : public Store {
 public:
  /// `shared`: other connections see the same data.
  SqlStore(sql::Opener open, bool shared, Clock clock);

  void check() override;
  void measure(obs::Metrics& metrics) override;

  void add_token(const Token& token, const Event& event) override;
  std::optional<Token> find_token(ByteView hash, UnixMs now) override;
  std::vector<Token> list_tokens() override;
  bool revoke_token(const std::string& token_id, const Event& event) override;

  std::optional<OwnKey> find_own_key(const std::string& name) override;
  OwnKey add_own_key(const OwnKey& key) override;
  std::vector<OwnKey> list_own_keys(const std::string& family) override;
  bool add_own_key(const OwnKey& key, const Event& event) override;
  bool retire_own_key(const std::string& family, const std::string& name, const Event& event) override;
  std::vector<std::string> kek_ids() override;
  std::vector<StoredKey> keys_not_under(const std::string& kek_id, std::int64_t limit) override;
  std::int64_t rewrap_keys(const std::vector<Rewrap>& rewraps, const Event& event) override;

  RegisterOutcome register_asset(const AssetRow& asset, const Event& event) override;
  std::optional<AssetRow> find_asset(const std::string& tenant, const std::string& asset_id) override;
  std::vector<AssetRow> list_assets(const Scope& scope, const std::string& cursor, std::int64_t limit) override;
  void delete_asset(const std::string& tenant, const std::string& asset_id, UnixMs now, const Event& event) override;

  void create_contract(const api::Contract& contract, const std::optional<ActivationToken>& token,
                       const Event& event) override;
  std::optional<ContractRow> find_contract(const std::string& tenant, const std::string& contract_id) override;
  std::vector<ContractRow> find_contracts(const std::string& contract_id) override;
  std::vector<ContractVersion> contract_versions(const std::vector<ContractName>& names) override;
  std::vector<ContractRow> list_contracts(const Scope& scope, const std::string& cursor, std::int64_t limit) override;
  ContractRow update_terms(const std::string& tenant, const std::string& contract_id, std::int64_t expected_version,
                           const api::ContractTerms& terms, UnixMs now, const Event& event) override;
  ContractRow set_contract_state(const std::string& tenant, const std::string& contract_id, api::ContractState state,
                                 UnixMs now, const Event& event) override;
  void set_activation_token(const std::string& tenant, const std::string& contract_id, const ActivationToken& token,
                            const Event& event) override;
  HardwarePin pin_hardware(const std::string& tenant, const std::string& contract_id, const std::string& hw_id,
                           const Event& event) override;
  void set_hardware_pin(const std::string& tenant, const std::string& contract_id,
                        const std::optional<std::string>& hw_id, const Event& event) override;

  SeatOutcome take_seat(const SeatRequest& seat, UnixMs now, const Event& event) override;
  SeatOutcome renew_lease(const SeatRequest& seat, UnixMs now, const Event& event) override;
  std::string find_seat(const std::string& tenant, const std::string& contract_id, const std::string& asset_id,
                        const std::string& hw_id, UnixMs now) override;
  std::optional<UnixMs> next_seat_end(const std::string& tenant, const std::string& contract_id, UnixMs now) override;
  bool holds_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                   const std::string& sentinel_key, UnixMs now) override;
  bool owns_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                  const std::string& sentinel_key) override;
  bool take_proof(const ProofOnce& proof) override;
  ReleaseOutcome release_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                               const ProofOnce& proof, UnixMs now, const Event& event) override;
  bool end_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                 api::LeaseState state, UnixMs now, const Event& event) override;
  std::vector<api::Lease> list_leases(const std::string& tenant, const std::string& contract_id,
                                      const std::string& cursor, std::int64_t limit) override;
  std::int64_t count_active_leases(UnixMs now) override;
  bool lease_serves(const std::string& tenant, const std::string& lease_id, const std::string& asset_id,
                    UnixMs now) override;

  bool begin_enrolment(const std::string& tenant, const std::string& contract_id, const Enrolment& enrolment,
                       UnixMs now, std::int64_t max_open, const Event& event) override;
  EnrolOutcome finish_enrolment(const std::string& tenant, const std::string& contract_id, const std::string& ak_name,
                                ByteView secret_hash, UnixMs now, std::int64_t max_machines,
                                const Event& event) override;
  std::optional<Machine> find_machine(const std::string& tenant, const std::string& contract_id,
                                      const std::string& ak_name) override;
  std::vector<Machine> list_machines(const std::string& tenant, const std::string& contract_id,
                                     const std::string& cursor, std::int64_t limit) override;
  bool advance_clock(const std::string& tenant, const std::string& contract_id, const std::string& ak_name,
                     const api::TpmClock& clock, UnixMs now) override;
  void approve_machine(const std::string& tenant, const std::string& contract_id, const std::string& ek_sha256,
                       UnixMs now, const Event& event) override;
  void forget_machine(const std::string& tenant, const std::string& contract_id, const std::string& ek_sha256,
                      const Event& event) override;

  bool add_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now,
                 UnixMs expires_at, std::int64_t max_outstanding) override;
  bool use_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now) override;

  Purged purge(UnixMs now) override;

  void append_event(const Event& event) override;
  std::vector<StoredEvent> list_events(const Scope& scope, std::int64_t after, std::int64_t limit) override;
  std::vector<StoredEvent> list_events_about(const std::string& tenant, const std::string& subject,
                                             const std::optional<std::int64_t>& before, std::int64_t limit) override;
  std::optional<StoredEvent> find_event(const Scope& scope, std::int64_t seq) override;
  tlog::Frontier event_tree() override;
  std::vector<Digest> event_hashes(unsigned level, std::uint64_t first, std::uint64_t count) override;

  std::optional<WitnessedLog> find_audit_log(const std::string& tenant, const std::string& contract_id,
                                             const std::string& origin) override;
  WitnessOutcome advance_audit_log(const std::string& tenant, const std::string& contract_id,
                                   const std::optional<std::uint64_t>& old_size, const WitnessedLog& log,
                                   const Event& event) override;
  std::vector<WitnessedLog> list_audit_logs(const std::string& tenant, const std::string& contract_id,
                                            const std::string& cursor, std::int64_t limit) override;

  UsageOutcome append_usage(const std::string& tenant, const api::UsageReport& report, UnixMs now,
                            const Event& event) override;
  std::int64_t usage_since(const std::string& tenant, const std::string& contract_id, const std::string& dimension,
                           UnixMs since) override;
  std::vector<UsageSum> list_usage(const Scope& scope, const UsageQuery& query, const std::optional<UsageSum>& after,
                                   std::int64_t limit) override;
  std::vector<UsageGap> list_usage_gaps(const Scope& scope, const std::optional<std::string>& contract_id,
                                        std::int64_t limit) override;

  std::optional<Turn> take_turn(const std::string& name, const std::string& holder, UnixMs now, UnixMs until) override;
  void end_turn(const Turn& turn) override;
  std::vector<BillingAccount> billing_accounts() override;
  BillingStanding billing_standing(const BillingPlace& place, const std::string& dimension, UnixMs oldest,
                                   UnixMs newest) override;
  void add_billing_events(const Turn& turn, const BillingPlace& place,
                          const std::vector<BillingEvent>& events) override;
  std::vector<BillingEvent> waiting_billing_events(const BillingPlace& place) override;
  void set_billing_events(const Turn& turn, const BillingPlace& place, const std::vector<BillingEvent>& events,
                          BillingState state, const std::string& detail) override;
  BilledDay billed_of_day(const BillingPlace& place, const std::string& dimension, UnixMs day) override;
  BillingSums billing_sums(const BillingPlace& place, const std::string& dimension) override;

 private:
  /// Runs `verb(db)` on a connection that no one else uses, once more if the server turns out to have gone away.
  template <typename Verb>
  auto read(Verb&& verb) {
    if (!shared_) {
      std::optional<std::invoke_result_t<Verb, sql::Connection&>> result;
      commits_.with_connection([&](sql::Connection& db) { result.emplace(verb(db)); });
      return std::move(*result);
    }
    try {
      return verb(*readers_.take());
    } catch (const Error& error) {
      if (error.reason != "database_unavailable") throw;
    }
    readers_.drop_idle();
    return verb(*readers_.take());
  }

  /// Runs `verb(change)` in a transaction, and returns what it gave once that is on the disk. What it has done is
  /// undone unless it reached change.commit(). It may run more than once: it changes nothing but the database.
  template <typename Verb>
  auto write(Verb&& verb) -> std::invoke_result_t<Verb, Change&> {
    if constexpr (std::is_void_v<std::invoke_result_t<Verb, Change&>>) {
      commits_.run([&](Change& change) { verb(change); });
    } else {
      std::optional<std::invoke_result_t<Verb, Change&>> result;
      commits_.run([&](Change& change) { result.emplace(verb(change)); });
      return std::move(*result);
    }
  }

  /// Where chain and tree end: all that the next event needs.
  struct EventLog {
    tlog::Frontier tree;
    Digest last_leaf{};
  };
  /// Read inside the transaction that appends: another process may have written since.
  static EventLog event_log(sql::Connection& db);
  /// The leaf joins the tree; rows above the leaves are kept as they become complete.
  static void add_leaf(sql::Connection& db, EventLog& log, const Digest& leaf);
  static void keep(sql::Connection& db, const EventLog& log);
  /// Takes in events that a schema without the tree left behind. "chain_broken" if one is missing.
  static void take_in_old_events(sql::Connection& db);
  void append(sql::Connection& db, const Event& event);
  static std::optional<ContractRow> contract_row(sql::Connection& db, const std::string& tenant,
                                                 const std::string& contract_id);
  static ContractRow require_contract(sql::Connection& db, const std::string& tenant, const std::string& contract_id);
  static void link_assets(sql::Connection& db, const std::string& tenant, const std::string& contract_id,
                          const std::vector<std::string>& asset_ids);
  static bool contract_is(sql::Connection& db, const SeatRequest& seat);
  void supersede(sql::Connection& db, const SeatRequest& seat, const Event& event);
  static bool renew_by_newest(sql::Connection& db, const SeatRequest& seat, UnixMs now);
  static bool renew_by_repetition(sql::Connection& db, const SeatRequest& seat, UnixMs now);
  SeatOutcome refuse_renewal(sql::Connection& db, const SeatRequest& seat, UnixMs now, const Event& event);
  /// False if the proof was used before. One that never came is always good.
  static bool use_proof(sql::Connection& db, const ProofOnce& proof);
  static std::optional<std::string> asset_of_lease(sql::Connection& db, const std::string& tenant,
                                                   const std::string& contract_id, const std::string& lease_id);
  /// Whose usage a report is.
  struct UsagePlace {
    std::string tenant, contract_id, lease_id, asset_id;
  };
  enum class UsageVerdict { kNew, kRepeated, kConflict };
  static UsageVerdict judge_usage(sql::Connection& db, const UsagePlace& place, const api::UsageRecord& record,
                                  const Digest& digest);
  /// Audit records between the range reported before this one and its first.
  static std::int64_t missing_before(sql::Connection& db, const UsagePlace& place, const api::UsageRecord& record);
  static void count_usage(sql::Connection& db, const UsagePlace& place, const api::UsageRecord& record,
                          const Digest& digest, UnixMs now);
  /// Within a change: what is new is counted, and all events appended.
  UsageOutcome take_usage(sql::Connection& db, const UsagePlace& place, const api::UsageReport& report, UnixMs now,
                          const Event& event);
  /// `before` and `after`: `marketplace` of the contract.
  static void open_accounts(sql::Connection& db, const std::string& tenant, const std::string& contract_id,
                            const Json& before, const Json& after, UnixMs from);
  static void require_turn(sql::Connection& db, const Turn& turn);
  /// False if the thumbprint was used before.
  static bool use_jwk(sql::Connection& db, const std::string& thumbprint, UnixMs now);

  sql::PatientOpener opener_;
  sql::Pool readers_;
  CommitQueue commits_;
  const bool shared_;
  Clock clock_;
};

}  // namespace tb::store
