#include "tools/config.h"

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "core/error.h"
#include "tests/catch.h"
#include "tools/exit_codes.h"
#include "tools/nearest.h"

using namespace tern;

namespace {

const std::string kRoot = TERN_SOURCE_DIR;

std::string message_of(std::string_view text, const std::vector<std::string>& sets = {}) {
  try {
    std::vector<Override> overrides;
    for (const std::string& s : sets) overrides.push_back(parse_set(s));
    parse_config(text, "c.json", overrides);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "no error";
}

Config parse(std::string_view text, const std::vector<std::string>& sets = {}) {
  std::vector<Override> overrides;
  for (const std::string& s : sets) overrides.push_back(parse_set(s));
  return parse_config(text, "c.json", overrides);
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

struct Malformed {
  std::string text, message;
};

/// Each input with the whole message that its user sees.
const std::vector<Malformed> kMalformed = {
    // Not JSON.
    {"", "c.json:1:1: not valid JSON: while parsing value - unexpected end of input; expected '[', '{', or a literal"},
    {"{", "c.json:1:2: not valid JSON: while parsing object key - unexpected end of input; expected string literal"},
    {"{\n\"run\": {\n\"seed\": }}",
     "c.json:3:9: not valid JSON: while parsing value - unexpected '}'; expected '[', "
     "'{', or a literal"},
    {"{} x",
     "c.json:1:4: not valid JSON: while parsing value - invalid literal; last read: '{} x'; expected end of "
     "input"},
    {"{// no\n}",
     "not valid JSON: while parsing object key - invalid literal; last read: '{/'; expected string literal"},
    {"{'run': 1}", "c.json:1:2: not valid JSON"},
    {"{\"run\": {\"seed\": 1,}}", "c.json:1:20: not valid JSON: while parsing object key - unexpected '}'"},
    {"{\"optim\": {\"lr\": NaN}}", "c.json:1:18: not valid JSON: while parsing value - invalid literal"},
    {"{\"optim\": {\"lr\": -Infinity}}",
     "not valid JSON: while parsing value - invalid number; expected digit after '-'"},
    {"{\"optim\": {\"lr\": 1e999}}", "not valid JSON: number overflow parsing '1e999'"},
    {"{\"optim\": {\"lr\": 01}}", "not valid JSON"},
    {"{\"data\": {\"dir\": \"a\nb\"}}", "control character U+000A (LF) must be escaped"},
    {"{\"data\": {\"dir\": \"a\\x\"}}", "forbidden character after backslash"},
    {"{\"data\": {\"dir\": \"\\ud800\"}}", "surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF"},
    {"{\"data\": {\n\"dir\": \"\xff\"}}", "c.json:2:9: not UTF-8"},
    {"{\"data\": {\"dir\": \"\xc0\xaf\"}}", "c.json:1:19: not UTF-8"},
    {"{\"data\": {\"dir\": \"\xed\xa0\x80\"}}", "c.json:1:19: not UTF-8"},
    {std::string("{}\0{}", 5), "c.json:1:3: a NUL byte in JSON"},
    {std::string(100000, '['), "c.json:1:33: nested deeper than 32"},
    {"{\"model\": {\"layers\": " + std::string(40, '['), "nested deeper than 32"},
    {"{\"" + std::string(101, 'k') + "\": 1}", "c.json:1:104: a key of 101 bytes, wanted at most 100"},
    {std::string((1 << 20) + 1, ' '), "c.json: 1048577 bytes, wanted at most 1048576"},
    // Not a config.
    {"[]", "c.json:1: the config: got a list of 0, wanted an object"},
    {"3", "c.json:1: the config: got 3, wanted an object"},
    {"null", "c.json:1: the config: got null, wanted an object"},
    {"{\"run\": {\"seed\": 1},\n\"run\": {\"seed\": 2}}", "c.json:2:5: run: the key occurs twice (first at c.json:1)"},
    {"{\"run\": {\"seed\": 1, \"threads\": 2,\n \"seed\": 2}}",
     "c.json:2:7: run.seed: the key occurs twice (first at c.json:1)"},
    {"{\n\n\"trian\": {}}", "c.json:3: trian: unknown key; did you mean \"train\"?"},
    {"{\"train\": {\n\"lane\": 4}}", "c.json:2: train.lane: unknown key; did you mean \"lanes\"?"},
    {"{\"lr\": 0.1}", "c.json:1: lr: unknown key; did you mean \"optim.lr\"?"},
    {"{\"train\": {\"zzzzzz\": 1}}",
     "c.json:1: train.zzzzzz: unknown key; known here: epochs, micro_batch, lanes, "
     "label_smoothing, loss, loss_scale, tta, clip_norm, early_stop, ema, nonfinite"},
    {"{\"optim\": [{}, {\"params\": \"a\",\n\"beta\": 1}]}",
     "c.json:2: optim.1.beta: unknown key; did you mean \"betas\"?"},
    {"{\"train\": 3}", "c.json:1: train: got 3, wanted an object"},
    {"{\"train\": [1, 2]}", "c.json:1: train: got a list of 2, wanted an object"},
    {"{\"train\": null}", "c.json:1: train: got null, wanted an object"},
    // Types and ranges.
    {"{\"train\": {\n\"lanes\":\n0}}", "c.json:2: train.lanes: got 0, wanted an integer from 1 to 4096"},
    {"{\"train\": {\"lanes\": 4097\n}}", "c.json:1: train.lanes: got 4097, wanted an integer from 1 to 4096"},
    {"{\"train\": {\"lanes\": 2.5}}", "train.lanes: got 2.5, wanted an integer from 1 to 4096"},
    {"{\"train\": {\"lanes\": \"4\"}}", "train.lanes: got \"4\", wanted an integer from 1 to 4096"},
    {"{\"train\": {\"lanes\": true}}", "train.lanes: got true, wanted an integer from 1 to 4096"},
    {"{\"train\": {\"lanes\": 1e300}}", "train.lanes: got 1e+300, wanted an integer from 1 to 4096"},
    {"{\"train\": {\"epochs\": 0}}", "train.epochs: got 0, wanted an integer from 1 to 1000000"},
    {"{\"train\": {\"epochs\": 99999999999999999999999}}",
     "train.epochs: got 9.999999999999999e+22, wanted an integer"},
    {"{\"train\": {\"clip_norm\": 0}}", "train.clip_norm: got 0, wanted a number above 0, or null"},
    {"{\"train\": {\"clip_norm\": false}}", "train.clip_norm: got false, wanted a number above 0, or null"},
    {"{\"train\": {\"label_smoothing\": 1}}", "got 1, wanted a number of at least 0 and below 1"},
    {"{\"train\": {\"ema\": 1.0}}", "train.ema: got 1.0, wanted a number above 0 and below 1, or null"},
    {"{\"train\": {\"nonfinite\": \"skip\"}}", "got \"skip\", wanted \"stop\" or \"skip:K\" (K from 1 to 1000000)"},
    {"{\"train\": {\"nonfinite\": \"skip:0\"}}", "got \"skip:0\", wanted \"stop\" or \"skip:K\""},
    {"{\"train\": {\"nonfinite\": \"skip:-1\"}}", "got \"skip:-1\", wanted \"stop\" or \"skip:K\""},
    {"{\"train\": {\"nonfinite\": \"skip:3x\"}}", "got \"skip:3x\", wanted \"stop\" or \"skip:K\""},
    {"{\"train\": {\"nonfinite\": \"skip:99999999999\"}}", "got \"skip:99999999999\", wanted \"stop\" or \"skip:K\""},
    {"{\"train\": {\"early_stop\": 3}}", "train.early_stop: got 3, wanted an object"},
    {"{\"train\": {\"early_stop\": {\"patience\": 0}}}", "train.early_stop.patience: got 0, wanted an integer from 1"},
    {"{\"train\": {\"early_stop\": {\"metric\": \"acc\"}}}", "train.early_stop.metric: got \"acc\", wanted one of"},
    {"{\"run\": {\"seed\": -1}}", "run.seed: got -1, wanted an integer of at least 0 and below 2^64"},
    {"{\"run\": {\"seed\": 18446744073709551616}}",
     "run.seed: got 1.8446744073709552e+19, wanted an integer of at least 0 and below 2^64"},
    {"{\"run\": {\"device\": \"gpu\"}}", "run.device: got device \"gpu\", wanted auto, cpu, cuda or cuda:i"},
    {"{\"run\": {\"device\": \"cuda:\"}}", "run.device: got device \"cuda:\", wanted"},
    {"{\"run\": {\"device\": \"cuda:-1\"}}", "run.device: got device \"cuda:-1\", wanted"},
    {"{\"run\": {\"device\": \"\"}}", "run.device: got \"\", wanted a string that is not empty"},
    {"{\"run\": {\"precision\": \"fp8\"}}", "wanted one of \"auto\", \"fp32\", \"tf32\", \"bf16\", \"fp16\""},
    {"{\"run\": {\"threads\": -2}}", "run.threads: got -2, wanted an integer from 0 to 4096"},
    {"{\"model\": {\"name\": \"vgg\"}}",
     "model.name: got \"vgg\", wanted one of \"cifar-cnn\", \"lenet\", \"resnet18\", \"airbench94\", \"layers\""},
    {"{\"model\": {\"name\": 3}}", "model.name: got 3, wanted one of"},
    {"{\"model\": {\"convs_per_block\": 3}}", "model.convs_per_block: got 3, wanted an integer from 1 to 2"},
    {"{\"model\": {\"init\": \"he\"}}", "model.init: got \"he\", wanted one of \"default\", \"kaiming\", \"xavier\""},
    {"{\"model\": {\"layers\": []}}", "model.layers: got a list of 0, wanted a list of layers that is not empty"},
    {"{\"model\": {\"layers\": [{},\n\"relu\"]}}", "c.json:2: model.layers.1: got \"relu\", wanted a layer: an object"},
    {"{\"model\": {\"layers\": [{\"type\": \"flatten\"},\n{\"type\": \"linear\", \"outs\": 10}]}}", "c.json:2: model.layers.1.outs: unknown key 'outs'; did you mean 'out'?"},
    {"{\"data\": {\"name\": \"imagenet\"}}", "data.name: got \"imagenet\", wanted one of"},
    {"{\"data\": {\"size\": 64}}", "data.size: does not apply to data.name \"cifar10\" (only to: folder)"},
    {"{\"data\": {\"name\": \"folder\", \"size\": [64]}}", "data.size: got a list of 1, wanted"},
    {"{\"data\": {\"name\": \"folder\", \"size\": 0}}", "data.size: got 0, wanted an integer from 1 to 4096"},
    {"{\"data\": {\"name\": \"folder\", \"size\": [48, 64]}, \"model\": {\"layers\": [{\"type\": \"flatten\"}], \"input\": [64, 48, 3]}}",
     "model.input: wanted [48,64,3], the pictures of folder"},
    {"{\"data\": {\"normalize\": {\"mean\": [0.5]}}}",
     "data.normalize.mean: got a list of 1, wanted a list of 3, each"},
    {"{\"data\": {\"normalize\": {\"mean\": 0.5}}}", "data.normalize.mean: got 0.5, wanted a list of 3, each a number"},
    {"{\"data\": {\"normalize\": {\"std\": [1, 1,\n0]}}}",
     "c.json:2: data.normalize.std.2: got 0, wanted a number above 0 and at most 1000"},
    {"{\"data\": {\"augment\": {}}}", "data.augment: got an object, wanted a list of objects"},
    {"{\"data\": {\"augment\": [\"flip\"]}}", "data.augment.0: got \"flip\", wanted an object"},
    {"{\"data\": {\"augment\": [{\"p\": 1}]}}", "data.augment.0.name: is missing, wanted one of \"crop\", \"flip\""},
    {"{\"data\": {\"augment\": [{\"name\": \"crop\", \"pad\": 32}]}}",
     "augment.0.pad: got 32, wanted an integer from 1"},
    {"{\"data\": {\"augment\": [{\"name\": \"crop\", \"mode\": \"edge\"}]}}",
     "augment.0.mode: got \"edge\", wanted one of"},
    {"{\"data\": {\"augment\": [{\"name\": \"flip\", \"p\": 1.5}]}}",
     "augment.0.p: got 1.5, wanted a number from 0 to 1"},
    {"{\"data\": {\"val_fraction\": 1}}", "data.val_fraction: got 1, wanted a number of at least 0 and below 1"},
    {"{\"data\": {\"limit\": 0}}", "data.limit: got 0, wanted an integer from 1 to 1000000000, or null"},
    {"{\"data\": {\"drop_last\": 1}}", "data.drop_last: got 1, wanted true or false"},
    {"{\"optim\": []}", "optim: got an empty list, wanted at least one group"},
    {"{\"optim\": \"sgd\"}", "optim: got \"sgd\", wanted an object or a list of objects"},
    {"{\"optim\": [3]}", "optim.0: got 3, wanted an object"},
    {"{\"optim\": {\"name\": \"adam\"}}", "optim.name: got \"adam\", wanted one of \"adamw\", \"sgd\""},
    {"{\"optim\": {\"lr\": 0}}", "optim.lr: got 0, wanted a number above 0"},
    {"{\"optim\": {\"betas\": [0.9, 1]}}", "optim.betas.1: got 1, wanted a number of at least 0 and below 1"},
    {"{\"optim\": {\"betas\": [0.9, 0.99, 0.999]}}", "optim.betas: got a list of 3, wanted a list of 2, each a number"},
    {"{\"optim\": {\"eps\": 0}}", "optim.eps: got 0, wanted a number above 0"},
    {"{\"optim\": {\"weight_decay\": -1}}", "optim.weight_decay: got -1, wanted a number of at least 0"},
    {"{\"optim\": {\"params\": \"\"}}", "optim.params: got \"\", wanted a string that is not empty"},
    {"{\"log\": {\"every_steps\": 0}}", "log.every_steps: got 0, wanted an integer from 1"},
    {"{\"checkpoint\": {\"keep\": 0}}", "checkpoint.keep: got 0, wanted an integer from 1 to 1000"},
    {"{\"checkpoint\": {\"best\": \"acc\"}}", "checkpoint.best: got \"acc\", wanted one of \"train_loss\""},
    // Keys that need, forbid or contradict each other.
    {"{\"model\": {\"name\": \"lenet\", \"convs_per_block\": 1}}",
     "c.json:1: model.convs_per_block: does not apply to model.name \"lenet\" (only to: cifar-cnn); remove it, or "
     "replace the whole section with --set 'model={\"name\": \"lenet\"}'"},
    {"{\"model\": {\"name\": \"lenet\", \"layers\": [{}]}}", "model.layers: does not apply to model.name \"lenet\""},
    {"{\"model\": {\"name\": \"layers\"}}", "model.name: \"layers\" needs the key \"layers\""},
    {"{\"model\": {\"classes\": 9}}", "model.classes: got 9, but cifar10 has 10"},
    {"{\"model\": {\"classes\": 10}, \"data\": {\"name\": \"cifar100\"}}",
     "model.classes: got 10, but cifar100 has 100"},
    {"{\"model\": {\"layers\": [{}], \"input\": [28, 28, 1]}}",
     "model.input: wanted [32,32,3], the pictures of cifar10"},
    {"{\"optim\": {\"momentum\": 0.9}}", "optim.momentum: does not apply to optim.name \"adamw\" (only to: sgd, muon)"},
    {"{\"optim\": {\"name\": \"sgd\", \"betas\": [0, 0]}}", "optim.betas: does not apply to optim.name \"sgd\""},
    {"{\"optim\": {\"name\": \"sgd\", \"nesterov\": true}}", "optim.nesterov: needs momentum above 0"},
    {"{\"optim\": [{\"params\": \"a\"}, {\"params\": \"a\"}]}", "optim.1.params: got \"a\", which group 0 has already"},
    {"{\"schedule\": {\"name\": \"onecycle\"}}", "schedule.name: onecycle needs max_lr beside it"},
    {"{\"optim\": [{\"schedule\": {\"name\": \"onecycle\"}}]}",
     "optim.0.schedule.name: onecycle needs max_lr beside it"},
    {"{\"schedule\": {\"name\": \"cosine\", \"max_lr\": 1}}",
     "schedule.max_lr: does not apply to schedule.name \"cosine\""},
    {"{\"schedule\": {\"three_phase\": true, \"pct_start\": 0.6}}",
     "pct_start: got 0.6, wanted below 0.5 with three_phase"},
    {"{\"schedule\": {\"name\": \"cosine\", \"min_lr\": 1}}", "min_lr: got 1.0, wanted at most the group's lr 0.001"},
    {"{\"schedule\": {\"name\": \"step\", \"warmup_steps\": 9, \"warmup_epochs\": 1}}",
     "schedule.warmup_epochs: warmup_steps is given too: wanted one"},
    {"{\"schedule\": {\"name\": \"step\", \"warmup_epochs\": 25}}", "got 25.0, wanted below train.epochs 25"},
    {"{\"run\": {\"device\": \"cpu\", \"precision\": \"fp16\"}}",
     "c.json:1: run.precision: precision fp16 needs CUDA, the device is cpu: use fp32 or auto"},
    {"{\"checkpoint\": {\"best\": \"val_acc\"}}",
     "checkpoint.best: got \"val_acc\", which needs data.val_fraction above 0"},
    {"{\"data\": {\"limit\": 100, \"drop_last\": true}}", "data.limit: got 100, less than one step of 128 images"},
};

}  // namespace

TEST_CASE("config: every malformed input has its own message", "[config]") {
  std::set<std::string> seen;
  for (const Malformed& input : kMalformed) {
    INFO(input.text.substr(0, 200));
    const std::string message = message_of(input.text);
    CHECK_THAT(message, HasText(input.message));
    CHECK(seen.insert(message + input.text).second);
  }
}

TEST_CASE("config: an empty config is the seed's recipe", "[config]") {
  const Config c = parse("{}");
  CHECK(c.model.name == ModelName::cifar_cnn);
  CHECK(c.train.micro_batch == 32);
  CHECK(c.train.lanes == 4);
  CHECK(c.train.clip_norm == 1.0);
  REQUIRE(c.optim.size() == 1);
  CHECK(c.optim[0].betas[1] == 0.999);
  CHECK(c.schedule.max_lr == 0.01);
  CHECK(c.run.seed == 42);
  CHECK(defining_json(c) ==
        defining_json(parse(read_file(kRoot + "/tools/configs/cifar-cnn.json"), {"run.precision=fp32"})));
}

TEST_CASE("config: the ready files parse and say what their recipes say", "[config]") {
  const Config lenet = load_config(kRoot + "/tools/configs/lenet.json");
  CHECK(lenet.model.name == ModelName::lenet);
  CHECK(lenet.optim[0].name == OptimName::sgd);
  CHECK(lenet.optim[0].momentum == 0.9);
  CHECK(lenet.optim[0].weight_decay == 0.0);  // not AdamW's default
  CHECK(lenet.train.micro_batch * lenet.train.lanes == 4);
  CHECK_FALSE(lenet.train.clip_norm.has_value());
  CHECK(lenet.schedule.name == ScheduleName::constant);
  const Config resnet = load_config(kRoot + "/tools/configs/resnet18.json");
  CHECK(resnet.optim[0].nesterov);
  REQUIRE(resnet.data.augment.size() == 2);
  CHECK(resnet.data.augment[0].mode == PadMode::reflect);
  const Config airbench = load_config(kRoot + "/tools/configs/airbench94.json");
  REQUIRE(airbench.optim.size() == 5);
  CHECK(airbench.optim[4].name == OptimName::muon);
  CHECK((airbench.optim[4].ns_steps == 3 && airbench.optim[4].fixed_norm && airbench.optim[4].weight_decay == 0.0));
  CHECK((airbench.train.loss == LossSum::sum && airbench.train.tta == TtaName::flip_shift && airbench.data.augment[0].alternating));
  CHECK(parse(R"({"optim": {"name": "muon"}})").optim[0].momentum == 0.95);  // its own defaults
  CHECK(parse(R"({"optim": {"name": "muon"}})").optim[0].nesterov);
  CHECK(load_config(kRoot + "/tools/configs/demo.json").data.name == DataName::synthetic);
  for (const char* name : {"cifar-cnn", "lenet", "resnet18", "airbench94", "demo"}) {
    CHECK(config_notes(load_config(kRoot + "/tools/configs/" + name + ".json")).empty());
  }
}

TEST_CASE("config: what is printed reads back to the same config", "[config]") {
  for (const char* text : {
           "{}",
           R"({"model": {"layers": [{"type": "conv2d", "out": 8, "kernel": 3}, {"type": "flatten"}, {"type": "linear", "out": 10}]}})",
           R"({"optim": [{"params": "fc*", "name": "sgd", "lr": 0.1, "frozen_after": 2.5,
               "schedule": {"name": "linear", "decay_epochs": 3}}, {"no_decay": true}], "train": {"ema": 0.99,
               "early_stop": {"patience": 2}, "nonfinite": "skip:7"}})",
           R"({"data": {"augment": [{"name": "cutout"}, {"name": "flip"}, {"name": "crop"}], "limit": 500}})",
           R"({"run": {"seed": 18446744073709551615}, "train": {"epochs": 1e3}})",
       }) {
    const std::string printed = config_json(parse(text));
    CHECK(config_json(parse(printed)) == printed);
    CHECK(defining_json(parse(printed)) == defining_json(parse(text)));
  }
}

