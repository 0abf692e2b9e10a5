// A TPM's evidence at authorize when others are at work at the same time. The machine here is software: an attestation
// key of the test's own below the vectors' endorsement key, and a clock that the test sets.
#include <gmock/gmock.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

#include "api/evidence.h"
#include "attest/crypto_keys.h"
#include "attest/tpm_wire.h"
#include "base/fs.h"
#include "controlplane/service_test.h"

namespace tb::controlplane {
namespace {

using testing::HasSubstr;

/// An enrolled machine that quotes what it is asked.
class Machine {
 public:
  Machine() : key_(EVP_EC_gen("P-256")) {
    const Json good = value_or_throw(
        Json::parse(value_or_throw(read_small_file(TB_SOURCE_DIR "/tests/vectors/tpm/good-rsa-ek-ecdsa-ak.json"))));
    const auto bytes = [&](const char* name) { return value_or_throw(from_base64url(good.find(name)->as_string())); };
    ek_ = value_or_throw(attest::parse_public(bytes("ek_public")));
    ak_ = value_or_throw(attest::parse_public(bytes("ak_public")));
    ak_.x = coordinate(OSSL_PKEY_PARAM_EC_PUB_X);
    ak_.y = coordinate(OSSL_PKEY_PARAM_EC_PUB_Y);
  }
  ~Machine() { EVP_PKEY_free(key_); }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  std::string ak_name() const { return to_hex(attest::name_of(ak_)); }
  std::string ek_sha256() const { return value_or_throw(attest::key_sha256(ek_)); }

  /// The store's own verbs, as if the TPM had given a credential's secret back.
  void enrol(store::Store& store, UnixMs now) const {
    const store::Enrolment enrolment{.ak_name = ak_name(),
                                     .ek_sha256 = ek_sha256(),
                                     .ek_public = attest::encode(ek_),
                                     .ak_public = attest::encode(ak_),
                                     .secret_hash = Bytes(32, 7),
                                     .expires_at = now + 1000};
    const store::Event event{.type = "test", .tenant = "t1", .actor = "test", .subject = "c"};
    ASSERT_TRUE(store.begin_enrolment("t1", "c", enrolment, now, 9, event));
    ASSERT_EQ(store.finish_enrolment("t1", "c", ak_name(), Bytes(32, 7), now, 9, event),
              store::EnrolOutcome::kEnrolled);
  }

  Json evidence(const Digest& qualifier, std::uint64_t clock_ms) const {
    const Bytes zero(32);
    api::PcrValues values;
    attest::Writer all;
    for (unsigned index = 0; index < 8; ++index) {
      values["sha256"][index] = to_hex(zero);
      all.raw(zero);
    }
    attest::Quote quote{.magic = attest::kQuoteMagic,
                        .type = attest::kQuoteType,
                        .qualified_signer = qualified_name(),
                        .extra_data = Bytes(qualifier.begin(), qualifier.end()),
                        .clock_ms = clock_ms,
                        .reset_count = 1,
                        .safe = true,
                        .selection = {{.alg = attest::kAlgSha256, .bitmap = {0xFF, 0, 0}}},
                        .pcr_digest = attest::digest(attest::kAlgSha256, all.take())};
    api::TpmEvidence out{.ak_name = ak_name(), .quote = attest::encode(quote), .pcrs = std::move(values)};
    out.signature = signature_of(out.quote);
    return out.to_json();
  }

 private:
  Bytes coordinate(const char* name) const {
    BIGNUM* value = nullptr;
    EVP_PKEY_get_bn_param(key_, name, &value);
    Bytes out(32);
    BN_bn2binpad(value, out.data(), 32);
    BN_free(value);
    return out;
  }
  /// Part 1, 16.
  Bytes qualified_name() const {
    const auto under = [](const Bytes& parent, const attest::Public& key) {
      const Bytes path = attest::Writer().raw(parent).raw(attest::name_of(key)).take();
      return attest::Writer().u16(key.name_alg).raw(attest::digest(key.name_alg, path)).take();
    };
    return under(under(attest::Writer().u32(0x4000000B).take(), ek_), ak_);
  }
  Bytes signature_of(ByteView message) const {
    EVP_MD_CTX* digester = EVP_MD_CTX_new();
    Bytes der(80);
    std::size_t size = der.size();
    EVP_DigestSignInit(digester, nullptr, EVP_sha256(), nullptr, key_);
    EVP_DigestSign(digester, der.data(), &size, message.data(), message.size());
    EVP_MD_CTX_free(digester);
    // DER: SEQUENCE of two INTEGERs.
    const auto integer = [&](std::size_t at) { return Bytes(&der[at + 2], &der[at + 2] + der[at + 1]); };
    const auto unpadded = [](Bytes number) {
      while (number.size() > 1 && number.front() == 0) number.erase(number.begin());
      return number;
    };
    return attest::encode(attest::Signature{.scheme = attest::kAlgEcdsa,
                                            .hash = attest::kAlgSha256,
                                            .rsa = {},
                                            .r = unpadded(integer(2)),
                                            .s = unpadded(integer(4 + der[3]))});
  }

