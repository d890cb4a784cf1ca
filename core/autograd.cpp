#include "core/autograd.h"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "core/error.h"
#include "core/final_gradients.h"
#include "core/tensor_impl.h"

namespace tern {

Node::Node(std::shared_ptr<const Op> op, std::span<const Tensor> inputs, std::span<const Tensor> outputs, GradMask needs,
           uint64_t sequence)
    : op_(std::move(op)), context_(&outputs[0].context()), needs_(needs), sequence_(sequence) {
  const Saves saves = op_->saves(needs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Tensor& input = inputs[i];
    input_specs_.push_back(input.spec());
    inputs_.push_back(i < saves.inputs.size() && saves.inputs[i] ? Saved{input, input.storage()->version()} : Saved{});
    Edge edge;
    if (needs_[i]) {
      edge.node = input.node();
      edge.output = input.output_index();
      if (!edge.node) edge.leaf = input;
    }
    edges_.push_back(std::move(edge));
  }
  // Outputs are kept without their node: holding it would be a cycle. output() puts it back.
  for (size_t i = 0; i < outputs.size(); ++i) {
    output_specs_.push_back(outputs[i].spec());
    outputs_.push_back(i < saves.outputs.size() && saves.outputs[i] ? Saved{outputs[i].detach(), outputs[i].storage()->version()} : Saved{});
  }
}

Node::~Node() {
  // A long chain of nodes is freed in a loop: one destructor calling the next would need a stack as deep as the network.
  std::vector<std::shared_ptr<Node>> doomed;
  auto take = [&doomed](Node& node) {
    node.release();
    for (Edge& edge : node.edges_) {
      std::shared_ptr<Node> next = std::move(edge.node);  // the last of several edges to one node sees a count of 1
      if (next && next.use_count() == 1) doomed.push_back(std::move(next));
    }
  };
  take(*this);
  while (!doomed.empty()) {
    const std::shared_ptr<Node> node = std::move(doomed.back());
    doomed.pop_back();
    take(*node);
  }
}

void Node::release() {
  inputs_.clear();
  outputs_.clear();
  released_ = true;
}

const Tensor& Node::unpack(const Saved& saved, const char* what, int index) const {
  const std::string which = "[" + std::string(op_->name()) + "] " + what + " " + std::to_string(index);
  if (!saved.tensor.defined()) throw AutogradError(which + " was not saved for the gradient");
  if (saved.tensor.storage()->version() != saved.version)
    throw AutogradError(which + " was overwritten in place after the gradient saved it");
  return saved.tensor;
}

Tensor Node::input(int i) const {
  if (released_) throw AutogradError("[" + std::string(op_->name()) + "] second backward through a tape that was freed: pass retain_graph");
  return unpack(inputs_[static_cast<size_t>(i)], "input", i);
}

Tensor Node::output(int i) const {
  if (released_) throw AutogradError("[" + std::string(op_->name()) + "] second backward through a tape that was freed: pass retain_graph");
  Tensor result = unpack(outputs_[static_cast<size_t>(i)], "output", i).detach();
  if (i < op_->visible_outputs() && is_floating(result.dtype())) {
    TensorImpl& impl = TapeAccess::impl(result);
    impl.node = std::const_pointer_cast<Node>(shared_from_this());
    impl.output_index = i;
  }
  return result;
}

namespace {

/// One backward pass: nodes in the reverse order of their making, so that every gradient is whole (and summed in one
/// fixed order) when its node's turn comes.
class BackwardPass {
 public:
  using OnFinal = std::function<void(size_t, const Tensor&)>;
  BackwardPass(Context& context, GradOptions options) : context_(context), options_(options) {}

  /// Gradients of results of ops to keep, by node and output.
  void watch(const Tensor& tensor) { watched_[tensor.node().get()].push_back(tensor); }