TEST_CASE("config: --set overrides before validation and names itself in errors", "[config]") {
  const std::string text = "{\"optim\": [{\"params\": \"a\", \"lr\": 1}, {\"lr\": 2}], \"train\": {\"epochs\": 0}}";
  const Config c = parse(text, {"train.epochs=3", "optim.1.lr=0.5", "run.device=cpu", "train.early_stop.patience=9",
                                "data.normalize.mean=[0,0,0]", "train.clip_norm=null"});
  CHECK(c.train.epochs == 3);
  CHECK(c.optim[0].lr == 1.0);
  CHECK(c.optim[1].lr == 0.5);
  CHECK(c.run.device == "cpu");
  CHECK(c.train.early_stop->patience == 9);
  CHECK(c.data.normalize.mean[1] == 0.0);
  CHECK_FALSE(c.train.clip_norm.has_value());
  CHECK(parse("{\"schedule\": {\"max_lr\": 1}}", {"schedule={\"name\": \"constant\"}"}).schedule.name ==
        ScheduleName::constant);

  const auto fails = [&](const std::string& set) { return message_of(text, {"train.epochs=1", set}); };
  CHECK(fails("train.lanes=0") == "--set train.lanes=0: train.lanes: got 0, wanted an integer from 1 to 4096");
  CHECK(fails("train.lanez=1") == "--set train.lanez=1: train.lanez: unknown key; did you mean \"lanes\"?");
  CHECK(fails("optim.2.lr=1") ==
        "--set optim.2.lr=1: optim is a list of 2, got \"2\", wanted an index from 0 to 2 exclusive");
  CHECK(fails("optim.lr=1") ==
        "--set optim.lr=1: optim is a list of 2, got \"lr\", wanted an index from 0 to 2 exclusive");
  CHECK(fails("train.epochs.x=1") == "--set train.epochs.x=1: train.epochs is 1: nothing is below it");
  CHECK(fails("train..x=1") == "--set train..x=1: got \"train..x\", wanted a dotted path such as optim.lr");
  CHECK(fails("lanes") == "--set lanes: wanted KEY=VALUE, as in optim.lr=0.05");
  CHECK(fails("=3") == "--set =3: wanted KEY=VALUE, as in optim.lr=0.05");
  CHECK_THAT(fails("run={\"seed\":1,\"seed\":2}"), HasText("seed: the key occurs twice"));
  CHECK_THAT(fails("train.clip_norm=nul"), HasText("got \"nul\", wanted a number above 0, or null"));
  CHECK_THAT(fails(std::string(5000, '.') + "=1"), HasText("a path of more than 32 parts"));
}

