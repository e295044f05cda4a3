/* The types in which the frozen base is held. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "session_parts.h"

/* The type of all matrices of the files, if they agree. */
static int one_type(const rf_safetensors *tensors, rf_dtype *dtype)
{
    int64_t matrices = 0;
    for (int64_t i = 0; i < rf_safetensors_count(tensors); i++) {
        const rf_tensor_info *info = rf_safetensors_at(tensors, i);
        if (info->dims < 2) continue;
        const rf_dtype held = rf_model_files_storage(tensors, info->name);
        if (matrices++ > 0 && held != *dtype) return 0;
        *dtype = held;
    }
    return 1;
}

/* A method that trains tensors of the base ends with a model folder, and those hold no blocks. */
static rf_status check_blocks(const rf_session *s, rf_dtype dtype, const char *key)
{
    if (!s->trains || rf_dtype_block(dtype) == 1) return RF_OK;
    return rf_fail(RF_USAGE,
                   "%s: %s cannot be written to the model folder that method '%s' ends with (%s). "
                   "Use f32 or bf16",
                   key, rf_dtype_name(dtype), rf_config_string(s->trained, "method"),
                   rf_config_where(s->config, key));
}

rf_status session_choose_storage(rf_session *s, session_storage *storage)
{
    static const char key[] = "model.storage";
    const int random = strcmp(rf_config_string(s->config, "model.init"), "random") == 0;
    *storage = (session_storage){.dtype = RF_F32};
    if (!rf_config_is_auto(s->config, key)) {
        const int known = rf_dtype_named(&storage->dtype, rf_config_string(s->config, key));
        RF_ASSERT(known, "model.storage = %s", rf_config_string(s->config, key));
        return check_blocks(s, storage->dtype, key);
    }
    if (!s->trains && !random)
        RF_TRY(rf_model_files_open_all(&storage->tensors, s->world,
                                       rf_config_string(s->config, "model.path")));
    if (storage->tensors && !one_type(storage->tensors, &storage->dtype)) return RF_OK;
    rf_safetensors_close(&storage->tensors);
    rf_config_resolve_string(s->config, key, rf_dtype_name(storage->dtype));
    return RF_OK;
}

void session_held_types(const rf_session *s, char held[SESSION_HELD_BYTES])
{
    int64_t count[RF_DTYPES] = {0};
    const rf_params *params = &s->decoder->params;
    for (int64_t i = 0; i < params->count; i++) {
        const rf_param *row = &params->row[i];
        if (!row->trained && row->shape.cols > 1) count[row->dtype]++;
    }
    size_t at = (size_t)snprintf(held, SESSION_HELD_BYTES, "%s", "");
    for (int type = 0; type < RF_DTYPES; type++)
        if (count[type] > 0 && at < SESSION_HELD_BYTES)
            at += (size_t)snprintf(held + at, SESSION_HELD_BYTES - at, "%s%s (%" PRId64 "%s)",
                                   at ? ", " : "", rf_dtype_name((rf_dtype)type), count[type],
                                   at ? "" : " matrices");
    if (at == 0) snprintf(held, SESSION_HELD_BYTES, "nothing");
}
