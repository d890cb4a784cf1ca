#include <charconv>

#include "core/error.h"
#include "dist/transport.h"

namespace tern::dist {

std::string Address::str() const {
  const std::string digits = std::to_string(port);
  return host.find(':') == std::string::npos ? host + ":" + digits : "[" + host + "]:" + digits;
}

Address parse_address(const std::string& text, const std::string& what) {
  const auto refuse = [&](const std::string& why) {
    throw ConfigError(what + ": got \"" + text + "\", " + why + "; wanted HOST:PORT or [IPV6]:PORT");
  };
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) refuse("which has no port");
  Address address;
  address.host = text.substr(0, colon);
  if (address.host.starts_with('[')) {
    if (!address.host.ends_with(']') || address.host.size() < 4) refuse("whose brackets do not hold an address");
    address.host = address.host.substr(1, address.host.size() - 2);
    if (address.host.find(':') == std::string::npos) refuse("whose brackets hold no IPv6 address");
  } else if (address.host.find(':') != std::string::npos) {
    refuse("an IPv6 address without brackets, or two ports");
  }
  if (address.host.find_first_of(" \t\r\n/[]@") != std::string::npos) refuse("whose host is no name");
  const char *first = text.data() + colon + 1, *last = text.data() + text.size();
  unsigned port = 0;
  const auto [stop, error] = std::from_chars(first, last, port);
  if (first == last || error != std::errc{} || stop != last || port > 65535)
    refuse("whose port is not one of 0 to 65535");
  address.port = static_cast<uint16_t>(port);
  return address;
}

}  // namespace tern::dist
