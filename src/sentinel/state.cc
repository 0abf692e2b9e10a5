#include "sentinel/state.h"

#include <fmt/format.h>

namespace tb::sentinel {
namespace {

using enum State;
using enum Event;

constexpr std::array kTable = {
    Transition{kBoot, kStarted, kAuthorize},       Transition{kBoot, kDenied, kSuspended},
    Transition{kBoot, kStop, kStopping},           Transition{kAuthorize, kAuthorized, kHydrate},
    Transition{kAuthorize, kDenied, kSuspended},   Transition{kAuthorize, kStop, kStopping},
    Transition{kHydrate, kDelivered, kDecrypt},    Transition{kHydrate, kInterrupted, kAuthorize},
    Transition{kHydrate, kDenied, kSuspended},     Transition{kHydrate, kStop, kStopping},
    Transition{kDecrypt, kRuntimeReady, kReady},   Transition{kDecrypt, kInterrupted, kAuthorize},
    Transition{kDecrypt, kDenied, kSuspended},     Transition{kDecrypt, kStop, kStopping},
    Transition{kReady, kRuntimeLost, kDecrypt},    Transition{kReady, kTrainingStarted, kTraining},
    Transition{kReady, kDoubted, kDecrypt},        Transition{kTraining, kDoubted, kDecrypt},
    Transition{kReady, kDenied, kSuspended},       Transition{kReady, kStop, kStopping},
    Transition{kTraining, kTrainingEnded, kReady}, Transition{kTraining, kRuntimeLost, kDecrypt},
    Transition{kTraining, kDenied, kSuspended},    Transition{kTraining, kStop, kStopping},
    Transition{kSuspended, kAskAgain, kAuthorize}, Transition{kSuspended, kStop, kStopping},
};

}  // namespace

std::string_view state_name(State state) {
  switch (state) {
    case kBoot:
      return "Boot";
    case kAuthorize:
      return "Authorize";
    case kHydrate:
      return "Hydrate";
    case kDecrypt:
      return "Decrypt";
    case kReady:
      return "Ready";
    case kTraining:
      return "Training";
    case kSuspended:
      return "Suspended";
    case kStopping:
      return "Stopping";
  }
  return "";
}

std::string_view event_name(Event event) {
  switch (event) {
    case kStarted:
      return "started";
    case kAuthorized:
      return "authorized";
    case kDelivered:
      return "delivered";
    case kRuntimeReady:
      return "runtime ready";
    case kRuntimeLost:
      return "runtime lost";
    case kDoubted:
      return "machine in doubt";
    case kInterrupted:
      return "interrupted";
    case kTrainingStarted:
      return "training started";
    case kTrainingEnded:
      return "training ended";
    case kDenied:
      return "denied, expired or tampered";
    case kAskAgain:
      return "ask again";
    case kStop:
      return "stop";
  }
  return "";
}

std::span<const Transition> transitions() {
  return kTable;
}

std::optional<State> next(State state, Event event) {
  for (const Transition& row : kTable) {
    if (row.from == state && row.event == event) return row.to;
  }
  return std::nullopt;
}

std::string states_document() {
  std::string out =
      "# States of the sentinel\n\n"
      "Printed by `trustbridge-sentinel --print-states` from the table in `src/sentinel/state.cc`; a test holds this "
      "page\n"
      "against it.\n\n```mermaid\nstateDiagram-v2\n  [*] --> Boot\n";
  for (const Transition& row : kTable) {
    out += fmt::format("  {} --> {}: {}\n", state_name(row.from), state_name(row.to), event_name(row.event));
  }
  out += "  Stopping --> [*]\n```\n\n| from | event | to |\n|---|---|---|\n";
  for (const Transition& row : kTable) {
    out += fmt::format("| {} | {} | {} |\n", state_name(row.from), event_name(row.event), state_name(row.to));
  }
  out +=
      "\nAny other event is refused and leaves the state as it is.\n\n| state | /health | /readiness "
      "|\n|---|---|---|\n";
  for (const State state : kStates) {
    out += fmt::format("| {} | {} | {} |\n", state_name(state), is_ready(state) ? 200 : 503,
                       is_serving_or_loading(state) ? 200 : 503);
  }
  return out;
}

}  // namespace tb::sentinel
