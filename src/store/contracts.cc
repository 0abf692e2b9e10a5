// Contracts: their terms, their state, and who may show up for them.
#include "store/sql_store.h"

namespace tb::store {
namespace {

constexpr const char* kColumns =
    "SELECT tenant, contract_id, terms, state, policy_version, created_at, updated_at, activation_hash, "
    "activation_expires_at, pinned_hw_id, pin_approved FROM contract ";

ContractRow row_of(const sql::Statement& row) {
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

std::vector<ContractRow> rows_of(sql::Statement& rows) {
  std::vector<ContractRow> out;
  while (rows.step()) out.push_back(row_of(rows));
  return out;
}

}  // namespace

std::optional<ContractRow> SqlStore::contract_row(sql::Connection& db, const std::string& tenant,
                                                  const std::string& contract_id) {
  auto row = db.prepare(std::string(kColumns) + "WHERE tenant = ? AND contract_id = ?");
  row.bind(tenant).bind(contract_id);
  if (!row.step()) return std::nullopt;
  return row_of(row);
}

ContractRow SqlStore::require_contract(sql::Connection& db, const std::string& tenant, const std::string& contract_id) {
  auto row = contract_row(db, tenant, contract_id);
  if (!row) throw Error("contract_not_found", "there is no contract " + contract_id);
  return std::move(*row);
}

void SqlStore::link_assets(sql::Connection& db, const std::string& tenant, const std::string& contract_id,
                           const std::vector<std::string>& asset_ids) {
  db.prepare("DELETE FROM contract_asset WHERE tenant = ? AND contract_id = ?").bind(tenant).bind(contract_id).run();
  for (const auto& asset_id : asset_ids) {
    const std::int64_t linked =
        db.prepare(
              "INSERT INTO contract_asset (tenant, contract_id, asset_id) SELECT tenant, ?2, asset_id FROM asset "
              "WHERE tenant = ?1 AND asset_id = ?3 AND deleted = 0")
            .bind(tenant)
            .bind(contract_id)
            .bind(asset_id)
            .run();
    if (linked == 0) throw Error("asset_not_found", "there is no asset " + asset_id);
  }
}

void SqlStore::create_contract(const api::Contract& contract, const std::optional<ActivationToken>& token,
                               const Event& event) {
  write([&](Change& change) {
    if (contract_row(change.db(), contract.tenant, contract.contract_id)) {
      throw Error("contract_conflict", "the contract " + contract.contract_id + " exists");
    }
    auto insert = change.db().prepare(
        "INSERT INTO contract (tenant, contract_id, terms, not_after, state, policy_version, created_at, updated_at, "
        "activation_hash, activation_expires_at) VALUES (?,?,?,?,?,?,?,?,?,?)");
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
    link_assets(change.db(), contract.tenant, contract.contract_id, contract.terms.asset_ids);
    open_accounts(change.db(), contract.tenant, contract.contract_id, Json::object(), contract.terms.marketplace, 0);
    append(change.db(), event);
    change.commit();
  });
}

std::optional<ContractRow> SqlStore::find_contract(const std::string& tenant, const std::string& contract_id) {
  return read([&](sql::Connection& db) -> std::optional<ContractRow> { return contract_row(db, tenant, contract_id); });
}

std::vector<ContractRow> SqlStore::find_contracts(const std::string& contract_id) {
  return read([&](sql::Connection& db) -> std::vector<ContractRow> {
    auto rows = db.prepare(std::string(kColumns) + "WHERE contract_id = ? ORDER BY tenant LIMIT 64");
    rows.bind(contract_id);
    return rows_of(rows);
  });
}

std::vector<ContractVersion> SqlStore::contract_versions(const std::vector<ContractName>& names) {
  constexpr std::size_t kAtOnce = 50;
  return read([&](sql::Connection& db) -> std::vector<ContractVersion> {
    std::vector<ContractVersion> out;
    for (std::size_t begin = 0; begin < names.size(); begin += kAtOnce) {
      const std::size_t end = std::min(begin + kAtOnce, names.size());
      std::string sql =
          "SELECT tenant, contract_id, policy_version FROM contract WHERE (tenant = ? AND contract_id = ?)";
      for (std::size_t i = begin + 1; i < end; ++i) sql += " OR (tenant = ? AND contract_id = ?)";
      auto rows = db.prepare(sql);
      for (std::size_t i = begin; i < end; ++i) rows.bind(names[i].tenant).bind(names[i].contract_id);
      while (rows.step()) {
        out.push_back(
            {.name = {.tenant = rows.text(0), .contract_id = rows.text(1)}, .policy_version = rows.integer(2)});
      }
    }
    return out;
  });
}

std::vector<ContractRow> SqlStore::list_contracts(const Scope& scope, const std::string& cursor, std::int64_t limit) {
  return read([&](sql::Connection& db) -> std::vector<ContractRow> {
    auto rows = db.prepare(std::string(kColumns) +
                           "WHERE (?1 IS NULL OR tenant = ?1) AND tenant || '/' || contract_id > ?2 "
                           "ORDER BY tenant || '/' || contract_id LIMIT ?3");
    rows.bind(scope).bind(cursor).bind(limit);
    return rows_of(rows);
  });
}

ContractRow SqlStore::update_terms(const std::string& tenant, const std::string& contract_id,
                                   std::int64_t expected_version, const api::ContractTerms& terms, UnixMs now,
                                   const Event& event) {
  return write([&](Change& change) -> ContractRow {
    const ContractRow row = require_contract(change.db(), tenant, contract_id);
    if (row.contract.state == api::ContractState::kRevoked) {
      throw Error("contract_final", "the contract " + contract_id + " is revoked");
    }
    if (row.contract.policy_version != expected_version) {
      throw Error("database_busy", "the contract " + contract_id + " was changed at the same time");
    }
    link_assets(change.db(), tenant, contract_id, terms.asset_ids);
    change.db()
        .prepare(
            "UPDATE contract SET terms = ?, not_after = ?, policy_version = policy_version + 1, updated_at = ? "
            "WHERE tenant = ? AND contract_id = ?")
        .bind(api::terms_to_json(terms).dump())
        .bind(terms.not_after)
        .bind(now)
        .bind(tenant)
        .bind(contract_id)
        .run();
    open_accounts(change.db(), tenant, contract_id, row.contract.terms.marketplace, terms.marketplace, now);
    append(change.db(), event);
    ContractRow changed = require_contract(change.db(), tenant, contract_id);
    change.commit();
    return changed;
  });
}

ContractRow SqlStore::set_contract_state(const std::string& tenant, const std::string& contract_id,
                                         api::ContractState state, UnixMs now, const Event& event) {
  return write([&](Change& change) -> ContractRow {
    ContractRow row = require_contract(change.db(), tenant, contract_id);
    if (row.contract.state == state) return row;
    if (row.contract.state == api::ContractState::kRevoked) {
      throw Error("contract_final", "the contract " + contract_id + " is revoked");
    }
    change.db()
        .prepare(
            "UPDATE contract SET state = ?, policy_version = policy_version + 1, updated_at = ? "
            "WHERE tenant = ? AND contract_id = ?")
        .bind(api::contract_state_name(state))
        .bind(now)
        .bind(tenant)
        .bind(contract_id)
        .run();
    if (state == api::ContractState::kRevoked) {
      change.db()
          .prepare("UPDATE lease SET state = 'evicted' WHERE tenant = ? AND contract_id = ? AND state = 'active'")
          .bind(tenant)
          .bind(contract_id)
          .run();
    }
    append(change.db(), event);
    row = require_contract(change.db(), tenant, contract_id);
    change.commit();
    return row;
  });
}

void SqlStore::set_activation_token(const std::string& tenant, const std::string& contract_id,
                                    const ActivationToken& token, const Event& event) {
  write([&](Change& change) {
    if (require_contract(change.db(), tenant, contract_id).contract.state == api::ContractState::kRevoked) {
      throw Error("contract_final", "the contract " + contract_id + " is revoked");
    }
    change.db()
        .prepare(
            "UPDATE contract SET activation_hash = ?, activation_expires_at = ? WHERE tenant = ? AND contract_id = ?")
        .bind(ByteView(token.hash))
        .bind(token.expires_at)
        .bind(tenant)
        .bind(contract_id)
        .run();
    append(change.db(), event);
    change.commit();
  });
}

HardwarePin SqlStore::pin_hardware(const std::string& tenant, const std::string& contract_id, const std::string& hw_id,
                                   const Event& event) {
  return write([&](Change& change) -> HardwarePin {
    const ContractRow row = require_contract(change.db(), tenant, contract_id);
    if (row.pin) return *row.pin;
    change.db()
        .prepare("UPDATE contract SET pinned_hw_id = ?, pin_approved = 0 WHERE tenant = ? AND contract_id = ?")
        .bind(hw_id)
        .bind(tenant)
        .bind(contract_id)
        .run();
    append(change.db(), event);
    change.commit();
    return {.hw_id = hw_id, .approved = false};
  });
}

void SqlStore::set_hardware_pin(const std::string& tenant, const std::string& contract_id,
                                const std::optional<std::string>& hw_id, const Event& event) {
  write([&](Change& change) {
    require_contract(change.db(), tenant, contract_id);
    change.db()
        .prepare(
            "UPDATE contract SET pinned_hw_id = ?, pin_approved = ?, policy_version = policy_version + 1 "
            "WHERE tenant = ? AND contract_id = ?")
        .bind(hw_id)
        .bind(hw_id ? 1 : 0)
        .bind(tenant)
        .bind(contract_id)
        .run();
    append(change.db(), event);
    change.commit();
  });
}

}  // namespace tb::store
