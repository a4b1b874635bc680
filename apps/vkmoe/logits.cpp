// vkmoe logits: the logits of every token of a prompt, as NumPy's .npy.
#include <bit>

#include "commands.h"
#include "common.h"

namespace {

struct Options : RunOptions {
  std::string ids_path, decoder_ids_path, out_path;
};

// Version 1.0 of NumPy's format: magic, version, header length, and a header that ends on a multiple of 64 bytes.
std::string npy_header(size_t rows, size_t columns) {
  static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");
  std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(rows) + ", " +
                     std::to_string(columns) + "), }";
  while ((10 + dict.size() + 1) % 64) dict += ' ';
  dict += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += char(dict.size() & 255);
  header += char(dict.size() >> 8);
  return header + dict;
}

void logits(const Options& options) {
  const std::string text = read_input(options.ids_path);
  const LoadedModel loaded = load_model(options);
  const uint32_t vocab_size = vkmoe_model_vocab_size(loaded.model.get());
  std::vector<int32_t> ids = parse_ids(input_name(options.ids_path), text, vocab_size), input;
  const bool has_encoder = !decoder_prompt(loaded.model.get()).empty();
  if (has_encoder == options.decoder_ids_path.empty()) {
    throw Failure(has_encoder ? "an encoder-decoder model needs --decoder-ids, too" : "--decoder-ids needs an encoder-decoder model",
                  2);
  }
  if (has_encoder) {
    input = std::move(ids);
    ids = parse_ids(input_name(options.decoder_ids_path), read_input(options.decoder_ids_path), vocab_size);
  }
  Options sized = options;  // LongRoPE's frequencies hang on the room
  const size_t room = std::max(input.size(), ids.size());
  if (sized.context_tokens == 0 && room <= vkmoe_model_context_tokens(loaded.model.get())) sized.context_tokens = uint32_t(room);
  const Session session = open_session(loaded.model.get(), sized);
  check_fits(session.get(), input.size(), "the input");
  check_fits(session.get(), ids.size(), has_encoder ? "the decoder's text" : "the prompt");
  if (has_encoder) check(vkmoe_session_encode(session.get(), input.data(), input.size()));
  std::vector<float> values(ids.size() * vocab_size);
  const std::string header = npy_header(ids.size(), vocab_size);
  check(vkmoe_session_feed_logits(session.get(), ids.data(), ids.size(), values.data()));
  write_file(options.out_path,
             {header, {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)}});
}

}  // namespace

void add_logits(CLI::App& program) {
  CLI::App* app = program.add_subcommand("logits", "Writes the logits of every token of a prompt as NumPy's .npy");
  auto options = std::make_shared<Options>();
  add_run_options(*app, *options);
  app->add_option("--ids", options->ids_path, "file of token ids parted by white space; - is standard input")
      ->required();
  app->add_option("--decoder-ids", options->decoder_ids_path,
                  "of an encoder-decoder model: file of the decoder's ids, whose logits are written; --ids is its input");
  app->add_option("-o,--output", options->out_path, "file to write: float32, shape (tokens, vocabulary)")->required();
  app->callback([options] { logits(*options); });
}
