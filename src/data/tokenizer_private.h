/** The tokeniser itself, shared by its construction and its use. */
#ifndef RF_DATA_TOKENIZER_PRIVATE_H
#define RF_DATA_TOKENIZER_PRIVATE_H

#include "tokenizer_parts.h"

struct rf_tokenizer {
    rf_bpe *model;
    rf_added added;
    rf_normalizer normalizer;
    rf_splitter splitter;
    rf_post post;
    rf_decoding decoder;
    int32_t bos, eos, pad, unk; /**< -1 if none */
    char *chat_template;        /**< owned; NULL if none */
};

/** The texts of the files beside tokenizer.json; borrowed, NULL where there is none. */
typedef struct rf_side_files {
    rf_bytes config, tokens, chat; /**< tokenizer_config, special_tokens_map, chat_template.jinja */
    const char *name;              /**< of tokenizer.json, for messages */
} rf_side_files;

/** Special tokens, chat template, and BOS and EOS where the post-processor has no template. */
rf_status rf_tokenizer_apply_side_files(rf_tokenizer *tokenizer, const rf_side_files *files);

/** Id of a piece or added token, -1 if there is none. */
int32_t rf_tokenizer_find(const rf_tokenizer *tokenizer, rf_bytes content);

#endif
