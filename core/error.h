#pragma once
#include <stdexcept>
#include <string>

namespace tern {

/// Base of every error that tern throws for its users. The message names the op, file or key, what was got and
/// what was wanted: `[conv2d] w has C=3 but x has C=16`.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Shapes that do not fit each other or an op's contract.
struct ShapeError : Error {
  using Error::Error;
};
/// A dtype that an op does not take, or a C++ type that is not the tensor's.
struct DTypeError : Error {
  using Error::Error;
};
/// A device that is absent, or tensors on different devices (programs: exit 4).
struct DeviceError : Error {
  using Error::Error;
};
/// No memory; the message lists what holds it.
struct OutOfMemory : Error {
  using Error::Error;
};
/// A use of the tape or the recorded plan that cannot be right (second backward, host read while recording ...).
struct AutogradError : Error {
  using Error::Error;
};
/// A value outside its range: options, configs, arguments (programs: exit 2).
struct ConfigError : Error {
  using Error::Error;
};
/// Data, weights or checkpoints that are missing or corrupt (programs: exit 3).
struct DataError : Error {
  using Error::Error;
};
/// A worker, a server or another rank that went away and did not return (programs: exit 7).
struct PeerLostError : Error {
  using Error::Error;
};

}  // namespace tern
