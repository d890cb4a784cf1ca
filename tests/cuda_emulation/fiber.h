#pragma once
/// Stacks to switch between, inside one thread.
#include <cstddef>
#ifndef __x86_64__
#include <ucontext.h>
#endif

namespace tern::emulation {

class Fiber {
 public:
  /// The stack that is already running.
  Fiber() = default;
  /// A new stack, which will run entry(argument) when first switched to. `entry` never returns.
  /// Stacks of different `number` start at different places of a page, or they would crowd into one set of the cache.
  Fiber(void (*entry)(void*), void* argument, size_t number);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs `to` until something switches back to this fiber, which must be the running one.
  void switch_to(Fiber& to);

 private:
  static void start();
  void arrived();

  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  std::byte* mapping_ = nullptr;  ///< a guard page, then the stack
#ifdef __x86_64__
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_{};
#endif
  [[maybe_unused]] void* asan_fake_stack_ = nullptr;
  const void* stack_bottom_ = nullptr;
  size_t stack_size_ = 0;
};

}  // namespace tern::emulation
