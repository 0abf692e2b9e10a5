#include "azure/app/evaluate.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/crypto.h"

namespace tb::azure {
namespace {

constexpr int kMaxDepth = 64;

[[noreturn]] void misused(const Expression& call, std::string_view why) {
  throw Error("expression_malformed", fmt::format("{}(): {}", call.text, why));
}

std::string lowered(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

const std::string& text_at(const std::vector<Json>& arguments, std::size_t at, const Expression& call) {
  if (at >= arguments.size() || !arguments[at].is_string())
    misused(call, fmt::format("argument {} is no string", at + 1));
  return arguments[at].as_string();
}

std::int64_t integer_at(const std::vector<Json>& arguments, std::size_t at, const Expression& call) {
  if (at >= arguments.size() || !arguments[at].is_integer()) {
    misused(call, fmt::format("argument {} is no whole number", at + 1));
  }
  return arguments[at].as_integer();
}

bool boolean_at(const std::vector<Json>& arguments, std::size_t at, const Expression& call) {
  if (at >= arguments.size() || !arguments[at].is_bool())
    misused(call, fmt::format("argument {} is no boolean", at + 1));
  return arguments[at].as_bool();
}

const Json& at_least(const std::vector<Json>& arguments, std::size_t at, const Expression& call) {
  if (at >= arguments.size()) misused(call, "an argument is missing");
  return arguments[at];
}

bool is_empty(const Json& value) {
  if (value.is_null()) return true;
  if (value.is_string()) return value.as_string().empty();
  if (value.is_array()) return value.as_array().empty();
  return value.is_object() && value.as_object().empty();
}

bool same(const Json& a, const Json& b) {
  return a.dump() == b.dump();
}

// Bytes and values of it, roughly: what a copy costs.
std::size_t weight(const Json& value) {
  std::size_t out = 8;
  if (value.is_string()) out += value.as_string().size();
  if (value.is_array()) {
    for (const Json& item : value.as_array()) out += weight(item);
  }
  if (value.is_object()) {
    for (const auto& [name, member] : value.as_object()) out += name.size() + weight(member);
  }
  return out;
}

/// As string(): texts as they are, everything else as compact JSON.
std::string as_text(const Json& value) {
  return value.is_string() ? value.as_string() : value.dump();
}

std::string bounded(std::string text) {
  if (text.size() > kMaxEvaluatedBytes) throw Error("expression_malformed", "an expression gives too long a text");
  return text;
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to, const Expression& call) {
  if (from.empty()) misused(call, "nothing to look for");
  std::string out;
  std::size_t at = 0;
  for (std::size_t found = text.find(from); found != std::string::npos; found = text.find(from, at)) {
    out.append(text, at, found - at).append(to);
    at = found + from.size();
    bounded(out);
  }
  return bounded(out.append(text, at));
}

Json split(const std::string& text, const std::string& between) {
  Json out = Json::array();
  if (between.empty()) {
    out.push(text);
    return out;
  }
  std::size_t at = 0;
  for (std::size_t found = text.find(between); found != std::string::npos; found = text.find(between, at)) {
    out.push(text.substr(at, found - at));
    at = found + between.size();
  }
  out.push(text.substr(at));
  return out;
}

// {0}, {1}, {{ and }}: the subset without alignment and formats.
std::string formatted(const std::vector<Json>& arguments, const Expression& call) {
  const std::string& form = text_at(arguments, 0, call);
  std::string out;
  for (std::size_t at = 0; at < form.size(); ++at) {
    const char c = form[at];
    const bool doubled = at + 1 < form.size() && form[at + 1] == c;
    if ((c == '{' || c == '}') && doubled) {
      out += c;
      ++at;
    } else if (c == '{') {
      const std::size_t end = form.find('}', at);
      std::size_t number = 0;
      if (end == std::string::npos || end == at + 1 || end > at + 3) misused(call, "a brace without its number");
      for (std::size_t i = at + 1; i < end; ++i) {
        if (form[i] < '0' || form[i] > '9') misused(call, "a brace without its number");
        number = number * 10 + static_cast<std::size_t>(form[i] - '0');
      }
      out += as_text(at_least(arguments, number + 1, call));
      at = end;
    } else if (c == '}') {
      misused(call, "a brace that was not opened");
    } else {
      out += c;
    }
    bounded(out);
  }
  return out;
}

std::string name_of_thirteen(const std::vector<Json>& arguments) {
  std::string all;
  for (const Json& argument : arguments) all += as_text(argument) + '\n';
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz234567";
  std::string out;
  for (const std::uint8_t byte : sha256(as_bytes(all))) {
    if (out.size() < 13) out += kLetters[byte % kLetters.size()];
  }
  return out;
}

std::string guid_of(const std::vector<Json>& arguments) {
  std::string all = "guid";
  for (const Json& argument : arguments) all += as_text(argument) + '\n';
  std::string out = sha256_hex(all).substr(0, 32);
  for (const unsigned at : {8U, 13U, 18U, 23U}) out.insert(at, "-");
  return out;
}

// type 'a/b/c' and names 'x', 'y': …/providers/a/b/x/c/y.
std::string path_of(const std::string& type, const std::vector<std::string>& names, const Expression& call) {
  const std::size_t first = type.find('/');
  if (first == std::string::npos) misused(call, "a resource type has a slash");
  std::string out = "/providers/" + type.substr(0, first);
  const Json words = split(type.substr(first + 1), "/");
  if (words.as_array().size() != names.size()) misused(call, "a type and its names differ in length");
  for (std::size_t i = 0; i < names.size(); ++i) out += "/" + words.as_array()[i].as_string() + "/" + names[i];
  return out;
}

Json merged(const Json& below, const Json& above) {
  if (!below.is_object() || !above.is_object()) return above;
  Json out = below;
  for (const auto& [name, value] : above.as_object()) {
    const Json* old = out.find(name);
    out.set(name, old == nullptr ? value : merged(*old, value));
  }
  return out;
}

// Each between spaces.
constexpr std::string_view kFunctions =
    " add and array base64 base64tojson base64tostring bool cidrhost cidrsubnet coalesce concat contains "
    "copyindex createarray createobject datauri datauritostring datetimeadd datetimefromepoch "
    "datetimetoepoch deployer deployment div empty endswith environment equals extensionresourceid false "
    "filter first flatten format getsecret greater greaterorequals groupby guid if indexfromend indexof int "
    "intersection items join json lambda lambdavariables last lastindexof length less lessorequals "
    "loadfileasbase64 managementgroup managementgroupresourceid map mapvalues max min mod mul newguid not "
    "null objectkeys or padleft parameters parsecidr pickzones providers range reduce reference references "
    "replace resourcegroup resourceid shallowmerge skip sort split startswith string sub subscription "
    "subscriptionresourceid substring take tenant tenantresourceid tobytes toobject tolower tologicalzone "
    "tologicalzones tophysicalzone tophysicalzones toupper trim true tryget tryindexfromend union "
    "uniquestring uri uricomponent uricomponenttostring utcnow variables xor ";

}  // namespace

bool is_template_function(std::string_view name) {
  const std::string low = lowered(name);
  return low.contains('.') || low.starts_with("list") || kFunctions.contains(" " + low + " ");
}

void Evaluator::step() {
  if (++steps_ > kMaxEvaluationSteps) throw Error("expression_malformed", "a template takes too many steps");
}

// Variables that hold each other twice double with every level: what an expression gives is bounded, and costs steps.
Json Evaluator::charged(Json value) {
  const std::size_t bytes = weight(value);
  if (bytes > kMaxEvaluatedBytes) throw Error("expression_malformed", "an expression gives too much");
  steps_ += static_cast<int>(bytes / 1024);
  step();
  return value;
}

Json Evaluator::value(const Json& value) {
  step();
  if (value.is_string()) return text(value.as_string());
  if (value.is_array()) {
    Json out = Json::array();
    for (const Json& item : value.as_array()) out.push(this->value(item));
    return out;
  }
  if (!value.is_object()) return value;
  Json out = Json::object();
  for (const auto& [name, member] : value.as_object()) out.set(as_text(text(name)), this->value(member));
  return out;
}

Json Evaluator::text(const std::string& text) {
  return is_expression(text) ? value(parse_expression(text)) : Json(literal_text(text));
}

Json Evaluator::value(const Expression& expression) {
  step();
  if (depth_ >= kMaxDepth) throw Error("expression_malformed", "an expression is nested too deep");
  ++depth_;
  struct Leave {
    int& depth;
    ~Leave() { --depth; }
  } leave{depth_};
  switch (expression.kind) {
    case Expression::Kind::kString:
      return expression.text;
    case Expression::Kind::kInteger:
      return expression.integer;
    case Expression::Kind::kCall:
      return call(expression);
    default:
      break;
  }
  const Json object = value(expression.parts[0]);
  const Json key = expression.kind == Expression::Kind::kProperty ? Json(expression.text) : value(expression.parts[1]);
  if (object.is_array() && key.is_integer()) {
    const auto at = static_cast<std::uint64_t>(key.as_integer());
    if (at < object.as_array().size()) return object.as_array()[at];
  } else if (key.is_string()) {
    if (const Json* member = object.find(key.as_string())) return *member;
  }
  if (expression.optional) return nullptr;
  throw Error("expression_malformed", fmt::format("there is no {} in {}", key.dump(), to_text(expression.parts[0])));
}

Json Evaluator::call(const Expression& call) {
  const std::string function = lowered(call.text);
  if (function == "if") {  // only the side that is chosen is computed
    if (call.parts.size() != 3) misused(call, "takes three arguments");
    const Json chosen = value(call.parts[0]);
    if (!chosen.is_bool()) misused(call, "argument 1 is no boolean");
    return value(call.parts[chosen.as_bool() ? 1 : 2]);
  }
  Arguments arguments;
  for (const Expression& part : call.parts) arguments.push_back(value(part));
  return charged(named(function, arguments, call));
}

Json Evaluator::named(std::string_view f, const Arguments& a, const Expression& call) {
  if (f == "parameters") return parameter(text_at(a, 0, call));
  if (f == "variables") return variable(text_at(a, 0, call));
  if (f == "equals") return same(at_least(a, 0, call), at_least(a, 1, call));
  if (f == "not") return !boolean_at(a, 0, call);
  if (f == "and" || f == "or") {
    bool out = f == "and";
    for (std::size_t i = 0; i < a.size(); ++i) {
      out = f == "and" ? out && boolean_at(a, i, call) : out || boolean_at(a, i, call);
    }
    return out;
  }
  if (f == "true") return true;
  if (f == "false") return false;
  if (f == "null") return nullptr;
  if (f == "empty") return is_empty(at_least(a, 0, call));
  if (f == "greater") return integer_at(a, 0, call) > integer_at(a, 1, call);
  if (f == "less") return integer_at(a, 0, call) < integer_at(a, 1, call);
  if (f == "add") return Json(std::int64_t{integer_at(a, 0, call) + integer_at(a, 1, call)});
  if (f == "min" || f == "max") {
    std::int64_t out = integer_at(a, 0, call);
    for (std::size_t i = 1; i < a.size(); ++i) {
      out = f == "min" ? std::min(out, integer_at(a, i, call)) : std::max(out, integer_at(a, i, call));
    }
    return out;
  }
  if (f == "createarray") return Json(Json::Array(a));
  if (f == "createobject") {
    Json out = Json::object();
    if (a.size() % 2 != 0) misused(call, "names and values come in pairs");
    for (std::size_t i = 0; i < a.size(); i += 2) out.set(text_at(a, i, call), a[i + 1]);
    return out;
  }
  if (f == "union") {
    Json out = at_least(a, 0, call);
    for (std::size_t i = 1; i < a.size(); ++i) out = merged(out, a[i]);
    return out;
  }
  if (f == "coalesce") {
    const auto found = std::ranges::find_if(a, [](const Json& value) { return !value.is_null(); });
    return found == a.end() ? Json() : *found;
  }
  if (f == "length") {
    const Json& of = at_least(a, 0, call);
    if (of.is_string()) return Json(std::uint64_t{of.as_string().size()});
    if (of.is_array()) return Json(std::uint64_t{of.as_array().size()});
    if (of.is_object()) return Json(std::uint64_t{of.as_object().size()});
    misused(call, "argument 1 has no length");
  }
  if (f == "first" || f == "last") {
    const Json& of = at_least(a, 0, call);
    if (!of.is_array()) return text_function(f, a, call);
    if (of.as_array().empty()) return nullptr;
    return f == "first" ? of.as_array().front() : of.as_array().back();
  }
  return text_function(f, a, call);
}

Json Evaluator::text_function(std::string_view f, const Arguments& a, const Expression& call) {
  if (f == "concat") {
    if (!a.empty() && a[0].is_array()) {
      Json out = Json::array();
      for (const Json& list : a) {
        if (!list.is_array()) misused(call, "arrays and texts are not put together");
        for (const Json& item : list.as_array()) out.push(item);
      }
      return out;
    }
    std::string out;
    for (const Json& part : a) out = bounded(out + as_text(part));
    return out;
  }
  if (f == "format") return formatted(a, call);
  if (f == "base64") return bounded(to_base64(as_bytes(text_at(a, 0, call))));
  if (f == "base64tostring") {
    const auto bytes = from_base64(text_at(a, 0, call));
    if (!bytes) misused(call, "argument 1 is no base64");
    return std::string(tb::as_text(ByteView(*bytes)));
  }
  if (f == "replace") return replaced(text_at(a, 0, call), text_at(a, 1, call), text_at(a, 2, call), call);
  if (f == "split") return split(text_at(a, 0, call), text_at(a, 1, call));
  if (f == "join") {
    std::string out;
    if (!at_least(a, 0, call).is_array()) misused(call, "argument 1 is no array");
    for (const Json& item : a[0].as_array()) {
      if (&item != &a[0].as_array().front()) out += text_at(a, 1, call);
      out = bounded(out + as_text(item));
    }
    return out;
  }
  if (f == "string") return bounded(as_text(at_least(a, 0, call)));
  if (f == "tolower") return lowered(text_at(a, 0, call));
  if (f == "startswith") return lowered(text_at(a, 0, call)).starts_with(lowered(text_at(a, 1, call)));
  if (f == "endswith") return lowered(text_at(a, 0, call)).ends_with(lowered(text_at(a, 1, call)));
  if (f == "contains") {
    const Json& in = at_least(a, 0, call);
    const Json& what = at_least(a, 1, call);
    if (in.is_array()) return std::ranges::any_of(in.as_array(), [&](const Json& item) { return same(item, what); });
    if (in.is_object()) return in.find(text_at(a, 1, call)) != nullptr;
    return text_at(a, 0, call).contains(text_at(a, 1, call));
  }
  if (f == "substring") {
    const std::string& text = text_at(a, 0, call);
    const std::int64_t from = integer_at(a, 1, call);
    const std::int64_t bytes = a.size() > 2 ? integer_at(a, 2, call) : static_cast<std::int64_t>(text.size()) - from;
    if (from < 0 || bytes < 0 || static_cast<std::uint64_t>(from) > text.size() ||
        static_cast<std::uint64_t>(bytes) > text.size() - static_cast<std::uint64_t>(from)) {
      misused(call, "outside of the text");
    }
    return text.substr(static_cast<std::size_t>(from), static_cast<std::size_t>(bytes));
  }
  if (f == "first" || f == "last") {
    const std::string& text = text_at(a, 0, call);
    return text.empty() ? std::string() : std::string(1, f == "first" ? text.front() : text.back());
  }
  if (f == "int") {
    const Json& of = at_least(a, 0, call);
    if (of.is_integer()) return of;
    auto number = Json::number_from_text(text_at(a, 0, call));
    if (!number.is_integer()) misused(call, "argument 1 is no whole number");
    return number;
  }
  if (f == "uniquestring") return name_of_thirteen(a);
  if (f == "guid" || f == "newguid") return guid_of(a);
  return resource_function(f, a, call);
}

Json Evaluator::resource_function(std::string_view f, const Arguments& a, const Expression& call) {
  if (f == "resourcegroup") return facts_.resource_group;
  if (f == "subscription") return facts_.subscription;
  if (f == "environment") return facts_.environment;
  if (f == "resourceid") {
    std::size_t type = 0;
    while (type < a.size() && !text_at(a, type, call).contains('/')) ++type;
    if (type > 2 || type >= a.size()) misused(call, "a resource type is missing");
    std::vector<std::string> names;
    for (std::size_t i = type + 1; i < a.size(); ++i) names.push_back(text_at(a, i, call));
    const Json* own_subscription = facts_.subscription.find("subscriptionId");
    const Json* own_group = facts_.resource_group.find("name");
    const std::string subscription = type == 2          ? text_at(a, 0, call)
                                     : own_subscription ? as_text(*own_subscription)
                                                        : "";
    const std::string group = type >= 1 ? text_at(a, type - 1, call) : own_group ? as_text(*own_group) : "";
    return "/subscriptions/" + subscription + "/resourceGroups/" + group + path_of(text_at(a, type, call), names, call);
  }
  if (f == "reference") {
    const auto found = facts_.references.find(text_at(a, 0, call));
    if (found == facts_.references.end()) misused(call, "nothing is known of " + text_at(a, 0, call));
    return found->second;
  }
  misused(call, "is not computed here");
}

Json Evaluator::parameter(const std::string& name) {
  if (const Json* given = facts_.parameters.find(name)) return *given;
  const Json* all = template_.find("parameters");
  const Json* declared = all == nullptr ? nullptr : all->find(name);
  if (declared == nullptr) throw Error("expression_malformed", fmt::format("there is no parameter {}", name));
  const Json* otherwise = declared->find("defaultValue");
  if (otherwise == nullptr) throw Error("expression_malformed", fmt::format("the parameter {} has no value", name));
  return value(*otherwise);
}

Json Evaluator::variable(const std::string& name) {
  if (const auto found = known_.find(name); found != known_.end()) return found->second;
  const Json* all = template_.find("variables");
  const Json* declared = all == nullptr ? nullptr : all->find(name);
  if (declared == nullptr) throw Error("expression_malformed", fmt::format("there is no variable {}", name));
  if (!under_way_.insert(name).second)
    throw Error("expression_malformed", fmt::format("the variable {} needs itself", name));
  Json out = value(*declared);
  under_way_.erase(name);
  return known_[name] = std::move(out);
}

}  // namespace tb::azure
