#pragma once
#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>

namespace tern::dist {

/// A secret that server and workers share: the external PSK of TLS 1.3 is the SHA-256 of its bytes.
/// A token file holds it as hexadecimal digits on one line, at least 32 of them (128 bits), mode 0600.
struct Token {
  std::array<std::byte, 32> key;  ///< SHA-256 of the secret
};

/// Throws ConfigError naming the file: missing, readable by others, too short, not hexadecimal.
Token read_token(const std::filesystem::path& file);

/// Writes a new token of 256 random bits. Never overwrites: throws Error when the file exists or cannot be written.
void make_token(const std::filesystem::path& file);

/// How connections are protected: exactly one of token, certificates, insecure. TLS is 1.3 only,
/// TLS_AES_128_GCM_SHA256 for tokens (with ECDHE, so that a token found later opens no recording), no session tickets.
struct Security {
  std::optional<Token> token;
  std::string certificate, key, authority;  ///< PEM files: own certificate chain, its key, who signs the peer's
  bool insecure = false;                    ///< no TLS: loopback addresses only
};

/// Throws ConfigError unless exactly one way is chosen, certificates with all three files.
void check(const Security& security);

}  // namespace tern::dist