  /// Tells of the gradients of those `inputs` that are leaves once they are final, by their place. `outputs` are seeded later.
  void await(std::span<const Tensor> inputs, std::span<const Tensor> outputs, OnFinal on_final) {
    on_final_ = std::move(on_final);
    for (size_t i = 0; i < inputs.size(); ++i)
      if (!inputs[i].node()) awaited_.try_emplace(&TapeAccess::impl(inputs[i]), Awaited{i, 0, false});
    std::vector<const Node*> stack;
    std::unordered_set<const Node*> seen;
    const auto visit = [&](const Node* node) {
      if (node && seen.insert(node).second) stack.push_back(node);
    };
    for (const Tensor& output : outputs) visit(output.node().get());
    while (!stack.empty()) {
      const Node* node = stack.back();
      stack.pop_back();
      for (const Node::Edge& edge : node->edges()) {
        visit(edge.node.get());
        if (Awaited* awaited = find_awaited(edge)) ++awaited->uses;
      }
    }
  }
  /// The same for those that could not be told of before.
  void tell_rest(std::span<const Tensor> gradients) {
    std::unordered_set<size_t> told;
    for (const auto& [leaf, awaited] : awaited_)
      if (awaited.told) told.insert(awaited.input);
    for (size_t i = 0; i < gradients.size(); ++i)
      if (!told.contains(i)) on_final_(i, gradients[i]);
  }

  void seed(const Tensor& output, const Tensor& seed) {
    if (!output.requires_grad()) throw AutogradError("[backward] the output does not depend on anything that requires a gradient");
    if (seed.defined() && seed.spec() != output.spec())
      throw ShapeError("[backward] seed " + seed.spec().str() + " for an output " + output.spec().str());
    if (!seed.defined() && output.numel() != 1)
      throw ShapeError("[backward] " + output.spec().str() + " has more than one element: give dL/d(output)");
    Node::Edge edge{output.node(), output.output_index(), output.node() ? Tensor{} : output};
    add(edge, seed.defined() ? seed : Tensor::full(context_, output.shape(), 1, output.dtype()));
  }

  void run() {
    const bool before = context_.grad_enabled();
    context_.set_grad_enabled(options_.create_graph);
    try {
      while (!queue_.empty()) step();
    } catch (...) {
      context_.set_grad_enabled(before);
      throw;
    }
    context_.set_grad_enabled(before);
  }

  /// What reached a leaf or a watched result; undefined: nothing did.
  Tensor gradient_of(const Tensor& tensor) const {
    if (!tensor.node()) {
      const auto it = leaves_.find(&TapeAccess::impl(tensor));
      return it == leaves_.end() ? Tensor{} : it->second.gradient;
    }
    const auto it = results_.find(tensor.node().get());
    return it == results_.end() ? Tensor{} : it->second[static_cast<size_t>(tensor.output_index())];
  }

  template <class F>
  void for_each_leaf(F&& f) const {
    for (const TensorImpl* key : leaf_order_) f(leaves_.at(key).leaf, leaves_.at(key).gradient);
  }

 private:
  struct Later {
    bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const { return a->sequence() < b->sequence(); }
  };
  struct Leaf {
    Tensor leaf, gradient;
  };
  struct Awaited {
    size_t input = 0;
    int uses = 0;  // edges to it that have not been followed
    bool told = false;
  };

  Awaited* find_awaited(const Node::Edge& edge) {
    if (awaited_.empty() || edge.node || !edge.leaf.defined()) return nullptr;
    const auto found = awaited_.find(&TapeAccess::impl(edge.leaf));
    return found == awaited_.end() ? nullptr : &found->second;
  }
  void follow(const Node::Edge& edge) {
    Awaited* awaited = find_awaited(edge);
    if (!awaited || --awaited->uses > 0) return;
    const Tensor gradient = gradient_of(edge.leaf);
    if (!gradient.defined()) return;
    awaited->told = true;
    on_final_(awaited->input, gradient);
  }

  void add(const Node::Edge& edge, const Tensor& gradient) {
    Tensor* slot;
    if (edge.node) {
      auto [it, fresh] = pending_.try_emplace(edge.node.get());
      if (fresh) {
        it->second.resize(static_cast<size_t>(edge.node->op().visible_outputs()));
        queue_.push(edge.node);
      }
      slot = &it->second[static_cast<size_t>(edge.output)];
    } else {
      auto [it, fresh] = leaves_.try_emplace(&TapeAccess::impl(edge.leaf));
      if (fresh) {
        it->second.leaf = edge.leaf;
        leaf_order_.push_back(it->first);
      }
      slot = &it->second.gradient;
    }
    *slot = slot->defined() ? accumulate(*slot, gradient) : gradient;
  }

