// Values of a template's expressions, as the resource manager would compute them at a deployment: for tests of what our
// template makes of given parameters, and for checks that have to look through variables.
//
// What only the cloud knows (what reference() answers, the resource group) comes as an argument. uniqueString and guid
// give values of the right form, not the cloud's own. Bounds: depth, kMaxEvaluatedBytes for any string that is built,
// and a number of steps: what is over them is "expression_malformed", as is every misuse of a function.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "azure/app/expression.h"
#include "base/json.h"

namespace tb::azure {

inline constexpr std::size_t kMaxEvaluatedBytes = std::size_t{1} << 20;
inline constexpr int kMaxEvaluationSteps = 100'000;

struct DeploymentFacts {
  Json parameters = Json::object();  ///< values by name; what is absent has its default
  Json resource_group = Json::object();
  Json subscription = Json::object();
  Json environment = Json::object();
  std::map<std::string, Json> references;  ///< what reference(id) answers, by resource id
};

class Evaluator {
 public:
  Evaluator(const Json& main_template, DeploymentFacts facts) : template_(main_template), facts_(std::move(facts)) {}

  /// `value` with every expression in it replaced by what it gives, at any depth, names of members too.
  Json value(const Json& value);
  Json value(const Expression& expression);

 private:
  using Arguments = std::vector<Json>;

  Json text(const std::string& text);
  Json call(const Expression& call);
  Json named(std::string_view function, const Arguments& arguments, const Expression& call);
  Json text_function(std::string_view function, const Arguments& arguments, const Expression& call);
  Json resource_function(std::string_view function, const Arguments& arguments, const Expression& call);
  Json parameter(const std::string& name);
  Json variable(const std::string& name);
  void step();
  Json charged(Json value);

  const Json& template_;
  DeploymentFacts facts_;
  std::map<std::string, Json> known_;  // variables that were computed
  std::set<std::string> under_way_;    // variables that are being computed: a second visit is a circle
  int steps_ = 0;
  int depth_ = 0;
};

/// True if the resource manager has a function of that name; `list*` and names with a namespace count.
bool is_template_function(std::string_view name);

}  // namespace tb::azure
