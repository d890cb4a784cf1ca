#include "tests/cuda_emulation/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "tests/cuda_emulation/asan.h"
#if TERN_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#ifdef __x86_64__
// swapcontext() enters the kernel twice to save a signal mask that nobody changes; this saves the callee's registers only.
extern "C" void tern_emulation_switch(void** save, void* load);
asm(R"(
.text
.globl tern_emulation_switch
.hidden tern_emulation_switch
.type tern_emulation_switch, @function
tern_emulation_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size tern_emulation_switch, .-tern_emulation_switch
)");
#endif

namespace tern::emulation {
namespace {

constexpr size_t kGuard = 4096, kStack = 256 << 10;

// Launches run one at a time (launch.h), so two variables serve all threads.
Fiber* running_to = nullptr;
Fiber* running_from = nullptr;

}  // namespace

Fiber::Fiber(void (*entry)(void*), void* argument, size_t number) : entry_(entry), argument_(argument) {
  void* mapping = mmap(nullptr, kGuard + kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                       -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  mapping_ = static_cast<std::byte*>(mapping);
  mprotect(mapping_, kGuard, PROT_NONE);
  stack_bottom_ = mapping_ + kGuard;
  stack_size_ = kStack - number * 320 % 8192;
#ifdef __x86_64__
  // As tern_emulation_switch leaves a stack: six registers, then where to return to.
  auto** top = reinterpret_cast<void**>(mapping_ + kGuard + stack_size_);
  top[-2] = reinterpret_cast<void*>(&Fiber::start);
  stack_pointer_ = top - 8;
#else
  getcontext(&context_);
  context_.uc_stack = {mapping_ + kGuard, 0, stack_size_};
  makecontext(&context_, &Fiber::start, 0);
#endif
}

Fiber::~Fiber() {
  if (!mapping_) return;
#if TERN_ASAN
  __asan_unpoison_memory_region(mapping_ + kGuard, kStack);  // frames that never returned
#endif
  munmap(mapping_, kGuard + kStack);
}

void Fiber::switch_to(Fiber& to) {
  if (this == &to) return;
  running_from = this;
  running_to = &to;
#if TERN_ASAN
  __sanitizer_start_switch_fiber(&asan_fake_stack_, to.stack_bottom_, to.stack_size_);
#endif
#ifdef __x86_64__
  tern_emulation_switch(&stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&context_, &to.context_);
#endif
  arrived();
}

void Fiber::arrived() {
#if TERN_ASAN
  // Also tells the bounds of the stack that we come from: the only way to learn those of the thread's own.
  __sanitizer_finish_switch_fiber(asan_fake_stack_, &running_from->stack_bottom_, &running_from->stack_size_);
#endif
}

void Fiber::start() {
  running_to->arrived();
  running_to->entry_(running_to->argument_);
}

}  // namespace tern::emulation
