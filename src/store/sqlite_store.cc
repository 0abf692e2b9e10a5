// Opening, tokens, own keys, nonces and the event log.
#include "store/sqlite_store.h"

#include "store/schema.h"
#include "store/sqlite_impl.h"

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

std::unique_ptr<Store> open_sqlite_store(const std::string& path, Clock clock) {
  return std::make_unique<SqliteStore>(path, std::move(clock));
}

SqliteStore::SqliteStore(const std::string& path, Clock clock) : db_(path), clock_(std::move(clock)) {
  db_.migrate(kSchemaSteps);
  chain_head();
}

void SqliteStore::check() {
  const std::lock_guard lock(mutex_);
  db_.prepare("SELECT count(*) FROM own_key").step();
}

// ---- events ----

tlog::ChainHead SqliteStore::chain_head() {
  auto last = db_.prepare("SELECT seq, line FROM event ORDER BY seq DESC LIMIT 1");
  if (!last.step()) return {};
  return {.records = static_cast<std::uint64_t>(last.integer(0)) + 1, .prev = tlog::leaf_hash(last.text(1))};
}

void SqliteStore::append(const Event& event) {
  Json record = Json::object();
  record.set("ts", to_rfc3339(clock_(), true));
  record.set("type", event.type);
  record.set("tenant", event.tenant);
  record.set("actor", event.actor);
  record.set("subject", event.subject);
  record.set("detail", event.detail);
  tlog::ChainHead head = chain_head();
  const auto seq = static_cast<std::int64_t>(head.records);
  const std::string line = tlog::append_record(head, std::move(record));
  db_.prepare("INSERT INTO event VALUES (?,?,?)").bind(seq).bind(event.tenant).bind(line).run();
}

void SqliteStore::append_event(const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  append(event);
  change.commit();
}

std::vector<StoredEvent> SqliteStore::list_events(const Scope& scope, std::int64_t after, std::int64_t limit) {
  const std::lock_guard lock(mutex_);
  auto rows = db_.prepare(
      "SELECT seq, tenant, line FROM event WHERE seq > ?1 AND (?2 IS NULL OR tenant = ?2) ORDER BY seq LIMIT ?3");
  rows.bind(after).bind(scope).bind(limit);
  std::vector<StoredEvent> out;
  while (rows.step()) out.push_back({.seq = rows.integer(0), .tenant = rows.text(1), .line = rows.text(2)});
  return out;
}

// ---- tokens ----

void SqliteStore::add_token(const Token& token, const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  std::optional<std::string> tenant;
  if (!token.tenant.empty()) {
    tenant = token.tenant;
    db_.prepare("INSERT OR IGNORE INTO tenant VALUES (?,?)").bind(token.tenant).bind(token.created_at).run();
  }
  db_.prepare("INSERT INTO token VALUES (?,?,?,?,?,?)")
      .bind(token.token_id)
      .bind(ByteView(token.hash))
      .bind(role_name(token.role))
      .bind(tenant)
      .bind(token.created_at)
      .bind(token.expires_at)
      .run();
  append(event);
  change.commit();
}

namespace {

constexpr const char* kTokenColumns = "SELECT token_id, hash, role, tenant, created_at, expires_at FROM token ";

Token token_of(const sqlite::Statement& row) {
  return {.token_id = row.text(0),
          .hash = row.blob(1),
          .role = role_from(row.text(2)),
          .tenant = row.text(3),
          .created_at = row.integer(4),
          .expires_at = row.optional_integer(5)};
}

}  // namespace

std::optional<Token> SqliteStore::find_token(ByteView hash, UnixMs now) {
  const std::lock_guard lock(mutex_);
  auto row = db_.prepare(std::string(kTokenColumns) + "WHERE hash = ? AND (expires_at IS NULL OR expires_at > ?)");
  row.bind(hash).bind(now);
  if (!row.step()) return std::nullopt;
  return token_of(row);
}

std::vector<Token> SqliteStore::list_tokens() {
  const std::lock_guard lock(mutex_);
  auto rows = db_.prepare(std::string(kTokenColumns) + "ORDER BY created_at, token_id");
  std::vector<Token> out;
  while (rows.step()) out.push_back(token_of(rows));
  return out;
}

bool SqliteStore::revoke_token(const std::string& token_id, const Event& event) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  if (db_.prepare("DELETE FROM token WHERE token_id = ?").bind(token_id).run() == 0) return false;
  append(event);
  change.commit();
  return true;
}

// ---- own keys ----

std::optional<OwnKey> SqliteStore::find_own_key(const std::string& name) {
  const std::lock_guard lock(mutex_);
  auto row = db_.prepare("SELECT kek_id, wrapped, public_part FROM own_key WHERE name = ?");
  row.bind(name);
  if (!row.step()) return std::nullopt;
  return OwnKey{.name = name, .key = {.kek_id = row.text(0), .wrapped = row.blob(1)}, .public_part = row.blob(2)};
}

OwnKey SqliteStore::add_own_key(const OwnKey& key) {
  {
    const std::lock_guard lock(mutex_);
    db_.prepare("INSERT OR IGNORE INTO own_key VALUES (?,?,?,?)")
        .bind(key.name)
        .bind(key.key.kek_id)
        .bind(ByteView(key.key.wrapped))
        .bind(ByteView(key.public_part))
        .run();
  }
  return *find_own_key(key.name);
}

std::vector<std::string> SqliteStore::kek_ids() {
  const std::lock_guard lock(mutex_);
  auto rows = db_.prepare("SELECT kek_id FROM own_key UNION SELECT kek_id FROM asset WHERE kek_id IS NOT NULL");
  std::vector<std::string> out;
  while (rows.step()) out.push_back(rows.text(0));
  return out;
}

// ---- nonces ----

bool SqliteStore::add_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now,
                            UnixMs expires_at, std::int64_t max_outstanding) {
  const std::lock_guard lock(mutex_);
  sqlite::Transaction change(db_);
  db_.prepare("DELETE FROM nonce WHERE expires_at <= ?").bind(now).run();
  const std::int64_t added = db_.prepare(
                                    "INSERT INTO nonce SELECT ?1,?2,?3,?4 WHERE "
                                    "(SELECT count(*) FROM nonce WHERE tenant = ?1 AND contract_id = ?2) < ?5")
                                 .bind(tenant)
                                 .bind(contract_id)
                                 .bind(hash)
                                 .bind(expires_at)
                                 .bind(max_outstanding)
                                 .run();
  change.commit();
  return added == 1;
}

bool SqliteStore::use_nonce(const std::string& tenant, const std::string& contract_id, ByteView hash, UnixMs now) {
  const std::lock_guard lock(mutex_);
  return db_.prepare("DELETE FROM nonce WHERE tenant = ? AND contract_id = ? AND hash = ? AND expires_at > ?")
             .bind(tenant)
             .bind(contract_id)
             .bind(hash)
             .bind(now)
             .run() == 1;
}

}  // namespace tb::store
