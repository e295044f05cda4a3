/** A tokenizer small enough to compute by hand: one id per character, two merges, byte fallback. */
#ifndef TINY_TOKENIZER_H
#define TINY_TOKENIZER_H

/** Ids of its special tokens; byte b is TINY_BYTE + b, character c (' ' is "▁") TINY_CHAR + c - '
 * '. */
enum {
    TINY_UNK,
    TINY_BOS,
    TINY_EOS,
    TINY_IM_START, /**< <|im_start|> */
    TINY_IM_END,   /**< <|im_end|> */
    TINY_BYTE,
    TINY_CHAR = TINY_BYTE + 256,
    TINY_AB = TINY_CHAR + 95, /**< "ab" */
    TINY_BLANK_A,             /**< "▁a" */
    TINY_SIZE
};

/**
 * tokenizer.json as text, malloc'ed. `prepend`: 1 as LLaMA-2's, which puts "▁" before a text. BOS
 * is what its post-processor adds.
 */
char *tiny_tokenizer_json(int prepend);

/** tokenizer_config.json that names BOS and EOS, with a ChatML template. Borrowed. */
const char *tiny_tokenizer_config(void);

#endif
