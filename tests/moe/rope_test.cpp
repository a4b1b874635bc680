// Rotary frequencies against transformers' (its modeling_rope_utils.py, run on the same dictionaries), in both layouts of
// config.json, and from GGUF metadata.
#include <cmath>

#include "moe/arch/arch.h"
#include "moe/support.h"

using namespace vkmoe;
using nlohmann::json;

namespace {

struct Case {
  const char* rule;
  uint32_t context;         // of the session
  double attention_factor;
  std::vector<double> frequencies;  // float32
};
// 16 dimensions; max_position_embeddings is 512.
const Case cases[] = {
    {R"({"rope_type":"linear","factor":4.0,"rope_theta":10000.0})", 512, 1,
     {0.25, 0.07905694097280502, 0.02500000037252903, 0.007905694656074047, 0.0024999999441206455, 0.0007905694656074047,
      0.0002500000118743628, 7.905694656074047e-05}},
    {R"({"rope_type":"dynamic","factor":2.0,"rope_theta":10000.0})", 700, 1,
     {1.0, 0.2923053205013275, 0.08544239401817322, 0.024975266307592392, 0.00730040343478322, 0.002133946632966399,
      0.0006237639463506639, 0.00018232953152619302}},
    {R"({"rope_type":"yarn","factor":8.0,"original_max_position_embeddings":64,"rope_theta":10000.0})", 512,
     1.2079441541679836,
     {1.0, 0.2239946573972702, 0.0416666641831398, 0.0039528473280370235, 0.0012499999720603228, 0.00039528473280370235,
      0.0001250000059371814, 3.9528473280370235e-05}},
    {R"({"rope_type":"yarn","factor":40.0,"original_max_position_embeddings":4096,"mscale":0.707,"mscale_all_dim":0.707,
         "beta_fast":32,"beta_slow":1,"rope_theta":10000.0})", 512, 1,
     {1.0, 0.3162277638912201, 0.10000000149011612, 0.023914724588394165, 0.005124999675899744, 0.0008498621755279601,
      2.499999936844688e-05, 7.905694474175107e-06}},
    {R"({"rope_type":"yarn","factor":32.0,"original_max_position_embeddings":4096,"truncate":false,"mscale":1.0,
         "mscale_all_dim":0.5,"rope_theta":10000.0})", 512, 1.1476934674947155,
     {1.0, 0.3162277638912201, 0.10000000149011612, 0.027735935524106026, 0.005552754271775484, 0.0007382768671959639,
      3.125000148429535e-05, 9.882118320092559e-06}},
    {R"({"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":1024,"attention_factor":1.25,"beta_fast":16,
         "beta_slow":2,"rope_theta":10000.0})", 512, 1.25,
     {1.0, 0.3162277638912201, 0.10000000149011612, 0.019764237105846405, 0.0024999999441206455, 0.0007905694656074047,
      0.0002500000118743628, 7.905694656074047e-05}},
    {R"({"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
         "original_max_position_embeddings":256,"rope_theta":500000.0})", 512, 1,
     {1.0, 0.193922758102417, 0.010538230650126934, 0.0009115831344388425, 0.00017677668074611574, 3.428102354519069e-05,
      6.647869668086059e-06, 1.289173155782919e-06}},
    {R"({"rope_type":"llama3","factor":16.0,"low_freq_factor":1.0,"high_freq_factor":1.0,
         "original_max_position_embeddings":256,"rope_theta":500000.0})", 512, 1,
     {1.0, 0.193922758102417, 0.03760603070259094, 0.00045579156721942127, 8.838834037305787e-05, 1.7140511772595346e-05,
      3.3239348340430297e-06, 6.445865778914595e-07}},
};

ModelFile hugging_face(json metadata) {
  ModelFile file;
  file.kind = ModelFile::Kind::hugging_face;
  file.path = "model";
  file.metadata = std::move(metadata);
  return file;
}

