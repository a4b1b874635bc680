// SentencePiece's tokenizer.model: a protobuf message of pieces, what the trainer was told and how text is normalized
// (sentencepiece_model.proto). Called by Tokenizer::load(), and by set_tokenizer() to write it into a GGUF.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "loader/gguf_writer.h"
#include "loader/json_file.h"
#include "loader/tokenizer_parts.h"
#include "loader/unigram.h"

namespace vkmoe {

using nlohmann::json;

namespace {

struct Field {
  uint64_t number = 0, value = 0;  // value of a varint or of fixed bits
  std::string_view bytes;          // of a string or message
};

// The fields of one message, in order.
class Message {
 public:
  Message(std::string_view rest, const std::string& origin) : rest_(rest), origin_(origin) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    uint64_t key = varint(), kind = key & 7;
    field = {key >> 3, 0, {}};
    if (kind == 0) {
      field.value = varint();
    } else if (kind == 2) {
      field.bytes = take(varint());
    } else if (kind == 1 || kind == 5) {
      std::string_view fixed = take(kind == 1 ? 8 : 4);
      std::memcpy(&field.value, fixed.data(), fixed.size());
    } else {
      fail(VKMOE_ERROR_BAD_FILE, origin_, ": expected a protobuf message, found a field of kind ", kind);
    }
    return true;
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte = uint8_t(take(1)[0]);
      value |= uint64_t(byte & 127) << shift;
      if (byte < 128) return value;
    }
    fail(VKMOE_ERROR_BAD_FILE, origin_, ": a number of more than ten bytes");
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size())
      fail(VKMOE_ERROR_BAD_FILE, origin_, ": ends ", count - rest_.size(), " bytes before a field does");
    std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::string_view rest_;
  const std::string& origin_;
};

enum { model_unigram = 1, model_bpe };

struct SentencePieceModel {
  std::string origin;
  TokenizerParts parts{};
  Normalizer::SentencePieceRule rule{};
  std::string charsmap;
  std::vector<int32_t> user_defined;
  std::vector<int32_t> types;  // as the file says; ggml's numbers are the same
  uint64_t model_type = model_unigram;
  bool byte_fallback = false;
  int32_t unknown = 0, bos = 1, eos = 2;

  void piece(std::string_view bytes) {
    Token token{"", TokenKind::normal};
    uint64_t type = type_normal;
    Message message(bytes, origin);
    for (Field field; message.next(field);) {
      if (field.number == 1) token.text = field.bytes;
      if (field.number == 2) {
        float score;
        std::memcpy(&score, &field.value, 4);
        token.score = score;
      }
      if (field.number == 3) type = field.value;
    }
    if (type < type_normal || type > type_byte)
      fail(VKMOE_ERROR_BAD_FILE, origin, ": piece ", parts.tokens.size(), ": expected a type from 1 to 6, found ", type);
    if (!(std::fabs(token.score) < 1e30))
      fail(VKMOE_ERROR_BAD_FILE, origin, ": piece ", parts.tokens.size(), ": its score is not finite");
    if (type == type_control || type == type_unknown) token.kind = TokenKind::control;
    if (type == type_byte && byte_token_value(token.text) >= 0) token.kind = TokenKind::byte;
    token.unused = type == type_unused;
    if (type == type_user_defined && !token.text.empty()) {
      user_defined.push_back(int32_t(parts.tokens.size()));
      rule.keep.add(token.text, user_defined.back());
    }
    types.push_back(int32_t(type));
    parts.tokens.push_back(std::move(token));
  }

  void read(std::string_view bytes) {
    rule.prefix = rule.merge_spaces = rule.escape = true;
    Message message(bytes, origin);
    for (Field field; message.next(field);) {
      if (field.number == 1) piece(field.bytes);
      Message inner(field.bytes, origin);
      if (field.number == 2) {
        for (Field f; inner.next(f);) {
          if (f.number == 3) model_type = f.value;
          if (f.number == 24) rule.suffix = f.value != 0;
          if (f.number == 35) byte_fallback = f.value != 0;
          if (f.number == 40) unknown = int32_t(f.value);
          if (f.number == 41) bos = int32_t(f.value);
          if (f.number == 42) eos = int32_t(f.value);
        }
      } else if (field.number == 3) {
        for (Field f; inner.next(f);) {
          if (f.number == 2) charsmap = f.bytes;
          if (f.number == 3) rule.prefix = f.value != 0;
          if (f.number == 4) rule.merge_spaces = f.value != 0;
          if (f.number == 5) rule.escape = f.value != 0;
        }
      }
    }
    if (parts.tokens.empty()) fail(VKMOE_ERROR_BAD_FILE, origin, ": has no pieces");
    if (model_type != model_unigram && model_type != model_bpe)
      fail(VKMOE_ERROR_UNSUPPORTED, origin, ": model type ", model_type, " is not supported, only unigram (1) and BPE (2)");
  }

