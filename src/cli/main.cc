// trustbridge: the provider's command line. Parses, runs the chosen command, and turns whatever it throws into an
// exit status by the error table.
#include <fmt/format.h>

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
  if (!text.empty() && text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])) != 0) {
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
  for (const CLI::App* up = app->get_parent(); up != nullptr; up = up->get_parent()) words = up->get_name() + " " + words;
  return words;
}

int run(int argc, char** argv) {
  Context context;
  CLI::App root("encrypt, license and ship model weights that run elsewhere and stay yours", "trustbridge");
  root.set_version_flag("--version", "trustbridge " TB_VERSION, "print the version and exit");
  root.require_subcommand(1);
  root.footer("Example:\n  trustbridge encrypt ./my-model --asset-id my-model-v1 --out model.tbenc\n\n"
              "trustbridge COMMAND --help tells the rest.");
  add_commands(root, context);
  try {
    root.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return root.exit(done);
  } catch (const CLI::ParseError& fault) {
    const std::vector<std::string_view> words(argv, argv + argc);
    context.console.json = std::ranges::find(words, "--json") != words.end();
    throw Error("usage", in_our_voice(fault.what()))
        .with_hint(fmt::format("see {} --help", command_words(chosen(&root))));
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
