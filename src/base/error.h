// The one error of the project.
//
// An Error is named by a stable reason string ("tag_mismatch"). One table, in error.cc, gives every reason its code,
// HTTP status, exit status, whether a retry can help, and a hint; nothing else may decide these. `message` is for the
// log and for the person at the console: it never holds a key, a signed URL or plaintext.
//
// base, tbenc and asset return Result<T> and never throw; floors above throw this same Error.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace tb {

enum class Code {
  kMalformed,
  kTruncated,
  kTampered,
  kNotFound,
  kDenied,
  kExpired,
  kConflict,
  kUnavailable,
  kCancelled,
  kExhausted,
  kInternal,
};

std::string_view code_name(Code code);

/// One row of the error table.
struct ReasonInfo {
  std::string_view reason;
  Code code;
  int http_status;
  int exit_status;
  bool retryable;
  std::string_view hint;  ///< what the user can do, one clause, lower case; may be empty
};

/// All rows, sorted by reason.
std::span<const ReasonInfo> reason_table();

/// The row of `reason`; the row of "internal" if there is none.
const ReasonInfo& reason_info(std::string_view reason);

struct Error {
  std::string reason;
  std::string message;
  std::shared_ptr<const Error> cause;
  std::string own_hint;  ///< replaces the table's hint where the place knows better

  // Defined in error.cc: every function that returns a Result would hold them otherwise.
  Error(std::string_view reason_in, std::string message_in);
  Error(std::string_view reason_in, std::string message_in, Error cause_in);
  Error(const Error& other);
  Error(Error&& other) noexcept;
  Error& operator=(const Error& other);
  Error& operator=(Error&& other) noexcept;
  ~Error();

  Error&& with_hint(std::string hint) &&;

  const ReasonInfo& info() const { return reason_info(reason); }
  Code code() const { return info().code; }
  int exit_status() const { return info().exit_status; }
  int http_status() const { return info().http_status; }
  bool retryable() const { return info().retryable; }
  std::string hint() const;

  /// "message: cause: cause", for logs and consoles.
  std::string story() const;
};

/// Error from errno: maps ENOENT, EACCES, ENOSPC, ENOMEM and the like to their reasons. `what` names the object.
Error error_from_errno(int err, std::string_view what);

}  // namespace tb