TEST_CASE("config: files that cannot be read", "[config]") {
  REQUIRE_THROWS_WITH(load_config("no/such.json"), HasText("no/such.json: cannot be read: No such file"));
  REQUIRE_THROWS_WITH(load_config("."), HasText(".: is a directory, wanted a JSON file"));
}

TEST_CASE("config: what defines a run leaves out threads, device, paths and logs", "[config]") {
  const std::string base = defining_json(parse("{}"));
  CHECK(base == defining_json(parse(R"({"run": {"threads": 7, "device": "cpu"}, "data": {"dir": "x", "prefetch": 9,
      "loader_threads": 3}, "log": {"csv": false}, "checkpoint": {"keep": 1}})")));
  for (const char* set : {"run.seed=1", "train.lanes=2", "train.epochs=3", "optim.lr=0.5", "data.limit=500",
                          "model.dropout=0", "schedule.anneal=linear", "train.nonfinite=skip:2"}) {
    CHECK(base != defining_json(parse("{}", {set})));
  }
  const char* constant = R"({"schedule": {"name": "constant"}})";  // epochs change nothing but the end
  CHECK(defining_json(parse(constant)) == defining_json(parse(constant, {"train.epochs=3"})));

  const std::vector<ConfigDifference> d =
      defining_differences(base, parse(R"({"train": {"lanes": 8}, "data": {"augment": [{"name": "flip"}]}})"));
  REQUIRE(d.size() == 5);
  CHECK(d[0].path == "data.augment");
  CHECK(d[1].path == "data.augment.0.alternating");
  CHECK(d[2].path == "data.augment.0.name");
  CHECK(d[4].path == "train.lanes");
  CHECK(d[4].stored == "4");
  CHECK(d[4].wanted == "8");
  CHECK(defining_differences(base, parse("{}", {"run.threads=5"})).empty());
  CHECK(defining_differences("{}", parse("{}")).empty());  // an older version's text: absent keys have their defaults
  REQUIRE_THROWS_AS(defining_differences("{\"x\": 1}", parse("{}")), DataError);
  REQUIRE_THROWS_AS(defining_differences("", parse("{}")), DataError);
}