  EVP_PKEY* key_;
  attest::Public ek_, ak_;
};

/// Does something once, between the evidence's judgement and the taking of the seat: an asset key is unwrapped then.
class InterruptedKek : public Kek {
 public:
  InterruptedKek() : Kek(inner_of()->id()) {}
  Bytes wrap(std::string_view context, const Secret<32>& key) const override { return inner_->wrap(context, key); }
  Secret<32> unwrap(std::string_view context, ByteView wrapped) const override {
    if (const auto action = std::exchange(*interruption, {})) action();
    return inner_->unwrap(context, wrapped);
  }
  std::shared_ptr<std::function<void()>> interruption = std::make_shared<std::function<void()>>();

 private:
  static std::unique_ptr<Kek> inner_of() { return kek_from_hex(std::string(64, '1')); }
  std::unique_ptr<Kek> inner_ = inner_of();
};

class TpmEvidence : public ServiceTest {
 protected:
  TpmEvidence() {
    auto kek = std::make_unique<InterruptedKek>();
    interruption_ = kek->interruption;
    interrupted_.emplace(std::move(kek), *store_);
    parts_.reset(new Deps(deps_with(*interrupted_)));
    router_ = make_router(*parts_);
    register_asset("m");
    Json terms = Json::object();
    terms.set("attestation", "tpm");
    terms.set("attestation_policy", policy());
    token_ = create_contract("c", terms);
    machine_.enrol(*store_, now_);
  }
  ~TpmEvidence() override { router_ = make_router(deps_); }

  Json policy() const {
    Json json = Json::object();
    json.set("ek_sha256", Json(Json::Array{machine_.ek_sha256()}));
    return json;
  }
  void patch(const std::string& body) {
    EXPECT_EQ(call({.method = "PATCH", .target = "/api/v1/contracts/c", .token = provider_, .body = body}).status, 200);
  }
  http::Response authorize_at(std::uint64_t clock_ms) {
    const auto key = jose::PrivateKey::generate();
    const std::string nonce = text_of(post("/api/v1/license/challenge", token_, R"({"contract_id":"c"})"), "nonce");
    Json body = authorize_body("c");
    body.set("key_release_jwk", key.public_key().to_jwk());
    body.set("nonce", nonce);
    const api::EvidenceQuestion question{.nonce = nonce,
                                         .thumbprint = key.public_key().thumbprint(),
                                         .contract_id = "c",
                                         .asset_id = "m",
                                         .lease_id = "",
                                         .config_sha256 = ""};
    body.set("attestation", machine_.evidence(question.qualifier(), clock_ms));
    return authorize(token_, body);
  }
  std::int64_t clock_ms() { return store_->find_machine("t1", "c", machine_.ak_name())->clock.clock_ms; }

  Machine machine_;
  std::shared_ptr<std::function<void()>> interruption_;
  std::optional<Keyring> interrupted_;
  std::unique_ptr<Deps> parts_;
  std::string token_;
};

TEST_F(TpmEvidence, ReleasesTheKeyAndKeepsTheClock) {
  EXPECT_EQ(authorize_at(5000).status, 200);
  EXPECT_EQ(clock_ms(), 5000);
  patch(R"({"max_seats":9})");
  const auto back = authorize_at(4999);
  EXPECT_EQ(text_of(back, "reason"), "attestation_failed");
  EXPECT_THAT(text_of(back, "detail"), HasSubstr("clock_monotonic"));
  EXPECT_EQ(clock_ms(), 5000);
}

TEST_F(TpmEvidence, AContractThatChangesMeanwhileIsNoClockThatGoesBack) {
  *interruption_ = [&] { patch(R"({"max_seats":9})"); };
  const auto response = authorize_at(5000);
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_FALSE(*interruption_) << "nothing came between";
  EXPECT_EQ(clock_ms(), 5000);
}

TEST_F(TpmEvidence, NorIsAnotherRequestOfTheMachineThatCameBetween) {
  *interruption_ = [&] {
    patch(R"({"max_seats":9})");
    ASSERT_TRUE(store_->advance_clock("t1", "c", machine_.ak_name(),
                                      {.reset_count = 1, .restart_count = 0, .clock_ms = 9000}, now_));
  };
  const auto response = authorize_at(5000);
  EXPECT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(clock_ms(), 9000) << "it never goes back";
}

TEST_F(TpmEvidence, IsHeldAgainstTheContractThatIsInForceWhenTheSeatIsTaken) {
  *interruption_ = [&] {
    Json stricter = policy();
    Json values = Json::object();
    values.set("7", std::string(64, 'a'));
    Json banks = Json::object();
    banks.set("sha256", std::move(values));
    stricter.set("pcrs", std::move(banks));
    patch(R"({"attestation_policy":)" + stricter.dump() + "}");
  };
  const auto response = authorize_at(5000);
  EXPECT_EQ(text_of(response, "reason"), "attestation_failed");
  EXPECT_THAT(text_of(response, "detail"), HasSubstr("pcr_values"));
}

TEST_F(TpmEvidence, WithoutANonceProvesNothing) {
  Json body = authorize_body("c");
  body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
  body.set("attestation", machine_.evidence({}, 1));
  EXPECT_THAT(text_of(authorize(token_, body), "detail"), HasSubstr("evidence_fresh"));
}

}  // namespace
}  // namespace tb::controlplane
