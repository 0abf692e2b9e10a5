#include "sentinel/fetch_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <future>
#include <optional>

#include "base/clock.h"
#include "base/fs.h"
#include "blob/http_source.h"
#include "deliver/guard.h"
#include "hydrate/cache_files.h"
#include "hydrate/hydration.h"
#include "sentinel/config_digest.h"
#include "sentinel/evidence.h"
#include "sentinel/expectation.h"
#include "sentinel/hw_id.h"
#include "sentinel/lease_keeper.h"
#include "sentinel/model_uri.h"
#include "sentinel/provision.h"
#include "sentinel/signals.h"

namespace tb::sentinel {
namespace {

constexpr std::chrono::milliseconds kTick{50};
constexpr std::int64_t kLogMs = 10'000;
constexpr mode_t kOthersMayRead = 0644;  ///< it is ciphertext, and the sentinel that reads it may be another user

struct Task {
  Config config;
  ModelUri uri;
  std::string directory;
  std::string part(std::string_view name) const { return fmt::format("{}/{}", directory, name); }
  /// What has come so far, until it has its name.
  std::string unfinished() const { return part(".trustbridge-fetch"); }
};

/// The settings of the environment and of the flags; what the URI says, and what only serving needs, is filled in.
Environment fetch_environment(const ModelUri& uri) {
  return [uri, outer = process_environment()](std::string_view name) -> std::optional<std::string> {
    if (name == "TB_CONTRACT_ID") return uri.contract_id;
    if (name == "TB_ASSET_ID") return uri.asset_id;
    if (name == "TB_ALLOW_SHARED_UID") return "true";
    return outer(name);
  };
}

Task task_of(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) throw Error("config_invalid", "fetch needs trustbridge://CONTRACT/ASSET and a directory");
  Task task{.uri = parse_model_uri(arguments[0]), .directory = arguments[1]};
  while (task.directory.size() > 1 && task.directory.ends_with('/')) task.directory.pop_back();
  if (!task.directory.starts_with('/')) throw Error("config_invalid", "the directory must be an absolute path");
  std::vector<std::string> faults;
  const Settings settings =
      resolve_settings({arguments.begin() + 2, arguments.end()}, fetch_environment(task.uri), faults);
  task.config = make_config(settings, faults);
  if (task.config.source) faults.emplace_back("TB_SOURCE: fetch brings what that setting reads");
  if (task.config.contract_id != task.uri.contract_id || task.config.asset_id != task.uri.asset_id) {
    faults.emplace_back("the URI and the flags name different things");
  }
  std::string story;
  for (const std::string& fault : faults) story += (story.empty() ? "" : "; ") + fault;
  if (!story.empty()) throw Error("config_invalid", story);
  return task;
}

/// The manifest gets its name last: with it all is there.
bool is_there(const Task& task) {
  const auto text = read_small_file(task.part(blob::Folder::kManifestName), asset::kMaxManifestBytes);
  if (!text) return false;
  const auto manifest = asset::Manifest::parse(*text);
  if (!manifest || manifest->asset_id() != task.uri.asset_id) {
    throw Error("output_exists", task.directory + " holds the manifest of something else");
  }
  const auto file = open_file(task.part(blob::Folder::kCiphertextName), O_RDONLY);
  if (!file) return false;
  const auto size = file_size(file->get(), "ciphertext");
  return size && *size == manifest->layout().ciphertext_bytes();
}

/// Renewed while it is needed, given back at the end.
class HeldLicence {
 public:
  HeldLicence(const Task& task, std::string_view version, const obs::Log& log, std::stop_token stop)
      : control_plane_({.ca_path = task.config.ca_path,
                        .client_cert_path = task.config.client_cert_path,
                        .client_key_path = task.config.client_key_path,
                        .user_agent = fmt::format("trustbridge-sentinel/{}", version),
                        .policy = http::AddressPolicy::configured(task.config.allow_insecure_http)}),
        key_(jose::PrivateKey::generate()),
        authorizer_({task.config.control_plane_url, task.config.contract_id, task.config.asset_id,
                     hw_id({task.config.hw_id_file}), std::string(version), task.config.activation_token_file,
                     task.config.plain_key_allowed, task.config.control_plane_key},
                    key_, [this](const http::ClientRequest& request) { return control_plane_.send(request); }) {
    if (auto prover = make_prover(task.config)) {
      authorizer_.use_evidence(evidence_.emplace(std::move(prover), config_digest(task.config)));
    }
    granted_ = authorizer_.authorize(stop);
    const Lease& lease = granted_->lease;
    const auto end = lease.urls_expire_boot_ms;
    urls_ = std::make_shared<blob::UrlProvider>(blob::DatedUrl(lease.sas_url.clone(), end),
                                                [this, stop] { return keeper_->renew_url(stop); });
    manifest_urls_ = std::make_shared<blob::UrlProvider>(blob::DatedUrl(lease.manifest_url.clone(), end),
                                                         [this, stop] { return keeper_->renew_manifest_url(stop); });
    keeper_.emplace(authorizer_, lease, [urls = urls_](blob::DatedUrl url) { urls->replace(std::move(url)); }, log);
  }
  ~HeldLicence() {
    if (!keeper_) return;
    const std::string id = keeper_->lease_id();
    keeper_.reset();
    authorizer_.release(id);
  }
  HeldLicence(const HeldLicence&) = delete;
  HeldLicence& operator=(const HeldLicence&) = delete;

