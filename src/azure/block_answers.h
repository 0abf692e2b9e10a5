// What the blob service answers: lists of blocks, and faults as the project's errors. Pure; the texts are the
// service's, or whoever's who stands in for it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/client.h"

namespace tb::azure {

/// 50 000 committed and 100 000 uncommitted blocks fit.
inline constexpr std::size_t kMaxBlockListBytes = std::size_t{32} << 20;
inline constexpr std::size_t kMaxFaultBytes = 65536;

struct HeldBlock {
  std::string id;
  std::uint64_t bytes = 0;
};

/// The uncommitted blocks of Get Block List's answer; nothing if it is none. What stands there twice, or with a size
/// that is no number, makes it none.
std::optional<std::vector<HeldBlock>> parse_uncommitted(std::string_view xml);

/// Code of a fault: x-ms-error-code, else the XML body's, else "". Letters and digits only.
std::string fault_code(const http::ClientResponse& answer);

/// Of an answer that is no success, for people: `what` is what was asked ("Put Block"). Codes that are known get their
/// reason and hint; others go by status: "blob_refused" (401, 403), "blob_not_found", "container_not_found",
/// "precondition_failed" (409, 412), "server_busy" (408, 429, 5xx), else "store_answer_unexpected".
Error fault_of(const http::ClientResponse& answer, std::string_view what);

}  // namespace tb::azure
