// What `publish` remembers between runs: which steps are done, with which inputs, and which one was under way when it
// was killed. Names, digests and results that anybody may read; never a key, a token or a signed URL.
//
// The file is 0600, written aside and renamed before a step begins and after it has ended, so a kill at any point
// leaves the one or the other.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace tb::cli {

/// What a step was done with: label → digest. "arguments" is always there.
using Fingerprints = std::map<std::string, std::string>;

struct StepRecord {
  std::string name;
  bool done = false;  ///< else it was begun, and nobody knows how far it came
  Fingerprints inputs;
  std::vector<std::string> absent;  ///< absolute paths where nothing was when it began: what lies there now is its own
  std::map<std::string, std::string> result{};  ///< what it told, for the summary
  bool operator==(const StepRecord&) const = default;
};

struct PublishState {
  std::string asset_id;
  std::vector<StepRecord> steps;

  StepRecord* find(std::string_view name);
  const StepRecord* find(std::string_view name) const;
  /// Replaces the record of the same name.
  void put(StepRecord record);
  void drop(std::string_view name);

  /// Strict; throws "publish_state_malformed".
  static PublishState parse(std::string_view text);
  std::string text() const;
  bool operator==(const PublishState&) const = default;
};

enum class Standing {
  kToDo,
  kDone,
  kInterrupted,  ///< begun by a run that was killed
  kStale,        ///< done, with other inputs
};

struct StepStanding {
  Standing standing = Standing::kToDo;
  std::vector<std::string> changed;  ///< labels of the inputs that are others now
};

/// Of a step whose record may be null and whose inputs are `now`.
StepStanding standing_of(const StepRecord* record, const Fingerprints& now);

}  // namespace tb::cli
