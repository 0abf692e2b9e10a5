#include "cli/command_line.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <optional>

namespace tb::cli {
namespace {

constexpr std::size_t kNear = 2;

// Levenshtein's distance.
std::size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row.back();
}

}  // namespace

Option Option::type_name(const std::string& name) const {
  return Option(option_->type_name(name));
}
Option Option::group(const std::string& heading) const {
  return Option(option_->group(heading));
}
Option Option::required() const {
  return Option(option_->required());
}
Option Option::excludes(const Option& other) const {
  return Option(option_->excludes(other.option_));
}
Option Option::shows_default() const {
  return Option(option_->capture_default_str());
}
Option Option::takes_one() const {
  return Option(option_->allow_extra_args(false));
}
Option Option::takes_just_one() const {
  return Option(option_->expected(1));
}
Option Option::value_may_be_left_out() const {
  return Option(option_->expected(0, 1));
}
Option Option::split_at(char delimiter) const {
  return Option(option_->delimiter(delimiter));
}
// Without descriptions: --help says the bounds in words.
Option Option::between(std::uint64_t least, std::uint64_t most) const {
  return Option(option_->check(CLI::Range(least, most).description("")));
}
Option Option::not_negative() const {
  const auto refuse = [](const std::string& text) {
    return text.starts_with('-') ? fmt::format("{} is less than 0", text) : std::string();
  };
  return Option(option_->check(refuse, ""));
}
Option Option::one_of(const std::vector<std::string>& words) const {
  return Option(option_->check(CLI::IsMember(words).description("")));
}
std::size_t Option::count() const {
  return option_->count();
}

template <typename Value>
Option Command::add_option(const std::string& name, Value& value, const std::string& text) const {
  return Option(app_->add_option(name, value, text));
}
template Option Command::add_option(const std::string&, std::string&, const std::string&) const;
template Option Command::add_option(const std::string&, std::vector<std::string>&, const std::string&) const;
template Option Command::add_option(const std::string&, unsigned&, const std::string&) const;
template Option Command::add_option(const std::string&, std::int64_t&, const std::string&) const;
template Option Command::add_option(const std::string&, std::uint64_t&, const std::string&) const;
template Option Command::add_option(const std::string&, std::optional<std::string>&, const std::string&) const;
template Option Command::add_option(const std::string&, std::optional<std::int64_t>&, const std::string&) const;

Option Command::add_flag(const std::string& name, bool& value, const std::string& text) const {
  return Option(app_->add_flag(name, value, text));
}
Command Command::add_subcommand(const std::string& name, const std::string& text) const {
  return Command(*app_->add_subcommand(name, text));
}
bool Command::has_subcommand(const std::string& name) const {
  return !app_->get_subcommands([&](const CLI::App* app) { return app->get_name() == name; }).empty();
}
void Command::require_subcommand() const {
  app_->require_subcommand(1);
}
void Command::group(const std::string& heading) const {
  app_->group(heading);
}
void Command::footer(const std::string& text) const {
  app_->footer(text);
}
void Command::callback(std::function<void()> chosen) const {
  app_->callback(std::move(chosen));
}

std::size_t Command::count(const std::string& name) const {
  return app_->count(name);
}

std::string nearest_command(const CLI::App& app, std::string_view word) {
  std::string nearest;
  std::size_t best = kNear + 1;
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    const std::size_t edits = edits_between(command->get_name(), word);
    if (edits < best) {
      best = edits;
      nearest = command->get_name();
    }
  }
  return nearest;
}

}  // namespace tb::cli
