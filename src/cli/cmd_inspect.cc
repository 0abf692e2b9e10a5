// inspect: what is in an asset, without decrypting the rest of it.
#include "cli/command.h"
#include "cli/inspect.h"

namespace tb::cli {
namespace {

struct Flags {
  InspectOptions options;
  std::string positional, in;
};

void inspect(Flags& flags, const Console& console) {
  flags.options.in = positional_or_flag(flags.positional, flags.in, "--in");
  const Inspection inspection = inspect_asset(flags.options);
  console.result(to_json(inspection), to_text(inspection));
}

}  // namespace

void add_inspect(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  InspectOptions& o = flags->options;
  const Command command = add_command(root, context, "inspect", "show header, manifest, files, tensors and metadata",
                                      "trustbridge inspect model.tbenc --key-file model.tbenc.key --json");
  command.add_option("file", flags->positional, "ciphertext").type_name("FILE");
  command.add_option("--in", flags->in, "the same, as a flag").type_name("FILE");
  command.add_option("--key-file", o.key_file, "file key, or - for standard input: shows tensors and metadata too")
      .type_name("FILE");
  add_manifest_flags(command, o.manifest);
  command.callback([&context, flags] { context.action = [&context, flags] { inspect(*flags, context.console); }; });
}

}  // namespace tb::cli
