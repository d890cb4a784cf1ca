#include "dist/byte_io.h"

namespace tern::dist {

// Not in the header: where GCC 12 sees sizes through the vector's growth, it warns of overflows that cannot be.
void ByteWriter::bytes(std::span<const std::byte> source) { bytes_.insert(bytes_.end(), source.begin(), source.end()); }

}  // namespace tern::dist
