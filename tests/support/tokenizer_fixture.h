/** Tokenisers from a few words of text, and what they make of texts, as text. */
#ifndef TOKENIZER_FIXTURE_H
#define TOKENIZER_FIXTURE_H

#include "refract/data/tokenizer.h"

/**
 * tokenizer.json text: `parts` ("\"normalizer\":..." and so on, or ""), and a BPE model of `pieces`
 * (ids 0, 1, ... in order, separated by blanks), `merges` ("a b,ab c") and `options`
 * ("\"byte_fallback\":true", or ""). malloc'ed.
 */
char *tokenizer_json(const char *parts, const char *pieces, const char *merges,
                     const char *options);

/** The tokeniser of that text. */
rf_tokenizer *tokenizer_of(const char *parts, const char *pieces, const char *merges,
                           const char *options);

/** Encoding `text` gives the pieces `wanted`, e.g. "a|b|<unk>"; "" for none. */
#define assert_tokens(tokenizer, text, wanted)                                                     \
    tokenizer_assert_tokens((tokenizer), (text), 0, (wanted), __FILE__, __LINE__)
/** The same with what the post-processor adds. */
#define assert_special_tokens(tokenizer, text, wanted)                                             \
    tokenizer_assert_tokens((tokenizer), (text), 1, (wanted), __FILE__, __LINE__)
void tokenizer_assert_tokens(const rf_tokenizer *tokenizer, const char *text, int special,
                             const char *wanted, const char *file, int line);

/** Decoding the pieces named in `tokens` ("a|b") gives `wanted`. */
#define assert_decoded(tokenizer, tokens, skip_special, wanted)                                    \
    tokenizer_assert_decoded((tokenizer), (tokens), (skip_special), (wanted), __FILE__, __LINE__)
void tokenizer_assert_decoded(const rf_tokenizer *tokenizer, const char *tokens, int skip_special,
                              const char *wanted, const char *file, int line);

/** Encodes the texts of a file of vectors and compares the ids (paths below RF_SHARED). */
void tokenizer_assert_vectors(const rf_tokenizer *tokenizer, const char *texts_path,
                              const char *ids_path);

#endif
