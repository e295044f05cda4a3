/* Models out of GGUF files: configuration, and every rank's slices of every type of tensor. */
#include "rf_test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gguf_writer.h"
#include "refract/comm/agree.h"
#include "refract/io/hf_config.h"
#include "refract/io/model_files.h"
#include "refract/io/weights.h"
#include "refract/linalg/convert.h"
#include "refract/linalg/quant.h"
#include "refract/model/decoder.h"

enum { D = 256, FF = 512, HEADS = 4, KV_HEADS = 2, HEAD = 64, VOCAB = 96, LAYERS = 2, TOKENS = 40 };

static const char *in_folder(const char *name)
{
    static char path[4200];
    snprintf(path, sizeof path, "%s/%s", rf_test_folder(), name);
    return path;
}

/* Tensors of the tiny model: names on both sides, shape, types in the first and second block. */
static const struct {
    const char *gguf, *hf;
    int64_t rows, cols;
    int interleaved;
    rf_dtype type[LAYERS];
} in_block[] = {
    {"attn_norm.weight", "input_layernorm.weight", 0, D, 0, {RF_F32, RF_F32}},
    {"attn_q.weight", "self_attn.q_proj.weight", HEADS *HEAD, D, 1, {RF_Q4_1, RF_BF16}},
    {"attn_k.weight", "self_attn.k_proj.weight", KV_HEADS *HEAD, D, 1, {RF_Q8_0, RF_Q6_K}},
    {"attn_v.weight", "self_attn.v_proj.weight", KV_HEADS *HEAD, D, 0, {RF_F32, RF_Q4_0}},
    {"attn_output.weight", "self_attn.o_proj.weight", D, HEADS *HEAD, 0, {RF_Q4_K, RF_Q4_0}},
    {"ffn_norm.weight", "post_attention_layernorm.weight", 0, D, 0, {RF_F32, RF_F32}},
    {"ffn_gate.weight", "mlp.gate_proj.weight", FF, D, 0, {RF_Q6_K, RF_F32}},
    {"ffn_up.weight", "mlp.up_proj.weight", FF, D, 0, {RF_Q5_0, RF_F16}},
    {"ffn_down.weight", "mlp.down_proj.weight", D, FF, 0, {RF_Q5_1, RF_Q6_K}},
};
enum { IN_BLOCK = sizeof in_block / sizeof *in_block };

/* Finite numbers of any type. */
static void fill(unsigned char *bytes, rf_dtype type, int64_t items, uint64_t seed)
{
    const size_t size = rf_dtype_bytes(type, items);
    const size_t block = rf_dtype_bytes(type, rf_dtype_block(type));
    float *x = calloc((size_t)items, sizeof *x);
    for (int64_t i = 0; i < items; i++) x[i] = (float)rf_test_value(seed, (uint64_t)i);
    if (rf_dtype_converts(type, RF_F32)) {
        rf_convert(bytes, type, x, RF_F32, items);
    } else {
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)(int)(128 + 127 * (double)x[i % (size_t)items]);
        for (size_t i = 0; i < size; i += block) /* scales below the top exponent */
            bytes[i + 1] &= 0xBF, bytes[i + 3] &= 0xBF, bytes[i + block - 1] &= 0xBF;
    }
    free(x);
}

/* Rows of q and k: i and i + half of each head next to each other. */
static void interleave(unsigned char *to, const unsigned char *from, int64_t rows, size_t bytes)
{
    for (int64_t row = 0; row < rows; row++) {
        const int64_t head = row / HEAD, i = row % HEAD;
        const int64_t at = head * HEAD + 2 * (i % (HEAD / 2)) + i / (HEAD / 2);
        memcpy(to + (size_t)at * bytes, from + (size_t)row * bytes, bytes);
    }
}

