#pragma once
#include <memory>
#include <span>
#include <vector>

#include "core/op.h"

namespace tern {

/// An op on the tape: what it was, where its inputs came from, and what its gradient will read.
class Node : public std::enable_shared_from_this<Node> {
 public:
  /// Where a gradient goes: the node that made the input, or the leaf itself; neither: no gradient wanted.
  struct Edge {
    std::shared_ptr<Node> node;
    int output = 0;
    Tensor leaf;
    bool wanted() const { return node != nullptr || leaf.defined(); }
  };

  Node(std::shared_ptr<const Op> op, std::span<const Tensor> inputs, std::span<const Tensor> outputs, GradMask needs,
       uint64_t sequence);
  ~Node();

  const Op& op() const { return *op_; }
  Context& context() const { return *context_; }
  bool needs(int input) const { return needs_[static_cast<size_t>(input)]; }
  int input_count() const { return static_cast<int>(edges_.size()); }
  const Spec& input_spec(int i) const { return input_specs_[static_cast<size_t>(i)]; }
  const Spec& output_spec(int i) const { return output_specs_[static_cast<size_t>(i)]; }
  /// A saved input or output, with its place on the tape. Throws AutogradError when the op's saves() left it out, when
  /// it was overwritten in place since, or when an earlier backward freed it.
  Tensor input(int i) const;
  Tensor output(int i) const;

  uint64_t sequence() const { return sequence_; }
  const std::vector<Edge>& edges() const { return edges_; }
  void release();  ///< frees what is saved; a second backward then throws

 private:
  struct Saved {
    Tensor tensor;
    uint64_t version = 0;
  };
  const Tensor& unpack(const Saved& saved, const char* what, int index) const;

  std::shared_ptr<const Op> op_;
  Context* context_;
  std::vector<Edge> edges_;
  std::vector<Spec> input_specs_, output_specs_;
  std::vector<Saved> inputs_, outputs_;
  GradMask needs_;
  uint64_t sequence_;
  bool released_ = false;
};

struct GradOptions {
  bool create_graph = false;   ///< put the gradient's own ops on the tape: gradients of gradients
  bool retain_graph = false;   ///< keep what is saved for another backward; create_graph implies it
};

/// dL/d(input) for each of `inputs`, where dL/d(output) is given for each of `outputs` (an undefined one is all ones,
/// for a single element only). Inputs that no output depends on get zeros. Nothing is stored in grad().
std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs,
                         std::span<const Tensor> seeds = {}, GradOptions options = {});

/// a + b for two gradients of the same spec: the tape's own op, so that core needs no kernel.
Tensor accumulate(const Tensor& a, const Tensor& b);

}  // namespace tern
