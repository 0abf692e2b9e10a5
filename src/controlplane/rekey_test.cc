// spec: wire 1.4
#include "controlplane/rekey.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"
#include "controlplane/admin.h"
#include "controlplane/service_test.h"

namespace tb::controlplane {
namespace {

const std::string kOld(64, '1'), kNew(64, '2');

class RekeyTest : public ServiceTest {
 protected:
  /// Registered under the KEK of ServiceTest, which is kOld.
  void register_assets(int count) {
    for (int i = 0; i < count; ++i) register_asset("m" + std::to_string(i));
  }
  std::vector<std::string> event_types() {
    std::vector<std::string> types;
    for (const auto& event : store_->list_events({}, -1, 1000)) {
      types.push_back(value_or_throw(Json::parse(event.line)).find("type")->as_string());
    }
    return types;
  }
  bool opens(const Keyring& keyring, const std::string& asset_id) {
    const auto row = store_->find_asset("t1", asset_id);
    const FileKey key = keyring.unwrap("t1", asset_id, row->view.metadata.sha256_ciphertext, row->key);
    return equal_constant_time(key.reveal(), key_.reveal());
  }
};

template <typename F>
std::string reason_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

/// Fails at the n-th wrapping.
class Stopping final : public Kek {
 public:
  explicit Stopping(int left) : Kek(kek_from_hex(kNew)->id()), left_(left) {}
  Bytes wrap(std::string_view context, const Secret<32>& key) const override {
    if (--left_ < 0) throw Error("kms_unavailable", "as the test wants");
    return kek_->wrap(context, key);
  }
  Secret<32> unwrap(std::string_view context, ByteView wrapped) const override {
    return kek_->unwrap(context, wrapped);
  }

 private:
  std::unique_ptr<Kek> kek_ = kek_from_hex(kNew);
  mutable int left_;
};

/// Gives back another key than it was given.
class Lossy final : public Kek {
 public:
  Lossy() : Kek("lossy") {}
  Bytes wrap(std::string_view, const Secret<32>&) const override { return Bytes(40, 1); }
  Secret<32> unwrap(std::string_view, ByteView) const override { return random_key(); }
};

TEST_F(RekeyTest, AllKeysAreUnderTheNewKekAndTheOldOneIsNotNeeded) {
  register_assets(20);
  const auto identity = keyring_.identity().public_key();
  EXPECT_EQ(rekey(KekSet(kek_from_hex(kNew), {[] { return kek_from_hex(kOld); }}), *store_), 23);
  EXPECT_EQ(store_->kek_ids(), std::vector<std::string>{kek_from_hex(kNew)->id()});
  const Keyring after(kek_from_hex(kNew), *store_);
  EXPECT_EQ(after.identity().public_key(), identity);
  EXPECT_EQ(after.url_kid(), keyring_.url_kid());
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(opens(after, "m" + std::to_string(i)));
  EXPECT_EQ(reason_of([&] { const Keyring old(kek_from_hex(kOld), *store_); }), "kek_missing");
  const auto types = event_types();
  EXPECT_EQ(std::ranges::count(types, "keys_rewrapped"), 2);
  EXPECT_EQ(types.back(), "rekey_completed");
}

TEST_F(RekeyTest, AServiceThatAcceptsTheNewKekOpensEveryKeyAtEveryMoment) {
  register_assets(40);
  const Keyring service(
      std::make_unique<KekSet>(kek_from_hex(kOld), std::vector<KekSet::Opener>{[] { return kek_from_hex(kNew); }}),
      *store_);
  for (int stop = 0; stop < 60; stop += 7) {
    const KekSet keks(std::make_unique<Stopping>(7), {[] { return kek_from_hex(kOld); }});
    // A batch of 16 never ends at 7 wrappings: nothing of it is seen, and all opens as before.
    EXPECT_EQ(reason_of([&] { rekey(keks, *store_); }), "kms_unavailable");
    for (int i = 0; i < 40; ++i) EXPECT_TRUE(opens(service, "m" + std::to_string(i)));
  }
  for (int left = 43; left > 0; left -= 16) {
    const KekSet keks(std::make_unique<Stopping>(20), {[] { return kek_from_hex(kOld); }});
    EXPECT_EQ(reason_of([&] { rekey(keks, *store_); }), left > 20 ? "kms_unavailable" : "nothing");
    for (int i = 0; i < 40; ++i) EXPECT_TRUE(opens(service, "m" + std::to_string(i)));
  }
  EXPECT_EQ(store_->kek_ids().size(), 1U);
  EXPECT_EQ(event_types().back(), "rekey_completed");
}

TEST_F(RekeyTest, AKekThatDoesNotGiveTheKeyBackReplacesNothing) {
  register_assets(1);
  EXPECT_EQ(reason_of([&] { rekey(KekSet(std::make_unique<Lossy>(), {[] { return kek_from_hex(kOld); }}), *store_); }),
            "key_unwrap_failed");
  EXPECT_TRUE(opens(keyring_, "m0"));
  EXPECT_EQ(reason_of([&] { rekey(KekSet(kek_from_hex(kNew)), *store_); }), "kek_missing");
  EXPECT_TRUE(opens(keyring_, "m0"));
}

TEST_F(RekeyTest, TheNewKekMustBeOneThatTheServicesOpen) {
  register_assets(1);
  const std::string file = dir_ + "/next/kek";
  Config config;
  config.kek = {.spec = "env:OLD", .path = {}, .hex = SecretString(kOld), .transit = {}};
  EXPECT_EQ(reason_of([&] { rekey_to(config, "file:" + file, *store_); }), "usage");
  EXPECT_FALSE(std::filesystem::exists(file));
  config.kek_accepted.push_back({.spec = "file:" + file, .path = file, .hex = {}, .transit = {}});
  // The service was started before the file was there, and opens it when it comes.
  const Keyring service = open_keyring(config, *store_);
  EXPECT_TRUE(opens(service, "m0"));
  EXPECT_NE(rekey_to(config, "file:" + file, *store_), "");
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_TRUE(opens(service, "m0"));
  EXPECT_NE(rekey_to(config, "env:OLD", *store_), "") << "and back";
  EXPECT_EQ(store_->kek_ids(), std::vector<std::string>{kek_from_hex(kOld)->id()});
}

}  // namespace
}  // namespace tb::controlplane
