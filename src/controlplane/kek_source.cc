// From words to KEKs.
#include "controlplane/kek_source.h"

#include <unistd.h>

#include "base/fs.h"

namespace tb::controlplane {

Result<KekSource> parse_kek_source(const std::string& spec, const std::string& default_path,
                                   const std::function<std::optional<std::string>(const std::string&)>& environment,
                                   const TransitAccess& access) {
  KekSource source{.spec = spec};
  const std::string rest = spec.substr(std::min(spec.size(), spec.find(':') + 1));
  if (spec.starts_with("file:")) {
    source.path = rest.empty() ? default_path : rest;
    if (!source.path.starts_with('/')) return fail("config_invalid", "must name a file by its absolute path");
    return source;
  }
  if (spec.starts_with("env:")) {
    auto hex = environment(rest);
    if (!hex || hex->empty()) return fail("config_invalid", "names an environment variable that is not set");
    source.hex.emplace(std::move(*hex));
    return source;
  }
  if (spec.starts_with("transit:")) {
    source.transit = TRY(parse_transit(rest));
    if (access.token_file.empty()) return fail("config_invalid", "as transit: needs TB_CP_KEK_TOKEN_FILE");
    source.transit->token_file = access.token_file;
    source.transit->ca_path = access.ca_path;
    source.transit->kms_namespace = access.kms_namespace;
    return source;
  }
  return fail("config_invalid", "must begin with file:, env: or transit:");
}

std::unique_ptr<Kek> open_kek(const KekSource& source, bool may_create) {
  if (source.transit) return open_transit_kek(*source.transit);
  if (source.hex) return kek_from_hex(source.hex->reveal());
  const std::size_t slash = source.path.rfind('/');
  if (may_create && slash != std::string::npos && slash > 0) {
    value_or_throw(make_directories(source.path.substr(0, slash), 0700));
  }
  return load_or_create_kek(source.path, may_create);
}

KekSet::Opener opener_of(const KekSource& source) {
  if (source.hex) {
    auto hex = std::make_shared<const SecretString>(source.hex->clone());
    return [hex] { return kek_from_hex(hex->reveal()); };
  }
  return [path = source.path, transit = source.transit]() -> std::unique_ptr<Kek> {
    if (transit) return open_transit_kek(*transit);
    if (access(path.c_str(), F_OK) != 0) return nullptr;
    return load_or_create_kek(path, false);
  };
}

}  // namespace tb::controlplane
