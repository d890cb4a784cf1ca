// A stream of any bytes, cut in any way, gives the same frames and the same refusal as in one piece; each frame that
// comes out encodes to the bytes that it came from.
//   byte 0: bit 0: make the frames' beginnings and checksums right, where the stream has room for them; byte 1: how
//   many sizes of pieces follow, used in turn; then the stream.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "core/crc32c.h"
#include "dist/frame.h"

using namespace tern::dist;

namespace {

struct Result {
  std::vector<std::byte> frames;
  Refusal refusal = Refusal::none;
  size_t pending = 0;
};

void require(bool holds) {
  if (!holds) std::abort();
}

/// Without this nearly no input would pass the checksum.
void repair(std::vector<std::byte>& stream) {
  for (size_t at = 0; stream.size() - at >= kHeaderBytes;) {
    std::byte* header = stream.data() + at;
    std::memcpy(header, &kMagic, 4);
    header[4] = std::byte{kMajor};
    header[6] = static_cast<std::byte>(1 + std::to_integer<int>(header[6]) % kFrameTypes);
    const size_t room = std::min(stream.size() - at - kHeaderBytes, max_payload(static_cast<FrameType>(header[6])));
    uint32_t length;
    std::memcpy(&length, header + 40, 4);
    length = static_cast<uint32_t>(length % (room + 1));
    std::memcpy(header + 40, &length, 4);
    const uint32_t crc = tern::crc32c({header + kHeaderBytes, length}, tern::crc32c({header, 44}));
    std::memcpy(header + 44, &crc, 4);
    at += kHeaderBytes + length;
  }
}

Result decode(Bytes stream, Bytes sizes) {
  Result result;
  FrameDecoder decoder;
  const auto on_frame = [&](const FrameHeader& header, Bytes payload) {
    require(header.length == payload.size() && payload.size() <= max_payload(header.type));
    const auto head = encode_header(header, payload);
    result.frames.insert(result.frames.end(), head.begin(), head.end());
    result.frames.insert(result.frames.end(), payload.begin(), payload.end());
    return true;
  };
  for (size_t turn = 0; !stream.empty(); ++turn) {
    const size_t wanted = sizes.empty() ? stream.size() : 1 + std::to_integer<size_t>(sizes[turn % sizes.size()]);
    const size_t size = std::min(wanted, stream.size());
    // In memory of its own, so that ASan sees reads beyond it.
    const auto piece = std::make_unique<std::byte[]>(size);
    std::copy_n(stream.begin(), size, piece.get());
    result.refusal = decoder.feed({piece.get(), size}, on_frame);
    require(decoder.pending() <= kHeaderBytes + kMaxPayload);
    stream = stream.subspan(size);
  }
  result.pending = decoder.pending();
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const Bytes input = std::as_bytes(std::span(data, size)).subspan(2);
  const Bytes sizes = input.first(std::min<size_t>(data[1] % 32, input.size()));
  std::vector<std::byte> stream(input.begin() + static_cast<ptrdiff_t>(sizes.size()), input.end());
  if (data[0] & 1) repair(stream);

  const Result whole = decode(stream, {});
  const Result pieces = decode(stream, sizes);
  require(whole.frames == pieces.frames && whole.refusal == pieces.refusal);
  require(whole.frames.size() <= stream.size() && std::equal(whole.frames.begin(), whole.frames.end(), stream.begin()));
  if (whole.refusal == Refusal::none)
    require(whole.pending == pieces.pending && whole.frames.size() + whole.pending == stream.size());
  if (data[0] & 1) require(whole.frames.size() + kHeaderBytes > stream.size());
  return 0;
}