TEST_CASE("config: the schema follows the table", "[config]") {
  const std::string schema = config_schema();
  CHECK_THAT(schema, HasText("https://json-schema.org/draft/2020-12/schema"));
  CHECK_THAT(schema, HasText("\"exclusiveMinimum\": 0"));
  CHECK_THAT(schema, HasText("\"additionalProperties\": false"));
}

TEST_CASE("config: docs/config.md is what the table says", "[config]") {
  const std::string path = kRoot + "/docs/config.md";
  if (std::getenv("TERN_UPDATE_DOCS") != nullptr) std::ofstream(path, std::ios::binary) << config_markdown();
  INFO("run with TERN_UPDATE_DOCS=1 to write it anew");
  CHECK((read_file(path) == config_markdown()));
}

TEST_CASE("config: notes on values that have no effect", "[config]") {
  const std::vector<std::string> notes = config_notes(parse(R"({"optim": {"lr": 0.5, "frozen_after": 99}})"));
  REQUIRE(notes.size() == 2);
  CHECK_THAT(notes[0], HasText("optim.lr 0.5 has no effect: onecycle starts at max_lr / div_factor = 0.001"));
  CHECK_THAT(notes[1], HasText("frozen_after 99.0"));
}

TEST_CASE("config: devices and precisions", "[config]") {
  CHECK_FALSE(parse_device("auto").has_value());
  CHECK(parse_device("cuda:12")->str() == "cuda:12");
  CHECK(parse_device("cuda")->index == 0);
  CHECK(resolve_precision(Precision::automatic, Device{}) == Precision::fp32);
  CHECK(resolve_precision(Precision::automatic, Device{Device::Kind::cuda, 0}) == Precision::fp16);
  CHECK(resolve_precision(Precision::bf16, Device{Device::Kind::cuda, 0}) == Precision::bf16);
  REQUIRE_THROWS_AS(resolve_precision(Precision::fp16, Device{}), ConfigError);
}

