// The public vectors of OMS v1.0, and the suite's negative cases by their names: tests/vectors/oms-v1.0/README.md.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "base/fs.h"
#include "base/json.h"
#include "oms/digests.h"
#include "oms/signature.h"

namespace tb::oms {
namespace {

const std::string kVectors = TB_SOURCE_DIR "/tests/vectors/oms-v1.0/";
// 2026-01-01, when the chains of the vectors are in force.
constexpr UnixMs kNow = 1'767'225'600'000;

using Model = std::map<std::string, std::string>;

Model simple() {
  return {{"signme-1", "signme-1\n"}, {"signme-2", "signme-2"}, {"ignore-me", ""}};
}

std::string text_of(const std::string& name) {
  return value_or_throw(read_small_file(kVectors + name));
}

Trust by_key() {
  return {.key = PublicKey::from_pem(text_of("signing-key-pub.pem")), .anchors = {}, .now = kNow};
}
Trust by_certificate() {
  return {.key = std::nullopt, .anchors = certificates_from_pem(text_of("intermediate-ca.pem")), .now = kNow};
}

std::vector<Resource> digests_of(const Model& model) {
  std::vector<Resource> found;
  for (const auto& [name, bytes] : model) found.push_back({name, sha256(bytes)});
  return found;
}

/// "ok", or the reason of the refusal.
std::string outcome(const std::string& bundle, const Trust& trust, const Model& model) {
  try {
    require_same(verify(Bundle::parse(bundle), trust), digests_of(model));
    return "ok";
  } catch (const Error& error) {
    return error.reason;
  }
}

/// The bundle with `change` made to its JSON.
std::string changed(const std::string& name, const std::function<void(Json&)>& change) {
  Json bundle = value_or_throw(Json::parse(text_of(name)));
  change(bundle);
  return bundle.dump();
}

Json& at(Json& object, std::string_view name) {
  for (auto& [key, value] : object.as_object()) {
    if (key == name) return value;
  }
  throw Error("internal", "the vector has no " + std::string(name));
}

TEST(OmsVectors, AcceptsWhatTheSuiteAccepts) {
  EXPECT_EQ(outcome(text_of("key-simple.sig"), by_key(), simple()), "ok");
  EXPECT_EQ(outcome(text_of("key-multi-file.sig"), by_key(),
                    {{"config.json", R"({"model": "test", "version": "1.0"})"},
                     {"weights.bin", std::string(1024, '\xab')},
                     {"subdir/adapter.bin", std::string(512, '\xcd')}}),
            "ok");
  EXPECT_EQ(outcome(text_of("key-single-file.sig"), by_key(), {{"model.bin", std::string(256, '\xef')}}), "ok");
  EXPECT_EQ(outcome(text_of("certificate-simple.sig"), by_certificate(), simple()), "ok");
  // The Go signer recorded what it left out by paths of its own working directory: the empty file is in nobody's list.
  Model without_ignored = simple();
  without_ignored.erase("ignore-me");
  EXPECT_EQ(outcome(text_of("key-simple-go.sig"), by_key(), without_ignored), "ok");
}

TEST(OmsVectors, RefusesChangedModels) {
  Model tampered = simple();
  tampered["signme-1"] = "TAMPERED CONTENT\n";
  EXPECT_EQ(outcome(text_of("key-simple.sig"), by_key(), tampered), "oms_content_mismatch") << "tampered-content";
  Model missing = simple();
  missing.erase("signme-2");
  EXPECT_EQ(outcome(text_of("key-simple.sig"), by_key(), missing), "oms_content_mismatch") << "missing-file";
  Model extra = simple();
  extra["injected.bin"] = "injected after signing\n";
  EXPECT_EQ(outcome(text_of("key-simple.sig"), by_key(), extra), "oms_content_mismatch") << "extra-file";
  Model nested = simple();
  nested["subdir/ignore-me"] = "nested";
  EXPECT_EQ(outcome(text_of("key-simple.sig"), by_key(), nested), "oms_content_mismatch") << "ignore-paths-exact-match";
}

TEST(OmsVectors, RefusesOtherSigners) {
  Trust wrong = by_key();
  wrong.key = SigningKey::generate().public_key();
  EXPECT_EQ(outcome(text_of("key-simple.sig"), wrong, simple()), "oms_key_mismatch") << "wrong-key";
  Trust wrong_ca = by_certificate();
  wrong_ca.anchors = {value_or_throw(from_base64(value_or_throw(Json::parse(text_of("certificate-expired_fail.sig")))
                                                     .find("verificationMaterial")
                                                     ->find("x509CertificateChain")
                                                     ->find("certificates")
                                                     ->as_array()
                                                     .front()
                                                     .find("rawBytes")
                                                     ->as_string()))};
  EXPECT_EQ(outcome(text_of("certificate-simple.sig"), wrong_ca, simple()), "oms_certificate_refused") << "wrong-ca";
  EXPECT_EQ(outcome(text_of("certificate-expired_fail.sig"), by_certificate(), simple()), "oms_certificate_refused");
  EXPECT_EQ(outcome(text_of("certificate-simple.sig"), by_key(), simple()), "oms_key_mismatch") << "verify-as-key";
  EXPECT_EQ(outcome(text_of("key-simple.sig"), by_certificate(), simple()), "oms_key_mismatch")
      << "verify-as-certificate";
  Trust later = by_certificate();
  later.now = 2'100'000'000'000;  // 2036
  EXPECT_EQ(outcome(text_of("certificate-simple.sig"), later, simple()), "oms_certificate_refused") << "all-expired";
  Trust earlier = by_certificate();
  earlier.now = 1'700'000'000'000;  // 2023
  EXPECT_EQ(outcome(text_of("certificate-simple.sig"), earlier, simple()), "oms_certificate_refused")
      << "not-yet-valid";
}

TEST(OmsVectors, RefusesMalformedBundles) {
  const std::string whole = text_of("key-simple.sig");
  const auto refused = [](const std::string& bundle) { return outcome(bundle, by_key(), simple()); };
  EXPECT_EQ(refused("this is not json{{{"), "oms_bundle_malformed") << "corrupted-bundle";
  EXPECT_EQ(refused(""), "oms_bundle_malformed") << "empty-bundle";
  EXPECT_EQ(refused(whole.substr(0, whole.size() / 2)), "oms_bundle_malformed") << "truncated-bundle";
  EXPECT_EQ(refused(changed("key-simple.sig", [](Json& b) { b.set("mediaType", "application/json"); })),
            "oms_bundle_malformed")
      << "wrong-mediatype";
  EXPECT_EQ(refused(changed("key-simple.sig", [](Json& b) { b.erase("dsseEnvelope"); })), "oms_bundle_malformed")
      << "missing-envelope";
  EXPECT_EQ(refused(changed("key-simple.sig", [](Json& b) { b.erase("verificationMaterial"); })),
            "oms_bundle_malformed")
      << "missing-verification-material";
  EXPECT_EQ(refused(changed("key-simple.sig", [](Json& b) { at(b, "dsseEnvelope").set("signatures", Json::array()); })),
            "oms_bundle_malformed")
      << "no-signature";
  EXPECT_EQ(
      refused(changed("key-simple.sig", [](Json& b) { at(b, "dsseEnvelope").set("payloadType", "application/json"); })),
      "oms_bundle_malformed")
      << "wrong-payload-type";
}

// The suite changes these without signing again; here they are signed, so that the statement itself is what is refused.
TEST(OmsVectors, RefusesSignedStatementsOfOtherForms) {
  const SigningKey key = SigningKey::generate();
  const Trust trust{.key = key.public_key(), .anchors = {}, .now = kNow};
  const auto resigned = [&](const std::function<void(Json&)>& change) {
    Bundle bundle = Bundle::parse(text_of("key-simple.sig"));
    Json statement = value_or_throw(Json::parse(bundle.payload));
    change(statement);
    bundle.payload = statement.dump();
    bundle.hint = key.public_key().hint();
    bundle.signature = key.sign(as_bytes(pre_authentication(kPayloadType, bundle.payload)));
    return outcome(bundle.text(), trust, simple());
  };
  EXPECT_EQ(resigned([](Json&) {}), "ok");
  EXPECT_EQ(resigned([](Json& s) { at(s, "predicate").set("resources", Json::array()); }), "oms_bundle_malformed")
      << "empty-resources";
  EXPECT_EQ(resigned([](Json& s) { at(s, "predicate").erase("serialization"); }), "oms_bundle_malformed")
      << "missing-serialization";
  EXPECT_EQ(resigned([](Json& s) { s.set("_type", "https://in-toto.io/Statement/v0.1"); }), "oms_bundle_malformed")
      << "wrong-statement-type";
  EXPECT_EQ(resigned([](Json& s) { s.set("predicateType", "https://example.com/wrong/v1"); }), "oms_bundle_malformed")
      << "wrong-predicate";
  EXPECT_EQ(resigned([](Json& s) { s.set("predicateType", "https://model_signing/Digests/v0.1"); }), "oms_unsupported")
      << "historical-v0.2.0";
}

TEST(OmsVectors, EveryChangedByteOfAStatementIsSeen) {
  Bundle bundle = Bundle::parse(text_of("key-simple.sig"));
  for (std::size_t i = 0; i < bundle.payload.size(); i += 7) {
    Bundle bent = bundle;
    bent.payload[i] = static_cast<char>(bent.payload[i] ^ 1);
    EXPECT_EQ(outcome(bent.text(), by_key(), simple()), "oms_signature_mismatch") << i;
  }
}

}  // namespace
}  // namespace tb::oms
