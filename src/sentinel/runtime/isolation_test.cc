// The plan, without a kernel: what is asked for, what is missing, and who may do without.
#include "sentinel/runtime/isolation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include <algorithm>

#include "base/error.h"
#include "sentinel/runtime/seccomp_filter.h"

namespace tb::sentinel::runtime {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr std::uint64_t kAllNamespaces = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;

ConfineRequest request() {
  return {.arguments = {"/usr/bin/server"},
          .model_path = "/dev/shm/model",
          .address = {.host = "127.0.0.1", .port = 8081},
          .uid = 1000,
          .scratch_bytes = 1 << 20};
}

KernelFacts able() {
  KernelFacts facts;
  facts.landlock_abi = 7;
  facts.group_directory = "/sys/fs/cgroup/ours";
  return facts;
}

std::string refusal(const ConfineRequest& asked, const KernelFacts& facts) {
  try {
    require_full(plan_confinement(asked, facts));
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "isolation_impossible");
    return error.message;
  }
  return "";
}

TEST(Isolation, OfAnAbleMachineNothingIsMissing) {
  ConfineRequest asked = request();
  asked.memory_bytes = 1 << 30;
  const Confinement confinement = plan_confinement(asked, able());
  EXPECT_EQ(confinement.plan.namespaces, kAllNamespaces);
  EXPECT_TRUE(confinement.plan.change_user);
  EXPECT_TRUE(confinement.plan.seccomp);
  EXPECT_EQ(confinement.plan.landlock_abi, 7);
  EXPECT_EQ(confinement.memory_bytes, 1U << 30);
  EXPECT_EQ(confinement.plan.data_bytes, 0U);
  EXPECT_TRUE(confinement.missing.empty());
  EXPECT_EQ(confinement.in_force.size(), kMeasures);
  EXPECT_TRUE(covers_contract(confinement));
  EXPECT_EQ(refusal(asked, able()), "");
}

TEST(Isolation, EachMeasureThatIsMissingIsNamedAndLeftOutOfThePlan) {
  ConfineRequest asked = request();
  asked.memory_bytes = 1 << 30;
  for (const MeasureInfo& info : all_measures()) {
    KernelFacts facts = able();
    facts.fault(info.measure) = "switched off by this test";
    const Confinement confinement = plan_confinement(asked, facts);
    EXPECT_THAT(confinement.in_force, Not(Contains(info.measure))) << info.name;
    EXPECT_EQ(confinement.missing.size(), 1U) << info.name;
    if (info.measure == Measure::kNoSwap) {
      EXPECT_EQ(refusal(asked, facts), "") << "told, not required";
      continue;
    }
    EXPECT_THAT(refusal(asked, facts), HasSubstr(std::string(info.name) + " (switched off by this test)"));
    EXPECT_FALSE(covers_contract(confinement)) << info.name;
  }
}

TEST(Isolation, EachNamespaceThatIsMissingIsNotMade) {
  for (const auto& [measure, flag] :
       {std::pair{Measure::kNetworkNamespace, CLONE_NEWNET}, std::pair{Measure::kMountNamespace, CLONE_NEWNS},
        std::pair{Measure::kPidNamespace, CLONE_NEWPID}, std::pair{Measure::kIpcNamespace, CLONE_NEWIPC},
        std::pair{Measure::kUtsNamespace, CLONE_NEWUTS}}) {
    KernelFacts facts = able();
    facts.fault(measure) = "x";
    EXPECT_EQ(plan_confinement(request(), facts).plan.namespaces, kAllNamespaces & ~static_cast<std::uint64_t>(flag));
  }
}

TEST(Isolation, AnOrdinaryUserHasAUserNamespaceAndNoOtherUser) {
  KernelFacts facts = able();
  facts.through_user_namespace = true;
  ConfineRequest asked = request();
  EXPECT_EQ(plan_confinement(asked, facts).plan.namespaces, kAllNamespaces | CLONE_NEWUSER);
  EXPECT_THAT(refusal(asked, facts), HasSubstr("own_user"));
  asked.own_user = false;
  EXPECT_THAT(refusal(asked, facts), HasSubstr("own_user")) << "the sentinel's own user, and nobody allowed it";
  asked.shared_user = true;
  EXPECT_EQ(refusal(asked, facts), "");
  EXPECT_FALSE(covers_contract(plan_confinement(asked, facts))) << "TB_ALLOW_SHARED_UID is not the provider's word";
  EXPECT_FALSE(plan_confinement(asked, facts).plan.change_user);
}

