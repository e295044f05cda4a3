/**
 * Tokenisers as `tokenizer.json` describes them (BPE, byte-level or SentencePiece style): text to
 * ids and back. Read-only once made; may be used by several threads.
 */
#ifndef RF_DATA_TOKENIZER_H
#define RF_DATA_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "refract/base/status.h"

typedef struct rf_tokenizer rf_tokenizer;

/** Growing list of token ids; owns `ids`. Zero-initialise; free(ids) when done. */
typedef struct rf_ids {
    int32_t *ids;
    int64_t count, capacity;
} rf_ids;

/** Appends; RF_RESOURCES. Local. */
rf_status rf_ids_append(rf_ids *list, const int32_t *ids, int64_t count);

/**
 * Reads `path`: a tokenizer.json or the folder that holds one, with tokenizer_config.json and
 * special_tokens_map.json and chat_template.jinja beside it where they exist. The caller owns
 * *tokenizer. `truncation` and `padding` of the file are not applied. Local; RF_INPUT names the
 * file and what in it is not understood (models other than BPE, for one); RF_RESOURCES.
 */
rf_status rf_tokenizer_load(rf_tokenizer **tokenizer, const char *path);
/** The same from JSON text already in memory (`name` for messages); config_json may be NULL. */
rf_status rf_tokenizer_parse(rf_tokenizer **tokenizer, const char *json, size_t length,
                             const char *config_json, size_t config_length, const char *name);
void rf_tokenizer_destroy(rf_tokenizer **tokenizer);

/**
 * Appends the ids of `text` (UTF-8, `length` bytes; NUL bytes allowed). `special`: 1 adds what the
 * post-processor adds (BOS ...), 0 only the text's own tokens. Added tokens inside the text are
 * recognised. Local; RF_RESOURCES, RF_INPUT for text that is not UTF-8.
 */
rf_status rf_tokenizer_encode(const rf_tokenizer *tokenizer, const char *text, size_t length,
                              int special, rf_ids *out);

/**
 * Text of ids, NUL-terminated, malloc'ed, owned by the caller; *length without the NUL (may be
 * NULL). `skip_special`: 1 leaves special tokens out. Local; RF_INPUT for an id outside the
 * vocabulary.
 */
rf_status rf_tokenizer_decode(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                              int skip_special, char **text, size_t *length);

/** Number of ids (largest id + 1, added tokens included). Local. */
int64_t rf_tokenizer_size(const rf_tokenizer *tokenizer);
/** Id of a token's exact content, -1 if there is none. Local. */
int32_t rf_tokenizer_id(const rf_tokenizer *tokenizer, const char *content);
/** Raw piece of an id as the vocabulary spells it; NULL if none. Borrowed. Local. */
const char *rf_tokenizer_piece(const rf_tokenizer *tokenizer, int32_t id);
/** Ids of bos/eos/pad/unk as the side files name them, -1 if none. Local. */
int32_t rf_tokenizer_bos(const rf_tokenizer *tokenizer);
int32_t rf_tokenizer_eos(const rf_tokenizer *tokenizer);
int32_t rf_tokenizer_pad(const rf_tokenizer *tokenizer);
int32_t rf_tokenizer_unk(const rf_tokenizer *tokenizer);
/** Chat template: chat_template.jinja, else of tokenizer_config.json; NULL if none. Borrowed.
 * Local. */
const char *rf_tokenizer_chat_template(const rf_tokenizer *tokenizer);

#endif
