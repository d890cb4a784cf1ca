#include <cstdio>

#include "core/tensor.h"
#include "core/version.h"

int main() {
  tern::Context context;
  const tern::Tensor x = tern::Tensor::full(context, {2, 3}, 1.5);
  std::printf("tern %s: %s of %.1f\n", tern::version().data(), x.spec().str().c_str(), x.to_vector<float>()[0]);
  return x.to_vector<float>() == std::vector<float>(6, 1.5f) ? 0 : 1;
}
