// Bearer tokens of persons and programs, and the tenants that they make.
#include "store/sql_store.h"

namespace tb::store {

std::string_view role_name(Role role) {
  switch (role) {
    case Role::kProvider:
      return "provider";
    case Role::kOperator:
      return "operator";
    case Role::kAuditor:
      return "auditor";
  }
  return "auditor";
}

Role role_from(std::string_view name) {
  for (const Role role : {Role::kProvider, Role::kOperator, Role::kAuditor}) {
    if (role_name(role) == name) return role;
  }
  throw Error("usage", "the role must be provider, operator or auditor");
}

void SqlStore::add_token(const Token& token, const Event& event) {
  write([&](Change& change) {
    std::optional<std::string> tenant;
    if (!token.tenant.empty()) {
      tenant = token.tenant;
      change.db()
          .prepare("INSERT INTO tenant (tenant, created_at) VALUES (?,?) ON CONFLICT (tenant) DO NOTHING")
          .bind(token.tenant)
          .bind(token.created_at)
          .run();
    }
    change.db()
        .prepare("INSERT INTO token (token_id, hash, role, tenant, created_at, expires_at) VALUES (?,?,?,?,?,?)")
        .bind(token.token_id)
        .bind(ByteView(token.hash))
        .bind(role_name(token.role))
        .bind(tenant)
        .bind(token.created_at)
        .bind(token.expires_at)
        .run();
    append(change.db(), event);
    change.commit();
  });
}

namespace {

constexpr const char* kTokenColumns = "SELECT token_id, hash, role, tenant, created_at, expires_at FROM token ";

Token token_of(const sql::Statement& row) {
  return {.token_id = row.text(0),
          .hash = row.blob(1),
          .role = role_from(row.text(2)),
          .tenant = row.text(3),
          .created_at = row.integer(4),
          .expires_at = row.optional_integer(5)};
}

}  // namespace

std::optional<Token> SqlStore::find_token(ByteView hash, UnixMs now) {
  return read([&](sql::Connection& db) -> std::optional<Token> {
    auto row = db.prepare(std::string(kTokenColumns) + "WHERE hash = ? AND (expires_at IS NULL OR expires_at > ?)");
    row.bind(hash).bind(now);
    if (!row.step()) return std::nullopt;
    return token_of(row);
  });
}

std::vector<Token> SqlStore::list_tokens() {
  return read([&](sql::Connection& db) -> std::vector<Token> {
    auto rows = db.prepare(std::string(kTokenColumns) + "ORDER BY created_at, token_id");
    std::vector<Token> out;
    while (rows.step()) out.push_back(token_of(rows));
    return out;
  });
}

bool SqlStore::revoke_token(const std::string& token_id, const Event& event) {
  return write([&](Change& change) -> bool {
    if (change.db().prepare("DELETE FROM token WHERE token_id = ?").bind(token_id).run() == 0) return false;
    append(change.db(), event);
    change.commit();
    return true;
  });
}

}  // namespace tb::store
