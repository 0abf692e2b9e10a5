// Commands and their options: CLI11 behind handles. The only header of it that the commands see, because its own costs
// each file that includes it several seconds of compiling.
//
// A handle is a pointer into the tree that main() owns: it is copied, and never kept longer than that.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace tb::cli {

/// One flag, option or positional argument. Each setter gives the option back, to go on with the next.
class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  /// What stands for its value in --help, as "FILE".
  Option type_name(const std::string& name) const;
  /// Its heading in --help.
  Option group(const std::string& heading) const;
  Option required() const;
  Option excludes(const Option& other) const;
  /// The value that its variable has now is shown in --help.
  Option shows_default() const;
  /// Of several: one value each time it is given, so that a positional may follow.
  Option takes_one() const;
  /// Of several: one in all.
  Option takes_just_one() const;
  /// It may stand without a value.
  Option value_may_be_left_out() const;
  Option split_at(char delimiter) const;
  Option between(std::uint64_t least, std::uint64_t most) const;
  Option not_negative() const;
  Option one_of(const std::vector<std::string>& words) const;
  /// How often it was given; known once the command runs.
  std::size_t count() const;

 private:
  CLI::Option* option_;
};

class Command {
 public:
  explicit Command(CLI::App& app) : app_(&app) {}

  /// `value` is written when the option is given. For the types that command_line.cc instantiates it for.
  template <typename Value>
  Option add_option(const std::string& name, Value& value, const std::string& text) const;
  Option add_flag(const std::string& name, bool& value, const std::string& text) const;
  Command add_subcommand(const std::string& name, const std::string& text) const;
  bool has_subcommand(const std::string& name) const;
  /// One of its subcommands must be given.
  void require_subcommand() const;
  void group(const std::string& heading) const;
  /// Below its --help.
  void footer(const std::string& text) const;
  /// Called when it was chosen and parsed.
  void callback(std::function<void()> chosen) const;
  /// How often the option of this name was given; known once the command runs.
  std::size_t count(const std::string& name) const;
  const CLI::App& app() const { return *app_; }

 private:
  CLI::App* app_;
};

/// The subcommand whose name is at most two edits from `word`; empty if there is none.
std::string nearest_command(const CLI::App& app, std::string_view word);

}  // namespace tb::cli
