// encrypt: a file, a model directory or a GGUF to ciphertext, manifest and key.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/encrypt.h"
#include "cli/encrypt_upload.h"
#include "cli/store_flags.h"

namespace tb::cli {
namespace {

struct Flags {
  EncryptOptions options;
  std::string positional, in;
  std::int64_t version = 0;
  bool finetune = false, no_finetune = false;
  bool upload = false;
  StoreFlags store;
  SettingFlags settings;
};

bool names_a_store(const StoreFlags& s) {
  return !(s.store + s.storage_account + s.container + s.prefix + s.endpoint + s.auth + s.account_key_file +
           s.sas_file + s.authorization_file)
              .empty() ||
         s.create_container || s.replace || s.block_mib != 0 || s.max_bytes_per_second != 0;
}

void encrypt(Flags& flags, Command command, const Console& console) {
  flags.options.in = positional_or_flag(flags.positional, flags.in, "--in");
  flags.options.allow_finetune = !flags.no_finetune;
  if (command.count("--model-version") > 0) flags.options.version = flags.version;
  if (!flags.upload && names_a_store(flags.store)) throw usage_error("the flags of a store need --upload");
  Json uploaded;
  const EncryptedAsset asset = [&] {
    if (!flags.upload) return encrypt_asset(flags.options, console);
    const auto store = open_store(flags.store, flags.settings, console);
    SentAsset sent = encrypt_and_upload(flags.options, *store, console);
    uploaded = uploaded_json(sent.uploaded);
    return std::move(sent.encrypted);
  }();
  Json result = Json::object();
  result.set("asset_id", asset.manifest.asset_id());
  result.set("ciphertext", asset.ciphertext);
  result.set("manifest", asset.manifest_file);
  result.set("key_file", asset.key_file);
  result.set("key_made", asset.key_is_new);
  result.set("files", static_cast<std::uint64_t>(asset.files));
  result.set("plaintext_bytes", asset.manifest.plaintext_bytes());
  result.set("ciphertext_bytes", asset.manifest.layout().ciphertext_bytes());
  result.set("chunk_bytes", asset.manifest.chunk_bytes());
  result.set("sha256_ciphertext", asset.manifest.sha256_ciphertext());
  result.set("manifest_sha256", asset.manifest.sha256());
  result.set("signed", !asset.manifest.signatures().empty());
  if (!uploaded.is_null()) {
    for (const char* member : {"blob_urls", "blobs"}) result.set(member, *uploaded.find(member));
  }
  if (!asset.oms_bundle.empty()) result.set("oms_bundle", asset.oms_bundle);
  std::string files = fmt::format("{}\n{}\n{}\n", asset.ciphertext, asset.manifest_file, asset.key_file);
  if (!asset.oms_bundle.empty()) files += asset.oms_bundle + "\n";
  console.result(result, files);
  console.note(fmt::format("encrypted {} of {} as {}", human_bytes(asset.manifest.plaintext_bytes()), flags.options.in,
                           flags.options.asset_id));
  if (asset.key_is_new) console.note(fmt::format("made the key {}: keep it apart from the ciphertext", asset.key_file));
}

}  // namespace

void add_encrypt(Command root, Context& context) {
  auto flags = std::make_shared<Flags>();
  EncryptOptions& o = flags->options;
  const Command command = add_command(root, context, "encrypt", "encrypt a file or a model directory",
                                      "trustbridge encrypt ./llama-3-8b --asset-id llama-3-8b-v1 --out model.tbenc");
  command.add_option("path", flags->positional, "file, GGUF or Hugging Face style directory").type_name("PATH");
  command.add_option("--in", flags->in, "the same, as a flag").type_name("PATH");
  command.add_option("--asset-id", o.asset_id, "name of the asset: letters, digits, _ and -")
      .required()
      .type_name("ID");
  command.add_option("-o,--out", o.out, "ciphertext, or a directory for it").type_name("FILE").shows_default();
  command.add_option("--manifest", o.manifest, "manifest [beside the ciphertext, .manifest.json]").type_name("FILE");
  command.add_option("--key-file", o.key_file, "file key, made if absent [<out>.key]; one key serves one encryption")
      .type_name("FILE");
  command.add_option("--sign-key", o.sign_key, "sign the manifest with this key of keygen --signing").type_name("FILE");
  command.add_option("--oms-key", o.oms.key, "sign the model's files too, as OpenSSF Model Signing: EC key, PEM, 0600")
      .type_name("FILE");
  command
      .add_option("--oms-certificates", o.oms.certificates, "name the signer by this chain, PEM, the key's own first")
      .type_name("FILE");
  command.add_option("--oms-bundle", o.oms.bundle, "where the signature goes [beside the ciphertext, .sig]")
      .type_name("FILE");
  command.add_option("--chunk-bytes", o.chunk_bytes, "plaintext bytes of a chunk, 1024 to 67108864")
      .type_name("N")
      .shows_default();
  command.add_option("--model-version", flags->version, "number that grows with every ciphertext of the model")
      .type_name("N")
      .not_negative();
  const Option on =
      command.add_flag("--allow-finetune", flags->finetune, "let consumers train adapters on this model [this]");
  const Option off =
      command.add_flag("--no-allow-finetune", flags->no_finetune, "do not let consumers train adapters on this model");
  on.excludes(off);
  command.add_flag("--allow-pickle", o.allow_pickle, "accept pickle weights (.bin, .pt, .pkl)");
  command.add_flag("--plaintext-hashes", o.plaintext_hashes,
                   "put SHA-256s of the plaintext into the manifest (slower)");
  command.add_option("-j,--jobs", o.jobs, "threads [all cores]").type_name("N").between(1, 1024);
  command.add_flag("-f,--force", o.force, "replace ciphertext and manifest if they exist (never a key)");
  command.add_flag("--upload", flags->upload, "send it to a store while it is made, with no ciphertext on this disk")
      .group("Store");
  add_store_flags(command, flags->store);
  command.add_flag("--overwrite", flags->store.replace, "replace blobs that hold other content").group("Store");
  add_control_plane_flags(command, flags->settings);
  command.callback([&context, command, flags] {
    context.action = [&context, command, flags] { encrypt(*flags, command, context.console); };
  });
}

}  // namespace tb::cli