void check(const ModelFile& file, double theta, const Case& c) {
  RopeScaling scaling = read_rope_scaling(file, "a.", 512);
  CHECK(scaling.attention_factor == doctest::Approx(c.attention_factor).epsilon(1e-7));
  std::vector<double> got = rope_frequencies(scaling, theta, 16, c.context);
  REQUIRE(got.size() == c.frequencies.size());
  // transformers computes in float32: a power, the blend's two products and a sum, quotients.
  for (size_t i = 0; i < got.size(); ++i) CHECK(std::abs(got[i] / c.frequencies[i] - 1) < 12 * 0x1p-24);
}

}  // namespace

TEST_CASE("RoPE scaling: transformers' frequencies, from both layouts of config.json") {
  for (const Case& c : cases) {
    CAPTURE(c.rule);
    json rule = json::parse(c.rule), old = rule;
    double theta = rule["rope_theta"];
    check(hugging_face({{"rope_parameters", rule}}), theta, c);
    old["type"] = old["rope_type"];
    old.erase("rope_type");
    old.erase("rope_theta");
    check(hugging_face({{"rope_scaling", old}, {"rope_theta", theta}}), theta, c);
  }
}

TEST_CASE("RoPE scaling: from GGUF") {
  ModelFile file;
  file.path = "model.gguf";
  file.metadata = {{"a.rope.scaling.type", "yarn"}, {"a.rope.scaling.factor", 8.0}, {"a.rope.scaling.original_context_length", 64}};
  check(file, 10000, cases[2]);
  file.metadata = {{"a.rope.scaling.type", "yarn"}, {"a.rope.scaling.factor", 40.0},
                   {"a.rope.scaling.original_context_length", 4096}, {"a.rope.scaling.yarn_log_multiplier", 0.0707}};
  check(file, 10000, cases[3]);
  CHECK(read_rope_scaling(file, "a.", 512).mscale_all_dim == doctest::Approx(0.707));
  for (const char* key : {"a.rope.scaling.factor", "a.rope.scale_linear"}) {  // no type: linear
    file.metadata = {{key, 4.0}};
    check(file, 10000, cases[0]);
  }
  std::vector<float> divisors(8, 4);
  file.metadata = json::object();
  Tensor tensor;
  tensor.name = "rope_freqs.weight";
  tensor.format = find_format("F32");
  tensor.shape = {8};
  tensor.data = reinterpret_cast<const uint8_t*>(divisors.data());
  tensor.size_bytes = 32;
  file.tensors["rope_freqs.weight"] = tensor;
  check(file, 10000, cases[0]);
  const RopeScaling scaling = read_rope_scaling(file, "a.", 512);
  check_rope_factors(file, scaling, 16);
  CHECK_THROWS_WITH_AS(check_rope_factors(file, scaling, 32), "model.gguf: tensor rope_freqs.weight: expected 16 values, found 8", Error);
}

TEST_CASE("RoPE scaling: what is not known is refused with key and value") {
  auto refuses = [](const ModelFile& file, const std::string& text) {
    CAPTURE(text);
    try {
      read_rope_scaling(file, "a.", 512);
      FAIL("no error");
    } catch (const Error& error) {
      CHECK(std::string(error.what()).find(text) != std::string::npos);
    }
  };
  refuses(hugging_face({{"rope_scaling", {{"type", "wavy"}, {"factor", 2}}}}), "rope_scaling.type = \"wavy\"");
  refuses(hugging_face({{"rope_parameters", {{"rope_type", "proportional"}}}}), "rope_parameters.rope_type = \"proportional\"");
  refuses(hugging_face({{"rope_parameters", {{"rope_type", "linear"}}}}), "rope_parameters.factor is missing");
  refuses(hugging_face({{"rope_parameters", {{"rope_type", "linear"}, {"factor", 0}}}}), "rope_parameters.factor = 0");
  refuses(hugging_face({{"rope_parameters", {{"full_attention", {{"rope_type", "yarn"}}}}}}), "full_attention");
  refuses(hugging_face({{"rope_scaling", "yarn"}}), "expected an object");
  ModelFile file;
  file.metadata = {{"a.rope.scaling.type", "wavy"}};
  refuses(file, "a.rope.scaling.type = \"wavy\"");
  file.metadata = {{"a.rope.scaling.type", "yarn"}, {"a.rope.scaling.factor", 2}, {"a.rope.scaling.yarn_ext_factor", 0.5}};
  refuses(file, "yarn_ext_factor = 0.5");
}
