// Where settings come from, what is refused, and that all faults come together.
#include "sentinel/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/fs.h"
#include "sentinel/config_digest.h"

namespace tb::sentinel {
namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

struct Outcome {
  Settings settings;
  Config config;
  std::vector<std::string> faults;
  bool names(std::string_view part) const {
    return std::ranges::any_of(faults, [&](const std::string& f) { return f.find(part) != std::string::npos; });
  }
};

Outcome load(const Variables& variables, const std::vector<std::string>& arguments = {}) {
  Outcome out;
  const Environment environment = [&](std::string_view name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    if (it == variables.end()) return std::nullopt;
    return it->second;
  };
  out.settings = resolve_settings(arguments, environment, out.faults);
  out.config = make_config(out.settings, out.faults);
  return out;
}

Variables base() {
  return {{"TB_CONTRACT_ID", "c1"},
          {"TB_ASSET_ID", "a1"},
          {"TB_EDC_ENDPOINT", "https://control.example/"},
          {"TB_ALLOW_SHARED_UID", "true"}};
}

Variables with(std::string_view name, std::string value) {
  Variables out = base();
  out[std::string(name)] = std::move(value);
  return out;
}

TEST(Config, TokensNeedAnIssuerAndAnAudience) {
  Variables tokens = with("TB_JWT_KEYS", "https://issuer.example/keys");
  EXPECT_TRUE(load(tokens).names("TB_JWT_ISSUER is required"));
  EXPECT_TRUE(load(tokens).names("TB_JWT_AUDIENCE is required"));
  tokens["TB_JWT_ISSUER"] = "https://issuer.example";
  tokens["TB_JWT_AUDIENCE"] = "models";
  EXPECT_TRUE(load(tokens).faults.empty());
  tokens["TB_JWT_SCOPE"] = "a b";
  EXPECT_TRUE(load(tokens).names("TB_JWT_SCOPE must be one scope"));
  tokens.erase("TB_JWT_SCOPE");
  for (const char* place : {"http://issuer.example/keys", "keys.json", "ftp://a/b", "https://user@issuer.example"}) {
    tokens["TB_JWT_KEYS"] = place;
    EXPECT_TRUE(load(tokens).names("TB_JWT_KEYS must be")) << place;
  }
  for (const char* place : {"http://127.0.0.1:8080/keys", "/etc/keys.json"}) {
    tokens["TB_JWT_KEYS"] = place;
    EXPECT_TRUE(load(tokens).faults.empty()) << place;
  }
  EXPECT_TRUE(load(with("TB_JWT_ISSUER", "a")).names("TB_JWT_ISSUER needs TB_JWT_KEYS"));
  tokens["TB_ALLOW_ANONYMOUS"] = "true";
  EXPECT_TRUE(load(tokens).names("TB_ALLOW_ANONYMOUS"));
}

TEST(Config, NamesAndPathsThatAnswersMayAndMayNotTell) {
  EXPECT_EQ(load(base()).config.served_model_name, "a1");
  EXPECT_EQ(load(with("TB_SERVED_MODEL_NAME", "org/model:7b-v1.5")).config.served_model_name, "org/model:7b-v1.5");
  for (const char* name : {"a b", "a\"b", "a\\b", "/etc/model", "m\xc3\xb6"}) {
    EXPECT_TRUE(load(with("TB_SERVED_MODEL_NAME", name)).names("TB_SERVED_MODEL_NAME")) << name;
  }
  EXPECT_TRUE(load(with("TB_SERVED_MODEL_NAME", std::string(129, 'a'))).names("TB_SERVED_MODEL_NAME"));
  EXPECT_EQ(load(with("TB_HIDDEN_PATHS", "/mnt/models, /models")).config.hidden_paths,
            (std::vector<std::string>{"/mnt/models", "/models"}));
  for (const char* path : {"models", "/", "/a,b"}) {
    EXPECT_TRUE(load(with("TB_HIDDEN_PATHS", path)).names("TB_HIDDEN_PATHS")) << path;
  }
}

TEST(Config, CertificatesThatNeedNoKeyNeedACa) {
  EXPECT_TRUE(load(with("TB_TLS_CLIENT_SUBJECTS", "a")).names("TB_TLS_CLIENT_SUBJECTS needs"));
}

TEST(Config, DefaultsAreThoseOfTheWire) {
  const Outcome out = load(base());
  ASSERT_TRUE(out.faults.empty()) << out.faults.front();
  EXPECT_EQ(out.config.control_plane_url, "https://control.example");
  EXPECT_EQ(out.config.target_dir, "/mnt/resource/trustbridge");
  EXPECT_EQ(out.config.pipe_path, "/dev/shm/model-pipe");
  EXPECT_EQ(out.config.ready_signal, "/dev/shm/weights/ready.signal");
  EXPECT_EQ(out.config.runtime.to_text(), "http://127.0.0.1:8081");
  EXPECT_EQ(out.config.public_address.to_text(), "0.0.0.0:8000");
  EXPECT_EQ(out.config.health_address.to_text(), "0.0.0.0:8001");
  EXPECT_EQ(out.config.download_request_bytes, 8388608U);
  EXPECT_EQ(out.config.download_connections, 4U);
  EXPECT_TRUE(out.config.proxy_http2);
  EXPECT_EQ(out.config.api_keys_file, "/var/lib/trustbridge-sentinel/api-keys");
  EXPECT_EQ(out.config.audit_dir, "/var/lib/trustbridge-sentinel/audit");
  EXPECT_EQ(out.config.max_body_bytes, std::uint64_t{1} << 30);
  EXPECT_TRUE(out.config.audit_keyed);
  EXPECT_FALSE(out.config.plain_key_allowed);
}

TEST(Config, TheAuditLogsParts) {
  Outcome out = load(base());
  EXPECT_EQ(out.config.audit_checkpoint_ms, 60'000);
  EXPECT_EQ(out.config.audit_segment_bytes, 67108864U);
  EXPECT_EQ(out.config.audit_retention_ms, 0) << "nothing is deleted by default";
  out = load(with("TB_AUDIT_RETENTION_DAYS", "2"));
  EXPECT_EQ(out.config.audit_retention_ms, 2 * 86'400'000);
  for (const auto& [name, value] : {std::pair{"TB_AUDIT_CHECKPOINT_SECONDS", "0"},
                                    {"TB_AUDIT_SEGMENT_BYTES", "65535"},
                                    {"TB_AUDIT_RETENTION_DAYS", "-1"},
                                    {"TB_AUDIT_RETENTION_DAYS", "36501"}}) {
    EXPECT_TRUE(load(with(name, value)).names(name)) << name << "=" << value;
  }
}

TEST(Config, AllFaultsComeTogether) {
  const Outcome out = load({{"TB_DOWNLOAD_CONCURRENCY", "33"}, {"TB_LOG_LEVEL", "loud"}}, {"--no-such-flag"});
  for (const std::string_view name : {"TB_CONTRACT_ID", "TB_ASSET_ID", "TB_EDC_ENDPOINT", "TB_DOWNLOAD_CONCURRENCY",
                                      "TB_LOG_LEVEL", "--no-such-flag", "TB_RUNTIME_UID"}) {
    EXPECT_TRUE(out.names(name)) << name;
  }
}

TEST(Config, TheMomentBeforeDrainingIsOffForTryingOut) {
  EXPECT_EQ(load(with("TB_DRAIN_SECONDS", "8")).config.drain_accept_ms, 2000);
  EXPECT_EQ(load(with("TB_DRAIN_ACCEPT_MS", "0")).config.drain_accept_ms, 0);
  EXPECT_TRUE(load(with("TB_DRAIN_ACCEPT_MS", "600001")).names("TB_DRAIN_ACCEPT_MS"));
  EXPECT_EQ(load(with("TB_DRAIN_SECONDS", "8"), {"--dev", "/tmp/d"}).config.drain_accept_ms, 0);
  EXPECT_EQ(load(with("TB_DRAIN_ACCEPT_MS", "5"), {"--dev", "/tmp/d"}).config.drain_accept_ms, 5);
}

TEST(Config, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  const std::string file = testing::TempDir() + "/sentinel-config-" + std::to_string(getpid()) + ".toml";
  ASSERT_TRUE(write_file_atomically(file,
                                    "drain_seconds = 7\nlog_level = \"debug\"\nallowed_paths = "
                                    "[\"/v1/models\"]\nruntime_command = [\"/bin/x\", \"a,b\"]\n",
                                    0600, true));
  Variables variables = with("TB_DRAIN_SECONDS", "8");
  EXPECT_EQ(load(variables, {"--config", file, "--drain-seconds", "9"}).config.drain_ms, 9000);
  EXPECT_EQ(load(variables, {"--config", file}).config.drain_ms, 8000);
  variables.erase("TB_DRAIN_SECONDS");
  const Outcome out = load(variables, {"--config=" + file});
  ASSERT_TRUE(out.faults.empty()) << out.faults.front();
  EXPECT_EQ(out.config.drain_ms, 7000);
  EXPECT_EQ(out.config.log_level, obs::Level::kDebug);
  EXPECT_EQ(out.config.allowed_paths, (std::vector<std::string>{"/v1/models"}));
  EXPECT_EQ(out.config.runtime_command, (std::vector<std::string>{"/bin/x", "a,b"}));
  EXPECT_EQ(load(variables).config.drain_ms, 30000);
  unlink(file.c_str());
}

TEST(Config, FileFaults) {
  const std::string file = testing::TempDir() + "/sentinel-config-bad-" + std::to_string(getpid()) + ".toml";
  ASSERT_TRUE(write_file_atomically(file, "no_such_key = 1\ndrain_seconds = 1.5\n", 0600, true));
  const Outcome out = load(base(), {"--config", file});
  EXPECT_TRUE(out.names("no_such_key"));
  EXPECT_TRUE(out.names("drain_seconds"));
  ASSERT_TRUE(write_file_atomically(file, "not toml", 0600, true));
  EXPECT_TRUE(load(base(), {"--config", file}).names("line 1"));
  unlink(file.c_str());
  EXPECT_TRUE(load(base(), {"--config", file}).names("--config"));
}

TEST(Config, RefusedValues) {
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, const char*>>{
           {"TB_CONTRACT_ID", "a/b"},
           {"TB_ASSET_ID", "../x"},
           {"TB_EDC_ENDPOINT", "http://control.example"},
           {"TB_EDC_ENDPOINT", "https://user@control.example"},
           {"TB_EDC_ENDPOINT", "https://control.example?x=1"},
           {"TB_EDC_ENDPOINT", "ftp://control.example"},
           {"TB_EDC_ENDPOINT", "https://"},
           {"TB_KEY_RELEASE", "hex"},
           {"TB_DELIVERY", "disk"},
           {"TB_HYDRATE", "eager"},
           {"TB_SOURCE", "https://a/b"},
           {"TB_ATTESTATION", "sgx"},
           {"TB_ATTESTATION", "token"},
           {"TB_ATTESTATION_TOKEN_COMMAND", "/bin/agent"},
           {"TB_CONTROL_PLANE_KEY", "/etc/key"},
           {"TB_BILLING_INTERVAL", "0s"},
           {"TB_BILLING_INTERVAL", "2h"},
           {"TB_BILLING_DIMENSION", "requests,gold"},
           {"TB_MODEL_CONTEXT_TOKENS", "0"},
           {"TB_FINETUNE_ENABLED", "true"},
           {"TB_MAX_DOWNLOAD_BYTES_PER_SECOND", "1"},
           {"TB_RUNTIME_URL", "http://10.0.0.1:8081"},
           {"TB_RUNTIME_URL", "https://127.0.0.1:8081"},
           {"TB_RUNTIME_URL", "http://127.0.0.1:0"},
           {"TB_RUNTIME_URL", "unix:relative"},
           {"TB_RUNTIME_COMMAND", "/bin/sh -c x"},
           {"TB_RUNTIME_COMMAND", "[]"},
           {"TB_RUNTIME_COMMAND", "[1]"},
           {"TB_RUNTIME_COMMAND", "[\"\"]"},
           {"TB_RUNTIME_HEALTH_PATH", "health"},
           {"TB_RUNTIME_UID", "x"},
           {"TB_PUBLIC_ADDR", "nonsense"},
           {"TB_TLS_CERT_PATH", "/a.pem"},
           {"TB_CLIENT_CERT_PATH", "/a.pem"},
           {"TB_TLS_CLIENT_CA_PATH", "/a.pem"},
           {"TB_ALLOWED_PATHS", "/v1/models,/metrics"},
           {"TB_MAX_BODY_BYTES", "-1"},
           {"TB_DOWNLOAD_CHUNK_BYTES", "1023"},
           {"TB_MODEL_DIR", "relative"},
           {"TB_AUDIT_KEYED", "yes"},
           {"TB_PROXY_HTTP2", "no"},
           {"TB_RUNTIME_ISOLATION", "some"},
           {"TB_RUNTIME_READ_PATHS", "relative"},
           {"TB_RUNTIME_READ_PATHS", "/srv/../etc"},
           {"TB_RUNTIME_READ_PATHS", "/proc"},
           {"TB_RUNTIME_READ_PATHS", "/"},
           {"TB_RUNTIME_READ_PATHS", "/srv,/var/lib"},
           {"TB_RUNTIME_READ_PATHS", "/var/lib/trustbridge-sentinel/audit"},
           {"TB_RUNTIME_DEVICES", "/dev/mem"},
           {"TB_RUNTIME_DEVICES", "/etc/passwd"},
           {"TB_RUNTIME_DEVICES", "/dev/../etc/passwd"},
           {"TB_RUNTIME_SCRATCH_BYTES", "1"},
           {"TB_RUNTIME_MEMORY_BYTES", "1"},
           {"TB_ALLOW_REACHABLE_RUNTIME", "yes"},
           {"TB_PROVIDER_KEY", "/no/such/file"}}) {
    EXPECT_TRUE(load(with(name, value)).names(name)) << name << "=" << value;
  }
}

TEST(Config, TheRuntimesUserHasANumberOrAName) {
  EXPECT_EQ(load(with("TB_RUNTIME_UID", "4711")).config.runtime_uid, 4711U);
  const Outcome named = load(with("TB_RUNTIME_UID", "nobody"));
  EXPECT_TRUE(named.faults.empty());
  EXPECT_EQ(named.config.runtime_uid, 65534U);
  for (const char* odd : {"no-such-user", "nobody:", "-1", "4294967295", "99999999999999999999", "0x10", "65534 "}) {
    EXPECT_TRUE(load(with("TB_RUNTIME_UID", odd)).names("TB_RUNTIME_UID must be a")) << odd;
  }
}

TEST(Config, ACredentialIsUsedWhereNothingElseIsGiven) {
  std::string pattern = testing::TempDir() + "/credentials-XXXXXX";
  const std::string dir = mkdtemp(pattern.data());
  ASSERT_TRUE(write_file_atomically(dir + "/activation-token", "t", 0400, true));
  ASSERT_TRUE(write_file_atomically(dir + "/contract-id", "not one of the list", 0400, true));
  Variables variables = with("CREDENTIALS_DIRECTORY", dir);
  Outcome out = load(variables);
  EXPECT_TRUE(out.faults.empty());
  EXPECT_EQ(out.config.activation_token_file, dir + "/activation-token");
  EXPECT_NE(print_config(out.settings).find("activation-token  # credential"), std::string::npos);
  EXPECT_EQ(out.config.contract_id, "c1");
  EXPECT_EQ(out.config.tls_key_path, "") << "none of that name was handed over";
  variables["TB_ACTIVATION_TOKEN_FILE"] = "/elsewhere";
  EXPECT_EQ(load(variables).config.activation_token_file, "/elsewhere");
  variables = with("CREDENTIALS_DIRECTORY", "relative");
  EXPECT_EQ(load(variables).config.activation_token_file, "");
  std::filesystem::remove_all(dir);
}

TEST(Config, BillingNeedsAResourceAndAPlan) {
  Variables variables = with("TB_BILLING_ENABLED", "true");
  EXPECT_TRUE(load(variables).names("TB_BILLING_RESOURCE_ID"));
  EXPECT_TRUE(load(variables).names("TB_BILLING_PLAN_ID"));
  variables["TB_BILLING_RESOURCE_ID"] = "res";
  variables["TB_BILLING_PLAN_ID"] = "silver";
  variables["TB_BILLING_DIMENSION"] = "tokens, requests";
  const Outcome good = load(variables);
  EXPECT_TRUE(good.faults.empty());
  ASSERT_TRUE(good.config.billing);
  EXPECT_EQ(good.config.billing->dimensions, (std::vector<std::string>{"tokens", "requests"}));
  variables["TB_METERING_ENDPOINT"] = "http://marketplace.example";
  EXPECT_TRUE(load(variables).names("TB_METERING_ENDPOINT"));
  EXPECT_FALSE(load(with("TB_BILLING_RESOURCE_ID", "res")).config.billing);
}

TEST(Config, AcceptedValues) {
  EXPECT_TRUE(load(with("TB_EDC_ENDPOINT", "http://127.0.0.1:8080")).faults.empty());
  EXPECT_TRUE(load(with("TB_EDC_ENDPOINT", "http://[::1]:8080")).faults.empty());
  EXPECT_TRUE(load(with("TB_RUNTIME_URL", "unix:/run/x.sock")).faults.empty());
  EXPECT_TRUE(load(with("TB_BILLING_ENABLED", "false")).faults.empty());
  const Outcome ignored = load(with("TB_MAX_LORAS", "9"));
  EXPECT_TRUE(ignored.faults.empty());
  ASSERT_EQ(ignored.config.notes.size(), 1U);
  Variables insecure = with("TB_EDC_ENDPOINT", "http://control.example");
  insecure["TB_ALLOW_INSECURE_HTTP"] = "true";
  EXPECT_TRUE(load(insecure).faults.empty());
}

TEST(Config, RuntimeUser) {
  Variables variables = base();
  variables.erase("TB_ALLOW_SHARED_UID");
  EXPECT_TRUE(load(variables).names("TB_RUNTIME_UID is required"));
  variables["TB_RUNTIME_UID"] = std::to_string(geteuid());
  EXPECT_TRUE(load(variables).names("must differ"));
  variables["TB_RUNTIME_UID"] = std::to_string(geteuid() + 1);
  EXPECT_TRUE(load(variables).faults.empty());
}

TEST(Config, WhatAConfinedRuntimeGets) {
  Variables variables = with("TB_RUNTIME_READ_PATHS", "/srv/venv/,/srv/engine");
  variables["TB_RUNTIME_COMMAND"] = R"(["/srv/engine/server"])";
  variables["TB_RUNTIME_DEVICES"] = "/dev/nvidia0,/dev/nvidiactl";
  Outcome out = load(variables);
  ASSERT_TRUE(out.faults.empty()) << out.faults.front();
  EXPECT_EQ(out.config.isolation, IsolationChoice::kFull);
  EXPECT_EQ(out.config.runtime_read_paths, (std::vector<std::string>{"/srv/venv", "/srv/engine"}));
  EXPECT_EQ(out.config.runtime_devices, (std::vector<std::string>{"/dev/nvidia0", "/dev/nvidiactl"}));
  EXPECT_EQ(load(variables, {"--dev", "/tmp/d"}).config.isolation, IsolationChoice::kPartial);
  variables["TB_RUNTIME_ISOLATION"] = "full";
  EXPECT_EQ(load(variables, {"--dev", "/tmp/d"}).config.isolation, IsolationChoice::kFull);
  const std::string link = testing::TempDir() + "tb-link-to-state";
  const std::string state = testing::TempDir() + "tb-state";
  unlink(link.c_str());
  ASSERT_EQ(symlink(state.c_str(), link.c_str()), 0);
  mkdir(state.c_str(), 0700);
  Variables linked = variables;
  linked["TB_STATE_DIR"] = state;
  EXPECT_TRUE(load(linked).faults.empty());
  linked["TB_RUNTIME_READ_PATHS"] = link;
  EXPECT_TRUE(load(linked).names("would show the runtime")) << "by another name";
  unlink(link.c_str());
  rmdir(state.c_str());
  variables["TB_STATE_DIR"] = "/usr/local/state";
  EXPECT_TRUE(load(variables).names("TB_STATE_DIR lies in /usr"));
  variables["TB_RUNTIME_ISOLATION"] = "off";
  EXPECT_TRUE(load(variables).faults.empty());
}

/// The provider's digest must not be the same for a runtime that is held and one that is not.
TEST(Config, IsolationIsPartOfItsStatement) {
  Variables variables = with("TB_RUNTIME_COMMAND", R"(["/usr/bin/server"])");
  const std::string full = config_digest(load(variables).config);
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, const char*>>{{"TB_RUNTIME_ISOLATION", "partial"},
                                                                  {"TB_RUNTIME_ISOLATION", "off"},
                                                                  {"TB_RUNTIME_READ_PATHS", "/srv"},
                                                                  {"TB_RUNTIME_DEVICES", "/dev/nvidia0"},
                                                                  {"TB_ALLOW_REACHABLE_RUNTIME", "true"}}) {
    Variables other = variables;
    other[name] = value;
    EXPECT_NE(config_digest(load(other).config), full) << name << "=" << value;
  }
  variables["TB_RUNTIME_ISOLATION"] = "full";
  EXPECT_EQ(config_digest(load(variables).config), full);
}