/* A tensor as transformers has it, in f32: a function of its name. */
static float *add_tensor(gguf_writer *w, const char *gguf, const char *hf, rf_dtype type,
                         int64_t rows, int64_t cols, int interleaved)
{
    const int64_t height = rows ? rows : 1, items = height * cols;
    const size_t bytes = rf_dtype_bytes(type, items);
    unsigned char *data = malloc(bytes), *turned = malloc(bytes);
    float *wide = malloc((size_t)items * sizeof *wide);
    uint64_t seed = 0;
    for (const char *c = hf; *c; c++) seed = seed * 131 + (unsigned char)*c;
    fill(data, type, items, seed);
    rf_convert(wide, RF_F32, data, type, items);
    memcpy(turned, data, bytes);
    if (interleaved) interleave(turned, data, rows, bytes / (size_t)rows);
    if (w) gguf_tensor(w, gguf, gguf_number_of(type), rows, cols, turned, bytes);
    free(data);
    free(turned);
    return wide;
}

static void put_metadata(gguf_writer *w)
{
    gguf_text(w, "general.architecture", "llama");
    gguf_u32(w, "llama.embedding_length", D);
    gguf_u32(w, "llama.feed_forward_length", FF);
    gguf_u32(w, "llama.block_count", LAYERS);
    gguf_u32(w, "llama.attention.head_count", HEADS);
    gguf_u32(w, "llama.attention.head_count_kv", KV_HEADS);
    gguf_u32(w, "llama.context_length", 128);
    gguf_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    gguf_f32(w, "llama.rope.freq_base", 50000);
}

/* `held`: only types in which weights are held in memory. */
static rf_dtype type_of(int i, int layer, int held)
{
    const rf_dtype type = in_block[i].type[layer];
    return !held || rf_dtype_block(type) == 1 || rf_dtype_is_held_block(type) ? type : RF_Q4_1;
}

typedef void tensor_visit(void *context, gguf_writer *w, const char *gguf, const char *hf,
                          rf_dtype type, int64_t rows, int64_t cols, int interleaved);

static void each_tensor(gguf_writer *w, tensor_visit *visit, void *context, int held)
{
    visit(context, w, "token_embd.weight", "model.embed_tokens.weight", RF_Q8_0, VOCAB, D, 0);
    visit(context, w, "output_norm.weight", "model.norm.weight", RF_F32, 0, D, 0);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int i = 0; i < IN_BLOCK; i++) {
            char gguf[128], hf[128];
            snprintf(gguf, sizeof gguf, "blk.%d.%s", layer, in_block[i].gguf);
            snprintf(hf, sizeof hf, "model.layers.%d.%s", layer, in_block[i].hf);
            visit(context, w, gguf, hf, type_of(i, layer, held), in_block[i].rows, in_block[i].cols,
                  in_block[i].interleaved);
        }
}

static void write_tensor(void *context, gguf_writer *w, const char *gguf, const char *hf,
                         rf_dtype type, int64_t rows, int64_t cols, int interleaved)
{
    (void)context;
    free(add_tensor(w, gguf, hf, type, rows, cols, interleaved));
}

