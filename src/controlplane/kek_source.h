// Where a KEK comes from, as it is configured: `file:PATH`, `env:NAME` or `transit:https://host:8200/mount/key`.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/secret.h"
#include "controlplane/kek.h"
#include "controlplane/transit_kek.h"

namespace tb::controlplane {

/// What every `transit:` KEK of this service is reached with.
struct TransitAccess {
  std::string token_file;
  std::string ca_path;
  std::string kms_namespace;
};

/// One of the three is set.
struct KekSource {
  std::string spec;  ///< as it was written
  std::string path;
  std::optional<SecretString> hex;
  std::optional<TransitSource> transit;
};

/// "config_invalid" with what `spec` must be. `default_path` is the file of a bare `file:`.
Result<KekSource> parse_kek_source(const std::string& spec, const std::string& default_path,
                                   const std::function<std::optional<std::string>(const std::string&)>& environment,
                                   const TransitAccess& access);

/// As load_or_create_kek for a file, whose directory is made (0700) where it may be.
std::unique_ptr<Kek> open_kek(const KekSource& source, bool may_create);
/// For KekSet: a file that is not there is no KEK yet, anything else that is wrong is thrown.
KekSet::Opener opener_of(const KekSource& source);

}  // namespace tb::controlplane
