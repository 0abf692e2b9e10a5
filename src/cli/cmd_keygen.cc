// keygen: a file key, an Ed25519 pair that signs manifests, or an EC pair that signs models.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/key_file.h"

namespace tb::cli {
namespace {

struct KeygenOptions {
  std::string out;
  bool signing = false;
  bool oms = false;
};

void keygen(const KeygenOptions& options, const Console& console) {
  Json result = Json::object();
  if (options.oms) {
    const oms::PublicKey key = make_oms_pair(options.out);
    result.set("private_key_file", options.out);
    result.set("public_key_file", options.out + ".pub");
    result.set("keyid", key.hint());
    console.result(result, fmt::format("{}\n{}.pub", options.out, options.out));
    return;
  }
  if (!options.signing) {
    make_key_file(options.out);
    result.set("key_file", options.out);
    console.result(result, fmt::format("{}", options.out));
    console.note("keep this file: without it nothing that it encrypts can be read again");
    return;
  }
  const Ed25519PublicKey key = make_signing_pair(options.out);
  result.set("private_key_file", options.out);
  result.set("public_key_file", options.out + ".pub");
  result.set("keyid", to_hex(sha256(ByteView(key))));
  console.result(result, fmt::format("{}\n{}.pub", options.out, options.out));
}

}  // namespace

void add_keygen(Command root, Context& context) {
  auto options = std::make_shared<KeygenOptions>();
  const Command command =
      add_command(root, context, "keygen", "make a file key, or a pair that signs manifests or models",
                  "trustbridge keygen --signing --out provider.key");
  command.add_option("-o,--out", options->out, "where the key goes; a file that exists is never replaced")
      .required()
      .type_name("FILE");
  const Option signing =
      command.add_flag("--signing", options->signing, "an Ed25519 pair for manifests: FILE (0600) and FILE.pub");
  command.add_flag("--oms", options->oms, "an EC P-256 pair for OpenSSF Model Signing, PEM: FILE (0600) and FILE.pub")
      .excludes(signing);
  command.callback(
      [&context, options] { context.action = [&context, options] { keygen(*options, context.console); }; });
}

}  // namespace tb::cli