TEST(Isolation, AMemoryLimitWithoutAGroupHoldsEachProcess) {
  ConfineRequest asked = request();
  asked.memory_bytes = 5;
  KernelFacts facts = able();
  facts.group_directory.clear();
  facts.fault(Measure::kMemoryLimit) = "no group";
  EXPECT_EQ(plan_confinement(asked, facts).plan.data_bytes, 5U);
  EXPECT_THAT(refusal(asked, facts), HasSubstr("memory_limit (no group)"));
  asked.memory_bytes = 0;
  EXPECT_EQ(refusal(asked, facts), "") << "nobody asked for a limit";
}

TEST(Isolation, AGroupIsMadeOnlyForALimitAndThenKeepsSwapOff) {
  KernelFacts facts = able();
  facts.swap_is_on = true;
  ConfineRequest asked = request();
  EXPECT_EQ(plan_confinement(asked, facts).group_directory, "") << "groups of others are not touched unasked";
  EXPECT_THAT(plan_confinement(asked, facts).in_force, Not(Contains(Measure::kNoSwap)));
  EXPECT_EQ(refusal(asked, facts), "");
  asked.memory_bytes = 5;
  EXPECT_EQ(plan_confinement(asked, facts).group_directory, facts.group_directory);
  EXPECT_THAT(plan_confinement(asked, facts).in_force, Contains(Measure::kNoSwap));
}

TEST(Isolation, AUnixSocketsDirectoryIsMadeInside) {
  ConfineRequest asked = request();
  asked.address = {.unix_path = "/run/gate/runtime.sock"};
  EXPECT_EQ(plan_confinement(asked, able()).plan.socket_directory, "/run/gate");
  EXPECT_EQ(plan_confinement(request(), able()).plan.socket_directory, "");
}

TEST(Isolation, APlanIsReadAsItWasWritten) {
  ConfineRequest asked = request();
  asked.arguments = {"/usr/bin/server", "--name=\"x\"", ""};
  asked.read_paths = {"/srv/venv"};
  asked.devices = {"/dev/nvidia0"};
  ConfinePlan plan = plan_confinement(asked, able()).plan;
  plan.groups = {44, 109};
  const std::string text = plan.to_json().dump();
  const auto read = ConfinePlan::parse(text);
  ASSERT_TRUE(read.has_value()) << read.error().story();
  EXPECT_EQ(read->to_json().dump(), text);
  EXPECT_EQ(read->groups, (std::vector<gid_t>{44, 109}));
}

TEST(Isolation, APlanOfAnotherShapeIsRefused) {
  const std::string good = plan_confinement(request(), able()).plan.to_json().dump();
  EXPECT_FALSE(ConfinePlan::parse("").has_value());
  EXPECT_FALSE(ConfinePlan::parse("{}").has_value());
  EXPECT_FALSE(ConfinePlan::parse("[]").has_value());
  for (const auto& [from, to] :
       {std::pair{"\"seccomp\":true", "\"seccomp\":1"}, std::pair{"\"uid\":1000", "\"uid\":-1"},
        std::pair{"[\"/usr/bin/server\"]", "[]"}, std::pair{"\"groups\":[]", "\"groups\":[\"x\"]"},
        std::pair{"\"port\":8081", "\"port\":65536"}}) {
    std::string bad = good;
    ASSERT_NE(bad.find(from), std::string::npos) << from;
    bad.replace(bad.find(from), std::string_view(from).size(), to);
    EXPECT_FALSE(ConfinePlan::parse(bad).has_value()) << to;
  }
}

TEST(Isolation, MeasuresStandInTheOrderOfTheirTable) {
  for (std::size_t i = 0; i < all_measures().size(); ++i) {
    EXPECT_EQ(static_cast<std::size_t>(all_measures()[i].measure), i);
    EXPECT_EQ(name_of(all_measures()[i].measure), all_measures()[i].name);
  }
}

TEST(Seccomp, RefusesNoCallTwice) {
  std::vector<std::string_view> calls(refused_calls().begin(), refused_calls().end());
  std::ranges::sort(calls);
  EXPECT_TRUE(std::ranges::adjacent_find(calls) == calls.end());
}

}  // namespace
}  // namespace tb::sentinel::runtime