TEST_CASE("config: name patterns", "[config]") {
  CHECK(matches_pattern("*", "conv1.weight"));
  CHECK(matches_pattern("conv*.weight", "conv12.weight"));
  CHECK(matches_pattern("conv?.weight", "conv1.weight"));
  CHECK(matches_pattern("*.bias|fc3.*", "fc3.weight"));
  CHECK(matches_pattern("*a*b*c", "xxaxxbaxbxc"));
  CHECK_FALSE(matches_pattern("conv?.weight", "conv12.weight"));
  CHECK_FALSE(matches_pattern("conv*.weight", "conv1.bias"));
  CHECK_FALSE(matches_pattern("conv", "conv1"));
}

TEST_CASE("nearest_name: typing slips are found, other words are not", "[config]") {
  const std::vector<std::string> names = {"epochs", "lanes", "micro_batch"};
  CHECK(nearest_name("epoch", names) == "epochs");
  CHECK(nearest_name("eopchs", names) == "epochs");
  CHECK(nearest_name("LANES", names) == "lanes");
  CHECK(nearest_name("microbatch", names) == "micro_batch");
  CHECK(nearest_name("zebra", names).empty());
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("ab", "ba") == 1);
}

TEST_CASE("exit codes follow the error's type", "[config]") {
  CHECK(exit_code_for(ConfigError("x")) == ExitCode::usage);
  CHECK(exit_code_for(DataError("x")) == ExitCode::data);
  CHECK(exit_code_for(DeviceError("x")) == ExitCode::device);
  CHECK(exit_code_for(DivergedError("x")) == ExitCode::diverged);
  CHECK(exit_code_for(ExpectationError("x")) == ExitCode::expectation_missed);
  CHECK(exit_code_for(PeerLostError("x")) == ExitCode::peer_lost);
  CHECK(exit_code_for(ShapeError("x")) == ExitCode::failure);
  CHECK(exit_code_for(std::bad_alloc()) == ExitCode::failure);
  CHECK(exit_code_for_signal(2) == ExitCode::interrupted);
  CHECK(exit_code_for_signal(15) == ExitCode::terminated);
}

TEST_CASE("--set refuses text that is not UTF-8", "[config]") {
  // Found by the fuzzer: the message about the array's element quoted bytes that JSON cannot hold.
  CHECK_THAT(message_of("{}", {"m=\"v\"", "m.x\xfe.y=1"}), HasText("--set m.x...: byte 3 is not UTF-8"));
}
