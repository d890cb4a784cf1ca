#include <openssl/sha.h>
#include <sys/stat.h>

#include <cstring>

#include "core/error.h"
#include "dist/security.h"
#include "tests/catch.h"
#include "tests/programs.h"
#include "tests/temp_dir.h"

using namespace tern;
using namespace tern::dist;
using tern::test::read_file;
using tern::test::TempDir;
using tern::test::write_file;

namespace {

std::filesystem::path token_file(const TempDir& dir, const std::string& text, mode_t mode = 0600) {
  const std::filesystem::path file = dir / "token";
  std::filesystem::remove(file);
  write_file(file, text);
  ::chmod(file.c_str(), mode);
  return file;
}

}  // namespace

TEST_CASE("token: what make_token writes is read back; two are never the same", "[dist]") {
  const TempDir dir;
  make_token(dir / "a");
  make_token(dir / "b");
  CHECK(std::filesystem::status(dir / "a").permissions() == std::filesystem::perms(0600));
  const std::string text = read_file(dir / "a");
  REQUIRE(text.size() == 65);
  CHECK(text.find_first_not_of("0123456789abcdef") == 64);
  CHECK(text.back() == '\n');
  CHECK(read_token(dir / "a").key == read_token(dir / "a").key);
  CHECK(read_token(dir / "a").key != read_token(dir / "b").key);
}

TEST_CASE("token: an existing file stays as it is", "[dist]") {
  const TempDir dir;
  write_file(dir / "file", "precious");
  CHECK_THROWS_WITH(make_token(dir / "file"), HasText((dir / "file").string()) && HasText("exists"));
  CHECK(read_file(dir / "file") == "precious");
  std::filesystem::create_symlink(dir / "elsewhere", dir / "link");
  CHECK_THROWS_AS(make_token(dir / "link"), Error);
  CHECK(!std::filesystem::exists(dir / "elsewhere"));
  CHECK_THROWS_WITH(make_token(dir / "none" / "file"), HasText("No such file"));
}

TEST_CASE("token: the key is the SHA-256 of the bytes that the digits stand for", "[dist]") {
  const TempDir dir;
  const unsigned char secret[16] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07,
                                    0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
  unsigned char expected[32];
  ::SHA256(secret, sizeof secret, expected);
  for (const char* text : {"00010203040506078899aabbccddeeff", "00010203040506078899aabbccddeeff\n",
                           "00010203040506078899AABBccddeeFF \r\n"}) {
    INFO(text);
    CHECK(std::memcmp(read_token(token_file(dir, text)).key.data(), expected, 32) == 0);
  }
  CHECK(read_token(token_file(dir, std::string(4094, 'a'))).key !=
        read_token(token_file(dir, std::string(4092, 'a'))).key);
}

TEST_CASE("token: files that are no token are refused by name", "[dist]") {
  const TempDir dir;
  const std::string good(32, 'a');
  struct Row {
    std::string text;
    mode_t mode;
    const char* says;
  };
  for (const Row& row : std::vector<Row>{{good, 0640, "chmod 600"},
                                         {good, 0604, "chmod 600"},
                                         {good, 0620, "chmod 600"},
                                         {"", 0600, "got 0 hexadecimal digits"},
                                         {"\n\n", 0600, "got 0 hexadecimal digits"},
                                         {good.substr(2), 0600, "got 30 hexadecimal digits, wanted at least 32"},
                                         {good + "a", 0600, "odd number"},
                                         {"g" + good.substr(1), 0600, "something else"},
                                         {good + "\n" + good, 0600, "something else"},
                                         {"0x" + good, 0600, "something else"},
                                         {std::string("aa\0a", 4) + good, 0600, "something else"},
                                         {std::string(10000, 'a'), 0600, "too long"}}) {
    const auto file = token_file(dir, row.text, row.mode);
    CHECK_THROWS_WITH(read_token(file), HasText("token file " + file.string()) && HasText(row.says));
    CHECK_THROWS_AS(read_token(file), ConfigError);
  }
  CHECK_THROWS_WITH(read_token(dir / "none"), HasText("No such file"));
  CHECK_THROWS_WITH(read_token(dir.path()), HasText("no regular file"));
  ::mkfifo((dir / "pipe").c_str(), 0600);
  CHECK_THROWS_WITH(read_token(dir / "pipe"), HasText("no regular file"));
}

TEST_CASE("security: exactly one protection, certificates with all three files", "[dist]") {
  const Security token{.token = Token{}, .certificate = {}, .key = {}, .authority = {}};
  Security certificates;
  certificates.certificate = certificates.key = certificates.authority = "file";
  Security insecure;
  insecure.insecure = true;
  CHECK_NOTHROW(check(token));
  CHECK_NOTHROW(check(certificates));
  CHECK_NOTHROW(check(insecure));
  CHECK_THROWS_WITH(check(Security{}), HasText("no protection") && HasText("--token-file"));

  for (Security two : {token, certificates}) {
    two.insecure = true;
    CHECK_THROWS_WITH(check(two), HasText("more than one"));
  }
  Security both = certificates;
  both.token = Token{};
  CHECK_THROWS_AS(check(both), ConfigError);

  Security some = certificates;
  some.certificate.clear();
  CHECK_THROWS_WITH(check(some), HasText("--tls-cert"));
  some = certificates;
  some.key.clear();
  CHECK_THROWS_WITH(check(some), HasText("--tls-key"));
  some = certificates;
  some.authority.clear();
  CHECK_THROWS_WITH(check(some), HasText("--tls-ca"));
}
