/* The schema: every key of an input file, in the order in which it is written out. */
#include "config_internal.h"

#include <math.h>

#define INTEGER   RF_CONFIG_INTEGER
#define NUMBER    RF_CONFIG_NUMBER
#define BOOLEAN   RF_CONFIG_BOOLEAN
#define TEXT      RF_CONFIG_TEXT
#define CHOICE    RF_CONFIG_CHOICE
#define LIST      RF_CONFIG_LIST
#define AUTO      RF_CONFIG_AUTO
#define OR_NULL   RF_CONFIG_NULL
#define RESUMABLE RF_CONFIG_RESUMABLE
#define ABOVE     RF_CONFIG_ABOVE
#define BELOW     RF_CONFIG_BELOW

/* key, type, default, least, most, choices, flags, help */
const rf_config_entry rf_config_schema[] = {
    {"output", TEXT, "null", 0, 0, NULL, OR_NULL | RESUMABLE, "the run folder, made if missing"},

    {"method", TEXT, "lora", 0, 0, NULL, 0, "method names joined by '+'; see refract methods"},

    {"model.path", TEXT, "null", 0, 0, NULL, OR_NULL, "an HF folder or one .gguf file"},
    {"model.init", CHOICE, "pretrained", 0, 0, "pretrained random", 0,
     "random: config.json only, to train from scratch with method full"},
    {"model.tokenizer", TEXT, "auto", 0, 0, NULL, AUTO, "another folder or file; auto: model.path"},
    {"model.storage", CHOICE, "auto", 0, 0, "f32 bf16 q8_0 q4_0 q4_1", AUTO,
     "how the frozen base is held; auto: the file's own type"},

    {"lora.r", INTEGER, "16", 1, 65536, NULL, 0, "rank of every adapter"},
    {"lora.alpha", NUMBER, "32", 0, INFINITY, NULL, ABOVE, "scale is alpha / r"},
    {"lora.dropout", NUMBER, "0.0", 0, 1, NULL, BELOW, "dropout of the adapter's input"},
    {"lora.target_modules", LIST, "all-linear", 0, 0, NULL, 0,
     "adapted layers: all-linear or names such as q_proj"},
    {"lora.rank_pattern", RF_CONFIG_INTEGERS, "{}", 1, 65536, NULL, 0, "regex: r"},
    {"lora.alpha_pattern", RF_CONFIG_NUMBERS, "{}", 0, INFINITY, NULL, ABOVE, "regex: alpha"},
    {"lora.use_rslora", BOOLEAN, "false", 0, 0, NULL, 0, "scale alpha / sqrt(r)"},
    {"lora.init", CHOICE, "default", 0, 0, "default gaussian pissa random", 0,
     "default: A uniform, B zero; random: both non-zero, base corrected"},
    {"lora.modules_to_save", LIST, "[]", 0, 0, NULL, 0, "modules trained in full, e.g. lm_head"},
    {"lora.start", TEXT, "null", 0, 0, NULL, OR_NULL, "PEFT folder to start from"},

    {"beam.interval", INTEGER, "auto", 1, INFINITY, NULL, AUTO,
     "steps between events; auto: steps / 12, even, at least 4"},
    {"beam.keep", NUMBER, "0.95", 0, 1, NULL, ABOVE, "starting threshold of the dynamic Top-P"},
    {"beam.end", NUMBER, "0.6667", 0, INFINITY, NULL, ABOVE,
     "nothing is pruned after it: a fraction of the run, or steps if > 1"},
    {"beam.temperature", NUMBER, "auto", 0, INFINITY, NULL, AUTO | ABOVE,
     "auto: 0.05, or 0.03 below a learning rate of 1e-4"},
    {"beam.scope", CHOICE, "global", 0, 0, "global module", 0, "where ranks compete"},
    {"beam.gates", CHOICE, "logits", 0, 0, "logits scores", 0,
     "logits: as released; scores: as drawn in the paper"},
    {"beam.moments", CHOICE, "inherit", 0, 0, "inherit keep zero", 0,
     "what an expanded rank's optimizer moments become"},
    {"beam.events", BOOLEAN, "true", 0, 0, NULL, 0, "false: gates are trained, nothing is pruned"},

    {"reflora.warmup", INTEGER, "auto", 0, INFINITY, NULL, AUTO,
     "steps before refactoring; auto: min(100, steps / 10)"},
    {"reflora.interval", INTEGER, "1", 1, INFINITY, NULL, 0, "steps between refactorings"},
    {"reflora.solver", CHOICE, "cholesky", 0, 0, "cholesky released", 0,
     "released: two eigendecompositions with their epsilon"},
    {"reflora.max_condition", NUMBER, "1.0e8", 1, INFINITY, NULL, 0,
     "a Gram matrix with a larger condition number counts as singular"},
    {"reflora.singular", CHOICE, "scalar", 0, 0, "scalar skip", 0, "what is done where it is"},

    {"light.steps", INTEGER, "800", 1, INFINITY, NULL, 0, "length of the estimation stage"},
    {"light.penalty", NUMBER, "1.0e-4", 0, INFINITY, NULL, 0, "weight of the sparsity penalty"},
    {"light.heads", NUMBER, "0.3333", 0, 1, NULL, BELOW, "share of heads pruned"},
    {"light.neurons", NUMBER, "0.3333", 0, 1, NULL, BELOW, "share of neurons pruned"},
    {"light.modules", NUMBER, "0.75", 0, 1, NULL, BELOW, "share of adapted modules pruned"},
    {"light.ranks", NUMBER, "0.5", 0, 1, NULL, BELOW, "share of ranks pruned"},
    {"light.neuron_scope", CHOICE, "global", 0, 0, "global layer", 0, "where neurons compete"},
    {"light.rank_scope", CHOICE, "global", 0, 0, "global layer", 0, "where ranks compete"},

    {"loraplus.ratio", NUMBER, "16", 0, INFINITY, NULL, ABOVE,
     "learning rate of B and magnitudes over that of A"},
    {"preclora.damping", NUMBER, "1.0e-6", 0, INFINITY, NULL, 0, "added to the Gram matrices"},
    {"bottleneck.size", INTEGER, "16", 1, 65536, NULL, 0, "width of adapter and padapter"},
    {"bottleneck.activation", CHOICE, "relu", 0, 0, "relu gelu silu", 0, "between down and up"},
    {"adalora.init_r", INTEGER, "12", 1, 65536, NULL, 0, "rank at the start"},
    {"adalora.target_r", INTEGER, "8", 1, 65536, NULL, 0, "mean rank at the end"},
    {"adalora.tinit", INTEGER, "0", 0, INFINITY, NULL, 0, "steps before the budget shrinks"},
    {"adalora.tfinal", INTEGER, "0", 0, INFINITY, NULL, 0, "steps at the end with a fixed budget"},
    {"adalora.interval", INTEGER, "1", 1, INFINITY, NULL, 0, "steps between allocations"},
    {"adalora.beta1", NUMBER, "0.85", 0, 1, NULL, BELOW, "smoothing of the sensitivity"},
    {"adalora.beta2", NUMBER, "0.85", 0, 1, NULL, BELOW, "smoothing of the uncertainty"},
    {"adalora.orthogonality", NUMBER, "0.5", 0, INFINITY, NULL, 0, "weight of the penalty"},

    {"data.train", LIST, "null", 0, 0, NULL, OR_NULL,
     "a path or a list: .jsonl, .json, .txt, .h5 (token store)"},
    {"data.eval", LIST, "null", 0, 0, NULL, OR_NULL,
     "held-out data: a path or a list, as data.train"},
    {"data.format", CHOICE, "auto", 0, 0, "text completion alpaca chat gsm8k classification tokens",
     AUTO, "what a row holds"},
    {"data.template", TEXT, "auto", 0, 0, NULL, AUTO,
     "none, alpaca, metamath, llm-adapters, gsm8k, chat (the tokenizer's own), chatml, llama-3, "
     "zephyr, "
     "llama-2, mistral, or a file with {instruction} {input} {output}"},
    {"data.max_length", INTEGER, "512", 2, 16777216, NULL, 0, "tokens of a sample at most"},
    {"data.train_on_inputs", BOOLEAN, "false", 0, 0, NULL, 0, "label the prompt's tokens too"},
    {"data.max_samples", INTEGER, "0", 0, INFINITY, NULL, 0, "0: all"},
    {"data.shuffle", BOOLEAN, "true", 0, 0, NULL, 0, "a new order every epoch"},

    {"train.epochs", INTEGER, "1", 0, INFINITY, NULL, 0, "passes over the data; 0: train.steps"},
    {"train.steps", INTEGER, "0", 0, INFINITY, NULL, 0, "optimizer steps; 0: train.epochs"},
    {"train.batch_size", INTEGER, "32", 1, INFINITY, NULL, 0,
     "samples per optimizer step, over the whole job"},
    {"train.micro_tokens", INTEGER, "auto", 2, INFINITY, NULL, AUTO,
     "largest micro-batch, in tokens; auto: max(max_length, 512)"},
    {"train.learning_rate", NUMBER, "2.0e-4", 0, INFINITY, NULL, 0, "peak learning rate"},
    {"train.schedule", CHOICE, "linear", 0, 0, "linear cosine constant", 0, "after the warm-up"},
    {"train.warmup_steps", INTEGER, "0", 0, INFINITY, NULL, 0, "steps of linear warm-up"},
    {"train.warmup_ratio", NUMBER, "0.0", 0, 1, NULL, 0, "the same as a share of the steps"},
    {"train.weight_decay", NUMBER, "0.0", 0, INFINITY, NULL, 0, "decoupled"},
    {"train.max_grad_norm", NUMBER, "1.0", 0, INFINITY, NULL, 0, "clipping; 0: none"},
    {"train.seed", INTEGER, "42", 0, INFINITY, NULL, 0, "of every random draw"},
    {"train.log_every", INTEGER, "10", 1, INFINITY, NULL, RESUMABLE, "steps between lines"},
    {"train.eval_every", INTEGER, "0", 0, INFINITY, NULL, RESUMABLE,
     "steps between evaluations; 0: at the end only"},
    {"train.max_time", TEXT, "null", 0, 0, NULL, OR_NULL | RESUMABLE,
     "HH:MM:SS: save and leave with code 75 before it passes"},
    {"train.gradients", TEXT, "null", 0, 0, NULL, OR_NULL,
     "FILE.h5: every gradient of the first step, before clipping"},

    {"optimizer.name", CHOICE, "adamw", 0, 0, "adamw", 0, "update rule"},
    {"optimizer.beta1", NUMBER, "0.9", 0, 1, NULL, BELOW, "decay of the first moment"},
    {"optimizer.beta2", NUMBER, "0.999", 0, 1, NULL, BELOW, "decay of the second moment"},
    {"optimizer.epsilon", NUMBER, "1.0e-8", 0, INFINITY, NULL, ABOVE, "added to the root"},

    {"parallel.tensor", INTEGER, "auto", 1, 65536, NULL, AUTO | RESUMABLE,
     "tensor-parallel ranks: a power of two <= slices that divides the job"},
    {"parallel.slices", INTEGER, "4", 1, 65536, NULL, 0,
     "cuts of every sharded dimension: a power of two, part of the arithmetic"},
    {"compute.precision", CHOICE, "f32", 0, 0, "f32 bf16", 0,
     "bf16: products of bf16 with f32 sums"},
    {"linalg.distribute_above", INTEGER, "auto", 1, INFINITY, NULL, AUTO,
     "matrices with more elements go to ScaLAPACK"},
    {"checkpoint.every", INTEGER, "100", 0, INFINITY, NULL, RESUMABLE, "steps; 0: at the end only"},
    {"checkpoint.minutes", NUMBER, "0", 0, INFINITY, NULL, RESUMABLE, "minutes; 0: by steps only"},
    {"checkpoint.keep", INTEGER, "3", 1, 1000000, NULL, RESUMABLE, "how many are kept"},
    {"telemetry.ranks_every", INTEGER, "auto", 0, INFINITY, NULL, AUTO,
     "steps between rows of /ranks; 0: none"},
    {"telemetry.spectrum_every", INTEGER, "0", 0, INFINITY, NULL, 0,
     "steps between files OUTPUT/spectra/step-*.h5; 0: none"},
    {"eval.task", CHOICE, "loss", 0, 0, "loss gsm8k math commonsense humaneval glue", RESUMABLE,
     "what is scored"},
    {"eval.adapter", TEXT, "auto", 0, 0, NULL, AUTO | RESUMABLE,
     "auto, none, a PEFT folder, checkpoint or run folder"},
    {"eval.max_samples", INTEGER, "0", 0, INFINITY, NULL, RESUMABLE, "0: all"},
    {"eval.max_new_tokens", INTEGER, "256", 1, INFINITY, NULL, RESUMABLE, "of one answer"},
    {"eval.logits", TEXT, "null", 0, 0, NULL, OR_NULL | RESUMABLE,
     "FILE.h5: logits of every position"},
};
const int rf_config_schema_count = (int)(sizeof rf_config_schema / sizeof rf_config_schema[0]);
