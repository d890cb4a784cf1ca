// A result's body with the largest entries of a gradient: any bytes of the right length are refused, or decode to a
// gradient of which each entry was there, and encode to the same bytes.
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "tools/lane_body.h"

using namespace tern;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr BodyLayout kLayout{.parameters = 9, .statistics = 1, .micro_batch = 1, .lanes = 2, .wire = dist::Wire::topk, .top_k = 3};
  constexpr dist::LaneRange kLane{1, 1};
  const auto* first = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> body(first, first + size);
  if (size != kLayout.bytes(kLane, 1, 2)) {
    try {
      decode_body(kLayout, body, kLane, 1, 2);
      std::abort();
    } catch (const DataError&) {
      return 0;
    }
  }
  if (!well_formed(kLayout, body)) return 0;
  const DecodedBody decoded = decode_body(kLayout, body, kLane, 1, 2);
  std::vector<dist::SparseEntry> entries(static_cast<size_t>(kLayout.top_k));
  std::memcpy(entries.data(), body.data() + body.size() - kLayout.gradient_bytes(), kLayout.gradient_bytes());
  for (const dist::SparseEntry& entry : entries)
    require(entry.index < kLayout.parameters && std::memcmp(&decoded.gradient[entry.index], &entry.value, sizeof(float)) == 0);
  require(*encode_body(entries, decoded.reports) == body);
  return 0;
}
