/** What a JSON row of each format holds. Strings are borrowed from the row. */
#ifndef RF_DATA_FORMATS_H
#define RF_DATA_FORMATS_H

#include <jansson.h>

#include "refract/data/chat.h"
#include "refract/data/formatter.h"
#include "refract/data/templates.h"

/** Rows of text, completion, alpaca, gsm8k; a missing output is empty unless `complete`. Local. */
rf_status rf_row_record(rf_record *record, rf_format format, const json_t *row, int complete);

/** The messages of a chat; owned, rf_conversation_free when done (also after a failure). */
typedef struct rf_conversation {
    rf_message *messages;
    int64_t count;
    rf_text text; /**< what the contents point into */
} rf_conversation;

rf_status rf_row_conversation(rf_conversation *conversation, const json_t *row);
void rf_conversation_free(rf_conversation *conversation);

/** Appends the ids and labels of a tokens row. Local. */
rf_status rf_row_tokens(rf_ids *ids, rf_ids *labels, const json_t *row);

/** The text(s) of a classification row, and its class; second.at is NULL where there is one text.
 */
typedef struct rf_class_row {
    rf_bytes first, second;
    int32_t label;
} rf_class_row;

rf_status rf_row_class(rf_class_row *found, const json_t *row);

#endif
