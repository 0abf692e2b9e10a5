// Tokens and keys, by hand.
#include "controlplane/admin.h"

#include <fmt/format.h>

#include <utility>

#include "api/asset.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "controlplane/caller.h"
#include "controlplane/event_log.h"
#include "controlplane/rekey.h"
#include "store/open.h"

namespace tb::controlplane {

std::unique_ptr<store::Store> open_store(const Config& config) {
  value_or_throw(make_directories(config.data_dir, 0700));
  if (config.database_url) return store::open_postgres_store(config.database_url->clone());
  return store::open_sqlite_store(config.database_path);
}

Keyring open_keyring(const Config& config, store::Store& store) {
  std::vector<KekSet::Opener> accepted;
  for (const auto& source : config.kek_accepted) accepted.push_back(opener_of(source));
  return {std::make_unique<KekSet>(open_kek(config.kek, store.kek_ids().empty()), std::move(accepted)), store};
}

std::string rekey_to(const Config& config, const std::string& to, store::Store& store) {
  const KekSource* target = to == config.kek.spec ? &config.kek : nullptr;
  std::vector<KekSet::Opener> others = {opener_of(config.kek)};
  for (const auto& source : config.kek_accepted) {
    if (source.spec == to) target = &source;
    others.push_back(opener_of(source));
  }
  if (target == nullptr) {
    throw Error("usage", "the new KEK is neither TB_CP_KEK nor of TB_CP_KEK_ACCEPTED")
        .with_hint("name it in TB_CP_KEK_ACCEPTED and start the services with it first: they have to open its keys");
  }
  const KekSet keks(open_kek(*target, true), std::move(others));
  const std::int64_t keys = rekey(keks, store);
  return fmt::format("{} keys wrapped anew under the KEK {}", keys, keks.current().id());
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

Json token_list(store::Store& store) {
  Json items = Json::array();
  for (const auto& token : store.list_tokens()) {
    Json item = Json::object();
    item.set("token_id", token.token_id);
    item.set("role", store::role_name(token.role));
    if (!token.tenant.empty()) item.set("tenant", token.tenant);
    item.set("created_at", to_rfc3339(token.created_at));
    if (token.expires_at) item.set("expires_at", to_rfc3339(*token.expires_at));
    items.push(std::move(item));
  }
  Json json = Json::object();
  json.set("items", std::move(items));
  return json;
}

std::string wrapping_key_lines(const Keyring& keyring) {
  std::string out;
  for (const WrappingKey& one : keyring.wrapping_keys()) {
    out += fmt::format("{}  {:<20}  {}\n", one.key.thumbprint(),
                       one.made_at == 0 ? "at the first start" : to_rfc3339(one.made_at),
                       out.empty() ? "newest" : "accepted");
  }
  return out;
}

Json wrapping_key_list(const Keyring& keyring) {
  Json items = Json::array();
  std::string_view state = "newest";
  for (const WrappingKey& one : keyring.wrapping_keys()) {
    Json item = Json::object();
    item.set("kid", one.key.thumbprint());
    if (one.made_at != 0) item.set("created_at", to_rfc3339(one.made_at));
    item.set("state", std::exchange(state, "accepted"));
    items.push(std::move(item));
  }
  Json json = Json::object();
  json.set("items", std::move(items));
  return json;
}

std::string verify_events_against(store::Store& store, const std::string& checkpoint_path, const Keyring& keyring) {
  if (checkpoint_path.empty()) return verify_events(store);
  const auto note = tlog::Note::parse(value_or_throw(read_small_file(checkpoint_path, tlog::kMaxNoteBytes)));
  const auto& identity = keyring.identity().public_key();
  const auto earlier = tlog::verified_checkpoint(note, identity);
  if (earlier.origin != events_origin(identity)) {
    throw Error("proof_mismatch", "the checkpoint is of another log: " + earlier.origin);
  }
  return verify_events(store, earlier) + fmt::format(", continues the checkpoint of {} records", earlier.size);
}

void revoke_token(store::Store& store, const std::string& token_id) {
  if (!store.revoke_token(token_id, {.type = "token_revoked", .tenant = "", .actor = "console", .subject = token_id})) {
    throw Error("not_found", "there is no token " + token_id);
  }
}

}  // namespace tb::controlplane
