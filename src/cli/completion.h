// Shell completion, printed from the command tree: nothing to keep in step by hand.
#pragma once

#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace tb::cli {

/// The script for "bash", "zsh" or "fish"; throws "usage" for another shell.
std::string completion_script(const CLI::App& root, std::string_view shell);

}  // namespace tb::cli
