#pragma once
#include "dist/frame.h"
#include "dist/transport.h"
#include "tests/dist_sim/toy.h"

namespace tern::dist::sim {

/// The header that was encoded into `frame`.
inline FrameHeader header_of(const Outgoing& frame) {
  std::vector<std::byte> bytes(frame.header.begin(), frame.header.end());
  bytes.insert(bytes.end(), frame.payload.begin(), frame.payload.end());
  FrameHeader found;
  FrameDecoder().feed(bytes, [&](const FrameHeader& header, Bytes) {
    found = header;
    return true;
  });
  return found;
}

inline Outgoing outgoing(const FrameHeader& header, std::vector<std::byte> payload) {
  auto owned = std::make_shared<std::vector<std::byte>>(std::move(payload));
  return {encode_header(header, *owned), *owned, owned};
}

/// The two frames of a result. `digest` is put ahead as it is.
inline std::vector<Outgoing> result_frames(FrameHeader header, const std::vector<std::byte>& body, const Digest& digest) {
  std::vector<std::byte> prefix(digest.begin(), digest.end());
  for (size_t i = 0; i < 8; ++i) prefix.push_back(static_cast<std::byte>(body.size() >> (8 * i)));
  header.type = FrameType::grad;
  header.piece = 0;
  header.flags = 0;
  std::vector<Outgoing> frames{outgoing(header, std::move(prefix))};
  ++header.seq;
  header.piece = 1;
  header.flags = kLastPiece;
  frames.push_back(outgoing(header, body));
  return frames;
}

}  // namespace tern::dist::sim
