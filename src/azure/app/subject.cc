#include "azure/app/subject.h"

#include <algorithm>
#include <set>

namespace tb::azure {
namespace {

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

const Json kNothing = Json::object();

}  // namespace

std::string small_letters(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = lower(c);
  return out;
}

bool same_word(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool has_word(std::string_view text, std::string_view word) {
  return !std::ranges::search(text, word, {}, lower, lower).empty();
}

std::string pointer_to(const std::string& at, std::string_view name) {
  std::string out = at + "/";
  for (char c : name) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

std::string_view text_of(const Json& object, std::string_view name) {
  const Json* value = object.find(name);
  return value != nullptr && value->is_string() ? std::string_view(value->as_string()) : std::string_view();
}

const Json* reach(const Json& from, std::initializer_list<std::string_view> path) {
  const Json* at = &from;
  for (std::string_view name : path) {
    at = at->find(name);
    if (at == nullptr) return nullptr;
  }
  return at;
}

bool is_secure(const Json& declaration) {
  const std::string_view type = text_of(declaration, "type");
  return same_word(type, "securestring") || same_word(type, "secureobject");
}

bool is_list_call(const Expression& expression) {
  return expression.kind == Expression::Kind::kCall && expression.text.size() > 4 &&
         same_word(std::string_view(expression.text).substr(0, 4), "list") && !expression.text.contains('.');
}

std::string_view named_in(const Expression& expression, std::string_view function) {
  if (!is_call(expression, function) || expression.parts.empty()) return {};
  const Expression& name = expression.parts[0];
  return name.kind == Expression::Kind::kString ? std::string_view(name.text) : std::string_view();
}

void each_below(const Json& value, const std::string& pointer, const Visit& visit) {
  const auto one = [&](std::string_view shown, std::string_view name, const Json& below) {
    const std::string at = pointer_to(pointer, shown);
    visit(at, name, below, value);
    each_below(below, at, visit);
  };
  if (value.is_object()) {
    for (const auto& [name, member] : value.as_object()) one(name, name, member);
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.as_array().size(); ++i) one(std::to_string(i), "", value.as_array()[i]);
  }
}

void each_resource(const Json& main_template, const std::function<void(const std::string&, const Json&)>& visit) {
  each_below(main_template, "", [&](const std::string& pointer, std::string_view name, const Json& value, const Json&) {
    if (name != "resources") return;
    if (value.is_array()) {
      for (std::size_t i = 0; i < value.as_array().size(); ++i) {
        if (value.as_array()[i].is_object()) visit(pointer_to(pointer, std::to_string(i)), value.as_array()[i]);
      }
    } else if (value.is_object()) {
      for (const auto& [symbol, resource] : value.as_object()) {
        if (resource.is_object()) visit(pointer_to(pointer, symbol), resource);
      }
    }
  });
}

const Expression* Subject::at(const std::string& pointer) const {
  const auto found = by_pointer.find(pointer);
  return found == by_pointer.end() ? nullptr : &expressions[found->second].expression;
}

bool Subject::uses(std::string_view function, std::string_view name) const {
  return used.contains(small_letters(function) + "/" + small_letters(name));
}

const Json& Subject::section(std::string_view name) const {
  const Json* found = main.find(name);
  return found != nullptr && found->is_object() ? *found : kNothing;
}

const Json* Subject::parameter(std::string_view name) const {
  for (const auto& [is, declaration] : section("parameters").as_object()) {
    if (same_word(is, name)) return &declaration;
  }
  return nullptr;
}

void Subject::follow(const Expression& expression, const std::function<void(const Expression&)>& visit) const {
  std::set<std::string, std::less<>> seen;
  std::vector<const Json*> left;
  const auto note = [&](const Expression& part) {
    if (++followed > kMaxFollowed)
      throw Error("package_malformed", "the template's variables are too tangled to follow");
    visit(part);
    const std::string_view name = named_in(part, "variables");
    if (name.empty() || !seen.emplace(name).second) return;
    for (const auto& [is, value] : section("variables").as_object()) {
      if (same_word(is, name)) left.push_back(&value);
    }
  };
  const auto read = [&](const Json& value) {
    if (!value.is_string() || !is_expression(value.as_string())) return;
    try {
      each_part(parse_expression(value.as_string()), note);
    } catch (const Error& error) {
      if (error.reason != "expression_malformed") throw;  // Expressions-Must-Resolve says so
    }
  };
  each_part(expression, note);
  while (!left.empty()) {
    const Json& value = *left.back();
    left.pop_back();
    read(value);
    each_below(value, "", [&](const std::string&, std::string_view, const Json& below, const Json&) { read(below); });
  }
}

}  // namespace tb::azure
