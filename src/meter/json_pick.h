// Picks a few values out of a JSON text as it passes, in one pass and without building it: a prompt may be a gigabyte.
//
// Strict where two readers could disagree: RFC 8259's grammar, UTF-8, names compared after their escapes are read, no
// name twice in the outermost object, a bound on depth. Memory is one frame a level and kKeptBytes of one value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tb::meter {

/// A name in a form that is compared at once: the shorter ones are in their two words whole.
struct JsonName {
  explicit JsonName(std::string_view name);
  bool operator==(const JsonName& other) const {
    return first == other.first && last == other.last && text.size() == other.text.size() &&
           (text.size() <= 2 * sizeof first || text == other.text);
  }
  /// Different for different short names, almost always.
  std::uint64_t short_hash() const;

  std::string_view text;
  std::uint64_t first = 0, last = 0;  ///< its first and last eight bytes, or all of fewer
};

/// What to pick: names from the outermost object inwards, `[]` for the items of an array ("choices[].delta.content").
/// A path's number is its place in the list.
class JsonPaths {
 public:
  static constexpr int kNowhere = -1;
  /// `anywhere`: names that are only noticed, at any depth. `numbers`: of the paths, where their places will not do.
  explicit JsonPaths(const std::vector<std::string_view>& paths, const std::vector<std::string_view>& anywhere = {},
                     const std::vector<int>& numbers = {});
  /// False: neither child() nor is_anywhere() can know a name of this length here.
  bool may_know(int node, std::size_t name_bytes) const;
  int child(int node, const JsonName& name) const;
  int item(int node) const { return node == kNowhere ? kNowhere : nodes_[static_cast<std::size_t>(node)].item; }
  int path(int node) const { return node == kNowhere ? kNowhere : nodes_[static_cast<std::size_t>(node)].path; }
  bool is_anywhere(const JsonName& name) const;

 private:
  struct Node {
    std::vector<std::pair<JsonName, int>> children;
    std::uint32_t lengths = 0;  ///< of the children's names, a bit each
    int item = kNowhere;
    int path = kNowhere;
  };
  std::vector<Node> nodes_;
  std::vector<JsonName> anywhere_;
  std::uint32_t anywhere_lengths_ = 0;
};

/// One value, told when it has ended; the members of an object are told before it.
struct Picked {
  enum class Kind { kNull, kFalse, kTrue, kNumber, kString, kObject, kArray };
  int path = 0;
  Kind kind = Kind::kNull;
  std::string_view text;          ///< of a number as it stands, of a string without escapes; at most kKeptBytes of it
  std::uint64_t text_bytes = 0;   ///< of all of it
  std::uint64_t items = 0;        ///< members of an object or array
  Kind first_item = Kind::kNull;  ///< of an array
  std::uint64_t name_begin = 0;   ///< offset in the text of the member's name, or of the value where it has none
  std::uint64_t begin = 0, end = 0;
  bool whole() const { return text.size() == text_bytes; }
  /// A number of the form `0|-?[1-9][0-9]*` within ±(2^53 − 1).
  bool is_integer(std::int64_t& value) const;
};

class JsonPick {
 public:
  static constexpr std::size_t kKeptBytes = 256;
  static constexpr std::size_t kMaxDepth = 64;
  static constexpr std::size_t kMaxNames = 256;  ///< in the outermost object

  class Taker {
   public:
    virtual ~Taker() = default;
    virtual void on_value(const Picked& value) = 0;
    /// The name of a member of the outermost object has ended at `end`; its value follows.
    virtual void on_name(int /*path*/, std::uint64_t /*begin*/, std::uint64_t /*end*/) {}
  };

  /// Both outlive it.
  JsonPick(const JsonPaths& paths, Taker& taker) : paths_(&paths), taker_(&taker) {}

  /// Ready for another text, with the memory that it has.
  void reset();
  /// False once the text cannot be JSON any more; fault() says why.
  bool feed(std::string_view piece);
  /// One value has come whole, with nothing but blanks after it.
  bool whole() const { return state_ == State::kDone || (stack_.empty() && number_could_end()); }
  std::string_view fault() const { return fault_; }
  bool failed() const { return !fault_.empty(); }
  std::uint64_t offset() const { return offset_; }
  /// End of the last value that is complete in the outermost object, or of its opening brace.
  std::uint64_t settled_end() const { return settled_end_; }
  /// Up to here nothing can change any more what was told of it: all that has come while a member of the outermost
  /// object has its value under way, else settled_end().
  std::uint64_t streamable_end() const { return in_member_value_ ? offset_ : settled_end_; }
  bool is_object() const { return outermost_object_; }
  std::uint64_t members() const { return members_; }
  bool saw_anywhere() const { return saw_anywhere_; }

 private:
  enum class State {
    kValue,
    kItemOrEnd,
    kNameOrEnd,
    kName,
    kColon,
    kCommaOrEnd,
    kDone,
    kString,
    kEscape,
    kHex,
    kLiteral,
    kMinus,
    kZero,
    kInteger,
    kPoint,
    kFraction,
    kExponent,
    kExponentSign,
    kExponentDigits,
  };
  struct Frame {
    bool object = false;
    Picked::Kind first_item = Picked::Kind::kNull;
    int node = JsonPaths::kNowhere;
    std::uint64_t items = 0, name_begin = 0, begin = 0;
  };

  bool fail(std::string_view why);
  bool number_could_end() const;
  std::size_t take_token(std::string_view rest);
  bool step(unsigned char c);
  bool begin_value(unsigned char c);
  void place_value();
  bool open(bool object);
  bool close();
  bool string_byte(unsigned char c);
  bool escape_byte(unsigned char c);
  bool hex_digit(unsigned char c);
  bool number_byte(unsigned char c);
  void keep(char c);
  void keep(std::string_view run);
  void keep_code_point(std::uint32_t code);
  bool end_string();
  bool end_name(std::string_view name);
  void end_scalar(Picked::Kind kind, std::string_view text, std::uint64_t text_bytes);
  void tell(Picked value);
  void end_value(Picked::Kind kind);
  std::string_view kept() const { return {kept_.data(), kept_bytes_}; }

  const JsonPaths* paths_;
  Taker* taker_;
  State state_ = State::kValue;
  std::string_view fault_;
  std::uint64_t offset_ = 0, settled_end_ = 0, members_ = 0;
  bool outermost_object_ = false, saw_anywhere_ = false, in_member_value_ = false;
  /// For the depth and the names that are usual, without the heap.
  static constexpr std::size_t kUsualDepth = 8, kUsualNames = 16;
  alignas(Frame) std::array<std::byte, kUsualDepth * sizeof(Frame) + kUsualNames * sizeof(std::uint64_t)> room_;
  std::pmr::monotonic_buffer_resource memory_{room_.data(), room_.size()};
  std::pmr::vector<Frame> stack_{&memory_};
  /// Of the outermost object; equal hashes of different names refuse, no more.
  std::pmr::vector<std::uint64_t> name_hashes_{&memory_};
  // The value or name under way.
  bool is_name_ = false;
  int node_ = 0;
  std::uint64_t begin_ = 0, name_begin_ = 0, kept_total_ = 0, hash_ = 0;
  std::size_t kept_bytes_ = 0;
  std::array<char, kKeptBytes> kept_;
  std::string_view literal_;
  std::size_t literal_at_ = 0;
  std::uint32_t code_ = 0, high_surrogate_ = 0;
  int hex_left_ = 0;
  int utf8_left_ = 0;
  unsigned char utf8_low_ = 0x80, utf8_high_ = 0xbf;
};

}  // namespace tb::meter
