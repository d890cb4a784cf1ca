#include "dist/frame.h"

namespace tern::dist {}
