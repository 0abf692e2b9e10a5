// Where settings come from: flag, then TB_* environment, then --config FILE (TOML), then a credential of the service
// manager, then the default. One table names them all; docs/config.md is printed from it. What a value means is
// config.cc's business.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace tb::sentinel {

enum class Kind {
  kText,
  kSwitch,  ///< true or false; as a flag it may stand alone
  kNumber,
  kList,     ///< comma-separated; an array in the file
  kCommand,  ///< a JSON array of arguments; an array in the file
};

/// What this version does with a setting.
enum class Support {
  kUsed,
  kRefused,  ///< asks for something that this version lacks and that must not be left out silently
  kIgnored,  ///< belongs to something that is off in this version, or to another program
};

struct Setting {
  std::string_view name;  ///< the environment variable; flag and key follow from it
  Kind kind;
  std::string_view fallback;
  std::string_view help;
  Support support = Support::kUsed;
  bool masked = false;  ///< --print-config shows that it is set, not what it is
};

std::span<const Setting> all_settings();
/// "TB_TARGET_DIR" → "--target-dir".
std::string flag_of(std::string_view name);
/// "TB_TARGET_DIR" → "target_dir".
std::string key_of(std::string_view name);

/// Looks a variable up; nothing else in the sentinel reads the environment.
using Environment = std::function<std::optional<std::string>(std::string_view name)>;
Environment process_environment();
/// All of the process, as NAME=value.
std::vector<std::string> process_variables();
/// Names of the TB_* variables of the process that no table of ours knows: told as a warning.
std::vector<std::string> unknown_variables();

struct Value {
  std::string text;
  std::string source;  ///< "flag", "environment", "file", "credential", "default"
};

/// All settings, resolved but not yet understood.
struct Settings {
  std::map<std::string, Value, std::less<>> values;
  std::string dev_dir;  ///< --dev DIR
  bool isolation_report = false, json = false;
  bool print_config = false;
  bool print_evidence = false;     ///< --print-evidence
  std::vector<std::string> notes;  ///< what was given and is not used

  const std::string& text(std::string_view name) const;
  bool is_given(std::string_view name) const;
};

/// Resolves the arguments after the program's name. Adds to `faults` (one sentence each) and goes on.
Settings resolve_settings(const std::vector<std::string>& arguments, const Environment& environment,
                          std::vector<std::string>& faults);

/// docs/config.md.
std::string config_document();

}  // namespace tb::sentinel
