#include "refract/data/prepare.h"

#include <stdlib.h>
#include <string.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"

enum { PATH_BYTES = 4096 };

int rf_data_is_set(const rf_config *config, const char *key)
{
    return rf_config_list_count(config, key) > 0;
}

static int ends_in(const char *path, const char *ending)
{
    const size_t length = strlen(path), tail = strlen(ending);
    return length >= tail && strcmp(path + length - tail, ending) == 0;
}

static const char *word(const rf_config *config, const char *key)
{
    return rf_config_is_auto(config, key) ? "auto" : rf_config_string(config, key);
}

int rf_data_needs_tokenizer(const rf_config *config, const char *key)
{
    int stores = 0;
    const int count = rf_config_list_count(config, key);
    for (int i = 0; i < count; i++) stores += ends_in(rf_config_list_item(config, key, i), ".h5");
    return stores < count && strcmp(word(config, "data.format"), "tokens") != 0;
}

static rf_status load_tokenizer(rf_tokenizer **tokenizer, const rf_config *config, int needed,
                                rf_tokenizer_loader *load)
{
    const char *path = rf_config_is_auto(config, "model.tokenizer")
                           ? rf_config_string(config, "model.path")
                           : rf_config_string(config, "model.tokenizer");
    if (!path && needed)
        return rf_fail(RF_USAGE, "no tokenizer (model.path). Set model.path or model.tokenizer");
    return path ? load(tokenizer, path) : RF_OK;
}

rf_status rf_data_tokenizer(rf_tokenizer **tokenizer, MPI_Comm comm, const rf_config *config,
                            rf_tokenizer_loader *load)
{
    *tokenizer = NULL;
    const int named = !rf_config_is_auto(config, "model.tokenizer");
    const int needed = named || rf_data_needs_tokenizer(config, "data.train") ||
                       rf_data_needs_tokenizer(config, "data.eval");
    const rf_status status = rf_agree(comm, load_tokenizer(tokenizer, config, needed, load));
    if (status == RF_OK) return RF_OK;
    rf_tokenizer_destroy(tokenizer);
    return needed ? status : RF_OK;
}

/* What data.* says of the files under `key`; options->paths is malloc'ed. */
static rf_status read_options(rf_data_options *options, const rf_config *config, const char *key,
                              int64_t vocab)
{
    const int count = rf_config_list_count(config, key);
    const int is_eval = strcmp(key, "data.eval") == 0;
    const char **paths = calloc((size_t)count + 1, sizeof *paths);
    if (!paths) return rf_fail(RF_RESOURCES, "no memory for the names of %d files", count);
    for (int i = 0; i < count; i++) paths[i] = rf_config_list_item(config, key, i);
    *options = (rf_data_options){
        .paths = paths,
        .path_count = count,
        .format = word(config, "data.format"),
        .template = word(config, "data.template"),
        .max_length = rf_config_int(config, "data.max_length"),
        .max_samples = rf_config_int(config, is_eval ? "eval.max_samples" : "data.max_samples"),
        .train_on_inputs = rf_config_bool(config, "data.train_on_inputs"),
        .vocab = vocab};
    return RF_OK;
}

rf_status rf_data_load(rf_samples **samples, MPI_Comm comm, const rf_config *config,
                       const char *key, const rf_tokenizer *tokenizer, int64_t vocab, rf_log *log)
{
    rf_data_options options = {0};
    *samples = NULL;
    rf_status status = rf_agree(comm, read_options(&options, config, key, vocab));
    if (status == RF_OK) status = rf_samples_load(samples, comm, &options, tokenizer, log);
    free((void *)options.paths);
    return status;
}

static rf_status name_store(char path[PATH_BYTES], const char *folder, const char *name)
{
    const int length = snprintf(path, PATH_BYTES, "%s/%s.h5", folder, name);
    if (length < PATH_BYTES) return RF_OK;
    return rf_fail(RF_USAGE, "the path of the run folder is too long (output)");
}

static void show_samples(MPI_Comm comm, const rf_samples *samples, const rf_tokenizer *tokenizer,
                         int64_t show)
{
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    for (int64_t i = 0; rank == 0 && i < show && i < samples->count; i++)
        rf_sample_print(stdout, samples, i, tokenizer);
}

/* One key's files into one token store. */
static rf_status prepare_key(MPI_Comm comm, const rf_config *config, const char *key,
                             const rf_tokenizer *tokenizer, int64_t show, rf_log *log)
{
    char path[PATH_BYTES];
    rf_data_options options = {0};
    rf_samples *samples = NULL;
    const int64_t vocab = tokenizer ? rf_tokenizer_size(tokenizer) : 0;
    RF_TRY(name_store(path, rf_config_string(config, "output"), strchr(key, '.') + 1));
    rf_status status = rf_agree(comm, read_options(&options, config, key, vocab));
    if (status == RF_OK) status = rf_samples_load(&samples, comm, &options, tokenizer, log);
    if (status == RF_OK) status = rf_samples_write(samples, comm, path, &options, tokenizer);
    if (status == RF_OK) {
        rf_log_info(log, "%s: %lld samples, longest %lld tokens, digest %.16s: '%s'", key,
                    (long long)samples->count, (long long)samples->longest, samples->digest, path);
        show_samples(comm, samples, tokenizer, show);
    }
    rf_samples_destroy(&samples);
    free((void *)options.paths);
    return status;
}

rf_status rf_prepare_run(MPI_Comm comm, const rf_config *config, const rf_tokenizer *tokenizer,
                         int64_t show, rf_log *log)
{
    const char *folder = rf_config_string(config, "output");
    if (!rf_data_is_set(config, "data.train"))
        return rf_fail(RF_USAGE, "no data are named (data.train). Set data.train");
    if (!folder) return rf_fail(RF_USAGE, "no run folder is named (output). Set output");
    RF_TRY_ALL(comm, rf_folder_make(folder));
    RF_TRY(prepare_key(comm, config, "data.train", tokenizer, show, log));
    if (!rf_data_is_set(config, "data.eval")) return RF_OK;
    return prepare_key(comm, config, "data.eval", tokenizer, 0, log);
}
