// What is told of the runtime's confinement, and which contracts it satisfies.
#include "sentinel/isolation_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace tb::sentinel {
namespace {

using runtime::Measure;
using testing::HasSubstr;
using Mode = IsolationState::Mode;

IsolationState state_of(Mode mode, std::initializer_list<Measure> missing = {}) {
  IsolationState state{.mode = mode};
  state.facts.landlock_abi = 7;
  for (const Measure measure : missing) state.facts.fault(measure) = "not here";
  state.confinement =
      plan_confinement({.arguments = {"x"}, .model_path = "/m", .uid = 900, .scratch_bytes = 1}, state.facts);
  return state;
}

bool truth(const Json& json, std::string_view name) {
  return json.find(name)->as_bool();
}

TEST(IsolationStateTest, OnlyFullAndWithoutAHoleCoversAContract) {
  EXPECT_TRUE(state_of(Mode::kFull).covers());
  EXPECT_TRUE(state_of(Mode::kPartial).covers()) << "what is in force counts, not what it is called";
  EXPECT_FALSE(state_of(Mode::kPartial, {Measure::kSeccomp}).covers());
  EXPECT_FALSE(state_of(Mode::kOff).covers());
  EXPECT_FALSE(state_of(Mode::kExternal).covers());
}

TEST(IsolationStateTest, FullIsRefusedWithAHoleAndPartialIsNot) {
  EXPECT_THROW(require_isolation(state_of(Mode::kFull, {Measure::kLandlock})), Error);
  EXPECT_NO_THROW(require_isolation(state_of(Mode::kFull)));
  EXPECT_NO_THROW(require_isolation(state_of(Mode::kPartial, {Measure::kLandlock})));
  EXPECT_NO_THROW(require_isolation(state_of(Mode::kOff, {Measure::kLandlock})));
}

TEST(IsolationStateTest, StatusSaysOfEachMeasureWhatIsSo) {
  const Json full = isolation_json(state_of(Mode::kFull));
  const Json holed = isolation_json(state_of(Mode::kPartial, {Measure::kSeccomp}));
  const Json off = isolation_json(state_of(Mode::kOff));
  const Json external = isolation_json(state_of(Mode::kExternal));
  EXPECT_TRUE(truth(full, "seccomp"));
  EXPECT_FALSE(truth(holed, "seccomp"));
  EXPECT_EQ(holed.find("missing")->as_array().front().find("why")->as_string(), "not here");
  EXPECT_FALSE(truth(off, "network_namespace"));
  EXPECT_TRUE(truth(off, "no_new_privileges"));
  for (const runtime::MeasureInfo& info : runtime::all_measures())
    EXPECT_FALSE(truth(external, info.name)) << info.name;
  EXPECT_FALSE(truth(full, "memory_limit")) << "nobody asked for one";
}

TEST(IsolationStateTest, AFindingIsAFaultOnlyWhereItKeepsTheSentinelFromStarting) {
  const auto health_of_seccomp = [](const IsolationState& state) {
    for (const obs::Finding& finding : isolation_findings(state)) {
      if (finding.name == "seccomp") return finding.health;
    }
    return obs::Health::kFault;
  };
  EXPECT_EQ(health_of_seccomp(state_of(Mode::kFull, {Measure::kSeccomp})), obs::Health::kFault);
  EXPECT_EQ(health_of_seccomp(state_of(Mode::kPartial, {Measure::kSeccomp})), obs::Health::kWarning);
  EXPECT_EQ(health_of_seccomp(state_of(Mode::kOff)), obs::Health::kWarning);
  EXPECT_EQ(health_of_seccomp(state_of(Mode::kFull)), obs::Health::kOk);
  EXPECT_EQ(isolation_findings(state_of(Mode::kFull)).size(), runtime::kMeasures + 1);
}

TEST(IsolationStateTest, TheChannelIsCalledWhatItIs) {
  const RuntimeAddress tcp{.host = "127.0.0.1", .port = 1};
  const RuntimeAddress unix_socket{.unix_path = "/run/x"};
  EXPECT_THAT(channel_text(state_of(Mode::kFull), tcp, false), HasSubstr("the sentinel alone"));
  EXPECT_THAT(channel_text(state_of(Mode::kFull), unix_socket, false), HasSubstr("the sentinel alone"));
  const IsolationState without = state_of(Mode::kPartial, {Measure::kNetworkNamespace});
  EXPECT_THAT(channel_text(without, tcp, false), HasSubstr("open to all users"));
  EXPECT_THAT(channel_text(without, tcp, true), HasSubstr("with a key"));
  EXPECT_EQ(channel_text(without, unix_socket, false), "unix socket");
  EXPECT_THAT(channel_text(state_of(Mode::kExternal), tcp, false), HasSubstr("open to all users"));
}

/// What the model lies in is bound, so that files beside the named one are seen, too; a FIFO is bound alone.
TEST(IsolationStateTest, WhatIsBoundOfTheModel) {
  Config config;
  config.model_dir = "/dev/shm/trustbridge/model";
  EXPECT_EQ(confine_request(config, "/dev/shm/trustbridge/model/m.gguf", {}).model_path, config.model_dir);
  EXPECT_EQ(confine_request(config, "/dev/shm/model-pipe", {}).model_path, "/dev/shm/model-pipe");
}

}  // namespace
}  // namespace tb::sentinel
