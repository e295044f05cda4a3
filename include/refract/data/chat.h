/**
 * Chats as text, the way a model's own chat template writes them. A tokenizer's `chat_template` is
 * a Jinja program; it is not run but recognised as one of the families below by what it writes, its
 * variants (blanks around [INST], default system message, trimming, BOS per turn) included, or
 * refused.
 *
 *   chatml    <|im_start|>ROLE\n TEXT <|im_end|>\n
 *   llama-3   <|start_header_id|>ROLE<|end_header_id|>\n\n TEXT <|eot_id|>
 *   zephyr    <|ROLE|>\n TEXT EOS \n
 *   llama-2   BOS [INST] <<SYS>>\n SYSTEM \n<</SYS>>\n\n TEXT [/INST] ANSWER EOS
 *   mistral   BOS [INST] TEXT[/INST] ANSWER EOS [INST] ...
 */
#ifndef RF_DATA_CHAT_H
#define RF_DATA_CHAT_H

#include <stdint.h>

#include "refract/base/status.h"
#include "refract/data/transcript.h"

typedef enum rf_role { RF_SYSTEM, RF_USER, RF_ASSISTANT } rf_role;

typedef struct rf_message {
    rf_role role;
    rf_bytes content; /**< borrowed */
} rf_message;

typedef struct rf_chat rf_chat;

/**
 * Recognises a chat template. `bos` and `eos` are the contents of those tokens, NULL for none. The
 * caller owns *chat. Local; RF_USAGE names the family that is refused, or what in the template is
 * not understood; RF_RESOURCES.
 */
rf_status rf_chat_recognise(rf_chat **chat, const char *jinja, const char *bos, const char *eos);
/** The plain form of a family, by the name above. RF_USAGE lists the names. */
rf_status rf_chat_named(rf_chat **chat, const char *family, const char *bos, const char *eos);
void rf_chat_destroy(rf_chat **chat);

/** 1 when rf_chat_named knows the name. Local. */
int rf_chat_is_family(const char *name);
/** Name of the family it was recognised as. Borrowed. Local. */
const char *rf_chat_family(const rf_chat *chat);

/**
 * Appends a chat; the assistant's turns with their end token are the answers. `reply`: 1 leaves the
 * text where an assistant's answer would begin. Local; RF_INPUT where roles do not alternate as the
 * family demands or a system message has no place, RF_RESOURCES.
 */
rf_status rf_chat_render(const rf_chat *chat, const rf_message *messages, int64_t count, int reply,
                         rf_transcript *pieces);

#endif
