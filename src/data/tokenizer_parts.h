/**
 * The parts of a tokeniser in the order a text meets them: added tokens, normaliser, pre-tokeniser,
 * (model: refract/data/bpe.h), post-processor; and the decoder for the way back. Each is read from
 * its section of tokenizer.json and is read-only afterwards. All functions: local; RF_RESOURCES,
 * and RF_INPUT naming file, part and kind.
 */
#ifndef RF_DATA_TOKENIZER_PARTS_H
#define RF_DATA_TOKENIZER_PARTS_H

#include "tokenizer_json.h"

/* Byte-level alphabet: every byte as one printable character (GPT-2). */

/** Appends the characters of the bytes. */
rf_status rf_alphabet_encode(rf_text *out, const char *bytes, size_t length);
/** Appends the bytes of the characters if all are of the alphabet (*known), else nothing. */
rf_status rf_alphabet_decode(rf_text *out, const char *text, size_t length, int *known);

/* Normaliser: text to text. */

typedef struct rf_normalizer_step {
    int kind;
    rf_finder pattern; /**< owned; of Replace */
    char *content;     /**< owned; of Replace and Prepend */
    size_t content_length;
    int left, right; /**< of Strip */
} rf_normalizer_step;

typedef struct rf_normalizer {
    rf_normalizer_step *steps; /**< owned; sequences unrolled */
    size_t count;
} rf_normalizer;

rf_status rf_normalizer_read(rf_normalizer *normalizer, const json_t *part, rf_place place);
void rf_normalizer_free(rf_normalizer *normalizer);
/**
 * text = its normal form; spare is working room. *at_start is set to 0 when the first character of
 * the text was taken away.
 */
rf_status rf_normalizer_apply(const rf_normalizer *normalizer, rf_matcher *matcher, rf_text *text,
                              rf_text *spare, int *at_start);
/** out += text with every match replaced. */
rf_status rf_replace_append(const rf_finder *pattern, rf_matcher *matcher, rf_bytes text,
                            rf_bytes content, rf_text *out);

/* Pre-tokeniser: a text and its spans to words. */

typedef struct rf_splitter_step {
    int kind;
    rf_finder pattern; /**< owned; of a split */
    int behavior, invert;
    char content[8]; /**< of a prefix or a replacement of spaces */
    int first_only;  /**< of a prefix */
} rf_splitter_step;

typedef struct rf_splitter {
    rf_splitter_step *steps; /**< owned; compound kinds unrolled */
    size_t count;
} rf_splitter;

/** A text and the spans it is in, with room for the next step's. Zero-initialise. */
typedef struct rf_words {
    rf_text text, spare_text;
    rf_stretches spans, spare_spans;
} rf_words;
void rf_words_free(rf_words *pieces);

rf_status rf_splitter_read(rf_splitter *splitter, const json_t *part, rf_place place);
void rf_splitter_free(rf_splitter *splitter);
rf_status rf_splitter_apply(const rf_splitter *splitter, rf_matcher *matcher, rf_words *pieces);

/* Added tokens: found in the text before anything else. */

typedef struct rf_added_token {
    char *content; /**< owned */
    size_t length;
    int32_t id;
    int single_word, lstrip, rstrip, normalized, special;
} rf_added_token;

/** Contents as a trie: child, next sibling, byte, and the token that ends here (-1: none). */
typedef struct rf_trie {
    struct rf_trie_node {
        int32_t child, sibling, token;
        unsigned char byte;
    } * nodes; /**< owned */
    size_t count, capacity;
    unsigned char begins[256]; /**< 1: some content begins with this byte */
} rf_trie;

typedef struct rf_added {
    rf_added_token *tokens; /**< owned, in order of the file */
    size_t count;
    struct rf_added_entry {
        const rf_added_token *token;
    } * by_id, *by_content;  /**< [count] owned: the tokens, sorted */
    rf_trie raw, normalized; /**< those found before and after normalisation */
} rf_added;

/** Needs the normaliser, which normalised contents go through, and the model for ids it has
 * already. */
rf_status rf_added_read(rf_added *added, const json_t *list, const rf_bpe *bpe,
                        const rf_normalizer *normalizer, rf_matcher *matcher, rf_place place);
void rf_added_free(rf_added *added);
/** The token of an id or content, NULL if none. Borrowed. */
const rf_added_token *rf_added_of_id(const rf_added *added, int32_t id);
const rf_added_token *rf_added_of_content(const rf_added *added, const char *content,
                                          size_t length);
/** spans += the tokens found in bytes[from, length) and the stretches between, in order. */
rf_status rf_added_find(const rf_added *added, const rf_trie *trie, const char *bytes, size_t from,
                        size_t length, rf_stretches *spans);

/* Post-processor: ids put before and behind a text. */

typedef struct rf_post {
    rf_ids before, behind;
    int given; /**< 1: the file has a template, which settles the matter */
} rf_post;

rf_status rf_post_read(rf_post *post, const json_t *part, int64_t size, rf_place place);
void rf_post_free(rf_post *post);

/* Decoder: pieces to text. */

typedef struct rf_decoding_step {
    int kind;
    rf_finder pattern; /**< owned; of Replace */
    char *content;     /**< owned; of Replace, Strip, Metaspace, BPEDecoder */
    size_t content_length;
    int64_t start, stop; /**< of Strip */
    int prefixed;        /**< of Metaspace */
} rf_decoding_step;

typedef struct rf_decoding {
    rf_decoding_step *steps; /**< owned; sequences unrolled */
    size_t count;
    int given; /**< 0: pieces are joined with blanks */
} rf_decoding;

rf_status rf_decoding_read(rf_decoding *decoder, const json_t *part, rf_place place);
void rf_decoding_free(rf_decoding *decoder);
/** The pieces become one text, pieces->text. */
rf_status rf_decoding_apply(const rf_decoding *decoder, rf_matcher *matcher, rf_words *pieces);

/* Model and side files. */

/** Builds the BPE model of a "model" section. The caller owns *bpe. */
rf_status rf_bpe_read(rf_bpe **bpe, const json_t *part, rf_place place);

#endif
