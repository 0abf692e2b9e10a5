// Every case goes through whole, byte by byte, and in random pieces: the answer is the same.
#include "sentinel/proxy/path_rewrite.h"

#include <gtest/gtest.h>

#include <random>

namespace tb::sentinel::proxy {
namespace {

std::string rewritten(const HiddenPaths& hidden, std::string_view text, std::size_t piece_bytes) {
  PathRewrite rewrite(hidden);
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += piece_bytes) {
    EXPECT_FALSE(rewrite.feed(as_bytes(text.substr(at, piece_bytes)), false, out));
  }
  EXPECT_FALSE(rewrite.feed({}, true, out));
  return out;
}

std::string in_all_pieces(const HiddenPaths& hidden, std::string_view text) {
  std::string whole;
  PathRewrite rewrite(hidden);
  rewrite.feed(as_bytes(text), true, whole);
  for (std::size_t piece_bytes = 1; piece_bytes <= std::min<std::size_t>(text.size(), 40); ++piece_bytes) {
    EXPECT_EQ(rewritten(hidden, text, piece_bytes), whole) << text << " by " << piece_bytes;
  }
  return whole;
}

const HiddenPaths& hidden() {
  static const HiddenPaths kHidden({"/dev/shm/trustbridge/model", "/models/", "/mnt/models"}, "asset-1");
  return kHidden;
}

TEST(PathRewrite, ModelListsOfTheRuntimes) {
  // vLLM: data[].root; llama-server: the id is the file's path.
  EXPECT_EQ(in_all_pieces(hidden(), R"({"object":"list","data":[{"id":"tiny","root":"/dev/shm/trustbridge/model",)"
                                    R"("max_model_len":512,"created":1700000000.50}]})"),
            R"({"object":"list","data":[{"id":"tiny","root":"asset-1","max_model_len":512,"created":1700000000.50}]})");
  EXPECT_EQ(in_all_pieces(hidden(), R"({"data":[{"id":"/dev/shm/trustbridge/model/model-Q4_K.gguf"}],"n":1e5})"),
            R"({"data":[{"id":"asset-1"}],"n":1e5})");
  EXPECT_EQ(in_all_pieces(hidden(), R"({"model": "/models/a.gguf", "model_path" : "/models"})"),
            R"({"model": "asset-1", "model_path" : "asset-1"})");
}

TEST(PathRewrite, ErrorTexts) {
  EXPECT_EQ(
      in_all_pieces(hidden(), R"({"error":{"message":"failed to load '/mnt/models/config.json': no such file"}})"),
      R"({"error":{"message":"failed to load 'asset-1': no such file"}})");
  EXPECT_EQ(in_all_pieces(hidden(), "data: {\"error\":\"open(/mnt/models/a) failed\\n/mnt/models/b too\"}\n\n"),
            "data: {\"error\":\"open(asset-1) failed\\nasset-1 too\"}\n\n");
  EXPECT_EQ(in_all_pieces(hidden(), "plain: /mnt/models"), "plain: asset-1");
  EXPECT_EQ(in_all_pieces(hidden(), "\xe6\xa8\xa1/mnt/models/a"),
            "\xe6\xa8\xa1"
            "asset-1");
}

TEST(PathRewrite, EscapesOfJson) {
  for (const char* path :
       {R"(\/mnt\/models\/a.gguf)", R"(\u002fmnt\u002Fmodels)", R"(/mnt/mod\u0065ls)",
        R"(\u002f\u006d\u006e\u0074/models/\u0061)", R"(/mnt/models\/a\u002eb)", R"(/mnt/models/mod\u00e8le.gguf)"}) {
    const std::string text = std::string(R"({"id":")") + path + R"(","n":0})";
    EXPECT_EQ(in_all_pieces(hidden(), text), R"({"id":"asset-1","n":0})") << path;
  }
  // An escaped backslash is not the escape of the slash behind it.
  EXPECT_EQ(in_all_pieces(hidden(), R"("a\\/mnt/models")"), R"("a\\asset-1")");
  EXPECT_EQ(in_all_pieces(hidden(), R"("{\"id\":\"/models/a\"}")"), R"("{\"id\":\"asset-1\"}")");
}

TEST(PathRewrite, WhatIsNotOursPassesUntouched) {
  for (const char* text :
       {R"({"a":"/mnt/model"})", R"({"a":"x/mnt/models"})", R"({"url":"https://host/v1/models"})",
        R"({"text":"GET /models gives a list, so does a/models"})", R"({"a":"\/mnt\u00zz"})", R"("\)", R"("\u00)",
        R"("\u002)", "/", "//", "\\", "", "/dev/shm/trustbridge", R"(/dev/shm/trustbridge\/)", "\xff\xfe/mnt",
        R"({"n":1.0000000000000000001,"e":-0.0E+00,"u":"\ud83d\ude00\u0000"})", "data: [DONE]\n\n", ": ping\n\n"}) {
    EXPECT_EQ(in_all_pieces(hidden(), text), text);
  }
}

TEST(PathRewrite, AnEventIsNeverHeldBack) {
  PathRewrite rewrite(hidden());
  std::string out;
  const std::string event = "data: {\"choices\":[{\"delta\":{\"content\":\"/mnt\"}}]}\n\n";
  rewrite.feed(as_bytes(event), false, out);
  EXPECT_EQ(out, event);
}

TEST(PathRewrite, WhatIsHeldBackIsBounded) {
  const HiddenPaths one({"/" + std::string(1023, 'a') + "/b"}, "x");
  EXPECT_TRUE(one.empty()) << "longer than what is searched for";
  const HiddenPaths longest({"/" + std::string(1021, 'a') + "/b"}, "x");
  PathRewrite rewrite(longest);
  std::string out;
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\"/" + std::string(1000, 'a');
  rewrite.feed(as_bytes(text), false, out);
  EXPECT_GE(out.size(), text.size() - 1024);
  // The tail of a path may be endless: nothing of it is kept.
  out.clear();
  PathRewrite tail(hidden());
  for (int i = 0; i < 1000; ++i)
    tail.feed(as_bytes(std::string(i == 0 ? "\"/mnt/models/" : "aaaaaaaaaaaaaaa")), false, out);
  EXPECT_EQ(out, "\"asset-1");
}

TEST(PathRewrite, RandomPiecesOfRandomTextsOfPathsAndEscapes) {
  std::mt19937 random(11);
  const std::vector<std::string> words = {"/mnt/models", "/mnt", "\\/", "\\u002f", "mnt",
                                          "models",      "\"",   "\\",  "\\\\",    "/",
                                          "a",           " ",    "\\n", "\\u",     "/dev/shm/trustbridge/model"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (int i = 0; i < 12; ++i) text += words[random() % words.size()];
    std::string whole;
    PathRewrite at_once(hidden());
    at_once.feed(as_bytes(text), true, whole);
    PathRewrite rewrite(hidden());
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t piece = 1 + random() % 9;
      rewrite.feed(as_bytes(std::string_view(text).substr(at, piece)), false, out);
      at += piece;
    }
    rewrite.feed({}, true, out);
    ASSERT_EQ(out, whole) << text;
    ASSERT_EQ(in_all_pieces(hidden(), whole), whole) << "nothing is left to be found: " << text;
  }
}

TEST(PathRewrite, PathsThatAreNoneAreLeftOut) {
  EXPECT_TRUE(HiddenPaths({"", "/", "///", "relative/path", "/with space", "/with\"quote\x01"}, "x").empty());
  EXPECT_EQ(HiddenPaths({"/a/b/", "/a/b", "/a/b/c"}, "x").paths(), (std::vector<std::string>{"/a/b/c", "/a/b"}));
}

}  // namespace
}  // namespace tb::sentinel::proxy
