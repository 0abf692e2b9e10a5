#include "sentinel/isolation_state.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "sentinel/runtime/kernel_facts.h"

namespace tb::sentinel {
namespace {

using runtime::Measure;
using Mode = IsolationState::Mode;

constexpr const char* kAnyModel = "/";

/// What a runtime of ours has without any confinement, too (runtime/child.h).
constexpr bool is_always_given(Measure measure) {
  return measure == Measure::kNoNewPrivileges || measure == Measure::kNoCoreDumps || measure == Measure::kOwnUser;
}

const runtime::Shortfall* shortfall_of(const IsolationState& state, Measure measure) {
  const auto it = std::ranges::find(state.confinement.missing, measure, &runtime::Shortfall::measure);
  return it == state.confinement.missing.end() ? nullptr : &*it;
}

obs::Finding finding_of(const IsolationState& state, const runtime::MeasureInfo& info) {
  const std::string name(info.name);
  if (info.measure == Measure::kMemoryLimit && shortfall_of(state, info.measure) == nullptr &&
      !state.has(info.measure)) {
    return {name, obs::Health::kOk, "not asked for by TB_RUNTIME_MEMORY_BYTES", ""};
  }
  if (const auto* missing = shortfall_of(state, info.measure)) {
    const bool refuses = missing->required && state.mode == Mode::kFull;
    return {name, refuses ? obs::Health::kFault : obs::Health::kWarning, "missing: " + missing->why,
            std::string(info.advice)};
  }
  if (state.mode == Mode::kOff && !is_always_given(info.measure)) {
    return {name, obs::Health::kWarning, "switched off; possible here", "TB_RUNTIME_ISOLATION=full"};
  }
  const std::string_view only = state.mode == Mode::kExternal ? "possible; " : "";
  return {name, obs::Health::kOk, fmt::format("{}stops {}", only, info.stops), ""};
}

}  // namespace

bool IsolationState::has(Measure measure) const {
  if (mode == Mode::kExternal) return false;
  return (confines() || is_always_given(measure)) &&
         std::ranges::find(confinement.in_force, measure) != confinement.in_force.end();
}

std::string_view name_of(Mode mode) {
  switch (mode) {
    case Mode::kFull:
      return "full";
    case Mode::kPartial:
      return "partial";
    case Mode::kOff:
      return "off";
    case Mode::kExternal:
      break;
  }
  return "external";
}

runtime::ConfineRequest confine_request(const Config& config, const std::string& model_path,
                                        const RuntimeAddress& address) {
  const bool in_directory = model_path.starts_with(config.model_dir + "/");
  return {.arguments = config.runtime_command,
          .model_path = in_directory ? config.model_dir : model_path,
          .address = address,
          .uid = config.runtime_uid,
          .own_user = config.runtime_uid != geteuid(),
          .shared_user = config.shared_user_allowed,
          .read_paths = config.runtime_read_paths,
          .devices = config.runtime_devices,
          .scratch_bytes = config.runtime_scratch_bytes,
          .memory_bytes = config.runtime_memory_bytes};
}

IsolationState examine_isolation(const Config& config, bool to_serve) {
  IsolationState state;
  if (!config.runtime_command.empty()) {
    state.mode = config.isolation == IsolationChoice::kFull      ? Mode::kFull
                 : config.isolation == IsolationChoice::kPartial ? Mode::kPartial
                                                                 : Mode::kOff;
  }
  state.facts =
      runtime::find_kernel_facts(config.runtime_uid, to_serve && state.confines() && config.runtime_memory_bytes != 0);
  state.confinement = plan_confinement(confine_request(config, kAnyModel, config.runtime), state.facts);
  return state;
}

void require_isolation(const IsolationState& state) {
  if (state.mode == Mode::kFull) runtime::require_full(state.confinement);
}

std::vector<obs::Finding> isolation_findings(const IsolationState& state) {
  std::vector<obs::Finding> out;
  out.push_back({"mode", obs::Health::kOk, std::string(name_of(state.mode)), ""});
  if (state.mode == Mode::kExternal) {
    out.back() = {"mode", obs::Health::kWarning,
                  "external: somebody else starts the runtime, so nothing of this is in force",
                  "set TB_RUNTIME_COMMAND, and the sentinel starts and confines it"};
  }
  for (const runtime::MeasureInfo& info : runtime::all_measures()) out.push_back(finding_of(state, info));
  return out;
}

std::string channel_text(const IsolationState& state, const RuntimeAddress& address, bool has_key) {
  if (state.has(Measure::kNetworkNamespace) && (!address.is_unix() || state.has(Measure::kMountNamespace))) {
    return "inside the runtime's own namespaces, opened by the sentinel alone";
  }
  if (address.is_unix()) return "unix socket";
  return has_key ? "loopback port, with a key of this start" : "loopback port, open to all users of this machine";
}

Json isolation_json(const IsolationState& state) {
  Json out = Json::object();
  out.set("mode", name_of(state.mode));
  for (const runtime::MeasureInfo& info : runtime::all_measures()) out.set(info.name, state.has(info.measure));
  Json missing = Json::array();
  for (const runtime::Shortfall& shortfall : state.confinement.missing) {
    if (!state.confines()) break;
    Json item = Json::object();
    item.set("measure", runtime::name_of(shortfall.measure));
    item.set("why", shortfall.why);
    missing.push(std::move(item));
  }
  out.set("missing", std::move(missing));
  return out;
}

}  // namespace tb::sentinel
