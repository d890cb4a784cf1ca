#include "dist/security.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>

#include "core/error.h"

namespace tern::dist {
namespace {

constexpr size_t kLongestFile = 4096;
constexpr size_t kShortestSecret = 16;  // bytes
constexpr size_t kNewSecret = 32;

/// Bytes that are wiped when they are no longer needed.
template <size_t N>
struct Secret {
  std::array<unsigned char, N> bytes{};
  ~Secret() { OPENSSL_cleanse(bytes.data(), N); }
};

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

std::string reason() { return std::strerror(errno); }

/// The digit's value, or -1.
int hex_digit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Reads until the end or until `text` is full.
size_t read_all(int fd, std::span<unsigned char> text, const std::string& name) {
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd, text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw ConfigError(name + ": cannot be read: " + reason());
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  return size;
}

}  // namespace

Token read_token(const std::filesystem::path& file) {
  const std::string name = "token file " + file.string();
  const Descriptor in{
      ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a pipe without a writer must not hang
  if (in.fd < 0) throw ConfigError(name + ": " + reason());
  struct stat status {};
  if (::fstat(in.fd, &status) != 0 || !S_ISREG(status.st_mode)) throw ConfigError(name + ": is no regular file");
  if ((status.st_mode & 077) != 0) {
    throw ConfigError(name + ": others may read or write it; wanted mode 0600: chmod 600 " + file.string());
  }
  Secret<kLongestFile> text;
  size_t size = read_all(in.fd, text.bytes, name);
  if (size == kLongestFile) throw ConfigError(name + ": is too long for a token; wanted one line");
  while (size > 0 && std::strchr("\r\n \t", text.bytes[size - 1])) --size;

  Secret<kLongestFile / 2> secret;
  const size_t count = size / 2;
  for (size_t i = 0; i < 2 * count; i += 2) {
    const int high = hex_digit(text.bytes[i]), low = hex_digit(text.bytes[i + 1]);
    if (high < 0 || low < 0) throw ConfigError(name + ": wanted one line of hexadecimal digits, found something else");
    secret.bytes[i / 2] = static_cast<unsigned char>(high * 16 + low);
  }
  if (size % 2 != 0) throw ConfigError(name + ": got an odd number of hexadecimal digits");
  if (count < kShortestSecret) {
    throw ConfigError(name + ": got " + std::to_string(size) + " hexadecimal digits, wanted at least 32 (128 bits)");
  }
  Token token;
  static_assert(sizeof token.key == SHA256_DIGEST_LENGTH);
  ::SHA256(secret.bytes.data(), count, reinterpret_cast<unsigned char*>(token.key.data()));
  return token;
}

void make_token(const std::filesystem::path& file) {
  const std::string name = "token file " + file.string();
  Secret<kNewSecret> secret;
  if (::RAND_bytes(secret.bytes.data(), kNewSecret) != 1) throw Error(name + ": the system gives no random bytes");
  Secret<2 * kNewSecret + 1> text;
  for (size_t i = 0; i < kNewSecret; ++i) {
    text.bytes[2 * i] = static_cast<unsigned char>("0123456789abcdef"[secret.bytes[i] >> 4]);
    text.bytes[2 * i + 1] = static_cast<unsigned char>("0123456789abcdef"[secret.bytes[i] & 15]);
  }
  text.bytes.back() = '\n';

  const Descriptor out{::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (out.fd < 0 && errno == EEXIST) throw Error(name + ": exists, and is not overwritten: workers may know it");
  if (out.fd < 0) throw Error(name + ": cannot be made: " + reason());
  errno = 0;
  const ssize_t written = ::write(out.fd, text.bytes.data(), text.bytes.size());
  if (written != static_cast<ssize_t>(text.bytes.size()) || ::fsync(out.fd) != 0) {
    const std::string why = written >= 0 && errno == 0 ? "the disk is full" : reason();
    ::unlink(file.c_str());
    throw Error(name + ": cannot be written: " + why);
  }
}

void check(const Security& security) {
  const bool any = !security.certificate.empty() || !security.key.empty() || !security.authority.empty();
  const bool all = !security.certificate.empty() && !security.key.empty() && !security.authority.empty();
  if (any && !all) {
    const char* missing = security.certificate.empty() ? "the certificate (--tls-cert)"
                          : security.key.empty()       ? "its key (--tls-key)"
                                                       : "the authority that signs the peer's (--tls-ca)";
    throw ConfigError(std::string("TLS with certificates wants three files: ") + missing + " is missing");
  }
  const int ways = (security.token ? 1 : 0) + (any ? 1 : 0) + (security.insecure ? 1 : 0);
  if (ways != 1) {
    throw ConfigError(
        std::string(ways == 0 ? "no protection chosen" : "more than one protection chosen") +
        ": wanted one of --token-file (made by `trainer keygen FILE`), --tls-cert/--tls-key/--tls-ca, and "
        "--insecure");
  }
}

}  // namespace tern::dist
