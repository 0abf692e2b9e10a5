#include "meter/sse.h"

#include <algorithm>
#include <cstring>

namespace tb::meter {
namespace {

std::size_t line_end(std::string_view text) {
  const std::size_t lf = std::min(text.find('\n'), text.size());
  const void* const cr = std::memchr(text.data(), '\r', lf);
  return cr == nullptr ? lf : static_cast<std::size_t>(static_cast<const char*>(cr) - text.data());
}

}  // namespace

void SseCutter::feed(std::string_view in, bool last) {
  while (!in.empty()) {
    if (after_cr_) {
      if (in.front() == '\n') {
        held_ += '\n';
        in.remove_prefix(1);
      }
      after_cr_ = false;
      end_line();
      continue;
    }
    const std::size_t end = line_end(in);
    if (line_bytes_ == 0 && end > 0) first_byte_of_line_is_colon_ = in.front() == ':';
    line_bytes_ += end;
    held_ += in.substr(0, end);
    in.remove_prefix(end);
    if (!in.empty()) {
      held_ += in.front();
      after_cr_ = in.front() == '\r';
      in.remove_prefix(1);
      if (!after_cr_) end_line();
    }
    if (held_.size() > kMaxEventBytes) overlong_ = true;
    if (overlong_ && !held_.empty()) {
      taker_.on_overlong(held_, false);
      held_.clear();
    }
  }
  if (!last) return;
  if (after_cr_) end_line();
  after_cr_ = false;
  only_comments_ = only_comments_ && (line_bytes_ == 0 || first_byte_of_line_is_colon_);
  line_bytes_ = 0;
  if (!held_.empty() || overlong_) hand_over();
}

void SseCutter::end_line() {
  const bool blank = line_bytes_ == 0;
  overlong_ = overlong_ || held_.size() > kMaxEventBytes;
  only_comments_ = only_comments_ && (blank || first_byte_of_line_is_colon_);
  line_bytes_ = 0;
  if (blank || only_comments_) hand_over();
}

void SseCutter::hand_over() {
  // What the taker is given must stay as it is meanwhile, and keeps its memory for the next event.
  if (overlong_) {
    taker_.on_overlong(held_, true);
  } else if (only_comments_) {
    taker_.on_comment(held_);
  } else {
    taker_.on_event(held_);
  }
  held_.clear();
  overlong_ = false;
  only_comments_ = true;
}

std::string_view event_data(std::string_view event, std::string& joined, std::size_t& single) {
  joined.clear();
  single = std::string_view::npos;
  std::string_view only;
  int lines = 0;
  for (std::size_t at = 0; at < event.size();) {
    std::string_view line = event.substr(at, line_end(event.substr(at)));
    std::size_t begin = at;
    at += line.size();
    at += event.substr(at, 2) == "\r\n" ? 2 : 1;
    if (begin == 0 && line.starts_with("\xEF\xBB\xBF")) {
      line.remove_prefix(3);
      begin += 3;
    }
    if (!line.starts_with("data") || (line.size() > 4 && line[4] != ':')) continue;
    std::size_t skip = std::min<std::size_t>(5, line.size());
    if (line.size() > 5 && line[5] == ' ') ++skip;
    line.remove_prefix(skip);
    if (++lines == 1) {
      only = line;
      single = begin + skip;
      continue;
    }
    if (lines == 2) joined = only;
    joined += '\n';
    joined += line;
    single = std::string_view::npos;
  }
  return lines > 1 ? std::string_view(joined) : only;
}

}  // namespace tb::meter
