// Contracts: their terms, their state, and who may show up for them.
#include "store/sqlite_impl.h"

namespace tb::store {
namespace {

constexpr const char* kColumns =
    "SELECT tenant, contract_id, terms, state, policy_version, created_at, updated_at, activation_hash, "
    "activation_expires_at, pinned_hw_id, pin_approved FROM contract ";

ContractRow row_of(const sqlite::Statement& row) {
  ContractRow out;
  out.contract.tenant = row.text(0);
  out.contract.contract_id = row.text(1);
  out.contract.terms =
      api::terms_from_json(value_or_throw(Json::parse(row.text(2), {.bytes = api::kMaxContractBytes * 2})));
  out.contract.state = api::contract_state_from(row.text(3));
  out.contract.policy_version = row.integer(4);
  out.contract.created_at = row.integer(5);
  out.contract.updated_at = row.integer(6);
  out.activation_hash = row.blob(7);
  out.activation_expires_at = row.optional_integer(8);
  if (auto hw_id = row.optional_text(9)) out.pin = HardwarePin{.hw_id = *hw_id, .approved = row.integer(10) != 0};
  return out;
}

std::vector<ContractRow> rows_of(sqlite::Statement& rows) {
  std::vector<ContractRow> out;
  while (rows.step()) out.push_back(row_of(rows));
  return out;
}

}  // namespace

std::optional<ContractRow> SqliteStore::contract_row(const std::string& tenant, const std::string& contract_id) {
  auto row = db_.prepare(std::string(kColumns) + "WHERE tenant = ? AND contract_id = ?");
  row.bind(tenant).bind(contract_id);
  if (!row.step()) return std::nullopt;
  return row_of(row);
}

ContractRow SqliteStore::require_contract(const std::string& tenant, const std::string& contract_id) {
  auto row = contract_row(tenant, contract_id);
  if (!row) throw Error("contract_not_found", "there is no contract " + contract_id);
  return std::move(*row);
}

void SqliteStore::link_assets(const std::string& tenant, const std::string& contract_id,
                              const std::vector<std::string>& asset_ids) {
  db_.prepare("DELETE FROM contract_asset WHERE tenant = ? AND contract_id = ?").bind(tenant).bind(contract_id).run();
  for (const auto& asset_id : asset_ids) {
    const std::int64_t linked = db_.prepare(
                                       "INSERT INTO contract_asset SELECT tenant, ?2, asset_id FROM asset "
                                       "WHERE tenant = ?1 AND asset_id = ?3 AND deleted = 0")
                                    .bind(tenant)
                                    .bind(contract_id)
                                    .bind(asset_id)
                                    .run();
    if (linked == 0) throw Error("asset_not_found", "there is no asset " + asset_id);
  }
}

void SqliteStore::create_contract(const api::Contract& contract, const std::optional<ActivationToken>& token,
                                  const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  if (contract_row(contract.tenant, contract.contract_id)) {
    throw Error("contract_conflict", "the contract " + contract.contract_id + " exists");
  }
  auto insert = db_.prepare("INSERT INTO contract VALUES (?,?,?,?,?,?,?,?,?,?,NULL,0)");
  insert.bind(contract.tenant)
      .bind(contract.contract_id)
      .bind(api::terms_to_json(contract.terms).dump())
      .bind(contract.terms.not_after)
      .bind(api::contract_state_name(contract.state))
      .bind(contract.policy_version)
      .bind(contract.created_at)
      .bind(contract.updated_at);
  if (token) {
    insert.bind(ByteView(token->hash)).bind(token->expires_at);
  } else {
    insert.bind(nullptr).bind(nullptr);
  }
  insert.run();
  link_assets(contract.tenant, contract.contract_id, contract.terms.asset_ids);
  append(event);
  change.commit();
}

std::optional<ContractRow> SqliteStore::find_contract(const std::string& tenant, const std::string& contract_id) {
  const std::lock_guard lock(mutex_);
  return contract_row(tenant, contract_id);
}

std::vector<ContractRow> SqliteStore::find_contracts(const std::string& contract_id) {
  const std::lock_guard lock(mutex_);
  auto rows = db_.prepare(std::string(kColumns) + "WHERE contract_id = ? ORDER BY tenant LIMIT 64");
  rows.bind(contract_id);
  return rows_of(rows);
}

std::vector<ContractRow> SqliteStore::list_contracts(const Scope& scope, const std::string& cursor,
                                                     std::int64_t limit) {
  const std::lock_guard lock(mutex_);
  auto rows = db_.prepare(std::string(kColumns) +
                          "WHERE (?1 IS NULL OR tenant = ?1) AND tenant || '/' || contract_id > ?2 "
                          "ORDER BY tenant || '/' || contract_id LIMIT ?3");
  rows.bind(scope).bind(cursor).bind(limit);
  return rows_of(rows);
}

ContractRow SqliteStore::update_terms(const std::string& tenant, const std::string& contract_id,
                                      std::int64_t expected_version, const api::ContractTerms& terms, UnixMs now,
                                      const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  const ContractRow row = require_contract(tenant, contract_id);
  if (row.contract.state == api::ContractState::kRevoked) {
    throw Error("contract_final", "the contract " + contract_id + " is revoked");
  }
  if (row.contract.policy_version != expected_version) {
    throw Error("database_busy", "the contract " + contract_id + " was changed at the same time");
  }
  link_assets(tenant, contract_id, terms.asset_ids);
  db_.prepare(
         "UPDATE contract SET terms = ?, not_after = ?, policy_version = policy_version + 1, updated_at = ? "
         "WHERE tenant = ? AND contract_id = ?")
      .bind(api::terms_to_json(terms).dump())
      .bind(terms.not_after)
      .bind(now)
      .bind(tenant)
      .bind(contract_id)
      .run();
  append(event);
  ContractRow changed = require_contract(tenant, contract_id);
  change.commit();
  return changed;
}

ContractRow SqliteStore::set_contract_state(const std::string& tenant, const std::string& contract_id,
                                            api::ContractState state, UnixMs now, const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  ContractRow row = require_contract(tenant, contract_id);
  if (row.contract.state == state) return row;
  if (row.contract.state == api::ContractState::kRevoked) {
    throw Error("contract_final", "the contract " + contract_id + " is revoked");
  }
  db_.prepare(
         "UPDATE contract SET state = ?, policy_version = policy_version + 1, updated_at = ? "
         "WHERE tenant = ? AND contract_id = ?")
      .bind(api::contract_state_name(state))
      .bind(now)
      .bind(tenant)
      .bind(contract_id)
      .run();
  if (state == api::ContractState::kRevoked) {
    db_.prepare("UPDATE lease SET state = 'evicted' WHERE tenant = ? AND contract_id = ? AND state = 'active'")
        .bind(tenant)
        .bind(contract_id)
        .run();
  }
  append(event);
  row = require_contract(tenant, contract_id);
  change.commit();
  return row;
}

void SqliteStore::set_activation_token(const std::string& tenant, const std::string& contract_id,
                                       const ActivationToken& token, const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  if (require_contract(tenant, contract_id).contract.state == api::ContractState::kRevoked) {
    throw Error("contract_final", "the contract " + contract_id + " is revoked");
  }
  db_.prepare("UPDATE contract SET activation_hash = ?, activation_expires_at = ? WHERE tenant = ? AND contract_id = ?")
      .bind(ByteView(token.hash))
      .bind(token.expires_at)
      .bind(tenant)
      .bind(contract_id)
      .run();
  append(event);
  change.commit();
}

HardwarePin SqliteStore::pin_hardware(const std::string& tenant, const std::string& contract_id,
                                      const std::string& hw_id, const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  const ContractRow row = require_contract(tenant, contract_id);
  if (row.pin) return *row.pin;
  db_.prepare("UPDATE contract SET pinned_hw_id = ?, pin_approved = 0 WHERE tenant = ? AND contract_id = ?")
      .bind(hw_id)
      .bind(tenant)
      .bind(contract_id)
      .run();
  append(event);
  change.commit();
  return {.hw_id = hw_id, .approved = false};
}

void SqliteStore::set_hardware_pin(const std::string& tenant, const std::string& contract_id,
                                   const std::optional<std::string>& hw_id, const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  require_contract(tenant, contract_id);
  db_.prepare(
         "UPDATE contract SET pinned_hw_id = ?, pin_approved = ?, policy_version = policy_version + 1 "
         "WHERE tenant = ? AND contract_id = ?")
      .bind(hw_id)
      .bind(hw_id ? 1 : 0)
      .bind(tenant)
      .bind(contract_id)
      .run();
  append(event);
  change.commit();
}

}  // namespace tb::store
