#include "azure/app/expression.h"

#include <fmt/format.h>

#include <charconv>

namespace tb::azure {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

bool is_name_char(char c) {
  return is_name_start(c) || (c >= '0' && c <= '9');
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Expression whole() {
    Expression out = argument(0);
    skip_space();
    if (at_ != text_.size()) malformed("more than one value");
    return out;
  }

 private:
  [[noreturn]] void malformed(std::string_view what) const {
    throw Error("expression_malformed", fmt::format("{} at character {}", what, at_ + 2));
  }

  void skip_space() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }

  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::string name() {
    skip_space();
    const std::size_t from = at_;
    if (at_ >= text_.size() || !is_name_start(text_[at_])) malformed("a name is missing");
    while (at_ < text_.size() && is_name_char(text_[at_])) ++at_;
    return std::string(text_.substr(from, at_ - from));
  }

  Expression argument(int depth) {
    if (depth > kMaxExpressionDepth) malformed("nested too deep");
    skip_space();
    if (at_ >= text_.size()) malformed("a value is missing");
    Expression out;
    if (text_[at_] == '\'') {
      out = string();
    } else if (text_[at_] == '-' || (text_[at_] >= '0' && text_[at_] <= '9')) {
      out = integer();
    } else {
      out = call(depth);
    }
    return suffixes(std::move(out), depth);
  }

  Expression string() {
    Expression out;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\'') {
        if (at_ + 1 >= text_.size() || text_[at_ + 1] != '\'') {
          ++at_;
          return out;
        }
        ++at_;
      }
      out.text += text_[at_];
    }
    malformed("a string does not end");
  }

  Expression integer() {
    Expression out;
    out.kind = Expression::Kind::kInteger;
    const auto [end, fault] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), out.integer);
    if (fault != std::errc()) malformed("a number is malformed");
    at_ = static_cast<std::size_t>(end - text_.data());
    return out;
  }

  Expression call(int depth) {
    Expression out;
    out.kind = Expression::Kind::kCall;
    out.text = name();
    if (take('.')) out.text += "." + name();
    if (!take('(')) malformed("a function without its brackets");
    if (take(')')) return out;
    do {
      out.parts.push_back(argument(depth + 1));
    } while (take(','));
    if (!take(')')) malformed("a bracket is missing");
    return out;
  }

  // Each suffix wraps what came before: the chain's length counts as depth, as readers of the tree recurse into it.
  Expression suffixes(Expression out, int depth) {
    for (;; ++depth) {
      if (depth > kMaxExpressionDepth) malformed("nested too deep");
      Expression outer;
      if (take('.')) {
        outer.kind = Expression::Kind::kProperty;
        outer.optional = take('?');
        outer.text = name();
        outer.parts.push_back(std::move(out));
      } else if (take('[')) {
        outer.kind = Expression::Kind::kIndex;
        outer.optional = take('?');
        outer.parts.push_back(std::move(out));
        outer.parts.push_back(argument(depth + 1));
        if (!take(']')) malformed("a bracket is missing");
      } else {
        return out;
      }
      out = std::move(outer);
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

void append(std::string& out, const Expression& expression) {
  switch (expression.kind) {
    case Expression::Kind::kString:
      out += '\'';
      for (char c : expression.text) {
        if (c == '\'') out += '\'';
        out += c;
      }
      out += '\'';
      return;
    case Expression::Kind::kInteger:
      out += std::to_string(expression.integer);
      return;
    case Expression::Kind::kCall:
      out += expression.text + "(";
      for (std::size_t i = 0; i < expression.parts.size(); ++i) {
        if (i > 0) out += ", ";
        append(out, expression.parts[i]);
      }
      out += ')';
      return;
    case Expression::Kind::kProperty:
      append(out, expression.parts[0]);
      out += expression.optional ? ".?" : ".";
      out += expression.text;
      return;
    case Expression::Kind::kIndex:
      append(out, expression.parts[0]);
      out += expression.optional ? "[?" : "[";
      append(out, expression.parts[1]);
      out += ']';
      return;
  }
}

}  // namespace

bool is_expression(std::string_view text) {
  return text.size() >= 2 && text.front() == '[' && text[1] != '[' && text.back() == ']';
}

std::string literal_text(std::string_view text) {
  return std::string(text.starts_with("[[") ? text.substr(1) : text);
}

std::string escaped_literal(std::string_view text) {
  return text.starts_with('[') ? "[" + std::string(text) : std::string(text);
}

Expression parse_expression(std::string_view text) {
  if (!is_expression(text)) throw Error("expression_malformed", "an expression stands between brackets");
  if (text.size() > kMaxExpressionBytes) throw Error("expression_malformed", "an expression is too long");
  return Parser(text.substr(1, text.size() - 2)).whole();
}

std::string to_text(const Expression& expression) {
  std::string out = "[";
  append(out, expression);
  return out + "]";
}

bool is_call(const Expression& expression, std::string_view function) {
  return expression.kind == Expression::Kind::kCall && expression.text.size() == function.size() &&
         std::equal(function.begin(), function.end(), expression.text.begin(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

}  // namespace tb::azure
