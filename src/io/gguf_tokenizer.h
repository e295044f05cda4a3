/** Inside of the tokenisers of GGUF files. */
#ifndef RF_IO_GGUF_TOKENIZER_H
#define RF_IO_GGUF_TOKENIZER_H

#include <jansson.h>

#include "refract/data/bpe.h"
#include "refract/io/gguf.h"

/** Kinds of tokens, as the file numbers them. */
enum {
    RF_TOKEN_NORMAL = 1,
    RF_TOKEN_UNKNOWN,
    RF_TOKEN_CONTROL,
    RF_TOKEN_USER_DEFINED,
    RF_TOKEN_UNUSED,
    RF_TOKEN_BYTE
};

/** The vocabulary as the file has it. */
typedef struct rf_gguf_vocabulary {
    const rf_gguf *gguf;
    rf_bpe_piece *piece; /**< [count] owned; in order of their ids */
    int64_t count;
    const rf_gguf_value *kind;  /**< NULL: all normal */
    const rf_gguf_value *score; /**< NULL: none */
} rf_gguf_vocabulary;

/** Kind of a token. Local. */
int64_t rf_gguf_token_kind(const rf_gguf_vocabulary *vocabulary, int64_t id);

/** The models: merges as listed, and merges by score. The caller owns *bpe. Local; RF_INPUT. */
rf_status rf_gguf_listed_bpe(rf_bpe **bpe, const rf_gguf_vocabulary *vocabulary, int ignore_merges);
rf_status rf_gguf_scored_bpe(rf_bpe **bpe, const rf_gguf_vocabulary *vocabulary);

#endif
