#include "tools/data_digest.h"

#include <openssl/evp.h>

#include <array>
#include <vector>

#include "core/error.h"
#include "tools/data_file.h"

namespace tern::data {

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (!state_->context || EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr) != 1) {
    throw Error("[sha256] OpenSSL cannot start SHA-256");
  }
}

Sha256::~Sha256() = default;

void Sha256::update(std::span<const uint8_t> bytes) {
  if (EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size()) != 1) {
    throw Error("[sha256] OpenSSL cannot hash");
  }
}

void Sha256::update(std::string_view text) {
  update(std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int bytes = 0;
  if (EVP_DigestFinal_ex(state_->context.get(), digest.data(), &bytes) != 1) {
    throw Error("[sha256] OpenSSL cannot finish");
  }
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < bytes; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string sha256_file(const std::filesystem::path& path) {
  const File file = File::open(path);
  Sha256 hash;
  std::vector<uint8_t> piece(1 << 18);
  for (int64_t offset = 0;;) {
    const size_t n = file.read_at(offset, piece);
    if (n == 0) return hash.hex();
    hash.update(std::span(piece.data(), n));
    offset += static_cast<int64_t>(n);
  }
}

}  // namespace tern::data
