// trainer summary, export, lr-find, doctor, completion, man.
#include <cmath>
#include <cstdlib>

#include "core/error.h"
#include "nn/network.h"
#include "tests/catch.h"
#include "tests/programs.h"
#include "tools/doctor.h"
#include "tools/lr_find.h"
#include "tools/onnx_export.h"
#include "tools/protobuf_writer.h"

using namespace tern;
using namespace tern::test;
using nlohmann::json;

namespace {

bool has_program(const std::string& name) { return std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0; }

/// What bash offers behind `line`, with the programs' completions loaded.
std::set<std::string> completions(const Workbench& bench, const std::string& line) {
  static const std::string script =
      "source <(\"$0\" completion bash)\nread -ra COMP_WORDS <<< \"$1\"\n[[ $1 == *' ' ]] && COMP_WORDS+=('')\n"
      "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_tern_${COMP_WORDS[0]}\nprintf '%s\\n' \"${COMPREPLY[@]}\"";
  const Outcome outcome = bench.run({"/bin/bash", "-c", script, std::string(TERN_BINARY_DIR) + "/trainer", line});
  INFO(line + ": " + outcome.err);
  CHECK(outcome.code == 0);
  CHECK(outcome.err.empty());
  const std::vector<std::string> words = lines_of(outcome.out);
  return {words.begin(), words.end()};
}

}  // namespace

TEST_CASE("network: every layer says its shape, parameters and operations, branches under their residual", "[inspect]") {
  Context context;
  const auto resnet = nn::build_network(context, nn::network_preset("resnet18"), {}, 1);
  int64_t parameters = 0;
  for (const nn::LayerInfo& layer : resnet->layers()) parameters += layer.parameters;
  CHECK(parameters == 11173962);
  const auto find = [&](const std::string& name) {
    for (const nn::LayerInfo& layer : resnet->layers())
      if (layer.name == name) return layer;
    throw Error("no layer " + name);
  };
  CHECK(find("layer2.0").output == Shape{1, 16, 16, 128});
  CHECK(find("layer2.0").parameters == 0);
  CHECK(find("layer2.0.downsample.0").depth == 1);
  CHECK(find("layer2.0.downsample.0").flops == 2 * 16 * 16 * 128 * 64);
  CHECK(resnet->layers()[2].fused);  // the relu behind bn1
  CHECK(resnet->training_flops() == 3 * resnet->forward_flops() - resnet->layers()[0].flops);
}

TEST_CASE("trainer summary: cifar-cnn has 298,570 parameters and 230 MFLOP a picture", "[inspect]") {
  const Workbench bench;
  bench.write_config("cnn.json", {{"model", {{"name", "cifar-cnn"}}}, {"data", {{"dir", "nowhere"}}}, {"train", {{"micro_batch", 2}, {"lanes", 1}}}});
  const Outcome text = bench.run({"trainer", "summary", "cnn.json"});
  INFO(text.err);
  REQUIRE(text.code == 0);
  CHECK_THAT(text.out, HasText("298,570"));
  CHECK_THAT(text.out, HasText("230.1 forward and backward"));
  CHECK_THAT(text.out, HasText("[N, 8, 8, 128]"));
  CHECK_THAT(text.out, HasText("ms a step"));
  CHECK_THAT(text.out, HasText("the data are not there"));

  const Outcome plain = bench.run({"trainer", "summary", "cnn.json", "--json", "--no-probe"});
  REQUIRE(plain.code == 0);
  const json summary = json::parse(plain.out);
  CHECK(summary.at("parameters") == 298570);
  CHECK(summary.at("flops_per_picture").at("training") == 230094720);
  CHECK(summary.at("seconds_per_step").is_null());
  CHECK(summary.at("memory").at("gradients") == summary.at("memory").at("weights"));
  CHECK(summary.at("memory").at("arena") > 0);
  CHECK(bench.run({"trainer", "summary", "nothing.json"}).code == 2);
}