TEST(Config, DevIsLoopbackFreePortsAndOnesOwnPaths) {
  Variables variables = base();
  variables.erase("TB_ALLOW_SHARED_UID");
  variables["TB_RUNTIME_COMMAND"] = R"(["/bin/server", "{model_path}"])";
  const Outcome out = load(variables, {"--dev", "/tmp/d"});
  ASSERT_TRUE(out.faults.empty()) << out.faults.front();
  EXPECT_EQ(out.config.public_address.to_text(), "127.0.0.1:0");
  EXPECT_EQ(out.config.health_address.to_text(), "127.0.0.1:0");
  EXPECT_EQ(out.config.runtime.port, 0);
  EXPECT_EQ(out.config.state_dir, "/tmp/d/state");
  EXPECT_TRUE(out.config.model_dir.starts_with("/dev/shm/"));
  EXPECT_TRUE(out.config.allow_swap);
  variables["TB_PUBLIC_ADDR"] = "0.0.0.0:8000";
  EXPECT_TRUE(load(variables, {"--dev", "/tmp/d"}).names("TB_PUBLIC_ADDR"));
}

TEST(Config, PrintMasks) {
  const Outcome out = load(with("TB_RUNTIME_COMMAND", R"(["/bin/x", "--api-key", "s3cret"])"));
  const std::string text = print_config(out.settings);
  EXPECT_EQ(text.find("s3cret"), std::string::npos);
  EXPECT_NE(text.find("TB_RUNTIME_COMMAND=(set)  # environment\n"), std::string::npos);
  EXPECT_NE(text.find("TB_CONTRACT_ID=c1  # environment\n"), std::string::npos);
  EXPECT_NE(text.find("TB_DELIVERY=auto  # default\n"), std::string::npos);
}

TEST(Config, EverySettingIsDocumented) {
  const std::string text = config_document();
  for (const Setting& setting : all_settings()) EXPECT_NE(text.find(setting.name), std::string::npos) << setting.name;
}

}  // namespace
}  // namespace tb::sentinel
