// decrypt: ciphertext back to the file or directory that it was.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/decrypt.h"

namespace tb::cli {
namespace {

struct Flags {
  DecryptOptions options;
  std::string positional, in;
};

void decrypt(Flags& flags, const Console& console) {
  DecryptOptions& options = flags.options;
  options.in = positional_or_flag(flags.positional, flags.in, "--in");
  if (options.out == "-" && console.json) throw usage_error("--json and --out - both want standard output");
  const DecryptedAsset asset = decrypt_asset(options, console);
  if (options.manifest.no_manifest) {
    console.warning(
        "the end of the file is not authenticated: without a manifest a cut between two chunks cannot be seen");
  } else if (!asset.manifest_authenticated) {
    console.warning("the manifest is not authenticated: only its SHA-256 of the ciphertext and the tags were checked");
  }
  if (asset.out == "-") return;
  Json result = Json::object();
  result.set("out", asset.out);
  if (!asset.asset_id.empty()) result.set("asset_id", asset.asset_id);
  result.set("plaintext_bytes", asset.plaintext_bytes);
  result.set("end_authenticated", asset.end_authenticated);
  result.set("manifest_authenticated", asset.manifest_authenticated);
  console.result(result, asset.out);
}

}  // namespace

void add_decrypt(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  DecryptOptions& o = flags->options;
  const Command command = add_command(root, context, "decrypt", "decrypt an asset to a file, a directory or a stream",
                                      "trustbridge decrypt model.tbenc --key-file model.tbenc.key --out ./model");
  command.add_option("file", flags->positional, "ciphertext, or - for standard input").type_name("FILE");
  command.add_option("--in", flags->in, "the same, as a flag").type_name("FILE");
  command.add_option("--key-file", o.key_file, "file key, or - for standard input").required().type_name("FILE");
  command.add_option("-o,--out", o.out, "file or directory to make, or - for standard output")
      .required()
      .type_name("PATH");
  add_manifest_flags(command, o.manifest);
  command.add_flag("--allow-unauthenticated-manifest", o.manifest.allow_unauthenticated,
                   "accept a manifest without mac; its SHA-256 is then checked");
  command.add_flag("--no-manifest", o.manifest.no_manifest, "decrypt without one: the end is then not authenticated");
  command.add_flag("--raw", o.raw, "write a directory's tar stream instead of unpacking it");
  command.add_option("-j,--jobs", o.jobs, "threads [all cores]").type_name("N").between(1, 1024);
  command.add_flag("-f,--force", o.force, "replace the output if it exists");
  command.callback([&context, flags] { context.action = [&context, flags] { decrypt(*flags, context.console); }; });
}

}  // namespace tb::cli
