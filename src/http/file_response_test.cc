#include "http/file_response.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace tb::http {
namespace {

const FileRepresentation kFile{.size = 10, .etag = "\"e1\""};

Response ask(std::string method, Headers headers) {
  Request request;
  request.method = std::move(method);
  request.headers = std::move(headers);
  return file_response(request, Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)), kFile);
}

TEST(FileResponse, GivesTheWholeOrTheRange) {
  const Response whole = ask("GET", {});
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(whole.file->length, 10u);
  EXPECT_EQ(whole.headers.get("ETag"), "\"e1\"");
  EXPECT_EQ(whole.headers.get("Accept-Ranges"), "bytes");
  const Response part = ask("GET", {{"Range", "bytes=2-5"}});
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.headers.get("Content-Range"), "bytes 2-5/10");
  EXPECT_EQ(part.file->offset, 2u);
  EXPECT_EQ(part.file->length, 4u);
}

TEST(FileResponse, UnsatisfiableRangesNameTheSize) {
  const Response response = ask("GET", {{"Range", "bytes=10-"}});
  EXPECT_EQ(response.status, 416);
  EXPECT_EQ(response.headers.get("Content-Range"), "bytes */10");
  EXPECT_FALSE(response.file);
}

TEST(FileResponse, HeadAndRepeatedRangesGetTheWhole) {
  EXPECT_EQ(ask("HEAD", {{"Range", "bytes=2-5"}}).status, 200);
  EXPECT_EQ(ask("GET", {{"Range", "bytes=2-5"}, {"Range", "bytes=0-0"}}).status, 200);
  EXPECT_EQ(ask("GET", {{"Range", "bytes=0-0,2-3"}}).status, 200);
}

TEST(FileResponse, HonoursConditions) {
  EXPECT_EQ(ask("GET", {{"If-Match", "\"e1\""}}).status, 200);
  EXPECT_EQ(ask("GET", {{"If-Match", "\"e0\", \"e1\""}}).status, 200);
  EXPECT_EQ(ask("GET", {{"If-Match", "*"}}).status, 200);
  EXPECT_EQ(ask("GET", {{"If-Match", "\"e2\""}}).status, 412);
  EXPECT_EQ(ask("GET", {{"If-Match", "W/\"e1\""}}).status, 412);
  EXPECT_EQ(ask("GET", {{"If-Match", ""}}).status, 412);
  EXPECT_EQ(ask("GET", {{"If-None-Match", "W/\"e1\""}}).status, 304);
  EXPECT_EQ(ask("GET", {{"If-None-Match", "\"e2\""}}).status, 200);
  EXPECT_EQ(ask("GET", {{"Range", "bytes=2-5"}, {"If-Range", "\"e1\""}}).status, 206);
  EXPECT_EQ(ask("GET", {{"Range", "bytes=2-5"}, {"If-Range", "\"e2\""}}).status, 200);
}

}  // namespace
}  // namespace tb::http
