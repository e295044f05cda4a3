/** Inside of rf_peft: what peft.c, peft_config.c and peft_write.c share. */
#ifndef RF_IO_PEFT_FOLDER_H
#define RF_IO_PEFT_FOLDER_H

#include "refract/io/peft.h"

#define RF_PEFT_PREFIX "base_model.model."

/** Reads folder/adapter_config.json into a zeroed *peft. Local; RF_INPUT, RF_RESOURCES. */
rf_status rf_peft_read_config(rf_peft *peft, const char *folder, rf_log *log);

/**
 * Copies of the fields under their names on disk; the caller frees *named. Local; RF_RESOURCES,
 * RF_USAGE for a name that is too long.
 */
rf_status rf_peft_name_fields(rf_field **named, const rf_field *fields, int64_t count);

#endif
