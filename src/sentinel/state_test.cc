// The whole matrix of states and events against a second, hand-written statement of wire 2.1.
#include "sentinel/state.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace tb::sentinel {
namespace {

using enum State;
using enum Event;

// spec: wire 2.1: what each state allows, stated apart from the table.
std::map<Event, State> allowed(State state) {
  std::map<Event, State> out;
  if (state != kStopping) out[kStop] = kStopping;
  if (state != kStopping && state != kSuspended) out[kDenied] = kSuspended;
  switch (state) {
    case kBoot:
      out[kStarted] = kAuthorize;
      break;
    case kAuthorize:
      out[kAuthorized] = kHydrate;
      break;
    case kHydrate:
      out[kDelivered] = kDecrypt;
      out[kInterrupted] = kAuthorize;
      break;
    case kDecrypt:
      out[kRuntimeReady] = kReady;
      out[kInterrupted] = kAuthorize;
      break;
    case kReady:
      out[kRuntimeLost] = kDecrypt;
      out[kDoubted] = kDecrypt;
      out[kTrainingStarted] = kTraining;
      break;
    case kTraining:
      out[kTrainingEnded] = kReady;
      out[kRuntimeLost] = kDecrypt;
      out[kDoubted] = kDecrypt;
      break;
    case kSuspended:
      out[kAskAgain] = kAuthorize;
      break;
    case kStopping:
      break;
  }
  return out;
}

TEST(State, WholeMatrix) {
  std::size_t moves = 0;
  for (const State state : kStates) {
    const auto rows = allowed(state);
    for (const Event event : kEvents) {
      const auto got = next(state, event);
      const auto want = rows.find(event);
      ASSERT_EQ(got.has_value(), want != rows.end()) << state_name(state) << " + " << event_name(event);
      if (!got) continue;
      EXPECT_EQ(*got, want->second) << state_name(state) << " + " << event_name(event);
      ++moves;
    }
  }
  EXPECT_EQ(moves, transitions().size()) << "a row of the table is doubled or unreachable";
}

TEST(State, NothingLeavesStopping) {
  for (const Event event : kEvents) EXPECT_FALSE(next(kStopping, event));
}

TEST(State, ReadyIsReachedFromDecryptAndTrainingOnly) {
  std::set<State> from;
  for (const Transition& row : transitions()) {
    if (row.to == kReady) from.insert(row.from);
  }
  EXPECT_EQ(from, (std::set<State>{kDecrypt, kTraining}));
}

TEST(State, KeptNames) {
  std::string names;
  for (const State state : kStates) names += std::string(state_name(state)) + " ";
  EXPECT_EQ(names, "Boot Authorize Hydrate Decrypt Ready Training Suspended Stopping ");
}

TEST(State, HealthMeaningsAreKept) {
  for (const State state : kStates) {
    EXPECT_EQ(is_ready(state), state == kReady);
    EXPECT_EQ(is_serving_or_loading(state), state == kDecrypt || state == kReady || state == kTraining);
  }
}

TEST(State, DocumentNamesEveryRow) {
  const std::string text = states_document();
  for (const Transition& row : transitions()) {
    const std::string line = std::string("| ") + std::string(state_name(row.from)) + " | " +
                             std::string(event_name(row.event)) + " | " + std::string(state_name(row.to)) + " |";
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace tb::sentinel
