#include "base/hmac_lanes.h"

#include <algorithm>
#include <vector>

#if TB_HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

namespace tb {
namespace {

void one_by_one(std::span<const HmacJob> jobs) {
  for (const HmacJob& job : jobs) *job.out = job.key->mac(job.message);
}

}  // namespace

#if TB_HAVE_IPSEC_MB

struct HmacLanes::Impl {
  using Manager = std::unique_ptr<IMB_MGR, void (*)(IMB_MGR*)>;

  /// From here on sixteen lanes of AVX-512 are faster than two of the SHA instructions, though not all are used.
  static constexpr std::size_t kWideFrom = 10;
  static constexpr std::size_t kMost = IMB_MAX_BURST_SIZE;

  struct Pads {
    alignas(16) std::array<std::uint32_t, 8> inner, outer;
  };

  Impl() : narrow(alloc_mb_mgr(0), free_mb_mgr), wide(alloc_mb_mgr(0), free_mb_mgr) {
    if (!narrow || !wide) return;
    if ((narrow->features & IMB_FEATURE_SHANI) != 0) {
      init_mb_mgr_sse(narrow.get());
    } else {
      init_mb_mgr_auto(narrow.get(), nullptr);
    }
    init_mb_mgr_auto(wide.get(), nullptr);
    has_wide = (wide->features & IMB_FEATURE_AVX512_SKX) != 0;
  }

  /// `jobs` are kMost at most. False if the library did not do all of them.
  bool run(std::span<const HmacJob> jobs) {
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      pads[i] = {jobs[i].key->inner_chaining_value(), jobs[i].key->outer_chaining_value()};
      IMB_JOB& job = imb[i];
      job = {};
      job.src = jobs[i].message.data();
      job.msg_len_to_hash_in_bytes = jobs[i].message.size();
      job.auth_tag_output = jobs[i].out->data();
      job.auth_tag_output_len_in_bytes = jobs[i].out->size();
      job.u.HMAC._hashed_auth_key_xor_ipad = reinterpret_cast<const std::uint8_t*>(pads[i].inner.data());
      job.u.HMAC._hashed_auth_key_xor_opad = reinterpret_cast<const std::uint8_t*>(pads[i].outer.data());
      job.hash_alg = IMB_AUTH_HMAC_SHA_256;
      job.cipher_mode = IMB_CIPHER_NULL;
      job.chain_order = IMB_ORDER_HASH_CIPHER;
    }
    IMB_MGR* const manager = (has_wide && jobs.size() >= kWideFrom ? wide : narrow).get();
    const auto count = static_cast<std::uint32_t>(jobs.size());
    const bool done = IMB_SUBMIT_HASH_BURST_NOCHECK(manager, imb.data(), count, IMB_AUTH_HMAC_SHA_256) == count;
    wipe(pads.data(), jobs.size() * sizeof(Pads));
    return done;
  }

  bool agrees_with_openssl() {
    const HmacKey key(as_bytes("a key that is longer than nothing"));
    const Bytes text(700, 0x5a);
    for (const std::size_t count : {std::size_t{2}, kMost}) {
      std::vector<Digest> out(count);
      std::vector<HmacJob> jobs;
      for (std::size_t i = 0; i < count; ++i) jobs.push_back({&key, ByteView(text).first(1 + i * 5), &out[i]});
      if (!run(jobs)) return false;
      for (const HmacJob& job : jobs) {
        if (*job.out != key.mac(job.message)) return false;
      }
    }
    return true;
  }

  Manager narrow, wide;
  bool has_wide = false;
  std::array<IMB_JOB, kMost> imb;
  std::array<Pads, kMost> pads;
};

HmacLanes::HmacLanes() : impl_(std::make_unique<Impl>()) {
  if (!impl_->narrow || !impl_->wide || !impl_->agrees_with_openssl()) impl_.reset();
}

void HmacLanes::run(std::span<const HmacJob> jobs) {
  if (!impl_) return one_by_one(jobs);
  std::array<HmacJob, Impl::kMost> some;
  while (!jobs.empty()) {
    std::size_t count = 0;
    for (; !jobs.empty() && count < some.size(); jobs = jobs.subspan(1)) {
      if (jobs.front().message.empty()) {  // the library refuses to hash nothing
        one_by_one(jobs.first(1));
      } else {
        some[count++] = jobs.front();
      }
    }
    const auto taken = std::span(some).first(count);
    if (taken.size() < 2 || !impl_->run(taken)) one_by_one(taken);
  }
}

#else

struct HmacLanes::Impl {};

HmacLanes::HmacLanes() = default;

void HmacLanes::run(std::span<const HmacJob> jobs) {
  one_by_one(jobs);
}

#endif

HmacLanes::~HmacLanes() = default;

}  // namespace tb
