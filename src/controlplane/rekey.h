// `trustbridge-control-plane rekey`: wraps every stored key anew, under another KEK, while the service runs. A key is
// replaced only by one that was seen to open, and only where its row still is what was read, so that this may end at
// any point and begin again.
#pragma once

#include <cstdint>
#include <string_view>

#include "controlplane/kek.h"
#include "store/store.h"

namespace tb::controlplane {

/// How many keys are wrapped and then written in one transaction, with one event.
inline constexpr std::int64_t kRekeyBatch = 16;

/// Until nothing is left that another KEK than keks.current() wraps; appends "rekey_completed". Returns how many keys
/// it replaced. Throws "kek_missing" for a row whose KEK is not of the set, and as Kek::wrap and Kek::unwrap: what was
/// replaced until then stays so.
std::int64_t rekey(const KekSet& keks, store::Store& store);

}  // namespace tb::controlplane
