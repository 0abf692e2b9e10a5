// One function a question.
#include "controlplane/doctor.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>

#include "azure/tenant_stores.h"
#include "base/crypto.h"
#include "controlplane/kek.h"
#include "store/open.h"

namespace tb::controlplane {
namespace {

using obs::Finding;
using obs::Health;

constexpr std::uint64_t kLeastDiskBytes = std::uint64_t{64} << 20;
constexpr std::uint64_t kGoodDiskBytes = std::uint64_t{1} << 30;
constexpr UnixMs kEarliestMs = 1767225600'000;  // 2026: before it no clock of a machine that runs this was right

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

std::optional<struct stat> stat_of(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? std::optional(info) : std::nullopt;
}

Finding mode(std::string name, const std::string& path) {
  const auto info = stat_of(path);
  if (!info) return {std::move(name), Health::kWarning, path + " is not there", "the first start makes it"};
  if (S_ISDIR(info->st_mode) ? (info->st_mode & 077) != 0 : !is_private(*info)) {
    return {std::move(name), Health::kFault, fmt::format("{} has mode {:o}", path, info->st_mode & 07777),
            fmt::format("chmod {} {}", S_ISDIR(info->st_mode) ? "700" : "600", path)};
  }
  return {std::move(name), Health::kOk, path + " is its owner's alone", ""};
}

/// A KEK beside the database: one copy, one snapshot, one stolen disk takes both.
Finding kek_place(const std::string& kek_path, const std::string& database_path) {
  if (directory_of(kek_path) == directory_of(database_path)) {
    return {"kek_place", Health::kWarning, "KEK and database lie in one directory",
            "put the KEK elsewhere (TB_CP_KEK): a copy of this directory opens every key"};
  }
  const auto kek = stat_of(kek_path), database = stat_of(database_path);
  if (kek && database && kek->st_dev == database->st_dev) {
    return {"kek_place", Health::kWarning, "KEK and database lie on one file system",
            "leave the KEK out of backups and snapshots of it, or put it elsewhere (TB_CP_KEK), best into a KMS"};
  }
  return {"kek_place", Health::kOk, "KEK and database lie apart", ""};
}

/// The KMS gives back what it was given, and not to another row.
Finding kms(const KekSource& source) {
  try {
    const auto kek = open_kek(source, false);
    const FileKey key = random_key();
    const Bytes wrapped = kek->wrap("doctor/one", key);
    if (!equal_constant_time(kek->unwrap("doctor/one", wrapped).reveal(), key.reveal())) {
      return {"kms", Health::kFault, "gives back another key than it was given", "do not use it"};
    }
    try {
      kek->unwrap("doctor/other", wrapped);
    } catch (const Error& error) {
      if (error.reason == "key_unwrap_failed") return {"kms", Health::kOk, kek->id() + " wraps and opens", ""};
      throw;
    }
    return {"kms", Health::kFault, "does not hold a key to its associated data: rows can be swapped",
            "use an AEAD key (aes256-gcm96), and a KMS that knows associated_data"};
  } catch (const Error& error) {
    return {"kms", Health::kFault, error.story(), error.hint()};
  }
}

void examine_kek(const Config& config, std::vector<Finding>& findings) {
  const KekSource& kek = config.kek;
  if (kek.transit) {
    findings.push_back(mode("kms_token", kek.transit->token_file));
    findings.push_back(kms(kek));
  } else if (kek.hex) {
    findings.push_back({"kek_place", Health::kOk, "the KEK comes by the environment", ""});
  } else {
    findings.push_back(mode("kek", kek.path));
    if (!config.database_url) findings.push_back(kek_place(kek.path, config.database_path));
  }
}

/// Opens each KEK that stored keys name; a service would refuse the start.
Finding keys(const Config& config, store::Store& store) {
  try {
    const auto ids = store.kek_ids();
    if (ids.empty()) return {"keys", Health::kOk, "none are stored yet", ""};
    std::vector<KekSet::Opener> accepted;
    for (const auto& source : config.kek_accepted) accepted.push_back(opener_of(source));
    const KekSet keks(open_kek(config.kek, false), std::move(accepted));
    bool others = false;
    for (const auto& id : ids) others |= keks.of(id).id() != keks.current().id();
    if (others) {
      return {"keys", Health::kWarning, "some are wrapped under an accepted KEK", "run rekey --to " + config.kek.spec};
    }
    if (!config.kek_accepted.empty()) {
      return {"keys", Health::kOk, "all are wrapped under TB_CP_KEK", "TB_CP_KEK_ACCEPTED is not needed any more"};
    }
    return {"keys", Health::kOk, "all are wrapped under TB_CP_KEK", ""};
  } catch (const Error& error) {
    return {"keys", Health::kFault, error.story(), error.hint()};
  }
}

void examine_database(const Config& config, std::vector<Finding>& findings) {
  if (!config.database_url) {
    findings.push_back(mode("db_file", config.database_path));
    if (!stat_of(config.database_path)) return;
  }
  try {
    const auto store = config.database_url ? store::open_postgres_store(config.database_url->clone())
                                           : store::open_sqlite_store(config.database_path);
    store->check();
    findings.push_back({"database", Health::kOk, "can be read", ""});
    findings.push_back(keys(config, *store));
  } catch (const Error& error) {
    findings.push_back({"database", Health::kFault, error.story(), error.hint()});
  }
}

Finding disk(const std::string& data_dir) {
  struct statvfs info{};
  if (statvfs(data_dir.c_str(), &info) != 0)
    return {"disk", Health::kWarning, data_dir + " is not there", "the first start makes it"};
  const std::uint64_t free_bytes = std::uint64_t{info.f_bavail} * info.f_frsize;
  const std::string value = fmt::format("{} MiB are free", free_bytes >> 20);
  if (free_bytes >= kGoodDiskBytes) return {"disk", Health::kOk, value, ""};
  return {"disk", free_bytes < kLeastDiskBytes ? Health::kFault : Health::kWarning, value,
          "free some space: every lease and every release is written before it is answered"};
}

/// Leases, contracts and signed URLs end by it.
Finding clock_finding() {
  if (unix_ms_now() < kEarliestMs)
    return {"clock", Health::kFault, to_rfc3339(unix_ms_now()), "set this machine's clock"};
  timex state{};
  const bool synchronised = adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;
  if (!synchronised) {
    return {"clock", Health::kWarning, "is not known to be synchronised",
            "run an NTP client: contracts, leases and signed URLs end by this clock"};
  }
  return {"clock", Health::kOk, "is synchronised", ""};
}

/// What signs is had as for a release, for an object that need not be there.
Finding signing(const azure::StoreSettings& settings) {
  const std::string tenant = settings.of_tenant.empty() ? "doctor" : settings.of_tenant.begin()->first;
  try {
    azure::TenantStores(settings).sign_read({.tenant = tenant, .asset_id = "doctor", .name = "doctor"}, unix_ms_now());
    return {"store", Health::kOk, "its URLs can be signed", ""};
  } catch (const Error& error) {
    return {"store", Health::kFault, error.story(), error.hint()};
  }
}

}  // namespace

std::vector<Finding> examine(const Config& config) {
  std::vector<Finding> findings;
  findings.push_back(mode("data_dir", config.data_dir));
  findings.push_back(disk(config.data_dir));
  examine_database(config, findings);
  examine_kek(config, findings);
  findings.push_back(clock_finding());
  if (config.remote_store) findings.push_back(signing(*config.remote_store));
  return findings;
}

}  // namespace tb::controlplane
