// A storage account: what of the flags becomes which request is in azure/.
#include <fmt/format.h>

#include "azure/block_upload.h"
#include "azure/tenant_stores.h"
#include "base/clock.h"
#include "cli/asset_store.h"
#include "cli/interrupt.h"

namespace tb::cli {
namespace {

constexpr std::int64_t kNoteEveryMs = 5000;
constexpr const char* kNoBlob = "trustbridge-is-it-there";

StoredBlob stored(const azure::UploadedBlob& blob) {
  return {.url = blob.url,
          .etag = blob.etag,
          .sha256 = blob.sha256,
          .bytes = blob.bytes,
          .sent_bytes = blob.sent_bytes,
          .blocks_sent = blob.blocks_sent,
          .blocks_skipped = blob.blocks_skipped,
          .already_there = blob.already_there};
}

class AzureStore final : public AssetStore {
 public:
  AzureStore(const StoreFlags& flags, const Settings& settings, const Console& console) : console_(console) {
    const auto environment = [](const std::string& name) { return process_environment(name.c_str()); };
    azure::AccessFlags access{.auth = flags.auth,
                              .account_key_file = flags.account_key_file,
                              .sas_file = flags.sas_file,
                              .account = flags.storage_account,
                              .endpoint = flags.endpoint,
                              .ca_path = settings.ca_path};
    if (access.account.empty()) access.account = environment("AZURE_STORAGE_ACCOUNT").value_or("");
    if (access.account.empty() && environment("AZURE_STORAGE_CONNECTION_STRING").value_or("").empty()) {
      throw Error("usage", "no store is named")
          .with_hint("give --storage-account NAME (or AZURE_STORAGE_ACCOUNT, or a connection string), or --store");
    }
    std::string container = flags.container;
    if (container.empty()) container = environment("AZURE_STORAGE_CONTAINER").value_or("");
    if (container.empty()) container = "models";
    const auto place = azure::parse_place(fmt::format("azure:account/{}/{}", container, flags.prefix), false);
    if (!place) {
      throw Error("usage",
                  "--container or --prefix cannot stand: 3 to 63 lower-case letters, digits and - for the one, "
                  "letters, digits and -_./ for the other");
    }
    prefix_ = place->prefix.empty() ? "" : place->prefix + "/";
    access_ = azure::StoreAccess::choose(access, environment);
    console_.note("with " + access_->how());

    options_.overwrite = flags.replace;
    options_.block_bytes = std::uint64_t{flags.block_mib} << 20;
    options_.send.parallel = flags.parallel;
    if (flags.max_bytes_per_second > 0) {
      options_.send.limit = std::make_shared<async::RateLimit>(flags.max_bytes_per_second);
    }
    meet(container, flags.create_container);
    service_ = std::make_unique<azure::BlockService>(*access_, container, service_options());
  }

  std::string place(const std::string& asset_id) const override { return service_->url(ciphertext(asset_id)); }

  Uploaded upload(const LocalAsset& asset) override {
    const std::string& id = asset.manifest.asset_id();
    // Before anything is sent: what cannot come last in the end.
    azure::standing_of(*service_, manifest(id), asset.manifest_text.size(), sha256_hex(asset.manifest_text),
                       options_.overwrite);
    azure::UploadedBlob first;
    {
      Progress progress(console_, "upload", asset.source.size());
      azure::BlobUploadOptions options = options_;
      options.send.progress = [&](std::uint64_t done) { progress.update(done); };
      first = azure::upload_file(*service_, ciphertext(id), asset.source, asset.manifest.sha256_ciphertext(), options);
    }
    if (first.already_there) console_.note(first.url + " is there already, with the same content");
    if (first.blocks_skipped > 0) {
      console_.note(fmt::format("resumed: {} of {} blocks were there", first.blocks_skipped,
                                first.blocks_skipped + first.blocks_sent));
    }
    return {id, stored(first), put_manifest(id, asset.manifest_text)};
  }

