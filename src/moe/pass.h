// Records one pass of the model over the tokens of a chunk.
#pragma once
#include "moe/activations.h"

namespace vkmoe {

// Embedding of the first n_tokens of Activations::tokens into the residual stream.
void record_embedding(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens);

// Layers first_layer .. end_layer - 1 on the residual stream.
void record_layers(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens, uint32_t first_layer,
                   uint32_t end_layer);

// The output of an encoder, whose layers were recorded with its own activations, as keys and values that each layer of the
// decoder attends to.
void record_encoder_output(Recorder& r, const Model& model, const Activations& encoder, const Activations& a, uint32_t n_tokens);

// Logits of the last row, to Activations::logits.
void record_last_logits(Recorder& r, const Model& model, const Activations& a, uint32_t n_tokens);

// Logits of rows first_row .. first_row + n_rows - 1, to Activations::all_logits; n_rows is at most logits_rows.
void record_logits(Recorder& r, const Model& model, const Activations& a, uint32_t first_row, uint32_t n_rows);

}  // namespace vkmoe
