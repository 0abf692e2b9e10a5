// Carry-less multiplication where the processor has it, 64 bytes a step in four lanes (Gopal et al., "Fast CRC
// computation for generic polynomials using PCLMULQDQ", Intel 2009); else sixteen bytes a step by sixteen tables.
#include "base/crc64.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace tb {
namespace {

constexpr std::uint64_t kPolynomial = 0x9a6c9329ac4bc9b5;  // reflected
constexpr std::size_t kStep = 16;
using Tables = std::array<std::array<std::uint64_t, 256>, kStep>;

/// tables[k][b]: what the byte b does to the state when k more bytes follow it.
constexpr Tables make_tables() {
  Tables tables{};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    std::uint64_t state = byte;
    for (int bit = 0; bit < 8; ++bit) state = (state >> 1) ^ ((state & 1) != 0 ? kPolynomial : 0);
    tables[0][byte] = state;
  }
  for (std::size_t k = 1; k < kStep; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint64_t before = tables[k - 1][byte];
      tables[k][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

const Tables kTables = make_tables();

std::uint64_t by_tables(std::uint64_t state, ByteView bytes) {
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= kStep; at += kStep, left -= kStep) {
    const std::uint64_t low = load_le64(at) ^ state;
    const std::uint64_t high = load_le64(at + 8);
    std::uint64_t next = 0;
    for (std::size_t k = 0; k < 8; ++k) {
      next ^= kTables[15 - k][(low >> (8 * k)) & 0xff] ^ kTables[7 - k][(high >> (8 * k)) & 0xff];
    }
    state = next;
  }
  for (; left > 0; ++at, --left) state = (state >> 8) ^ kTables[0][(state ^ *at) & 0xff];
  return state;
}

#ifdef __x86_64__
/// x^n modulo the polynomial, reflected.
constexpr std::uint64_t power_of_x(int n) {
  std::uint64_t value = std::uint64_t{1} << 63;
  for (int i = 0; i < n; ++i) value = (value >> 1) ^ ((value & 1) != 0 ? kPolynomial : 0);
  return value;
}

/// Sixteen bytes moved on by `bits`: its two halves times x^(bits + 64) and x^bits. A product of reflected values is
/// one power of x too high.
template <int bits>
__attribute__((target("pclmul,sse4.1"))) __m128i moved_on(__m128i value) {
  constexpr std::uint64_t kFirst = power_of_x(bits + 63), kSecond = power_of_x(bits - 1);
  const __m128i by = _mm_set_epi64x(static_cast<long long>(kSecond), static_cast<long long>(kFirst));
  return _mm_xor_si128(_mm_clmulepi64_si128(value, by, 0x00), _mm_clmulepi64_si128(value, by, 0x11));
}

constexpr std::size_t kLanes = 4;
constexpr std::size_t kStride = kLanes * 16;

__attribute__((target("pclmul,sse4.1"))) __m128i loaded(const std::uint8_t* at) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
}

/// `bytes` is at least one stride; what is left of it goes through the tables.
__attribute__((target("pclmul,sse4.1"))) std::uint64_t by_multiplication(std::uint64_t state, ByteView bytes) {
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  __m128i lanes[kLanes];
  for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = loaded(at + i * 16);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_set_epi64x(0, static_cast<long long>(state)));
  for (at += kStride, left -= kStride; left >= kStride; at += kStride, left -= kStride) {
    for (std::size_t i = 0; i < kLanes; ++i) lanes[i] = _mm_xor_si128(moved_on<512>(lanes[i]), loaded(at + i * 16));
  }
  __m128i sum = lanes[0];
  for (std::size_t i = 1; i < kLanes; ++i) sum = _mm_xor_si128(moved_on<128>(sum), lanes[i]);
  std::array<std::uint8_t, 16> last{};
  _mm_storeu_si128(reinterpret_cast<__m128i*>(last.data()), sum);
  return by_tables(by_tables(0, last), {at, left});
}

const bool kMultiplies = __builtin_cpu_supports("pclmul") != 0 && __builtin_cpu_supports("sse4.1") != 0;
#endif

}  // namespace

void Crc64::update(ByteView bytes) {
#ifdef __x86_64__
  if (kMultiplies && bytes.size() >= kStride) {
    state_ = by_multiplication(state_, bytes);
    return;
  }
#endif
  state_ = by_tables(state_, bytes);
}

std::array<std::uint8_t, 8> Crc64::bytes() const {
  std::array<std::uint8_t, 8> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(value() >> (8 * i));
  return out;
}

}  // namespace tb
