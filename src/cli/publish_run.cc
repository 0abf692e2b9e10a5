#include "cli/publish_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include "cli/interrupt.h"
#include "cli/manifest_file.h"
#include "cli/paths.h"
#include "cli/publish_inputs.h"

namespace tb::cli {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

constexpr auto kLockPatience = std::chrono::seconds(3);
constexpr auto kLockLook = std::chrono::milliseconds(50);
constexpr int kNotFound = 5;

Fd take_lock(const std::string& directory, const Console& console) {
  const std::string path = directory + "/state.lock";
  Fd lock = value_or_throw(open_file(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const auto patience_end = std::chrono::steady_clock::now() + kLockPatience;
  for (bool said = false; flock(lock.get(), LOCK_EX | LOCK_NB) != 0; said = true) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw error_from_errno(errno, path);
    throw_if_interrupted();
    if (std::chrono::steady_clock::now() > patience_end) {
      throw Error("publish_running", fmt::format("another publish, or a step of one, works in {}", directory));
    }
    if (!said) console.note("waiting for a step of a run before to end");
    std::this_thread::sleep_for(kLockLook);
  }
  return lock;
}

std::string absolute(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

/// True if nothing was at `path` when the step began.
bool is_own(const StepRecord& record, const std::string& path) {
  return std::ranges::find(record.absent, absolute(path)) != record.absent.end();
}

void note_absent(const Step& step, StepRecord& record) {
  for (const std::string& output : step.outputs) {
    if (!exists(output) && !is_own(record, output)) record.absent.push_back(absolute(output));
  }
}

/// Members of a command's result that the summary repeats. Nothing else of it is kept.
constexpr std::array<std::string_view, 15> kKept = {
    "ciphertext",      "manifest",        "key_file", "oms_bundle", "sha256_ciphertext",
    "manifest_sha256", "plaintext_bytes", "asset_id", "state",      "image",
    "contract_id",     "not_after",       "digest",   "reference",  "sha256"};

void keep(const Json& object, std::map<std::string, std::string>& result) {
  for (const auto& [name, value] : object.as_object()) {
    if (std::ranges::find(kKept, name) == kKept.end()) continue;
    if (value.is_string() && !value.as_string().contains('?')) result[name] = value.as_string();
    if (value.is_integer()) result[name] = value.number_text();
  }
}

std::map<std::string, std::string> result_of(const std::string& output) {
  std::map<std::string, std::string> result;
  const Result<Json> json = Json::parse(output, {.bytes = std::size_t{4} << 20});
  if (!json || !json->is_object()) return result;
  keep(*json, result);
  const Json* urls = json->find("blob_urls");
  if (urls == nullptr || !urls->is_object()) return result;
  for (const auto& [name, url] : urls->as_object()) {
    if (url.is_string() && !url.as_string().contains('?')) result[name + "_url"] = url.as_string();
  }
  return result;
}

/// The control plane and its flags, out of the arguments of `contract create`.
Arguments control_plane_arguments(const Arguments& create) {
  static constexpr std::array<std::string_view, 4> kWithValue = {"--edc-endpoint", "--token-file", "--ca-path",
                                                                 "--profile"};
  Arguments out;
  for (std::size_t i = 0; i < create.size(); ++i) {
    if (std::ranges::find(kWithValue, create[i]) != kWithValue.end())
      out.insert(out.end(), {create[i], create.at(i + 1)});
    if (create[i] == "--allow-insecure-http") out.push_back(create[i]);
  }
  return out;
}

std::string value_after(const Arguments& arguments, std::string_view flag) {
  const auto at = std::ranges::find(arguments, flag);
  return at == arguments.end() || at + 1 == arguments.end() ? std::string() : *(at + 1);
}

bool is_contract_of(const Json& contract, const Arguments& create) {
  const Json* consumer = contract.find("consumer");
  const Json* assets = contract.find("asset_ids");
  const std::string asset = value_after(create, "--asset-id");
  return consumer != nullptr && consumer->is_string() && consumer->as_string() == value_after(create, "--consumer") &&
         assets != nullptr && assets->is_array() && std::ranges::any_of(assets->as_array(), [&](const Json& a) {
           return a.is_string() && a.as_string() == asset;
         });
}

[[noreturn]] void refuse_changed(const Step& step, const StepStanding& standing) {
  throw Error("publish_input_changed",
              fmt::format("{} was done with other inputs: {}", step.name, fmt::join(standing.changed, ", ")));
}

/// After these ends nothing of the step can have happened that a new run would meet.
bool ended_without_effect(int exit_status) {
  static constexpr std::array<int, 5> kRefusals = {2, 3, 4, 5, 7};
  return std::ranges::find(kRefusals, exit_status) != kRefusals.end();
}

}  // namespace

void remove_partials(const std::string& output) {
  const fs::path path(output);
  const std::string start = "." + path.filename().string() + ".";
  std::error_code fault;
  const fs::path parent = path.parent_path().empty() ? fs::path(".") : path.parent_path();
  for (const auto& entry : fs::directory_iterator(parent, fault)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(start) && name.ends_with(".partial")) unlink(entry.path().c_str());
  }
}

std::string state_path(const PublishPlan& plan) {
  return plan.out + "/state.json";
}

PublishState read_state(const PublishPlan& plan) {
  if (!exists(state_path(plan))) return {plan.asset_id, {}};
  PublishState state = PublishState::parse(value_or_throw(read_small_file(state_path(plan))));
  if (state.asset_id != plan.asset_id) {
    throw Error("publish_input_changed",
                fmt::format("{} is where {} was published from", plan.out, printable(state.asset_id)));
  }
  return state;
}

Step settled(const Step& step, const PublishState& state) {
  const StepRecord* build = state.find("build");
  if (build == nullptr || !build->done || !build->result.contains("digest")) return step;
  return with_digest(step, build->result.at("digest"));
}

std::vector<StepStanding> standings(const PublishPlan& plan, const PublishState& state) {
  std::vector<StepStanding> out;
  for (const Step& step : plan.steps) {
    out.push_back(standing_of(state.find(step.name), fingerprints_of(settled(step, state))));
  }
  return out;
}

Publisher::Publisher(PublishPlan plan, const Console& console, WriteDraft write_draft)
    : plan_(std::move(plan)), console_(console), write_draft_(std::move(write_draft)) {
  value_or_throw(make_directories(plan_.out, 0700));
  lock_ = take_lock(plan_.out, console_);
  remove_partials(state_path(plan_));
  state_ = read_state(plan_);
}

void Publisher::save() const {
  value_or_throw(write_file_atomically(state_path(plan_), state_.text(), 0600, true));
}

StepEnd Publisher::command(Arguments arguments) {
  arguments.emplace_back("--json");
  if (console_.quiet) arguments.emplace_back("--quiet");
  return run_step(arguments, lock_.get());
}

PublishOutcome Publisher::run() {
  for (const Step& step : plan_.steps) {
    const StepStanding standing = standing_of(state_.find(step.name), fingerprints_of(step));
    if (step.once && standing.standing == Standing::kStale) refuse_changed(step, standing);
  }
  PublishOutcome outcome;
  for (const Step& step : plan_.steps) {
    throw_if_interrupted();
    outcome.steps.push_back(take(settled(step, state_)));
    outcome.exit_status = outcome.steps.back().exit_status;
    if (outcome.exit_status != 0) break;
  }
  outcome.state = state_;
  return outcome;
}

StepOutcome Publisher::take(const Step& step) {
  const Fingerprints now = fingerprints_of(step);
  const StepRecord* before = state_.find(step.name);
  StepOutcome outcome{step.name, standing_of(before, now), false, 0};
  if (outcome.before.standing == Standing::kDone) return outcome;
  outcome.ran = true;
  console_.note(fmt::format("{} …", step.name));
  const bool recovering = outcome.before.standing == Standing::kInterrupted;
  StepRecord record{step.name, false, now, {}, {}};
  std::optional<Arguments> arguments = step.arguments;
  if (before != nullptr) record.absent = before->absent;
  if (recovering) {
    Recovery recovery = recover(step, outcome.before, record);
    outcome.exit_status = recovery.exit_status;
    if (outcome.exit_status != 0) return outcome;
    arguments = std::move(recovery.arguments);
  }
  const bool replaces =
      step.forces && before != nullptr &&
      std::ranges::all_of(step.outputs, [&](const std::string& path) { return is_own(record, path); });
  if (arguments && replaces) arguments->emplace_back("--force");
  note_absent(step, record);
  state_.put(record);
  save();
  if (arguments) {
    Step now_step = step;
    now_step.arguments = std::move(*arguments);
    outcome.exit_status = perform(now_step, record, recovering);
    if (outcome.exit_status != 0) return outcome;
  }
  record.done = true;
  state_.put(record);
  save();
  return outcome;
}

int Publisher::perform(const Step& step, StepRecord& record, bool recovering) {
  if (step.arguments.empty()) {
    write_draft_(state_);
    record.result["draft"] = step.outputs.front();
    return 0;
  }
  const StepEnd end = command(step.arguments);
  if (end.exit_status != 0) {
    if (!recovering && ended_without_effect(end.exit_status)) {
      state_.drop(step.name);
      save();
    }
    return end.exit_status;
  }
  record.result = result_of(end.output);
  if (step.name == "package") record.result["sha256"] = file_sha256(step.outputs.back());
  return 0;
}

Publisher::Recovery Publisher::recover(const Step& step, const StepStanding& standing, StepRecord& record) {
  for (const std::string& output : step.outputs) remove_partials(output);
  if (step.name == "encrypt") {
    return recover_encrypt(step, standing, record);
  }
  if (step.name == "contract") return recover_contract(step, record);
  return {step.arguments};
}

// encrypt gives its outputs their names in this order, the ciphertext last: where that is, all is; where it is not, the
// key has sealed nothing that anybody holds.
Publisher::Recovery Publisher::recover_encrypt(const Step& step, const StepStanding& standing, StepRecord& record) {
  // encrypt --upload keeps a note of its own, by which the same command finishes or begins anew.
  if (std::ranges::find(step.arguments, "--upload") != step.arguments.end()) return {step.arguments};
  const std::string& last = step.outputs.back();
  if (exists(last) && is_own(record, last)) {
    if (!standing.changed.empty()) refuse_changed(step, standing);
    const std::string manifest_file = value_after(step.arguments, "--manifest");
    const asset::Manifest manifest = read_manifest_file(manifest_file);
    record.result = {{"sha256_ciphertext", manifest.sha256_ciphertext()},
                     {"manifest_sha256", manifest.sha256()},
                     {"ciphertext", last},
                     {"manifest", manifest_file},
                     {"key_file", value_after(step.arguments, "--key-file")}};
    return {};
  }
  for (const std::string& output : step.outputs) {
    if (!is_own(record, output) || !exists(output)) continue;
    if (unlink(output.c_str()) != 0) throw error_from_errno(errno, output);
  }
  return {step.arguments};
}

// A contract is made once and its token told once. If the call arrived and its answer did not, the contract is there
// and nobody has its token: it gets another one.
Publisher::Recovery Publisher::recover_contract(const Step& step, const StepRecord& record) {
  const std::string id = value_after(step.arguments, "--contract-id");
  const std::string token_file = value_after(step.arguments, "--activation-token-file");
  const Arguments to = control_plane_arguments(step.arguments);
  Arguments show = {"contract", "show", id};
  show.insert(show.end(), to.begin(), to.end());
  const StepEnd shown = command(show);
  if (shown.exit_status == kNotFound) return {step.arguments};
  if (shown.exit_status != 0) return {std::nullopt, shown.exit_status};
  const Json contract = value_or_throw(Json::parse(shown.output));
  if (!is_contract_of(contract, step.arguments)) {
    throw Error("publish_input_changed", fmt::format("there is a contract {} of somebody else", id));
  }
  if (token_file.empty() || (exists(token_file) && is_own(record, token_file))) return {};
  Arguments token = {"contract", "token", id, "--activation-token-file", token_file};
  if (const std::string key = value_after(step.arguments, "--control-plane-key"); !key.empty()) {
    token.insert(token.end(), {"--control-plane-key", key});
  }
  token.insert(token.end(), to.begin(), to.end());
  return {std::move(token)};
}

}  // namespace tb::cli
