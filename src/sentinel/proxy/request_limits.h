// How often and how many at once: requests per minute and concurrency for each subject, in memory. Pure: the time is an
// argument.
//
// Requests per minute follow the generic cell rate algorithm (ITU-T I.371): one number a subject, the time at which its
// allowance would be full again. A minute's worth may come at once, then requests pass at the even rate. A restart
// forgets it all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "sentinel/api_keys.h"

namespace tb::sentinel::proxy {

class RequestLimits {
 public:
  enum class Verdict { kAdmitted, kTooOften, kTooMany };
  struct Answer {
    Verdict verdict = Verdict::kAdmitted;
    std::int64_t retry_after_ms = 0;  ///< of a refusal: when one more may pass
    // Of subjects with requests_per_minute, as OpenAI's clients read them:
    std::int64_t remaining_requests = 0;
    std::int64_t reset_ms = 0;  ///< until the whole allowance is back
  };

  /// At most `max_subjects` are remembered. Where all of them are in use, further ones are refused as kTooMany: one
  /// whose past is not known must not be counted from nothing.
  explicit RequestLimits(std::size_t max_subjects = 65'536) : max_subjects_(max_subjects) {}

  /// Whoever is admitted counts as under way until leave(). `now_ms` never goes back.
  Answer admit(std::string_view subject, const KeyLimits& limits, std::int64_t now_ms);
  void leave(std::string_view subject);
  std::size_t subjects() const { return subjects_.size(); }

 private:
  struct Use {
    std::int64_t full_at_ns = 0;  ///< the allowance is whole from then on
    std::int64_t under_way = 0;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  Use* use_of(std::string_view subject, std::int64_t now_ns);

  std::size_t max_subjects_;
  std::int64_t swept_at_ns_ = -1;
  std::unordered_map<std::string, Use, Hash, std::equal_to<>> subjects_;
};

/// "1s", "6m0s", "120ms": how OpenAI writes the times in its x-ratelimit fields.
std::string reset_text(std::int64_t ms);

}  // namespace tb::sentinel::proxy
