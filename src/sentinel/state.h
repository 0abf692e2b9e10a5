// The sentinel's states and the one table of its transitions (wire 2.1).
//
// next() is pure and total: what the table does not name is refused. The lifecycle is the only caller that moves; all
// others see a snapshot. docs/states.md is printed from this table by `trustbridge-sentinel --print-states`.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tb::sentinel {

enum class State { kBoot, kAuthorize, kHydrate, kDecrypt, kReady, kTraining, kSuspended, kStopping };

enum class Event {
  kStarted,          ///< configuration and machine were found fit
  kAuthorized,       ///< the control plane gave a lease and the key
  kDelivered,        ///< every byte was fetched, verified and stands where the runtime reads
  kRuntimeReady,     ///< the runtime's own health answers 200 and the public listener is bound
  kRuntimeLost,      ///< the runtime ended or no longer answers
  kDoubted,          ///< this may not be the machine that was authorized: closed until the lease is renewed
  kInterrupted,      ///< the network or the disk failed before Ready: try again from the licence
  kTrainingStarted,  ///< an adapter is being trained
  kTrainingEnded,
  kDenied,    ///< denied, expired or tampered
  kAskAgain,  ///< the time to ask the control plane again has come
  kStop,      ///< SIGTERM or SIGINT
};

struct Transition {
  State from;
  Event event;
  State to;
};

inline constexpr std::array kStates = {State::kBoot,  State::kAuthorize, State::kHydrate,   State::kDecrypt,
                                       State::kReady, State::kTraining,  State::kSuspended, State::kStopping};
inline constexpr std::array kEvents = {Event::kStarted,      Event::kAuthorized,      Event::kDelivered,
                                       Event::kRuntimeReady, Event::kRuntimeLost,     Event::kDoubted,
                                       Event::kInterrupted,  Event::kTrainingStarted, Event::kTrainingEnded,
                                       Event::kDenied,       Event::kAskAgain,        Event::kStop};

/// "Boot", "Authorize", … as /status and /health print them (kept names).
std::string_view state_name(State state);
/// "started", "runtime ready", … as docs/states.md prints them.
std::string_view event_name(Event event);

std::span<const Transition> transitions();

/// The state that follows, or nothing where the table has no such row.
std::optional<State> next(State state, Event event);

/// /health answers 200.
constexpr bool is_ready(State state) {
  return state == State::kReady;
}
/// /readiness answers 200: the model is there or on its way into the runtime.
constexpr bool is_serving_or_loading(State state) {
  return state == State::kDecrypt || state == State::kReady || state == State::kTraining;
}

/// The table as Markdown, with a diagram.
std::string states_document();

}  // namespace tb::sentinel
