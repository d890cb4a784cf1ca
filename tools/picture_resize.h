#pragma once
#include "tools/picture_file.h"

namespace tern::data {

/// Of a picture scaled to height x width, the window from (top, left) of `rows` x `columns`.
struct ResizeWindow {
  int height = 0, width = 0;
  int top = 0, left = 0, rows = 0, columns = 0;
};

/// Scales a picture with Pillow's BILINEAR filter: a triangle as wide as the reduction, so that small pictures do not
/// alias. The same bytes as Pillow's `resize` (8-bit fixed-point weights, horizontal pass first).
/// Only the window is computed, so that a strip of 1 x 65535 pixels costs no more than another picture.
/// Throws ConfigError for a window that hangs over.
Picture resize(const Picture& picture, const ResizeWindow& window);

/// How a picture of any size becomes one of H x W.
enum class Fit {
  crop,     ///< scaled until it just covers H x W, the middle cut out: torchvision's Resize(H) and CenterCrop(H)
  stretch,  ///< both sides scaled on their own: torchvision's Resize((H, W))
};
Picture fit_picture(const Picture& picture, int height, int width, Fit fit);

}  // namespace tern::data
