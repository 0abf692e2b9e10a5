// How far a contract is held back while it goes on (docs/suspension.md): told to the consumer, slowed down, or run dry.
// The last grade, suspending it, is the contract's state. The same words in a contract, in `policy` and in a grant.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tb::api {

enum class Grade { kNone, kWarn, kThrottle, kDrain };
/// "none", "warn", "throttle", "drain".
std::string_view grade_name(Grade grade);
/// The grade of that name, "" being none; one that is not known (of a newer control plane) is kWarn: a sentinel does
/// not hold back for what it does not understand.
Grade grade_from(std::string_view name);
bool is_grade(std::string_view name);

inline constexpr std::size_t kMaxNoticeBytes = 300;
inline constexpr std::int64_t kMaxThrottle = 1'000'000;

struct Enforcement {
  Grade grade = Grade::kNone;
  std::string notice;                     ///< for the consumer's people; one line of printable ASCII
  std::int64_t requests_per_minute = 60;  ///< of the whole sentinel, while throttled
  bool operator==(const Enforcement&) const = default;
};

/// One line of 1 to kMaxNoticeBytes printable ASCII characters, or nothing: fit for a header field.
bool valid_notice(std::string_view notice);

}  // namespace tb::api
