// Batch by batch.
#include "controlplane/rekey.h"

namespace tb::controlplane {
namespace {

store::Event event_of(std::string type, const Kek& kek, std::int64_t keys) {
  store::Event event{.type = std::move(type), .tenant = "", .actor = "console", .subject = kek.id()};
  event.detail.set("keys", keys);
  return event;
}

store::Rewrap rewrap(const KekSet& keks, store::StoredKey stored) {
  const std::string context = stored.own_name.empty()
                                  ? asset_key_context(stored.tenant, stored.asset_id, stored.sha256_ciphertext)
                                  : own_key_context(stored.own_name);
  const Kek& kek = keks.current();
  const Secret<32> key = keks.of(stored.key.kek_id).unwrap(context, stored.key.wrapped);
  Bytes wrapped = kek.wrap(context, key);
  // The old form is about to be lost: what replaces it must have been seen to open.
  if (!equal_constant_time(kek.unwrap(context, wrapped).reveal(), key.reveal())) {
    throw Error("key_unwrap_failed", "the new KEK gives back another key than it was given");
  }
  return {.stored = std::move(stored), .rewrapped = {.kek_id = kek.id(), .wrapped = std::move(wrapped)}};
}

}  // namespace

std::int64_t rekey(const KekSet& keks, store::Store& store) {
  const Kek& kek = keks.current();
  std::int64_t total = 0;
  for (auto batch = store.keys_not_under(kek.id(), kRekeyBatch); !batch.empty();
       batch = store.keys_not_under(kek.id(), kRekeyBatch)) {
    std::vector<store::Rewrap> rewraps;
    for (auto& stored : batch) rewraps.push_back(rewrap(keks, std::move(stored)));
    total += store.rewrap_keys(rewraps, event_of("keys_rewrapped", kek, static_cast<std::int64_t>(rewraps.size())));
  }
  store.append_event(event_of("rekey_completed", kek, total));
  return total;
}

}  // namespace tb::controlplane
