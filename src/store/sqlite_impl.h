// The class behind open_sqlite_store; its verbs stand in sqlite_{store,assets,contracts,leases}.cc.
//
// A mutex lets one caller in at a time. A verb that writes is one Change: a write transaction that ends with its event.
#pragma once

#include <mutex>
#include <string>

#include "sqlite/db.h"
#include "store/store.h"
#include "tlog/chain.h"

namespace tb::store {

class SqliteStore final : public Store {
 public:
  SqliteStore(const std::string& path, Clock clock);

  void check() override;

  void add_token(const Token& token, const Event& event) override;
  std::optional<Token> find_token(ByteView hash, UnixMs now) override;
  std::vector<Token> list_tokens() override;
  bool revoke_token(const std::string& token_id, const Event& event) override;

  std::optional<OwnKey> find_own_key(const std::string& name) override;
  OwnKey add_own_key(const OwnKey& key) override;
  std::vector<std::string> kek_ids() override;

  RegisterOutcome register_asset(const AssetRow& asset, const Event& event) override;
  std::optional<AssetRow> find_asset(const std::string& tenant, const std::string& asset_id) override;
  std::vector<AssetRow> list_assets(const Scope& scope, const std::string& cursor, std::int64_t limit) override;
  void delete_asset(const std::string& tenant, const std::string& asset_id, UnixMs now, const Event& event) override;

  void create_contract(const api::Contract& contract, const std::optional<ActivationToken>& token,
                       const Event& event) override;
  std::optional<ContractRow> find_contract(const std::string& tenant, const std::string& contract_id) override;
  std::vector<ContractRow> find_contracts(const std::string& contract_id) override;
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
  bool end_lease(const std::string& tenant, const std::string& contract_id, const std::string& lease_id,
                 api::LeaseState state, UnixMs now, const Event& event) override;
  std::vector<api::Lease> list_leases(const std::string& tenant, const std::string& contract_id,
                                      const std::string& cursor, std::int64_t limit) override;
  bool lease_serves(const std::string& tenant, const std::string& lease_id, const std::string& asset_id,
                    UnixMs now) override;

  bool add_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now,
                 UnixMs expires_at, std::int64_t max_outstanding) override;
  bool use_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now) override;

  void append_event(const Event& event) override;
  std::vector<StoredEvent> list_events(const Scope& scope, std::int64_t after, std::int64_t limit) override;

 private:
  /// Where the chain ends, read inside the transaction that appends: another process may have written since.
  tlog::ChainHead chain_head();
  void append(const Event& event);
  std::optional<ContractRow> contract_row(const std::string& tenant, const std::string& contract_id);
  ContractRow require_contract(const std::string& tenant, const std::string& contract_id);
  void link_assets(const std::string& tenant, const std::string& contract_id,
                   const std::vector<std::string>& asset_ids);
  bool contract_is(const SeatRequest& seat);
  /// False if the thumbprint was used before.
  bool use_jwk(const std::string& thumbprint, UnixMs now);

  std::mutex mutex_;
  sqlite::Db db_;
  Clock clock_;
};

}  // namespace tb::store
