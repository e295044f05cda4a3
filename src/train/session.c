#include "refract/train/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "refract/comm/agree.h"
#include "refract/data/prepare.h"
#include "refract/io/gguf.h"
#include "refract/io/model_files.h"
#include "refract/method/registry.h"

static rf_status check_path(const char *path, const char *where)
{
    struct stat info;
    if (stat(path, &info) == 0 && (S_ISDIR(info.st_mode) || rf_gguf_recognises(path))) return RF_OK;
    return rf_fail(RF_INPUT,
                   "there is no model folder or GGUF file '%s' (model.path, %s). Check the path",
                   path, where);
}

static rf_status read_model_config(rf_session *s)
{
    const char *path = rf_config_string(s->config, "model.path");
    RF_TRY(rf_config_require(s->config, "model.path"));
    RF_TRY(check_path(path, rf_config_where(s->config, "model.path")));
    return rf_model_files_config(&s->model, path);
}

static rf_status collect_saved(rf_session *s)
{
    const int count = rf_config_list_count(s->trained, "lora.modules_to_save");
    s->saved_names = calloc((size_t)count + 1, sizeof *s->saved_names);
    if (!s->saved_names) return rf_fail(RF_RESOURCES, "no memory for lora.modules_to_save");
    for (int i = 0; i < count; i++) {
        s->saved_names[i] = rf_config_list_item(s->trained, "lora.modules_to_save", i);
        if (s->model.tied && strcmp(s->saved_names[i], "lm_head") == 0)
            return rf_fail(RF_USAGE,
                           "lora.modules_to_save names lm_head, which this model ties to its "
                           "embedding (%s). Name embed_tokens to train both",
                           rf_config_where(s->config, "lora.modules_to_save"));
    }
    s->saved = (rf_names){.name = s->saved_names, .count = count};
    return RF_OK;
}

/* Keys whose values other layers of the program have yet to learn are refused, not ignored. */
static rf_status check_supported(const rf_session *s)
{
    const rf_config *c = s->config;
    const char *init = rf_config_string(c, "lora.init");
    if (rf_config_string(c, "lora.start") && s->bottleneck.size > 0 && s->trained == c)
        return rf_fail(RF_USAGE,
                       "lora.start: a PEFT folder holds low-rank factors, and method '%s' trains "
                       "none (%s). Leave the key out",
                       rf_config_string(c, "method"), rf_config_where(c, "lora.start"));
    if (rf_config_string(c, "lora.start") && strcmp(init, "default") != 0 && s->trained == c)
        return rf_fail(RF_USAGE,
                       "lora.init: %s is set (%s) beside lora.start, whose factors are the start. "
                       "Remove one of the two",
                       init, rf_config_where(c, "lora.init"));
    if (strcmp(rf_config_string(c, "model.init"), "random") == 0 &&
        !rf_config_has_method(s->trained, "full"))
        return rf_fail(RF_USAGE,
                       "model.init: random leaves nothing for an adapter to adapt (%s). Use "
                       "method: full",
                       rf_config_where(c, "model.init"));
    return RF_OK;
}

static rf_status read_all(rf_session *s)
{
    RF_TRY(check_supported(s));
    RF_TRY(read_model_config(s));
    RF_TRY(collect_saved(s));
    return s->trains || s->bottleneck.size > 0 ? RF_OK
                                               : rf_targets_from_config(&s->targets, s->trained);
}

rf_status rf_session_open(rf_session *s, rf_config *config, const rf_config *trained, rf_log *log,
                          MPI_Comm world, int threads)
{
    memset(s, 0, sizeof *s);
    s->config = config;
    s->trained = trained;
    s->log = log;
    s->world = world;
    s->threads = threads;
    s->trains = rf_methods_trains(trained);
    s->bottleneck = rf_methods_bottlenecks(trained);
    s->kind = s->trains || s->bottleneck.size > 0 ? NULL : rf_adapter_for_config(trained);
    RF_TRY_ALL(world, read_all(s));
    return rf_data_tokenizer(&s->tokenizer, world, config, rf_model_files_tokenizer);
}

int64_t rf_session_micro_tokens(rf_session *s)
{
    if (rf_config_is_auto(s->config, "train.micro_tokens")) {
        const int64_t length = rf_config_int(s->config, "data.max_length");
        rf_config_resolve_int(s->config, "train.micro_tokens", length > 512 ? length : 512);
    }
    return rf_config_int(s->config, "train.micro_tokens");
}

void rf_session_close(rf_session *s)
{
    rf_decoder_destroy(&s->decoder);
    rf_shared_destroy(&s->shared);
    rf_pruning_destroy(&s->pruning);
    rf_grid_destroy(&s->grid);
    rf_arena_destroy(&s->run);
    rf_arena_destroy(&s->step);
    rf_arena_destroy(&s->scratch);
    rf_targets_destroy(&s->targets);
    rf_peft_close(&s->start);
    rf_tokenizer_destroy(&s->tokenizer);
    free(s->saved_names);
    s->saved_names = NULL;
}
