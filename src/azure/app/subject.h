// What rules read and where they write: the parsed files of a package, its expressions with their places, and the
// report.
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "azure/app/check.h"
#include "azure/app/expression.h"
#include "base/json.h"

namespace tb::azure {

inline constexpr std::string_view kMainTemplate = "mainTemplate.json";
inline constexpr std::string_view kCreateUi = "createUiDefinition.json";
inline constexpr std::string_view kView = "viewDefinition.json";

inline constexpr int kMaxFollowed = 100'000;

/// One expression and where it stands; a name of a member stands at the member.
struct Place {
  std::string pointer;
  Expression expression;
};

struct Subject {
  Json main, ui, view;             ///< null: not there, or no JSON
  std::vector<Place> expressions;  ///< of the main template, those that parse
  std::string today;

  /// The expression that stands at `pointer` as a value, or nullptr.
  const Expression* at(const std::string& pointer) const;
  /// True if any expression calls `function` with this name: "parameters" or "variables".
  bool uses(std::string_view function, std::string_view name) const;
  /// Member of the main template's top, or an empty object.
  const Json& section(std::string_view name) const;
  /// A parameter's declaration, or nullptr; names are compared without case.
  const Json* parameter(std::string_view name) const;
  /// Everything that `expression` computes, followed through variables, calls `visit`.
  /// Throws "package_malformed" where that takes more steps than kMaxFollowed, of all calls together.
  void follow(const Expression& expression, const std::function<void(const Expression&)>& visit) const;

  std::unordered_map<std::string, std::size_t> by_pointer;  ///< places in `expressions`, the last at each pointer
  std::set<std::string> used;                               ///< "parameters/name", in small letters
  mutable int followed = 0;
};

class Report {
 public:
  void add(std::string_view rule, std::string_view file, std::string pointer, std::string message);
  std::vector<Finding> found;
};

std::string small_letters(std::string_view text);
/// Equal without case: types, parameters and functions of the resource manager are.
bool same_word(std::string_view a, std::string_view b);
bool has_word(std::string_view text, std::string_view word);
std::string pointer_to(const std::string& at, std::string_view name);
/// The text of a member, or "".
std::string_view text_of(const Json& object, std::string_view name);
/// The member at a path of names; nullptr if it is not there.
const Json* reach(const Json& from, std::initializer_list<std::string_view> path);
bool is_secure(const Json& declaration);
bool is_list_call(const Expression& expression);
/// The name in parameters('name') or variables('name'), "" for others.
std::string_view named_in(const Expression& expression, std::string_view function);

/// Calls `visit(pointer, name, value, parent)` for everything below `value`, outermost first; names of array elements
/// are "".
using Visit = std::function<void(const std::string&, std::string_view, const Json&, const Json&)>;
void each_below(const Json& value, const std::string& pointer, const Visit& visit);
/// The same for every resource, nested ones and those of nested templates too.
void each_resource(const Json& main_template, const std::function<void(const std::string&, const Json&)>& visit);

// The rules, by what they look at.
void check_expressions(const Subject& subject, Report& report);
void check_template(const Subject& subject, Report& report);
void check_resources(const Subject& subject, Report& report);
void check_secrets(const Subject& subject, Report& report);
void check_ui(const Subject& subject, Report& report);
void check_ui_outputs(const Subject& subject, Report& report);
void check_shapes(const Subject& subject, Report& report);

}  // namespace tb::azure