TEST_CASE("trainer summary: takes a run folder, and tells an epoch where the data are", "[inspect]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "run", "--epochs", "1"}).code == 0);
  const Outcome outcome = bench.run({"trainer", "summary", "run", "--json"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  const json summary = json::parse(outcome.out);
  CHECK(summary.at("training_pictures") == 310);
  CHECK(summary.at("steps_per_epoch") == 10);
  CHECK(summary.at("seconds_per_epoch") > 0);
}

TEST_CASE("protobuf: fields as the encoding's documentation has them", "[inspect]") {
  ProtobufWriter inner, outer;
  inner.integer(1, 150);
  CHECK(inner.data() == std::string("\x08\x96\x01", 3));
  outer.bytes(2, "testing");
  outer.message(3, inner);
  CHECK(outer.data() == std::string("\x12\x07testing\x1a\x03\x08\x96\x01", 14));
  ProtobufWriter numbers;
  numbers.integer(4, -1);
  numbers.number(5, 1.0f);
  numbers.number(6, 1.0);
  const int64_t list[] = {3, 270, 86942};
  numbers.integers(7, list);
  CHECK(numbers.data() == std::string("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x2d\0\0\x80\x3f\x31\0\0\0\0\0\0\xf0\x3f\x3a\x06\x03\x8e\x02\x9e\xa7\x05", 33));
}

TEST_CASE("trainer export: writes a model, and says what it cannot", "[inspect]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "run", "--epochs", "1"}).code == 0);
  const Outcome outcome = bench.run({"trainer", "export", "run", "--onnx", "net.onnx"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK_THAT(outcome.out, HasText("opset 17; input f32 [N, 3, 32, 32]"));
  const std::string model = read_file(bench / "net.onnx");
  for (const char* part : {"Conv", "BatchNormalization", "Gemm", "normalize.mean", "logits", "classes"}) CHECK_THAT(model, HasText(part));
  CHECK(bench.run({"trainer", "export", "nowhere", "--onnx", "net.onnx"}).code == 3);
  CHECK(bench.run({"trainer", "export", "run"}).code == 2);

  Context context;
  std::vector<nn::LayerSpec> layers{{.type = "flatten"}, {.type = "relu", .name = "odd"}};
  const auto network = nn::build_network(context, layers, {}, 1);
  CHECK_NOTHROW(onnx_model(*network, layers, {}));
  layers[1].type = "mystery";
  CHECK_THROWS_WITH(onnx_model(*network, layers, {}), HasText("layer 'odd' (mystery)"));
}

TEST_CASE("lr-find: smoothing, the end and the suggestions", "[inspect]") {
  LrCurve curve;
  CHECK(add_loss(curve, 1e-3, 2.0));
  CHECK(curve.points[0].smoothed == Approx(2.0));  // the correction of the average's young age
  CHECK(add_loss(curve, 2e-3, 1.0));
  CHECK(curve.points[1].smoothed == Approx((0.98 * 0.02 * 2 + 0.02 * 1) / (1 - 0.98 * 0.98)));
  CHECK_FALSE(add_loss(curve, 4e-3, 1000));
  CHECK(curve.exploded);
  LrCurve broken;
  CHECK_FALSE(add_loss(broken, 1, NAN));
  CHECK(broken.points.empty());

  LrCurve valley;  // falls steepest at 1e-2, is smallest at 1e-1
  for (int i = 0; i < 60; ++i) {
    const double lr = std::pow(10, -5 + 0.1 * i), log = -5 + 0.1 * i;
    valley.points.push_back({lr, 0, 2 - 1 / (1 + std::exp(-4 * (log + 2))) + (log > -1 ? log + 1 : 0)});
  }
  CHECK(valley.steepest().value() == Approx(1e-2));
  CHECK(valley.tenth_of_minimum().value() == Approx(1e-2));
  valley.points.back().loss = 1000;  // outside of the frame, and cut off there
  const std::string svg = lr_curve_svg(valley, "a<b&c.json");
  for (const char* part : {"a&lt;b&amp;c.json", ">steepest slope 0.01<", ">minimum / 10 0.01<", ">0.0001<", "clip-path", "<polyline"}) CHECK_THAT(svg, HasText(part));
  CHECK(svg.find("nan") == std::string::npos);

  LrCurve rising;
  for (int i = 0; i < 40; ++i) rising.points.push_back({std::pow(10, -5 + 0.1 * i), 0, 1.0 + i});
  CHECK_FALSE(rising.steepest());
}

TEST_CASE("trainer lr-find: a curve, a picture and a suggestion, and nothing else", "[inspect]") {
  const Workbench bench;
  const Outcome outcome = bench.run({"trainer", "lr-find", "tiny.json", "--steps", "40", "--min-lr", "1e-5", "--max-lr", "100", "--out", "curve.svg"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK_THAT(outcome.out, HasText("minimum / 10"));
  CHECK_THAT(outcome.out, HasText("steepest slope"));
  CHECK_THAT(read_file(bench / "curve.svg"), HasText("<polyline"));
  const std::vector<std::string> rates = csv_column(bench / "curve.csv", "lr");
  REQUIRE(rates.size() > 3);
  CHECK(std::stod(rates[0]) == Approx(1e-5));
  CHECK(std::stod(rates[1]) / std::stod(rates[0]) == Approx(std::pow(1e7, 1.0 / 39)));
  CHECK_FALSE(std::filesystem::exists(bench / "runs"));
  CHECK(bench.run({"trainer", "lr-find", "tiny.json", "--min-lr", "1", "--max-lr", "0.1"}).code == 2);
}

TEST_CASE("trainer doctor: looks at data and machine", "[inspect]") {
  CHECK(cpus_of_quota("150000 100000\n") == 1.5);
  CHECK(cpus_of_quota("max 100000\n") == 0);
  CHECK(cpus_of_quota("") == 0);
  const Workbench bench;
  const Outcome missing = bench.run({"trainer", "doctor", "--json", "--data", "nowhere"});
  CHECK(missing.code == 1);
  const json findings = json::parse(missing.out);
  std::set<std::string> looked;
  for (const json& finding : findings) {
    looked.insert(finding.at("what"));
    if (finding.at("what") == "data") {
      CHECK(finding.at("level") == "fail");
      CHECK_THAT(finding.at("advice").get<std::string>(), HasText("trainer data fetch cifar10 --dir nowhere"));
    }
  }
  for (const char* what : {"tern", "cpu", "cpu limit", "memory", "gpu", "mpi", "nccl", "data", "disk", "clock", "locale"}) CHECK(looked.contains(what));
  const Outcome there = bench.run({"trainer", "doctor", "tiny.json"});
  CHECK_THAT(there.out, HasText("ok    data       synthetic in"));
}

TEST_CASE("trainer completion bash: commands, options, words and files of each program", "[inspect]") {
  if (!has_program("bash")) SKIP("no bash");
  const Workbench bench;
  using Words = std::set<std::string>;
  CHECK(completions(bench, "trainer su") == Words{"summary"});
  CHECK(completions(bench, "trainer data ") == Words{"fetch", "synth"});
  CHECK(completions(bench, "trainer data fetch cifar1") == Words{"cifar10", "cifar100"});
  CHECK(completions(bench, "trainer tiny.json --progress ") == Words{"auto", "bar", "lines", "json", "none"});
  CHECK(completions(bench, "trainer --device c") == Words{"cpu", "cuda"});
  CHECK(completions(bench, "trainer --no-f") == Words{"--no-fold", "--no-fusion"});
  CHECK(completions(bench, "trainer summary --no-") == Words{"--no-probe"});
  CHECK(completions(bench, "trainer ti") == Words{"tiny.json"});
  CHECK(completions(bench, "evaluate --split ") == Words{"test", "train"});
  CHECK(completions(bench, "ps_worker --tok") == Words{"--token-file"});
  CHECK(completions(bench, "ps_server --wire f") == Words{"f16", "f32"});
}

TEST_CASE("trainer man: a page of each program that groff takes without a warning", "[inspect]") {
  const Workbench bench;
  for (const char* program : {"trainer", "evaluate", "ps_server", "ps_worker"}) {
    INFO(program);
    const Outcome outcome = bench.run({"trainer", "man", program});
    REQUIRE(outcome.code == 0);
    for (const char* section : {".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", ".SH EXAMPLES"}) CHECK_THAT(outcome.out, HasText(section));
    if (!has_program("groff")) continue;
    write_file(bench / "page.1", outcome.out);
    const Outcome groff = bench.run({"/bin/sh", "-c", "groff -ww -man -Tascii page.1"});
    CHECK(groff.code == 0);
    CHECK(groff.err.empty());
  }
  CHECK(bench.run({"trainer", "man", "nobody"}).code == 2);
}
