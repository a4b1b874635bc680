// Each adds its command, whose callback does the work.
#pragma once
#include <CLI/CLI.hpp>

void add_run(CLI::App& program);
void add_chat(CLI::App& program);
void add_logits(CLI::App& program);
void add_perplexity(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_inspect(CLI::App& program);
void add_models(CLI::App& program);
void add_quantize(CLI::App& program);
void add_devices(CLI::App& program);
void add_bench(CLI::App& program);
void add_tune(CLI::App& program);