  std::unique_ptr<CiphertextStream> stream(const std::string& asset_id, std::uint64_t total_bytes) override {
    azure::standing_of(*service_, manifest(asset_id), 0, "", options_.overwrite);
    const auto standing = azure::standing_of(*service_, ciphertext(asset_id), total_bytes, "", options_.overwrite);
    return std::make_unique<Stream>(*service_, ciphertext(asset_id), total_bytes, options_, standing.precondition);
  }

  std::optional<StoredBlob> find(const std::string& asset_id, std::uint64_t bytes, const std::string& sha256) override {
    const auto state = service_->state(ciphertext(asset_id));
    if (!state || state->bytes != bytes || state->sha256 != sha256) return std::nullopt;
    return StoredBlob{
        .url = place(asset_id), .etag = state->etag, .sha256 = sha256, .bytes = bytes, .already_there = true};
  }

  StoredBlob put_manifest(const std::string& asset_id, const std::string& text) override {
    return stored(azure::upload_text(*service_, manifest(asset_id), text, options_.overwrite));
  }

 private:
  class Stream final : public CiphertextStream {
   public:
    Stream(azure::BlockService& service, const std::string& blob, std::uint64_t total,
           const azure::BlobUploadOptions& options, azure::Precondition precondition)
        : blocks_(service, blob, total, options), precondition_(std::move(precondition)) {}
    Result<> write(ByteView bytes) override { return blocks_.write(bytes); }
    void finish() override { blocks_.finish(); }
    StoredBlob commit(const std::string& sha256) override { return stored(blocks_.commit(sha256, precondition_)); }

   private:
    azure::BlockStream blocks_;
    azure::Precondition precondition_;
  };

  std::string ciphertext(const std::string& id) const { return prefix_ + id + "/" + std::string(kCiphertextName); }
  std::string manifest(const std::string& id) const { return prefix_ + id + "/" + std::string(kManifestName); }

  azure::ServiceOptions service_options() {
    azure::ServiceOptions options;
    options.stop = stop_.token();
    options.on_wait = [this](const Error& why, std::int64_t wait_ms) {
      // All connections wait for the same reason: one of them says so.
      std::int64_t last = noted_at_ms_, now = boot_ms_now();
      if (now - last < kNoteEveryMs || !noted_at_ms_.compare_exchange_strong(last, now)) return;
      console_.note(fmt::format("{}: trying again in {}", printable(why.message),
                                human_seconds(static_cast<std::uint64_t>(wait_ms + 999) / 1000)));
    };
    return options;
  }

  /// False only where it may be made: whoever may write blobs may seldom make a container, too.
  static bool is_there(azure::BlockService& service, bool may_be_made) {
    try {
      service.state(kNoBlob);
      return true;
    } catch (const Error& error) {
      if (!may_be_made || error.reason != "container_not_found") throw;
      return false;
    }
  }

  /// The first request, with little patience: a name that was mistyped should not look like a store that is slow.
  void meet(const std::string& container, bool create) {
    azure::ServiceOptions options = service_options();
    options.backoff = {.first_ms = 500, .attempts = 3};
    azure::BlockService service(*access_, container, options);
    try {
      if (!is_there(service, create)) {
        if (service.create_container()) console_.note("made the container " + container);
        service.state(kNoBlob);
      }
    } catch (const Error& error) {
      if (error.reason != "network_unreachable") throw;
      throw Error(error.reason, error.message, error)
          .with_hint(
              "is the account's name right (--storage-account), and is it reachable from here (firewall, private "
              "endpoint)?");
    }
  }

  Console console_;
  const StopOnInterrupt stop_;
  std::atomic<std::int64_t> noted_at_ms_ = -kNoteEveryMs;
  std::string prefix_;
  azure::BlobUploadOptions options_;
  std::unique_ptr<azure::StoreAccess> access_;
  std::unique_ptr<azure::BlockService> service_;
};

}  // namespace

std::unique_ptr<AssetStore> open_azure_store(const StoreFlags& flags, const Settings& settings,
                                             const Console& console) {
  return std::make_unique<AzureStore>(flags, settings, console);
}

}  // namespace tb::cli