static void write_model(const char *name, int tied, int held)
{
    rf_test_folder(); /* made by all */
    if (rf_test_rank() == 0) {
        gguf_writer w = gguf_begin();
        put_metadata(&w);
        each_tensor(&w, write_tensor, NULL, held);
        if (!tied) write_tensor(NULL, &w, "output.weight", "lm_head.weight", RF_Q4_0, VOCAB, D, 0);
        gguf_end(&w, in_folder(name));
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

typedef struct loaded {
    rf_model_config config;
    rf_grid grid;
    rf_decoder *decoder;
    rf_arena run, step, scratch;
} loaded;

/* `own`: every weight in the file's own type. */
static void build(loaded *l, const char *name, int tp, rf_dtype storage, int own)
{
    rf_safetensors *tensors = NULL;
    *l = (loaded){0};
    assert_all(rf_model_files_config(&l->config, in_folder(name)) == RF_OK);
    assert_all(rf_grid_create(&l->grid, MPI_COMM_WORLD, tp, 4) == RF_OK);
    assert_all(rf_model_files_open_all(&tensors, MPI_COMM_WORLD, in_folder(name)) == RF_OK);
    const rf_decoder_options options = {.config = &l->config,
                                        .storage = storage,
                                        .storage_of = own ? rf_model_files_storage : NULL,
                                        .storage_context = tensors,
                                        .max_tokens = TOKENS,
                                        .max_samples = 1,
                                        .max_length = TOKENS,
                                        .leaves = 1,
                                        .threads = 1};
    assert_all(rf_decoder_create(&l->decoder, &l->grid, &options) == RF_OK);
    rf_safetensors_close(&tensors);
    rf_arena run = rf_arena_counting("run"), step = run, scratch = run;
    rf_decoder_layout(l->decoder, &run, &step, &scratch);
    assert_all(rf_arena_create(&l->run, "run", run.peak) == RF_OK);
    assert_all(rf_arena_create(&l->step, "step", step.peak) == RF_OK);
    assert_all(rf_arena_create(&l->scratch, "scratch", scratch.peak) == RF_OK);
    rf_decoder_layout(l->decoder, &l->run, &l->step, &l->scratch);
    rf_decoder_bind(l->decoder);
}

static void discard(loaded *l)
{
    rf_decoder_destroy(&l->decoder);
    rf_grid_destroy(&l->grid);
    rf_arena_destroy(&l->run);
    rf_arena_destroy(&l->step);
    rf_arena_destroy(&l->scratch);
}

typedef struct comparison {
    const loaded *l;
    int same, seen;
} comparison;

/* What lies in memory, as f32, against the tensor's slices. */
static void compare(void *context, gguf_writer *w, const char *gguf, const char *hf, rf_dtype type,
                    int64_t rows, int64_t cols, int interleaved)
{
    comparison *c = context;
    (void)w;
    float *global = add_tensor(NULL, gguf, hf, type, rows, cols, interleaved);
    const rf_param *row = rf_params_find(&c->l->decoder->params, hf);
    const int64_t items = row ? row->items : 0;
    float *wanted = malloc((size_t)(items + 1) * sizeof *wanted);
    void *held = malloc((size_t)(items + 1) * sizeof(double));
    c->same &= row != NULL;
    if (row) {
        rf_shape_scatter(wanted, global, &row->shape, c->l->grid.slice_begin, c->l->grid.slice_end,
                         sizeof *wanted);
        rf_convert(held, row->dtype, wanted, RF_F32, items);
        const int same = memcmp(held, row->data, rf_dtype_bytes(row->dtype, items)) == 0;
        if (!same) print_error("%s differs\n", hf);
        c->same &= same;
    }
    c->seen++;
    free(held);
    free(wanted);
    free(global);
}

static void load__every_type_on_every_layout__equals_the_global_tensors(void **state)
{
    (void)state;
    write_model("model.gguf", 1, 0);
    for (int tp = 1; tp <= rf_test_size() && tp <= 4; tp *= 2)
        for (int k = 0; k < 2; k++) {
            loaded l;
            build(&l, "model.gguf", tp, k ? RF_BF16 : RF_DTYPE_REAL, 0);
            assert_all(rf_weights_load(&l.grid, &l.decoder->params, in_folder("model.gguf"),
                                       l.config.tied) == RF_OK);
            comparison c = {.l = &l, .same = 1};
            each_tensor(NULL, compare, &c, 0);
            assert_all(c.same && c.seen == l.decoder->params.count);
            discard(&l);
        }
}

static void load__a_head_of_its_own__is_read(void **state)
{
    (void)state;
    write_model("untied.gguf", 0, 0);
    loaded l;
    build(&l, "untied.gguf", 1, RF_F32, 0);
    assert_all(!l.config.tied);
    assert_all(rf_weights_load(&l.grid, &l.decoder->params, in_folder("untied.gguf"), 0) == RF_OK);
    comparison c = {.l = &l, .same = 1};
    compare(&c, NULL, "output.weight", "lm_head.weight", RF_Q4_0, VOCAB, D, 0);
    assert_all(c.same);
    discard(&l);
}

static void read_logits(rf_real *logits, const char *name, int tp, rf_dtype storage, int own)
{
    loaded l;
    int32_t ids[TOKENS], position[TOKENS];
    const int64_t begin[2] = {0, TOKENS};
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = i * 7 % VOCAB;
        position[i] = i;
    }
    const rf_tokens tokens = {
        .tokens = TOKENS, .samples = 1, .begin = begin, .ids = ids, .position = position};
    build(&l, name, tp, storage, own);
    assert_all(!own || l.decoder->cut_weights == 0);
    assert_all(rf_weights_load(&l.grid, &l.decoder->params, in_folder(name), 1) == RF_OK);
    rf_decoder_forward(l.decoder, &tokens);
    rf_decoder_logits(l.decoder, (const int64_t[]){0, TOKENS - 1}, 2, logits);
    discard(&l);
}

static void logits__blocks_in_memory__equal_those_widened_up_front(void **state)
{
    (void)state;
    rf_real wide[2 * VOCAB], packed[2 * VOCAB], first[2 * VOCAB];
    write_model("held.gguf", 1, 1);
    read_logits(first, "held.gguf", 1, RF_F32, 1);
    for (int tp = 1; tp <= rf_test_size() && tp <= 4; tp *= 2) {
        read_logits(wide, "held.gguf", tp, RF_DTYPE_REAL, 0);
        read_logits(packed, "held.gguf", tp, RF_F32, 1);
        assert_all(memcmp(wide, packed, sizeof wide) == 0);
        assert_all(memcmp(first, packed, sizeof wide) == 0);
    }
}

static void storage__blocks_that_slices_would_cut__become_bf16(void **state)
{
    (void)state;
    const rf_cut narrow = {.units = 16, .unit = 16, .slices = 16};
    const rf_cut wide = {.units = 8, .unit = 32, .slices = 4};
    const rf_shape cut = {.rows = 4, .cols = 256, .split = RF_COLS, .cut = narrow};
    const rf_shape whole = {.rows = 4, .cols = 256, .split = RF_COLS, .cut = wide};
    const rf_shape rows = {.rows = 256, .cols = 64, .split = RF_ROWS, .cut = narrow};
    const rf_shape odd = rf_shape_replicated(4, 48);
    assert_all(!rf_shape_keeps_blocks(&cut, RF_Q4_1) && rf_shape_keeps_blocks(&whole, RF_Q4_1));
    assert_all(rf_shape_keeps_blocks(&rows, RF_Q8_0) && !rf_shape_keeps_blocks(&odd, RF_Q8_0));
    assert_all(rf_shape_keeps_blocks(&odd, RF_BF16) && rf_shape_keeps_blocks(&cut, RF_F32));
}

static void digest__one_byte_changed__is_another(void **state)
{
    (void)state;
    char first[65], again[65], other[65];
    write_model("model.gguf", 1, 0);
    assert_all(rf_weights_digest(MPI_COMM_WORLD, in_folder("model.gguf"), first) == RF_OK);
    assert_all(rf_weights_digest(MPI_COMM_WORLD, in_folder("model.gguf"), again) == RF_OK);
    assert_all(strcmp(first, again) == 0 && strlen(first) == 64);
    if (rf_test_rank() == 0) {
        size_t length = 0;
        char *bytes = rf_test_read_file(in_folder("model.gguf"), &length);
        bytes[length - 1] ^= 1;
        rf_test_write_file(in_folder("other.gguf"), bytes, length);
        free(bytes);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    assert_all(rf_weights_digest(MPI_COMM_WORLD, in_folder("other.gguf"), other) == RF_OK);
    assert_all(strcmp(first, other) != 0);
}

static void load__file_cut_short__fails_on_all_ranks(void **state)
{
    (void)state;
    write_model("model.gguf", 1, 0);
    loaded l;
    build(&l, "model.gguf", 1, RF_F32, 0);
    if (rf_test_rank() == 0) {
        size_t length = 0;
        char *bytes = rf_test_read_file(in_folder("model.gguf"), &length);
        rf_test_write_file(in_folder("cut.gguf"), bytes, length / 2);
        free(bytes);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    assert_all(rf_weights_load(&l.grid, &l.decoder->params, in_folder("cut.gguf"), 1) == RF_INPUT);
    assert_all(strstr(rf_status_message(), "reaches beyond the end of the file") != NULL);
    discard(&l);
}

/* A model file of a few tensors, to be told by its metadata. */
typedef void change(gguf_writer *w);

static rf_status config_of(rf_model_config *config, change *also)
{
    static const float some[VOCAB * 2] = {0};
    gguf_writer w = gguf_begin();
    put_metadata(&w);
    gguf_tensor(&w, "token_embd.weight", 0, VOCAB, 2, some, sizeof some);
    gguf_tensor(&w, "blk.0.attn_q.weight", gguf_number_of(RF_BF16), 2, 2, some, 8);
    if (also) also(&w);
    char path[4300];
    snprintf(path, sizeof path, "%s/config-%d.gguf", rf_test_folder(), rf_test_rank());
    gguf_end(&w, path);
    return rf_model_files_config(config, path);
}

static void add_tokens(gguf_writer *w)
{
    gguf_u32(w, "tokenizer.ggml.bos_token_id", 1);
    gguf_u32(w, "tokenizer.ggml.eos_token_id", 2);
    gguf_u32(w, "tokenizer.ggml.eot_token_id", 5);
    gguf_u32(w, "tokenizer.ggml.padding_token_id", 4000000000u);
    gguf_f32(w, "llama.rope.scaling.factor", 4);
    gguf_text(w, "llama.rope.scaling.type", "linear");
    gguf_u32(w, "llama.attention.sliding_window", 32);
}

static void config__metadata__say_what_config_json_would(void **state)
{
    (void)state;
    rf_model_config c;
    assert_all(config_of(&c, NULL) == RF_OK);
    assert_all(strcmp(c.model_type, "llama") == 0 && strcmp(c.dtype, "bfloat16") == 0);
    assert_all(c.vocab == VOCAB && c.d_model == D && c.d_ff == FF && c.layers == LAYERS);
    assert_all(c.heads == HEADS && c.kv_heads == KV_HEADS && c.d_head == HEAD);
    assert_all(c.max_position == 128 && c.window == 0 && c.tied && !c.attention_bias);
    assert_all(fabs(c.norm_eps - 1e-5) < 1e-12 && c.rope.theta == 50000);
    assert_all(c.rope.kind == RF_ROPE_DEFAULT && c.bos == -1 && c.pad == -1 && c.eos_count == 0);
    assert_all(config_of(&c, add_tokens) == RF_OK);
    assert_all(c.bos == 1 && c.pad == -1 && c.eos_count == 2 && c.eos[0] == 2 && c.eos[1] == 5);
    assert_all(c.rope.kind == RF_ROPE_LINEAR && c.rope.factor == 4);
    assert_all(c.window == 32 && strcmp(c.model_type, "mistral") == 0);
}

static void add_factors(gguf_writer *w, double factor, double spoil)
{
    const rf_rope plain = {.theta = 50000}, rope = {.kind = RF_ROPE_LLAMA3,
                                                    .theta = 50000,
                                                    .factor = factor,
                                                    .low_freq_factor = 1,
                                                    .high_freq_factor = 4,
                                                    .original_max_position = 8192};
    double even[HEAD / 2], stretched[HEAD / 2];
    float factors[HEAD / 2];
    rf_rope_frequencies(even, &plain, HEAD);
    rf_rope_frequencies(stretched, &rope, HEAD);
    for (int i = 0; i < HEAD / 2; i++) factors[i] = (float)(even[i] / stretched[i]);
    factors[HEAD / 4] *= (float)spoil;
    gguf_tensor(w, "rope_freqs.weight", 0, 0, HEAD / 2, factors, sizeof factors);
}

static void add_llama3(gguf_writer *w)
{
    add_factors(w, 32, 1);
}

static void add_other_factors(gguf_writer *w)
{
    add_factors(w, 32, 1.5);
}

static void config__llama3_factors__are_recognised(void **state)
{
    (void)state;
    rf_model_config c;
    assert_all(config_of(&c, add_llama3) == RF_OK);
    assert_all(c.rope.kind == RF_ROPE_LLAMA3 && fabs(c.rope.factor - 32) < 1e-4);
    assert_all(c.rope.low_freq_factor == 1 && c.rope.high_freq_factor == 4);
    assert_all(c.rope.original_max_position == 8192);
    assert_all(config_of(&c, add_other_factors) == RF_INPUT);
    assert_all(strstr(rf_status_message(), "'rope_freqs.weight'") != NULL);
}

static void add_experts(gguf_writer *w)
{
    gguf_u32(w, "llama.expert_count", 8);
}

static void add_split(gguf_writer *w)
{
    gguf_u32(w, "split.count", 3);
}

static void add_yarn(gguf_writer *w)
{
    gguf_text(w, "llama.rope.scaling.type", "yarn");
}

static void add_vocab(gguf_writer *w)
{
    gguf_u32(w, "llama.vocab_size", 95);
}

static void add_short_tokens(gguf_writer *w)
{
    static const char *const tokens[] = {"a", "b"};
    gguf_texts(w, "tokenizer.ggml.tokens", tokens, 2);
}

static void add_eos(gguf_writer *w)
{
    gguf_u32(w, "tokenizer.ggml.eos_token_id", VOCAB);
}

static void add_partial(gguf_writer *w)
{
    gguf_u32(w, "llama.rope.dimension_count", 32);
}

static void add_values(gguf_writer *w)
{
    gguf_u32(w, "llama.attention.value_length", 32);
}

static void add_adapter(gguf_writer *w)
{
    gguf_text(w, "general.type", "adapter");
}

static void config__what_is_not_implemented__is_refused_by_name(void **state)
{
    (void)state;
    const struct {
        change *also;
        const char *message;
    } cases[] = {
        {add_experts, "'llama.expert_count'"},
        {add_split, "llama-gguf-split --merge"},
        {add_yarn, "'llama.rope.scaling.type' = yarn"},
        {add_vocab, "the vocabulary has 95 tokens, 'token_embd.weight' has 96 rows"},
        {add_short_tokens, "the vocabulary has 2 tokens, 'token_embd.weight' has 96 rows"},
        {add_eos, "'tokenizer.ggml.eos_token_id' 96 is no id below 96"},
        {add_partial, "'llama.rope.dimension_count'"},
        {add_values, "'llama.attention.value_length' 32"},
        {add_adapter, "'general.type' = adapter"},
    };
    rf_model_config c;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_all(config_of(&c, cases[i].also) == RF_INPUT);
        assert_all(strstr(rf_status_message(), cases[i].message) != NULL);
        assert_all(strstr(rf_status_message(), ".gguf") != NULL);
    }
}

static void write_with(const char *architecture, const char *tensor)
{
    rf_test_folder(); /* made by all */
    if (rf_test_rank() == 0) {
        const float four[4] = {0};
        gguf_writer w = gguf_begin();
        put_metadata(&w);
        gguf_tensor(&w, "token_embd.weight", 0, 1, 4, four, sizeof four);
        if (tensor) gguf_tensor(&w, tensor, 0, 1, 4, four, sizeof four);
        if (architecture) {
            gguf_end(&w, in_folder("odd.gguf"));
            w = gguf_begin();
            gguf_text(&w, "general.architecture", architecture);
        }
        gguf_end(&w, in_folder("odd.gguf"));
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void open__names_of_other_models__are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"blk.0.ssm_in.weight", "blk.x.attn_q.weight",
                                        "blk.0.attn_q.scale", "blk.0.attn_q.weight",
                                        "position_embd.weight"};
    rf_safetensors *st = NULL;
    for (int i = 0; i < 5; i++) {
        write_with(NULL, names[i]);
        assert_all(rf_model_files_open_all(&st, MPI_COMM_WORLD, in_folder("odd.gguf")) == RF_INPUT);
        assert_all(st == NULL && strstr(rf_status_message(), names[i]) != NULL);
    }
    write_with("falcon", NULL);
    assert_all(rf_model_files_open_all(&st, MPI_COMM_WORLD, in_folder("odd.gguf")) == RF_INPUT);
    assert_all(strstr(rf_status_message(), "'general.architecture' = falcon") != NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(load__every_type_on_every_layout__equals_the_global_tensors),
    cmocka_unit_test(load__a_head_of_its_own__is_read),
    cmocka_unit_test(logits__blocks_in_memory__equal_those_widened_up_front),
    cmocka_unit_test(storage__blocks_that_slices_would_cut__become_bf16),
    cmocka_unit_test(digest__one_byte_changed__is_another),
    cmocka_unit_test(load__file_cut_short__fails_on_all_ranks),
    cmocka_unit_test(config__metadata__say_what_config_json_would),
    cmocka_unit_test(config__llama3_factors__are_recognised),
    cmocka_unit_test(config__what_is_not_implemented__is_refused_by_name),
    cmocka_unit_test(open__names_of_other_models__are_refused),
};
RF_TEST_MAIN(tests)
