#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/lanes.h"
#include "core/parameter_store.h"
#include "core/tensor.h"

namespace tern::nn {

class Module;

/// A persistent tensor that is not trained (BatchNorm's running mean), by its PyTorch name.
struct Buffer {
  std::string name;
  Tensor* tensor;
};

/// Walks a tree of modules: each calls back with its parameters, buffers and children, in PyTorch's order.
class Visitor {
 public:
  virtual ~Visitor() = default;
  void parameter(const std::string& name, ParamKind kind, Tensor& tensor) {
    if (tensor.defined()) on_parameter({prefix_ + name, kind, &tensor});
  }
  void buffer(const std::string& name, Tensor& tensor) { on_buffer({prefix_ + name, &tensor}); }
  /// Names of the child's tensors get "name." in front; an empty name adds nothing.
  void child(const std::string& name, Module& module);

 protected:
  virtual void on_parameter(const Parameter&) {}
  virtual void on_buffer(const Buffer&) {}
  virtual void on_module(const std::string& /*name*/, Module&) {}

 private:
  std::string prefix_;
};

/// A piece of a network with its parameters. Modules are made for one Context and hold handles to tensors of it.
class Module {
 public:
  virtual ~Module() = default;
  /// Shapes are the layer's own: pictures NHWC, features [N, C].
  virtual Tensor forward(const Tensor& x) = 0;
  Tensor operator()(const Tensor& x) { return forward(x); }
  /// Calls `visitor` for the module's own tensors and children.
  virtual void visit(Visitor&) {}

  /// Training mode (BatchNorm by batch statistics, dropout on) or evaluation, for the whole tree. Modules start in training mode.
  void train(bool on = true);
  bool training() const { return training_; }

  std::vector<Parameter> parameters();
  std::vector<Buffer> buffers();

  /// What the last training forward saw, where the context defers statistics: for every BatchNorm in the tree's order
  /// its mean and biased variance, each [lanes, C].
  std::vector<Tensor> take_statistics();
  /// Updates the running statistics from such a list over `lanes`, lane by lane in order (D5). `skip` f32 [1]: not zero
  /// leaves everything as it is; may be undefined.
  void update_statistics(std::span<const Tensor> statistics, Lanes lanes, const Tensor& skip = {});

 private:
  bool training_ = true;
};

}  // namespace tern::nn