  Fallback fallback() const {
    Fallback found;
    found.unknown = size_t(unknown) < parts.tokens.size() ? unknown : -1;
    if (byte_fallback) found.find_bytes(parts.tokens);
    return found;
  }

  void bpe() {
    BpeParts bpe;
    bpe.origin = origin;
    bpe.by_score = true;
    bpe.isolated = user_defined;
    bpe.fallback = fallback();
    parts.model = std::make_unique<BpeModel>(parts.tokens, std::move(bpe));
  }

  void unigram() {
    std::vector<std::string_view> texts;
    std::vector<double> scores;
    double least = INFINITY, most = -INFINITY;
    for (size_t id = 0; id < parts.tokens.size(); id++) {
      const Token& token = parts.tokens[id];
      bool usable = token.kind == TokenKind::normal && !token.unused;
      texts.push_back(token.text);
      scores.push_back(usable ? token.score : -INFINITY);
      if (usable && !std::binary_search(user_defined.begin(), user_defined.end(), int32_t(id))) {
        least = std::min(least, token.score);
        most = std::max(most, token.score);
      }
    }
    // High enough to win against any other way to cut.
    for (int32_t id : user_defined) scores[size_t(id)] = double(texts[size_t(id)].size()) * most - 0.1;
    parts.model = std::make_unique<UnigramModel>(texts, std::move(scores), fallback(), least - 10);
  }
};

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_sentencepiece(const ModelFile& file) {
  SentencePieceModel source{file.path + "/tokenizer.model"};
  source.parts.origin = source.origin;
  source.read(file.sentencepiece);
  read_added_tokens(file.tokenizer_config, source.origin, source.parts.tokens);
  auto text_of = [&](int32_t id) {
    return size_t(id) < source.parts.tokens.size() ? source.parts.tokens[size_t(id)].text : std::string();
  };
  FolderConfig config = read_folder_config(file, source.parts.tokens, text_of(source.bos), source.model_type == model_bpe);
  if (config.eos_text.empty()) config.eos_text = text_of(source.eos), config.eos = config.eos_text.empty() ? -1 : source.eos;

  source.rule.map = Charsmap(source.charsmap, source.origin);
  source.parts.strip_first_space = source.rule.prefix && !source.rule.suffix;
  source.parts.normalizer.add_sentencepiece(std::move(source.rule));
  source.parts.space_symbol = true;
  if (source.model_type == model_bpe) {
    source.bpe();
  } else {
    source.unigram();
  }
  auto tokenizer = std::make_unique<TextTokenizer>(std::move(source.parts));
  finish_tokenizer(*tokenizer, file, config);
  return tokenizer;
}

void set_sentencepiece(const ModelFile& folder, uint32_t vocab, GgufHeader& header) {
  SentencePieceModel source{folder.path + "/tokenizer.model"};
  source.read(folder.sentencepiece);
  bool bpe = source.model_type == model_bpe;
  bool normalizes = source.rule.merge_spaces || !source.charsmap.empty();
  if (!source.rule.escape || source.rule.suffix || (bpe ? normalizes : !source.user_defined.empty()))
    fail(VKMOE_ERROR_UNSUPPORTED, source.origin, ": a GGUF cannot say how this model normalizes text");
  std::vector<Token>& tokens = source.parts.tokens;
  read_added_tokens(folder.tokenizer_config, source.origin, tokens);
  if (tokens.size() > vocab)
    fail(VKMOE_ERROR_BAD_FILE, source.origin, ": expected at most the model's ", vocab, " tokens, found ",
         tokens.size());
  std::vector<std::string> texts;
  std::vector<float> scores;
  constexpr float unlikely = -1000;  // llama.cpp's converter
  for (uint32_t id = 0; id < vocab; id++) {
    bool piece = id < source.types.size();
    bool added = !piece && id < tokens.size() && tokens[id].kind != TokenKind::missing;
    int32_t added_type = added && tokens[id].kind == TokenKind::control ? type_control : type_user_defined;
    if (!piece) source.types.push_back(added ? added_type : type_unused);
    texts.push_back(piece || added ? tokens[id].text : cat("[PAD", id, "]"));
    scores.push_back(piece ? float(tokens[id].score) : unlikely);
  }
  header.set("tokenizer.ggml.model", bpe ? "llama" : "t5");
  header.set("tokenizer.ggml.pre", "default");
  header.set("tokenizer.ggml.tokens", texts);
  header.set("tokenizer.ggml.scores", scores);
  header.set("tokenizer.ggml.token_type", source.types);
  header.set("tokenizer.ggml.add_space_prefix", source.rule.prefix);
  if (size_t(source.unknown) < vocab) header.set("tokenizer.ggml.unknown_token_id", uint32_t(source.unknown));
  if (bpe) return;
  header.set("tokenizer.ggml.remove_extra_whitespaces", source.rule.merge_spaces);
  std::vector<int32_t> bytes(source.charsmap.begin(), source.charsmap.end());
  if (!bytes.empty()) header.set("tokenizer.ggml.precompiled_charsmap", bytes);
}

}  // namespace vkmoe
