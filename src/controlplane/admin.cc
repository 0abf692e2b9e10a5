// Tokens and keys, by hand.
#include "controlplane/admin.h"

#include <fmt/format.h>

#include "api/asset.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "controlplane/caller.h"
#include "store/open.h"
#include "tlog/chain.h"

namespace tb::controlplane {

std::unique_ptr<store::Store> open_store(const Config& config) {
  value_or_throw(make_directories(config.data_dir, 0700));
  if (config.database_url) return store::open_postgres_store(config.database_url->clone());
  return store::open_sqlite_store(config.database_path);
}

Keyring open_keyring(Config& config, store::Store& store) {
  if (config.kek_hex) {
    Kek kek = kek_from_hex(config.kek_hex->reveal());
    config.kek_hex.reset();
    return {std::move(kek), store};
  }
  const std::size_t slash = config.kek_path.rfind('/');
  if (slash != std::string::npos && slash > 0) value_or_throw(make_directories(config.kek_path.substr(0, slash), 0700));
  return {load_or_create_kek(config.kek_path, store.kek_ids().empty()), store};
}

SecretString create_token(store::Store& store, const TokenWish& wish, UnixMs now) {
  store::Token token;
  token.role = store::role_from(wish.role);
  token.tenant = wish.tenant;
  if (token.role == store::Role::kProvider && token.tenant.empty()) {
    throw Error("usage", "a provider belongs to a tenant").with_hint("give --tenant NAME");
  }
  if (token.role == store::Role::kOperator && !token.tenant.empty()) {
    throw Error("usage", "an operator belongs to no tenant").with_hint("leave --tenant out");
  }
  if (!token.tenant.empty() && !api::valid_name(token.tenant)) {
    throw Error("usage", "a tenant is 1 to 64 letters, digits, hyphens or underscores");
  }
  if (!wish.expires_in.empty()) token.expires_at = now + value_or_throw(duration_ms(wish.expires_in));
  token.created_at = now;
  token.token_id = "t-" + random_token(9);
  SecretString text("tbt_" + random_token(32));
  token.hash = token_hash(text.reveal());
  store::Event event{.type = "token_created", .tenant = token.tenant, .actor = "console", .subject = token.token_id};
  event.detail.set("role", wish.role);
  store.add_token(token, event);
  return text;
}

std::string token_lines(store::Store& store) {
  std::string out;
  for (const auto& token : store.list_tokens()) {
    out += fmt::format("{}  {:<8}  {:<16}  {}  {}\n", token.token_id, store::role_name(token.role),
                       token.tenant.empty() ? "-" : token.tenant, to_rfc3339(token.created_at),
                       token.expires_at ? to_rfc3339(*token.expires_at) : "never expires");
  }
  return out;
}

std::string verify_events(store::Store& store) {
  constexpr std::int64_t kBatch = 1000;
  tlog::ChainHead head;
  for (std::int64_t after = -1;;) {
    const auto events = store.list_events({}, after, kBatch);
    for (const auto& event : events) tlog::verify_record(head, event.line);
    if (static_cast<std::int64_t>(events.size()) < kBatch) break;
    after = events.back().seq;
  }
  return fmt::format("{} records, head {}", head.records, to_hex(head.prev));
}

void revoke_token(store::Store& store, const std::string& token_id) {
  if (!store.revoke_token(token_id, {.type = "token_revoked", .tenant = "", .actor = "console", .subject = token_id})) {
    throw Error("not_found", "there is no token " + token_id);
  }
}

}  // namespace tb::controlplane
