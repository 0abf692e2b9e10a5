// Every case of tests/smuggling through the proxy: what the client is answered, and that the runtime gets whole
// requests that have one reading only, as many as the case says. The reader here shares no code with the proxy's.
#include <gtest/gtest.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy {
namespace {

using test::eventually;
using test::Runtime;
using test::Wire;

struct Case {
  std::string name, why;
  std::vector<std::string> sends;
  std::vector<int> statuses;
  bool closed = false;
  int whole = -1;
  std::vector<std::string> never;
};

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out.push_back(text[i]);
      continue;
    }
    const char c = text.at(++i);
    if (c == 'r') {
      out.push_back('\r');
    } else if (c == 'n') {
      out.push_back('\n');
    } else if (c == 't') {
      out.push_back('\t');
    } else if (c == '0') {
      out.push_back('\0');
    } else if (c == 'x') {
      out.push_back(static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16)));
      i += 2;
    } else if (c == '{') {
      const std::size_t star = text.find('*', i);
      const std::size_t end = text.find('}', star);
      const std::string part = unescaped(text.substr(star + 1, end - star - 1));
      for (int n = std::stoi(std::string(text.substr(i + 1, star - i - 1))); n > 0; --n) out += part;
      i = end;
    } else {
      EXPECT_EQ(c, '\\') << text;
      out.push_back('\\');
    }
  }
  return out;
}

std::vector<Case> read_cases(const std::string& path) {
  std::vector<Case> cases;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("[")) {
      cases.emplace_back().name = line.substr(1, line.size() - 2);
      cases.back().sends.emplace_back();
      continue;
    }
    if (cases.empty() || line.empty()) {
      ADD_FAILURE() << path << ": " << line;
      continue;
    }
    Case& c = cases.back();
    const std::string text = line.size() > 2 ? line.substr(2) : "";
    if (line[0] == '#') c.why = text;
    if (line[0] == '>') c.sends.back() += unescaped(text);
    if (line[0] == '~') c.sends.emplace_back();
    if (line[0] == '=') c.whole = std::stoi(text);
    if (line[0] == '!') c.never.push_back(text);
    if (line[0] == '<') {
      c.closed = text == "closed";
      std::istringstream words(c.closed ? "" : text);
      for (int status = 0; words >> status;) c.statuses.push_back(status);
    }
    EXPECT_NE(std::string_view("#>~=!<").find(line[0]), std::string_view::npos) << path << ": " << line;
  }
  return cases;
}

/// Takes one whole message that can be read in one way from `text`. Empty: there is none, `text` is an unfinished one.
/// Throws where it can be read in two.
std::string take_message(std::string& text, bool is_request) {
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return "";
  std::istringstream lines(text.substr(0, end + 2));
  std::string line;
  std::getline(lines, line);
  const bool interim = !is_request && line.starts_with("HTTP/1.1 1");
  int lengths = 0;
  int encodings = 0;
  std::size_t length = 0;
  while (std::getline(lines, line)) {
    if (!line.ends_with("\r") || line.starts_with(" ") || line.starts_with("\t")) throw std::runtime_error(line);
    line.pop_back();
    if (std::ranges::any_of(line, [](char c) { return c == '\r' || c == '\0'; })) throw std::runtime_error(line);
    std::string name = line.substr(0, line.find(": "));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    const std::string value = line.substr(std::min(line.size(), name.size() + 2));
    if (name == "content-length") {
      ++lengths;
      const auto [at, error] = std::from_chars(value.data(), value.data() + value.size(), length);
      if (error != std::errc() || at != value.data() + value.size()) throw std::runtime_error(line);
    }
    if (name == "transfer-encoding") {
      ++encodings;
      if (value != "chunked") throw std::runtime_error(line);
    }
  }
  if (lengths + encodings > 1) throw std::runtime_error("a body of two lengths");
  std::size_t at = end + 4;
  if (encodings == 1) {
    while (true) {
      const std::size_t crlf = text.find("\r\n", at);
      if (crlf == std::string::npos) return "";
      const std::size_t size = std::stoul(text.substr(at, crlf - at), nullptr, 16);
      if (text.size() < crlf + 2 + size + 2) return "";
      if (text.substr(crlf + 2 + size, 2) != "\r\n") throw std::runtime_error("a chunk does not end");
      at = crlf + 2 + size + 2;
      if (size == 0) break;
    }
  } else if (!interim) {
    at += length;
  }
  if (text.size() < at) return "";
  std::string message = text.substr(0, at);
  text.erase(0, at);
  return message;
}