  const Lease& lease() const { return granted_->lease; }
  FileKey& key() { return granted_->key; }
  std::shared_ptr<blob::UrlProvider> urls() const { return urls_; }
  blob::UrlProvider& manifest_urls() const { return *manifest_urls_; }
  void check() const { keeper_->check(); }

 private:
  http::Client control_plane_;
  jose::PrivateKey key_;
  Authorizer authorizer_;
  std::optional<EvidenceMaker> evidence_;
  std::optional<Authorization> granted_;
  std::shared_ptr<blob::UrlProvider> urls_, manifest_urls_;
  std::optional<LeaseKeeper> keeper_;
};

hydrate::AuthenticatedManifest authenticated(const Task& task, const HeldLicence& licence, const FileKey& key,
                                             std::string_view text) {
  asset::Expectation expected = expectation_of(task.config, licence.lease());
  expected.key = &key;
  return value_or_throw(hydrate::authenticate_manifest(text, expected));
}

/// Everything into the unfinished directory, each record verified.
void bring(const Task& task, hydrate::Hydration& hydration, const HeldLicence& licence, const obs::Log& log,
           const std::stop_token& stop) {
  std::stop_source ended;
  auto work = std::async(std::launch::async, [&hydration, token = ended.get_token()] {
    hydration.prepare(true, token);
    hydration.verify(nullptr, token);
  });
  std::int64_t logged = boot_ms_now();
  try {
    while (work.wait_for(kTick) != std::future_status::ready) {
      if (stop.stop_requested()) throw Error("cancelled", "stopped");
      licence.check();
      if (boot_ms_now() - logged < kLogMs) continue;
      logged = boot_ms_now();
      const hydrate::Progress at = hydration.progress();
      log.info("fetching",
               {{"uri", to_text(task.uri)}, {"bytes", at.bytes}, {"total", at.total}, {"retries", at.retries}});
    }
  } catch (...) {
    ended.request_stop();
    work.wait();
    throw;
  }
  work.get();
}

/// A name, and others' right to read it, only once the bytes are safe.
void publish(const std::string& from, const std::string& to) {
  const Fd file = value_or_throw(open_file(from, O_RDONLY));
  if (fsync(file.get()) != 0 || fchmod(file.get(), kOthersMayRead) != 0 || rename(from.c_str(), to.c_str()) != 0) {
    throw error_from_errno(errno, to);
  }
}

}  // namespace

int fetch_command(const std::vector<std::string>& arguments, std::string_view version) {
  const Task task = task_of(arguments);
  const obs::Log log = obs::Log::to_stderr(task.config.log_level).named("fetch");
  value_or_throw(deliver::forbid_core_dumps());
  value_or_throw(make_directories(task.directory, 0755));
  if (is_there(task)) return log.info("everything is there already", {{"uri", to_text(task.uri)}}), 0;
  const std::stop_source source;
  stop_on_signals(source);
  const std::stop_token stop = source.get_token();

  http::ClientConfig to_blobs{.ca_path = task.config.ca_path,
                              .user_agent = fmt::format("trustbridge-sentinel/{}", version)};
  to_blobs.policy = http::AddressPolicy::from_network(
      task.config.control_plane_is_loopback, task.config.allow_private_networks, task.config.allow_insecure_http);
  http::Client blobs(to_blobs);
  HeldLicence licence(task, version, log, stop);
  FileKey key = std::move(licence.key());
  const std::string text = hydrate::fetch_manifest(blobs, licence.manifest_urls(), {}, stop);
  const auto asset = authenticated(task, licence, key, text);
  const std::string kept = hydrate::ciphertext_file_name(asset.manifest.sha256());
  hydrate::Progress at;
  {
    blob::HttpSource from(blobs, licence.urls());
    hydrate::Options options = hydrate_options(task.config);
    options.cache = hydrate::CacheKind::kDisk;
    options.cache_directory = task.unfinished();
    hydrate::Hydration hydration(options, asset, std::move(key), from);
    bring(task, hydration, licence, log, stop);
    at = hydration.progress();
  }
  publish(task.unfinished() + "/" + kept, task.part(blob::Folder::kCiphertextName));
  value_or_throw(write_file_atomically(task.part(blob::Folder::kManifestName), text, kOthersMayRead, true));
  std::error_code ignored;
  std::filesystem::remove_all(task.unfinished(), ignored);
  log.info("fetched and verified", {{"uri", to_text(task.uri)},
                                    {"bytes", at.total},
                                    {"from_cache_bytes", at.from_cache_bytes},
                                    {"retries", at.retries},
                                    {"proof", asset.proofs()}});
  return 0;
}

}  // namespace tb::sentinel
