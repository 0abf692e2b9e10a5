// What holds the runtime of this configuration on this machine: found once at the start, planned anew for each model,
// and told in /status, --isolation-report and to a contract that asks for it.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "obs/finding.h"
#include "sentinel/config.h"
#include "sentinel/runtime/isolation.h"

namespace tb::sentinel {

struct IsolationState {
  enum class Mode { kExternal, kOff, kPartial, kFull };
  Mode mode = Mode::kExternal;
  runtime::KernelFacts facts;
  runtime::Confinement confinement;  ///< of no model yet; what it says is in force only if confines()

  /// The sentinel starts the runtime and confines it.
  bool confines() const { return mode == Mode::kFull || mode == Mode::kPartial; }
  bool has(runtime::Measure measure) const;
  /// A contract with runtime_isolation = required is satisfied.
  bool covers() const { return confines() && runtime::covers_contract(confinement); }
};

std::string_view name_of(IsolationState::Mode mode);

/// `to_serve`: room is made for a control group, where a memory limit is asked for; else it is only looked.
IsolationState examine_isolation(const Config& config, bool to_serve = false);
/// For a runtime that reads `model_path`.
runtime::ConfineRequest confine_request(const Config& config, const std::string& model_path,
                                        const RuntimeAddress& address);
/// Throws "isolation_impossible" where `full` is asked for and not to be had.
void require_isolation(const IsolationState& state);

/// A finding for the mode and one for each measure: what it stops, or what is missing and how to get it.
std::vector<obs::Finding> isolation_findings(const IsolationState& state);
/// Who can reach the runtime, in words.
std::string channel_text(const IsolationState& state, const RuntimeAddress& address, bool has_key);
/// {"mode", a bool for each measure, "missing": [{"measure", "why"}]}
Json isolation_json(const IsolationState& state);

}  // namespace tb::sentinel