  void step() {
    const std::shared_ptr<Node> node = queue_.top();
    queue_.pop();
    const auto entry = pending_.find(node.get());
    const std::vector<Tensor> dy = std::move(entry->second);
    pending_.erase(entry);
    if (watched_.contains(node.get())) results_[node.get()] = dy;

    std::vector<Tensor> dx = node->op().grad(*node, dy);
    for (size_t i = 0; i < node->edges().size() && i < dx.size(); ++i) {
      if (!node->edges()[i].wanted() || !dx[i].defined()) continue;
      if (dx[i].spec() != node->input_spec(static_cast<int>(i)))
        throw AutogradError("[" + std::string(node->op().name()) + "] gradient of input " + std::to_string(i) + " is " +
                            dx[i].spec().str() + ", the input is " + node->input_spec(static_cast<int>(i)).str());
      add(node->edges()[i], dx[i]);
      dx[i] = {};
    }
    for (const Node::Edge& edge : node->edges()) follow(edge);
    if (!options_.create_graph && !options_.retain_graph) node->release();
  }

  Context& context_;
  GradOptions options_;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, Later> queue_;
  std::unordered_map<Node*, std::vector<Tensor>> pending_, results_, watched_;
  std::unordered_map<const TensorImpl*, Leaf> leaves_;
  std::vector<const TensorImpl*> leaf_order_;
  OnFinal on_final_;
  std::unordered_map<const TensorImpl*, Awaited> awaited_;
};

std::vector<Tensor> gradients_of(std::span<const Tensor> outputs, std::span<const Tensor> inputs, std::span<const Tensor> seeds, GradOptions options,
                                 BackwardPass::OnFinal on_final) {
  if (outputs.empty()) throw AutogradError("[grad] no outputs given");
  if (!seeds.empty() && seeds.size() != outputs.size())
    throw AutogradError("[grad] " + std::to_string(seeds.size()) + " seeds for " + std::to_string(outputs.size()) + " outputs");
  BackwardPass pass(outputs[0].context(), options);
  for (const Tensor& input : inputs) {
    if (!input.requires_grad()) throw AutogradError("[grad] an input does not require a gradient");
    if (input.node()) pass.watch(input);
  }
  if (on_final) pass.await(inputs, outputs, on_final);
  for (size_t i = 0; i < outputs.size(); ++i) pass.seed(outputs[i], seeds.empty() ? Tensor{} : seeds[i]);
  pass.run();
  std::vector<Tensor> result;
  for (const Tensor& input : inputs) {
    Tensor gradient = pass.gradient_of(input);
    result.push_back(gradient.defined() ? gradient : Tensor::zeros(input.context(), input.shape(), input.dtype()));
  }
  if (on_final) pass.tell_rest(result);
  return result;
}

}  // namespace

std::vector<Tensor> grad(std::span<const Tensor> outputs, std::span<const Tensor> inputs, std::span<const Tensor> seeds, GradOptions options) {
  return gradients_of(outputs, inputs, seeds, options, nullptr);
}

std::vector<Tensor> grad_as_final(std::span<const Tensor> outputs, std::span<const Tensor> inputs, std::span<const Tensor> seeds,
                                  std::function<void(size_t, const Tensor&)> on_final) {
  return gradients_of(outputs, inputs, seeds, {}, std::move(on_final));
}

void Tensor::backward(const Tensor& seed) const {
  BackwardPass pass(context(), {});
  pass.seed(*this, seed);
  pass.run();
  NoGrad guard(context());
  pass.for_each_leaf([](const Tensor& leaf, const Tensor& gradient) {
    leaf.set_grad(leaf.grad().defined() ? accumulate(leaf.grad(), gradient) : gradient);
  });
}

}  // namespace tern
