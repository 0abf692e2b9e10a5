// verify: is this ciphertext whole, unchanged, and what its manifest says?
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command.h"
#include "cli/verify.h"

namespace tb::cli {
namespace {

struct Flags {
  VerifyOptions options;
  std::string positional, in;
};

std::string_view what_is_not_proven(const VerifyOptions& options) {
  if (options.manifest.no_manifest) {
    return "the end of the file is not authenticated: without a manifest a cut between two chunks cannot be seen";
  }
  if (!options.key_file.empty()) return "the manifest has no mac: nothing proves that it is the provider's";
  return "the manifest itself is not authenticated: give --key-file or --provider-key";
}

void verify(Flags& flags, const Console& console) {
  flags.options.in = positional_or_flag(flags.positional, flags.in, "--in");
  const Verified verified = verify_asset(flags.options, console);
  if (!verified.end_authenticated) {
    console.warning(what_is_not_proven(flags.options));
  }
  Json proofs = Json::array();
  for (const std::string& proof : verified.proofs) proofs.push(proof);
  Json result = Json::object();
  result.set("ok", true);
  if (!verified.asset_id.empty()) result.set("asset_id", verified.asset_id);
  result.set("proofs", std::move(proofs));
  result.set("end_authenticated", verified.end_authenticated);
  if (verified.ciphertext_bytes != 0) result.set("ciphertext_bytes", verified.ciphertext_bytes);
  result.set("plaintext_bytes", verified.plaintext_bytes);
  if (verified.ciphertext_bytes != 0) result.set("chunks", verified.chunks);
  if (verified.oms) {
    Json oms = Json::object();
    oms.set("subject", verified.oms->subject);
    oms.set("files", static_cast<std::uint64_t>(verified.oms->files));
    result.set("oms", std::move(oms));
  }
  const std::string parts = verified.oms && verified.ciphertext_bytes == 0
                                ? fmt::format("{} files", verified.oms->files)
                                : fmt::format("{} chunks", verified.chunks);
  console.result(result, fmt::format("ok: {} ({}, {})", fmt::join(verified.proofs, ", "), parts,
                                     human_bytes(verified.plaintext_bytes)));
}

}  // namespace

void add_verify(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  VerifyOptions& o = flags->options;
  const Command command =
      add_command(root, context, "verify", "prove an asset whole and unchanged, with or without its key",
                  "trustbridge verify model.tbenc --key-file model.tbenc.key");
  command.add_option("file", flags->positional, "ciphertext, or a model directory with --oms-key").type_name("FILE");
  command.add_option("--in", flags->in, "the same, as a flag").type_name("FILE");
  command.add_option("--key-file", o.key_file, "file key, or - for standard input: every tag, the mac and the content")
      .type_name("FILE");
  add_manifest_flags(command, o.manifest);
  command
      .add_option("--oms-key", o.oms.key,
                  "hold the plaintext against its OpenSSF Model Signing bundle, of this EC public key")
      .type_name("FILE");
  command.add_option("--oms-ca", o.oms.ca, "the same for a bundle by certificate: authorities that are trusted, PEM")
      .type_name("FILE");
  command.add_option("--oms-bundle", o.oms.bundle, "the bundle [.sig beside the file, model.sig in a directory]")
      .type_name("FILE");
  command.add_flag("--plaintext", o.plaintext, "the file is the model itself and not a ciphertext");
  command.add_flag("--no-manifest", o.manifest.no_manifest, "check the tags alone: the end is then not authenticated");
  command.add_option("-j,--jobs", o.jobs, "threads [all cores]").type_name("N").between(1, 1024);
  command.callback([&context, flags] { context.action = [&context, flags] { verify(*flags, context.console); }; });
}

}  // namespace tb::cli
