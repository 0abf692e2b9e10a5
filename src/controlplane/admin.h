// What the operator does at the console of the machine: tokens and the identity key. These open the store directly, so
// they work while the service runs and while it does not.
#pragma once

#include <string>

#include "base/clock.h"
#include "controlplane/config.h"
#include "controlplane/keyring.h"
#include "store/store.h"

namespace tb::controlplane {

/// Makes the data directory (0700) and opens the database in it.
std::unique_ptr<store::Store> open_store(const Config& config);
/// The KEKs that the configuration names; the current one's file is made if nothing was wrapped yet.
Keyring open_keyring(const Config& config, store::Store& store);
/// Wraps all stored keys under `to`, which must be TB_CP_KEK or one of TB_CP_KEK_ACCEPTED, since a running service has
/// to open what this leaves behind. A `file:` that is not there is made. One line of what was done.
std::string rekey_to(const Config& config, const std::string& to, store::Store& store);

/// One line a wrapping key, newest first: kid, when it was made, and which one is taken by providers.
std::string wrapping_key_lines(const Keyring& keyring);
/// The same, as `{"items": [{kid, created_at, state}]}`; a key of the first start has no created_at.
Json wrapping_key_list(const Keyring& keyring);

struct TokenWish {
  std::string role;
  std::string tenant;
  std::string expires_in;  ///< duration, or empty for never
};
/// The new token: the only time it is told. Throws "usage".
SecretString create_token(store::Store& store, const TokenWish& wish, UnixMs now);
/// One line a token: id, role, tenant, made, expires.
std::string token_lines(store::Store& store);
/// `{"items": [{token_id, role, tenant, created_at, expires_at}]}`; who has no tenant or no end lacks the member.
Json token_list(store::Store& store);
/// verify_events of event_log.h; `checkpoint_path` names a note file that was kept from before, or is empty. It must be
/// signed by `keyring`'s identity key for this log's origin.
std::string verify_events_against(store::Store& store, const std::string& checkpoint_path, const Keyring& keyring);
/// Throws "not_found".
void revoke_token(store::Store& store, const std::string& token_id);

}  // namespace tb::controlplane
