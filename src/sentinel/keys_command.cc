#include "sentinel/keys_command.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdio>

#include "base/clock.h"
#include "base/fs.h"
#include "base/result.h"
#include "sentinel/api_keys.h"

namespace tb::sentinel {
namespace {

int usage() {
  fmt::print(stderr,
             "usage: trustbridge-sentinel keys add NAME [--status] [--no-infer] [LIMIT...] [--json]\n"
             "       trustbridge-sentinel keys limits ID LIMIT... [--json]\n"
             "       trustbridge-sentinel keys list [--json]\n"
             "       trustbridge-sentinel keys revoke ID\n"
             "LIMIT: --requests-per-minute N, --tokens-per-minute N, --concurrent N, --token-budget N,\n"
             "       --expires 2027-01-31T00:00:00Z or 30d from now; `none` takes one away\n"
             "the key file is $TB_API_KEYS_FILE, by default $TB_STATE_DIR/api-keys\n");
  return 2;
}

/// What a command line asks for: an entry that is filled in, and what goes around it.
struct Wanted {
  ApiKey key;
  bool json = false;
  bool limits_given = false;
  bool rights_given = false;
};

std::optional<std::int64_t> limit_of(std::string_view flag, std::string_view text) {
  if (text == "none") return std::nullopt;
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1 || value > kMaxLimit) {
    throw Error("field_invalid", fmt::format("{} must be a whole number from 1 to {}, or none", flag, kMaxLimit));
  }
  return value;
}

std::optional<UnixMs> end_of(std::string_view text, UnixMs now) {
  if (text == "none") return std::nullopt;
  if (text.find('T') != std::string_view::npos) return value_or_throw(from_rfc3339(text));
  return now + value_or_throw(duration_ms(text));
}

/// False if `arguments` from `first` on are not understood.
bool read_flags(const std::vector<std::string>& arguments, std::size_t first, UnixMs now, Wanted& out) {
  for (std::size_t i = first; i < arguments.size(); ++i) {
    const std::string& flag = arguments[i];
    if (flag == "--json") {
      out.json = true;
    } else if (flag == "--status") {
      out.key.may_see_status = out.rights_given = true;
    } else if (flag == "--no-infer") {
      out.key.may_infer = false;
      out.rights_given = true;
    } else {
      if (i + 1 == arguments.size()) return false;
      const std::string& value = arguments[++i];
      KeyLimits& limits = out.key.limits;
      out.limits_given = true;
      if (flag == "--requests-per-minute") {
        limits.requests_per_minute = limit_of(flag, value);
      } else if (flag == "--tokens-per-minute") {
        limits.tokens_per_minute = limit_of(flag, value);
      } else if (flag == "--concurrent") {
        limits.concurrent_requests = limit_of(flag, value);
      } else if (flag == "--token-budget") {
        limits.token_budget = limit_of(flag, value);
      } else if (flag == "--expires") {
        out.key.expires = end_of(value, now);
      } else {
        return false;
      }
    }
  }
  return true;
}

std::string limits_text(const ApiKey& key) {
  std::string out;
  const auto add = [&out](std::string_view name, const std::optional<std::int64_t>& value) {
    if (value) out += fmt::format("{}{}={}", out.empty() ? "" : " ", name, *value);
  };
  add("requests-per-minute", key.limits.requests_per_minute);
  add("tokens-per-minute", key.limits.tokens_per_minute);
  add("concurrent", key.limits.concurrent_requests);
  add("token-budget", key.limits.token_budget);
  if (key.expires) out += fmt::format("{}expires={}", out.empty() ? "" : " ", to_rfc3339(*key.expires));
  return out;
}

/// For programs: an entry without its hash.
Json shown(const ApiKey& key) {
  Json out = to_json(key);
  out.erase("sha256");
  return out;
}

int list(const std::string& keys_file, bool json) {
  for (const ApiKey& key : read_api_keys(keys_file)) {
    if (json) {
      fmt::print("{}\n", shown(key).dump());
    } else {
      fmt::print("{}\t{}\t{}{}\t{}\t{}\n", key.id, key.name, key.may_infer ? "infer " : "",
                 key.may_see_status ? "status" : "", to_rfc3339(key.created), limits_text(key));
    }
  }
  return 0;
}

int add(const std::vector<std::string>& arguments, const std::string& keys_file) {
  const UnixMs now = unix_ms_now();
  Wanted wanted{.key = {.name = arguments[1], .created = now}};
  if (arguments[1].starts_with("--") || !read_flags(arguments, 2, now, wanted)) return usage();
  value_or_throw(make_directories(keys_file.substr(0, keys_file.rfind('/')), 0700));
  const NewApiKey added = add_api_key(keys_file, wanted.key);
  if (wanted.json) {
    Json out = shown(added.entry);
    out.set("key", added.key.reveal());
    fmt::print("{}\n", out.dump());
  } else {
    fmt::print("{}\n", added.key.reveal());
  }
  fmt::print(stderr, "added {}; the key is shown this once\n", added.entry.id);
  return 0;
}

int change(const std::vector<std::string>& arguments, const std::string& keys_file) {
  Wanted wanted;
  bool understood = false;
  const ApiKey changed = change_api_key(keys_file, arguments[1], [&](ApiKey& key) {
    wanted.key = key;
    understood = read_flags(arguments, 2, unix_ms_now(), wanted) && wanted.limits_given && !wanted.rights_given;
    key = wanted.key;
    return understood;
  });
  if (!understood) return usage();
  if (wanted.json) {
    fmt::print("{}\n", shown(changed).dump());
  } else {
    const std::string text = limits_text(changed);
    fmt::print("{}\t{}\n", changed.id, text.empty() ? "no limits" : text);
  }
  return 0;
}

}  // namespace

int keys_command(const std::vector<std::string>& arguments, const std::string& keys_file) {
  if (arguments.empty()) return usage();
  const std::string& verb = arguments[0];
  if (verb == "list" && arguments.size() <= 2) {
    if (arguments.size() == 2 && arguments[1] != "--json") return usage();
    return list(keys_file, arguments.size() == 2);
  }
  if (arguments.size() < 2) return usage();
  if (verb == "add") return add(arguments, keys_file);
  if (verb == "limits") return change(arguments, keys_file);
  if (verb == "revoke" && arguments.size() == 2) {
    revoke_api_key(keys_file, arguments[1]);
    return 0;
  }
  return usage();
}

}  // namespace tb::sentinel
