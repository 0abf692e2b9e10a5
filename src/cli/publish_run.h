// `publish` carried out: every step a process of this program, its begin and end in the state file, and what a killed
// run left behind brought to a point from which the step's own command goes on.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fs.h"
#include "cli/console.h"
#include "cli/publish_plan.h"
#include "cli/publish_state.h"
#include "cli/step_process.h"

namespace tb::cli {

struct StepOutcome {
  std::string name;
  StepStanding before;
  bool ran = false;
  int exit_status = 0;
};

struct PublishOutcome {
  PublishState state;
  std::vector<StepOutcome> steps;  ///< up to and with the one that failed
  int exit_status = 0;
};

/// `<out>/state.json`
std::string state_path(const PublishPlan& plan);

/// The state of earlier runs in this directory; empty if there was none. Throws "publish_state_malformed",
/// "publish_input_changed" if it is another asset's.
PublishState read_state(const PublishPlan& plan);

/// The plan with what earlier steps have found out put in.
Step settled(const Step& step, const PublishState& state);

/// How each step stands by the state and the inputs as they are now.
std::vector<StepStanding> standings(const PublishPlan& plan, const PublishState& state);

/// Removes what a kill left of a file that would have become `output` (AtomicFile's `.NAME.RANDOM.partial`). Only for
/// one who holds the lock: nobody else is writing it.
void remove_partials(const std::string& output);

class Publisher {
 public:
  /// Writes what `draft` is: the plan's last step, which is no command.
  using WriteDraft = std::function<void(const PublishState& state)>;
  using Run = std::function<StepEnd(const std::vector<std::string>& arguments)>;

  /// Makes the directory and holds its lock until this ends. Throws "publish_running" if another publish, or a step
  /// that outlived one, works there and does not end soon.
  Publisher(PublishPlan plan, const Console& console, WriteDraft write_draft);
  /// Goes on where the last run stopped, and stops at the first step that fails. Throws "publish_input_changed" before
  /// anything is done with changed inputs that cannot be done again, "cancelled" between steps.
  PublishOutcome run();

 private:
  StepOutcome take(const Step& step);
  int perform(const Step& step, StepRecord& record, bool recovering);
  /// How an interrupted step goes on: by these arguments, or not at all where it is found to be done or, with an exit
  /// status, where that could not be found out.
  struct Recovery {
    std::optional<std::vector<std::string>> arguments;
    int exit_status = 0;
  };
  Recovery recover(const Step& step, const StepStanding& standing, StepRecord& record);
  Recovery recover_encrypt(const Step& step, const StepStanding& standing, StepRecord& record);
  Recovery recover_contract(const Step& step, const StepRecord& record);
  StepEnd command(std::vector<std::string> arguments);
  void save() const;

  PublishPlan plan_;
  const Console& console_;
  WriteDraft write_draft_;
  PublishState state_;
  Fd lock_;
};

}  // namespace tb::cli
