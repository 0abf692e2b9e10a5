#include "cli/publish_state.h"

#include <algorithm>
#include <initializer_list>

#include "base/error.h"

namespace tb::cli {
namespace {

constexpr std::int64_t kVersion = 1;
constexpr std::size_t kMaxSteps = 64;
constexpr std::string_view kDone = "done";
constexpr std::string_view kBegun = "begun";

[[noreturn]] void malformed(std::string what) {
  throw Error("publish_state_malformed", "the state of publish: " + std::move(what));
}

const Json& member(const Json& object, std::string_view name) {
  const Json* found = object.find(name);
  if (found == nullptr) malformed(std::string(name) + " is missing");
  return *found;
}

const std::string& text_of(const Json& value, std::string_view name) {
  if (!value.is_string()) malformed(std::string(name) + " is not a string");
  return value.as_string();
}

void require_only(const Json& object, std::initializer_list<std::string_view> known) {
  if (!object.is_object()) malformed("what should be an object is none");
  for (const auto& [name, value] : object.as_object()) {
    if (std::ranges::find(known, name) == known.end()) malformed("it has a member that is not known");
  }
}

std::map<std::string, std::string> texts(const Json& object, std::string_view name) {
  if (!object.is_object()) malformed(std::string(name) + " is not an object");
  std::map<std::string, std::string> out;
  for (const auto& [key, value] : object.as_object()) out.emplace(key, text_of(value, name));
  return out;
}

StepRecord record_of(const Json& json) {
  require_only(json, {"name", "status", "inputs", "absent", "result"});
  StepRecord record;
  record.name = text_of(member(json, "name"), "name");
  const std::string& status = text_of(member(json, "status"), "status");
  if (status != kDone && status != kBegun) malformed("status is neither done nor begun");
  record.done = status == kDone;
  record.inputs = texts(member(json, "inputs"), "inputs");
  if (!record.inputs.contains("arguments")) malformed("inputs have no arguments");
  record.result = texts(member(json, "result"), "result");
  const Json& absent = member(json, "absent");
  if (!absent.is_array()) malformed("absent is not an array");
  for (const Json& path : absent.as_array()) record.absent.push_back(text_of(path, "absent"));
  return record;
}

Json json_of(const std::map<std::string, std::string>& texts) {
  Json json = Json::object();
  for (const auto& [key, value] : texts) json.set(key, value);
  return json;
}

}  // namespace

const StepRecord* PublishState::find(std::string_view name) const {
  const auto record = std::ranges::find(steps, name, &StepRecord::name);
  return record == steps.end() ? nullptr : &*record;
}

StepRecord* PublishState::find(std::string_view name) {
  return const_cast<StepRecord*>(std::as_const(*this).find(name));
}

void PublishState::put(StepRecord record) {
  if (StepRecord* old = find(record.name)) {
    *old = std::move(record);
  } else {
    steps.push_back(std::move(record));
  }
}

void PublishState::drop(std::string_view name) {
  std::erase_if(steps, [&](const StepRecord& record) { return record.name == name; });
}

PublishState PublishState::parse(std::string_view text) {
  Result<Json> parsed = Json::parse(text);
  if (!parsed) throw Error("publish_state_malformed", "the state of publish is no JSON", std::move(parsed.error()));
  require_only(*parsed, {"version", "asset_id", "steps"});
  const Json& version = member(*parsed, "version");
  if (!version.is_integer() || version.as_integer() != kVersion) malformed("it is of another version");
  PublishState state;
  state.asset_id = text_of(member(*parsed, "asset_id"), "asset_id");
  const Json& steps = member(*parsed, "steps");
  if (!steps.is_array() || steps.as_array().size() > kMaxSteps) malformed("steps is not a list of them");
  for (const Json& json : steps.as_array()) {
    StepRecord record = record_of(json);
    if (state.find(record.name) != nullptr) malformed("a step stands there twice");
    state.steps.push_back(std::move(record));
  }
  return state;
}

std::string PublishState::text() const {
  Json::Array list;
  for (const StepRecord& record : steps) {
    Json json = Json::object();
    json.set("name", record.name);
    json.set("status", record.done ? kDone : kBegun);
    json.set("inputs", json_of(record.inputs));
    json.set("absent", Json(Json::Array(record.absent.begin(), record.absent.end())));
    json.set("result", json_of(record.result));
    list.push_back(std::move(json));
  }
  Json state = Json::object();
  state.set("version", kVersion);
  state.set("asset_id", asset_id);
  state.set("steps", Json(std::move(list)));
  return state.pretty() + "\n";
}

StepStanding standing_of(const StepRecord* record, const Fingerprints& now) {
  if (record == nullptr) return {};
  StepStanding standing;
  for (const auto& [label, digest] : now) {
    const auto before = record->inputs.find(label);
    if (before == record->inputs.end() || before->second != digest) standing.changed.push_back(label);
  }
  for (const auto& [label, digest] : record->inputs) {
    if (!now.contains(label)) standing.changed.push_back(label);
  }
  standing.standing = !record->done              ? Standing::kInterrupted
                      : standing.changed.empty() ? Standing::kDone
                                                 : Standing::kStale;
  return standing;
}

}  // namespace tb::cli
