#include "core/context.h"

#include "core/device_runtime.h"
#include "core/recorder.h"
#include "core/tensor.h"
#include "core/thread_pool.h"

namespace tern {

struct Context::RandomState {
  Tensor key;
  Tensor samples;
};

Context::Context(Options options)
    : options_(options),
      runtime_(make_runtime(options.device)),
      allocator_(*runtime_, options.device),
      pool_(std::make_unique<ThreadPool>(options.threads)),
      random_(std::make_unique<RandomState>()) {
  allocator_.poison(options.poison);
}

Context::~Context() = default;

const Tensor& Context::rng_key() {
  if (!random_->key.defined()) set_rng_key(options_.seed, 0);
  return random_->key;
}

void Context::set_rng_key(uint64_t seed, uint64_t step) {
  if (!random_->key.defined()) random_->key = Tensor::empty(*this, {2}, DType::i64);
  const int64_t key[] = {static_cast<int64_t>(seed), static_cast<int64_t>(step)};
  random_->key.write(std::span<const int64_t>(key));
}

void Context::enter_phase(std::string_view phase) {
  clock_.enter(phase);
  if (recorder_) recorder_->record_phase(phase);
}

const Tensor& Context::rng_samples() const { return random_->samples; }
void Context::set_rng_samples(const Tensor& samples) { random_->samples = samples; }

}  // namespace tern
