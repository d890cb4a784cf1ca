#pragma once
#include "tools/session.h"

namespace tern {

/// `trainer verify-resume CONFIG`: trains straight, then again with a stop in the middle and a resume, and compares the
/// bytes of the last checkpoints. The stop is at `stop_after` steps, by default two thirds of an epoch into the
/// training. Prints both SHA-256. Returns 0 when they are equal, 1 otherwise.
int verify_resume(const VerifyResumeArgs& args, const Config& config, std::span<const char* const> argv, Progress& progress);

}  // namespace tern
