/** What rf_chat_recognise finds out and rf_chat_render goes by. */
#ifndef RF_DATA_CHAT_INTERNAL_H
#define RF_DATA_CHAT_INTERNAL_H

#include "refract/data/chat.h"

/** Families that name the role of every turn: `head` ROLE `middle` TEXT `end` `tail`. */
typedef struct rf_chat_marks {
    const char *head, *middle;
    const char *end; /**< closes the turn, learnt with an answer; NULL = EOS */
    const char *tail;
} rf_chat_marks;

/** Where families with [INST] put a system message: nowhere, or before a user's text. */
typedef enum rf_system_place { RF_SYSTEM_REFUSED, RF_SYSTEM_FIRST, RF_SYSTEM_LAST } rf_system_place;

enum { RF_CHAT_WORD = 32 };
typedef char rf_chat_word[RF_CHAT_WORD];

/** Families with [INST]: `open` TEXT `close`, then `lead` ANSWER `trail` EOS `after`. */
typedef struct rf_chat_turns {
    rf_chat_word open, close, lead, trail, after;
    int trim_user, trim_answer;
    int bos_each; /**< BOS before every user turn */
    rf_system_place place;
    const char *system_open, *system_close;
} rf_chat_turns;

struct rf_chat {
    const char *family;
    const rf_chat_marks *marks; /**< NULL: turns */
    rf_chat_turns turns;
    char *bos, *eos; /**< owned; NULL for none */
    int bos_first;
    int trim;           /**< marks: contents are trimmed */
    char *preamble;     /**< owned; starts every system message, which is always there then */
    char *default_text; /**< owned; the system message of a chat that brings none */
};

#endif
