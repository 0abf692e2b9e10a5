// trustbridge: the provider's command line. Parses, runs the chosen command, and turns whatever it throws into an
// exit status by the error table.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <string_view>
#include <vector>

#include "cli/command.h"
#include "cli/interrupt.h"

namespace tb::cli {
namespace {

constexpr int kInternal = 1;

// CLI11's sentences in our voice: lower case, one line, no full stop.
std::string in_our_voice(std::string text) {
  if (text.size() > 1 && std::isupper(static_cast<unsigned char>(text[1])) == 0) {
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == '.')) text.pop_back();
  return text;
}

const CLI::App* chosen(const CLI::App* app) {
  while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
  return app;
}

std::string command_words(const CLI::App* app) {
  std::string words = app->get_name();
  for (const CLI::App* up = app->get_parent(); up != nullptr; up = up->get_parent())
    words = up->get_name() + " " + words;
  return words;
}

// What was wrong with the command line; a word that is no command gets the nearest one as a suggestion.
Error usage_fault(const CLI::App& root, const CLI::ParseError& fault) {
  const CLI::App* at = chosen(&root);
  const std::string help = fmt::format("see {} --help", command_words(at));
  const std::vector<std::string> rest = at->remaining();
  const auto word = std::ranges::find_if(rest, [](const std::string& text) { return !text.starts_with('-'); });
  if (at->get_require_subcommand_min() == 0) return Error("usage", in_our_voice(fault.what())).with_hint(help);
  if (word == rest.end()) return Error("usage", "a command is required").with_hint(help);
  const std::string near = nearest_command(*at, *word);
  return Error("usage", fmt::format("{} has no command {}", command_words(at), *word))
      .with_hint(near.empty() ? help : fmt::format("did you mean {} {}?", command_words(at), near));
}

void shape_help(CLI::App& root) {
  root.set_help_flag("-h,--help", "print this help and exit");
  root.set_version_flag("--version", "trustbridge " TB_VERSION, "print the version and exit");
  root.get_formatter()->column_width(34);
  root.get_formatter()->label("REQUIRED", "(required)");
  root.get_formatter()->label("SUBCOMMAND", "COMMAND");
  root.get_formatter()->label("Positionals", "Arguments");
}

int run(int argc, char** argv) {
  Context context;
  CLI::App root("encrypt, license and ship model weights that run elsewhere and stay yours", "trustbridge");
  shape_help(root);
  root.require_subcommand(1);
  root.footer(
      "Example:\n  trustbridge encrypt ./my-model --asset-id my-model-v1 --out model.tbenc\n\n"
      "trustbridge COMMAND --help tells the rest.\n");
  add_commands(Command(root), context);
  try {
    root.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return root.exit(done);
  } catch (const CLI::ParseError& fault) {
    const std::vector<std::string_view> words(argv, argv + argc);
    context.console.json = std::ranges::find(words, "--json") != words.end();
    throw usage_fault(root, fault);
  }
  try {
    context.action();
    return context.exit_status;
  } catch (const Error& error) {
    if (error.reason != "usage" || !error.own_hint.empty()) {
      context.console.error(error);
    } else {
      context.console.error(Error(error).with_hint(fmt::format("see {} --help", command_words(chosen(&root)))));
    }
    return error.exit_status();
  }
}

}  // namespace
}  // namespace tb::cli

int main(int argc, char** argv) {
  tb::cli::watch_interrupts();
  try {
    return tb::cli::run(argc, argv);
  } catch (const tb::Error& error) {
    const std::vector<std::string_view> words(argv, argv + argc);
    tb::cli::Console console;
    console.json = std::ranges::find(words, "--json") != words.end();
    console.error(error);
    return error.exit_status();
  } catch (const std::exception& error) {
    tb::cli::Console().error(tb::Error("internal", error.what()));
    return tb::cli::kInternal;
  }
}