class SmugglingTest : public test::ProxyCase {
 protected:
  void replay(const Case& c) {
    SCOPED_TRACE(c.name + ": " + c.why);
    std::mutex mutex;
    std::string got;
    std::string fault;
    int whole = 0;
    std::atomic<int> closed = 0;
    Runtime runtime([&](Wire& wire, int) {
      try {
        do {
          while (!take_message(wire.heard, true).empty()) {
            {
              const std::scoped_lock lock(mutex);
              ++whole;
            }
            wire.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
          }
          const std::string before = wire.heard;
          if (!wire.more()) break;
          const std::scoped_lock lock(mutex);
          got += wire.heard.substr(before.size());
        } while (true);
      } catch (const std::exception& error) {
        const std::scoped_lock lock(mutex);
        fault = error.what();
      }
      ++closed;
    });
    begin(runtime.address, {.head_ms = 300, .idle_ms = 300, .client_ms = 300});
    Wire wire = client();
    for (std::size_t i = 0; i < c.sends.size(); ++i) {
      if (i > 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      wire.say(c.sends[i]);
    }
    std::string answers = wire.to_end();
    EXPECT_FALSE(wire.timed_out);
    proxy_->stop(0);
    EXPECT_TRUE(eventually([&] { return closed == runtime.connections; }));

    std::vector<int> statuses;
    for (std::string answer; !(answer = take_message(answers, false)).empty();) {
      statuses.push_back(std::stoi(answer.substr(9, 3)));
    }
    EXPECT_EQ(answers, "") << "more than answers";
    EXPECT_EQ(statuses, c.statuses);
    const std::scoped_lock lock(mutex);
    EXPECT_EQ(whole, c.whole) << got;
    EXPECT_EQ(fault, "") << got;
    for (const std::string& text : c.never) EXPECT_EQ(got.find(text), std::string::npos) << text << " in " << got;
  }
};

TEST_F(SmugglingTest, EveryCaseOfTheCorpus) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(TB_SOURCE_DIR "/tests/smuggling")) {
    if (entry.path().extension() != ".txt") continue;
    for (const Case& c : read_cases(entry.path().string())) {
      ASSERT_GE(c.whole, 0) << c.name;
      ASSERT_FALSE(c.why.empty()) << c.name;
      ASSERT_FALSE(c.sends.front().empty()) << c.name;
      ASSERT_EQ(c.closed, c.statuses.empty()) << c.name;
      names.push_back(c.name);
      replay(c);
    }
  }
  EXPECT_GE(names.size(), 140U);
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end()) << "a name twice";
}

TEST(SmugglingReader, SeesWhatHasTwoReadings) {
  std::string good = "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
  EXPECT_TRUE(take_message(good, true).starts_with("GET "));
  EXPECT_TRUE(take_message(good, true).ends_with("hi"));
  EXPECT_EQ(good, "");
  std::string half = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nhi";
  EXPECT_EQ(take_message(half, true), "");
  for (std::string bad :
       {"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", "POST / HTTP/1.1\r\nX: y\r\n z\r\n\r\n",
        "POST / HTTP/1.1\r\nX: y\nContent-Length: 1\r\n\r\na", "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"}) {
    EXPECT_ANY_THROW(take_message(bad, true)) << bad;
  }
}

}  // namespace
}  // namespace tb::sentinel::proxy
