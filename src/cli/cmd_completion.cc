// completion: the script that a shell reads.
#include "cli/command.h"
#include "cli/completion.h"

namespace tb::cli {

void add_completion(Command root, Context& context) {
  const Command command = root.add_subcommand("completion", "print the completion script of a shell");
  command.group("Commands");
  command.footer("Example:\n  trustbridge completion bash > ~/.local/share/bash-completion/completions/trustbridge\n");
  auto shell = std::make_shared<std::string>();
  command.add_option("shell", *shell, "bash, zsh or fish").required().type_name("SHELL");
  command.callback([root, &context, shell] {
    context.action = [root, &context, shell] { context.console.data(completion_script(root.app(), *shell)); };
  });
}

}  // namespace tb::cli
