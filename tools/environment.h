#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "core/context.h"

namespace tern {

/// env.json: what a result depended on besides its config: git revision, compiler, CPU, threads, versions, argv.
std::string environment_json(const Context& context, std::span<const char* const> argv);

/// What may change a result's bits (D5): the CPU's kernel path, as "cpu avx512", or the GPU's model and cuDNN's version.
std::string device_class(Device device);

/// The program, whose results also depend on it: "0.1.0 (4482b67, compiler 12.2.0)".
std::string build_text();

/// Largest resident set of this process so far, or since reset_peak_rss(), in bytes.
int64_t peak_rss();
/// The resident set of this process now, in bytes.
int64_t resident_bytes();
/// Starts peak_rss() anew where the system can (Linux: /proc/self/clear_refs); otherwise it stays the process's peak.
void reset_peak_rss();

/// The instruction set that kernels picked on this machine: "avx512", "avx2", "neon" (D5's device class).
std::string simd_path();

/// "2026-11-22T21:30:05Z"; with `compact` "20261122-213005", for names.
std::string utc_stamp(bool compact = false);

}  // namespace tern
