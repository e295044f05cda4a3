/* The final state as folders that others read, and gradients as data. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "export_parts.h"
#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/io/hf_config.h"
#include "refract/io/safetensors.h"
#include "refract/io/weights.h"
#include "refract/store/h5.h"
#include "refract/train/export.h"
#include "train_parts.h"

static const rf_dtype single = RF_F32;

void export_tokenizer_folder(const rf_session *s, char folder[PATH_MAX])
{
    struct stat info;
    const int other = !rf_config_is_auto(s->config, "model.tokenizer");
    snprintf(folder, PATH_MAX, "%s",
             rf_config_string(s->config, other ? "model.tokenizer" : "model.path"));
    char *slash = strrchr(folder, '/');
    if (!other || stat(folder, &info) != 0 || S_ISDIR(info.st_mode)) return;
    if (slash)
        *slash = '\0'; /* tokenizer.json itself was named */
    else
        snprintf(folder, PATH_MAX, ".");
}

/* Files that stand beside the weights and do not change by training. */
static rf_status copy_side_file(const rf_session *s, const char *folder, const char *name)
{
    char from[2 * PATH_MAX], to[2 * PATH_MAX], source[PATH_MAX];
    char *bytes = NULL;
    size_t length = 0;
    export_tokenizer_folder(s, source);
    snprintf(from, sizeof from, "%s/%s", source, name);
    snprintf(to, sizeof to, "%s/%s", folder, name);
    FILE *file = fopen(from, "rb");
    if (!file) return RF_OK;
    fclose(file);
    RF_TRY(rf_file_read(&bytes, &length, from, (size_t)1 << 30));
    const rf_status status = rf_file_write(to, bytes, length);
    free(bytes);
    return status;
}

rf_status rf_export_side_files(const rf_session *s, const rf_model_config *model,
                               const char *folder)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json", "generation_config.json"};
    RF_TRY(rf_folder_make(folder));
    RF_TRY(rf_hf_config_write(model, folder));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        RF_TRY(copy_side_file(s, folder, names[i]));
    return RF_OK;
}

static rf_status write_model(training *t, const char *folder, const rf_field *fields, int64_t count)
{
    const int is_root = t->session.grid.rank == 0;
    RF_TRY_ALL(t->env->world,
               is_root ? rf_export_side_files(&t->session, &t->session.model, folder) : RF_OK);
    const rf_safetensors_options options = {.dtype = &single};
    return rf_safetensors_write(&t->session.grid, folder, fields, count, &options);
}

/* OUTPUT/pruned, beside the adapter for the whole model. */
static rf_status export_pruned(training *t)
{
    char folder[PATH_MAX];
    RF_TRY_ALL(t->env->world, rf_run_folder_file(t->run.folder, "pruned", folder, sizeof folder));
    return rf_export_pruned(&t->session, folder, RF_F32);
}

rf_status training_export(training *t)
{
    rf_field *fields = NULL;
    int64_t count = 0;
    char folder[PATH_MAX];
    RF_TRY_ALL(t->env->world,
               rf_run_folder_file(t->run.folder, t->session.trains ? "model" : "adapter", folder,
                                  sizeof folder));
    if (t->session.bottleneck.size > 0) return training_export_bottlenecks(t, folder);
    if (!t->session.trains) {
        RF_TRY(rf_export_adapter(&t->session, folder));
        return rf_export_fits_pruned(&t->session) ? export_pruned(t) : RF_OK;
    }
    RF_TRY_ALL(t->env->world,
               rf_params_fields(&t->session.decoder->params, RF_ROWS_BASE, &fields, &count));
    const rf_status status = write_model(t, folder, fields, count);
    free(fields);
    return status;
}

static rf_status write_gradient(rf_h5 *file, const rf_param *row, const rf_real *global)
{
    char path[RF_NAME_BYTES + 2];
    snprintf(path, sizeof path, "/%s", row->name);
    const rf_h5_layout layout = row->shape.cols == 1
                                    ? rf_h5_vector(RF_DTYPE_REAL, row->shape.rows)
                                    : rf_h5_matrix(RF_DTYPE_REAL, row->shape.rows, row->shape.cols);
    RF_TRY(rf_h5_create_set(file, path, &layout));
    RF_TRY(rf_h5_describe(file, path, "nats", "gradient of the loss of step 1, before clipping"));
    return rf_h5_write(file, path, RF_DTYPE_REAL, NULL, NULL, global);
}

rf_status training_write_gradients(training *t, const char *path, const rf_real *gradient)
{
    const rf_grid *grid = &t->session.grid;
    const rf_params *params = &t->session.decoder->params;
    const int is_root = grid->rank == 0;
    rf_h5 *file = NULL;
    rf_status status = rf_agree(
        grid->world, is_root ? rf_h5_open(&file, path, RF_H5_CREATE, MPI_COMM_NULL) : RF_OK);
    for (int64_t i = 0; i < params->count && status == RF_OK; i++) {
        const rf_param *row = &params->row[i];
        if (!row->trained) continue;
        const size_t items = (size_t)(row->shape.rows * row->shape.cols);
        rf_real *global = is_root ? malloc(items * sizeof *global) : NULL;
        status = rf_agree(grid->world, !is_root || global
                                           ? RF_OK
                                           : rf_fail(RF_RESOURCES, "no memory for a gradient"));
        if (status == RF_OK)
            status = rf_tensor_collect(grid, 0, global, gradient + row->offset, &row->shape,
                                       sizeof *gradient);
        if (status == RF_OK)
            status = rf_agree(grid->world, is_root ? write_gradient(file, row, global) : RF_OK);
        free(global);
    }
    const rf_status closed = rf_agree(grid->world, rf_h5_close(&file));
    return status == RF_OK ? closed : status;
}
