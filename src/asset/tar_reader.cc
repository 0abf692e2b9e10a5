#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "asset/tar_header.h"

namespace tb::asset {
namespace {

constexpr std::size_t kBlock = kTarBlockBytes;
constexpr std::uint64_t kMaxPaxBytes = std::uint64_t{1} << 17;
constexpr std::uint64_t kMaxEntryBytes = (std::uint64_t{1} << 53) - 1;  // as plaintext_bytes

struct Field {
  std::size_t at, bytes;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kSize{124, 12}, kChecksum{148, 8}, kType{156, 1}, kLinkName{157, 100},
    kMagic{257, 8}, kPrefix{345, 155};

std::unexpected<Error> malformed(std::string message) {
  return fail("archive_malformed", std::move(message));
}

ByteView field(ByteView block, Field f) {
  return block.subspan(f.at, f.bytes);
}

/// Text up to the first NUL; everything after it must be NUL too, else nullopt.
std::optional<std::string> text_of(ByteView bytes) {
  const auto end = std::ranges::find(bytes, std::uint8_t{0});
  if (std::any_of(end, bytes.end(), [](std::uint8_t b) { return b != 0; })) return std::nullopt;
  return std::string(bytes.begin(), end);
}

/// Octal digits ended by NUL or space, or GNU base-256 for what octal cannot hold.
std::optional<std::uint64_t> number_of(ByteView bytes) {
  if (bytes[0] == 0x80) {
    std::uint64_t value = 0;
    for (const std::uint8_t b : bytes.subspan(1)) {
      if (value >> 56 != 0) return std::nullopt;
      value = value << 8 | b;
    }
    return value;
  }
  std::uint64_t value = 0;
  std::size_t i = 0;
  for (; i < bytes.size() && bytes[i] >= '0' && bytes[i] <= '7'; ++i) value = value * 8 + (bytes[i] - '0');
  if (i == 0) return std::nullopt;
  for (; i < bytes.size(); ++i) {
    if (bytes[i] != 0 && bytes[i] != ' ') return std::nullopt;
  }
  return value;
}

bool checksum_holds(ByteView block) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const bool in_checksum = i >= kChecksum.at && i < kChecksum.at + kChecksum.bytes;
    sum += in_checksum ? std::uint8_t{' '} : block[i];
  }
  return number_of(field(block, kChecksum)) == sum;
}

/// What a ustar block says by itself.
struct Block {
  char type = 0;
  std::string path;
  std::uint64_t bytes = 0;
  std::uint32_t mode = 0;
};

Result<Block> read_block(ByteView bytes) {
  if (bytes.size() < kBlock) return malformed("a tar header is cut short");
  const ByteView block = bytes.first(kBlock);
  if (as_text(field(block, kMagic)) != std::string_view("ustar\00000", 8))
    return malformed("a tar header is not in ustar form");
  if (!checksum_holds(block)) return malformed("a tar header's checksum is wrong");
  const auto name = text_of(field(block, kName));
  const auto prefix = text_of(field(block, kPrefix));
  const auto size = number_of(field(block, kSize));
  const auto mode = number_of(field(block, kMode));
  const auto link = text_of(field(block, kLinkName));
  if (!name || name->empty() || !prefix || !size || !mode || !link)
    return malformed("a tar header has a malformed field");
  if (!link->empty()) return malformed("a tar header names a link");
  if (*mode > 07777) return malformed("a tar header has an impossible mode");
  return Block{static_cast<char>(block[kType.at]), prefix->empty() ? *name : *prefix + "/" + *name, *size,
               static_cast<std::uint32_t>(*mode)};
}

struct Extension {
  std::optional<std::string> path;
  std::optional<std::uint64_t> bytes;
};

std::optional<std::uint64_t> decimal_of(std::string_view digits) {
  if (digits.empty() || digits.size() > 18 || (digits.size() > 1 && digits[0] == '0')) return std::nullopt;
  std::uint64_t value = 0;
  for (const char c : digits) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return value;
}

/// One record, "LENGTH KEY=VALUE\n", is taken off `text`.
Result<> read_record(std::string_view& text, Extension& extension) {
  const std::size_t space = text.find(' ');
  const auto length = space == std::string_view::npos ? std::nullopt : decimal_of(text.substr(0, space));
  if (!length || *length > text.size() || *length < space + 3 || text[*length - 1] != '\n') {
    return malformed("a pax record is malformed");
  }
  const std::string_view record = text.substr(space + 1, *length - space - 2);
  text.remove_prefix(*length);
  const std::size_t equals = record.find('=');
  if (equals == std::string_view::npos) return malformed("a pax record is malformed");
  const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
  if (value.find('\0') != std::string_view::npos) return malformed("a pax record holds a NUL");
  if (key == "path" && !extension.path) {
    extension.path = std::string(value);
    return {};
  }
  if (key == "size" && !extension.bytes) {
    extension.bytes = decimal_of(value);
    if (!extension.bytes) return malformed("a pax size is not a number");
    return {};
  }
  return malformed("a pax record is of a kind that is not accepted");
}

Result<Extension> read_extension(ByteView bytes) {
  Extension extension;
  std::string_view text = as_text(bytes);
  while (!text.empty()) TRY(read_record(text, extension));
  return extension;
}

}  // namespace

Result<ParsedTarHeader> parse_tar_header(ByteView bytes) {
  ParsedTarHeader parsed;
  Block block = TRY(read_block(bytes));
  Extension extension;
  parsed.header_bytes = kBlock;
  if (block.type == 'x') {
    if (block.bytes > kMaxPaxBytes) return malformed("a pax extension is too long");
    const std::uint64_t whole = kBlock + block.bytes + tar_padding(block.bytes);
    if (bytes.size() < whole) return malformed("a pax extension is cut short");
    const ByteView padding = bytes.subspan(kBlock + block.bytes, tar_padding(block.bytes));
    if (std::ranges::any_of(padding, [](std::uint8_t b) { return b != 0; })) return malformed("padding is not zero");
    extension = TRY(read_extension(bytes.subspan(kBlock, block.bytes)));
    block = TRY(read_block(bytes.subspan(whole)));
    parsed.header_bytes += whole;
  }
  if (block.type != '0' && block.type != '5') return malformed("an archive entry is neither a file nor a directory");

  TarEntry& entry = parsed.entry;
  entry.is_directory = block.type == '5';
  entry.path = extension.path ? std::move(*extension.path) : std::move(block.path);
  entry.bytes = extension.bytes.value_or(block.bytes);
  if (entry.bytes > kMaxEntryBytes) return malformed("an archive entry is larger than any plaintext");
  entry.mode = block.mode;
  if (entry.is_directory) {
    if (!entry.path.ends_with('/')) return malformed("a directory's path does not end with a slash");
    entry.path.pop_back();
    if (entry.bytes != 0) return malformed("a directory entry has bytes");
  }
  return parsed;
}

}  // namespace tb::asset
