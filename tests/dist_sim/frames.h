#pragma once
#include <algorithm>

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

inline constexpr uint64_t kResultFrames = 3;

/// The frames of a result, kResultFrames where its body comes in one part. `digest` is put at its end as it is.
inline std::vector<Outgoing> result_frames(FrameHeader header, const std::vector<std::byte>& body, const Digest& digest, size_t parts = 1) {
  std::vector<std::byte> length;
  for (size_t i = 0; i < kResultLength; ++i) length.push_back(static_cast<std::byte>(body.size() >> (8 * i)));
  header.type = FrameType::grad;
  header.piece = 0;
  header.flags = 0;
  std::vector<Outgoing> frames;
  const auto add = [&](std::vector<std::byte> payload) {
    frames.push_back(outgoing(header, std::move(payload)));
    ++header.seq;
    ++header.piece;
  };
  add(std::move(length));
  for (size_t left = body.size(), part = body.size() / parts + 1; left > 0;) {
    const size_t size = std::min(part, left);
    left -= size;
    add({body.begin() + static_cast<ptrdiff_t>(left), body.begin() + static_cast<ptrdiff_t>(left + size)});
  }
  header.flags = kLastPiece;
  add({digest.begin(), digest.end()});
  return frames;
}

}  // namespace tern::dist::sim
