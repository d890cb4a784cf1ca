#pragma once
/// TERN_ASAN is 1 where AddressSanitizer is built in, by GCC's name for it or clang's.
#if defined(__SANITIZE_ADDRESS__)
#define TERN_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TERN_ASAN 1
#endif
#endif
