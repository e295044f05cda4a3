/* Bottlenecks as a folder: bottleneck.safetensors and bottleneck_config.json. PEFT knows none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/io/safetensors.h"
#include "refract/io/weights.h"
#include "train_parts.h"

static rf_status write_config(const training *t, const char *folder)
{
    char path[4096], text[512];
    RF_TRY(rf_folder_make(folder));
    if (snprintf(path, sizeof path, "%s/bottleneck_config.json", folder) >= (int)sizeof path)
        return rf_fail(RF_USAGE, "'%s' is too long a path (output). Choose a shorter one", folder);
    const int length =
        snprintf(text, sizeof text,
                 "{\n  \"method\": \"%s\",\n  \"size\": %lld,\n"
                 "  \"activation\": \"%s\",\n  \"d_model\": %lld,\n"
                 "  \"layers\": %lld\n}\n",
                 rf_config_string(t->config, "method"), (long long)t->session.bottleneck.size,
                 rf_config_string(t->config, "bottleneck.activation"),
                 (long long)t->session.model.d_model, (long long)t->session.model.layers);
    return rf_file_write(path, text, (size_t)length);
}

rf_status training_export_bottlenecks(training *t, const char *folder)
{
    static const rf_dtype single = RF_F32;
    rf_field *fields = NULL;
    int64_t count = 0;
    const int is_root = t->session.grid.rank == 0;
    RF_TRY_ALL(t->env->world, is_root ? write_config(t, folder) : RF_OK);
    RF_TRY_ALL(t->env->world,
               rf_params_fields(&t->session.decoder->params, RF_ROWS_ADAPTER, &fields, &count));
    const rf_safetensors_options options = {.dtype = &single, .stem = "bottleneck"};
    const rf_status status =
        rf_safetensors_write(&t->session.grid, folder, fields, count, &options);
    free(fields);
    return status;
}
