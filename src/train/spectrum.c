#include "refract/train/spectrum.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "refract/base/file.h"
#include "refract/comm/agree.h"
#include "refract/linalg/spectrum.h"
#include "refract/train/state.h"
#include "source.h"
#include "spectrum_parts.h"

static rf_status check_source(const source *from, const rf_config *config)
{
    if (from->checkpoint || from->peft) return RF_OK;
    return rf_fail(RF_USAGE,
                   "there is nothing trained to compare with the base model (eval.adapter = %s, "
                   "output = %s). Train first, or name a run, a checkpoint or a PEFT folder by "
                   "eval.adapter",
                   rf_config_string(config, "eval.adapter"), rf_config_string(config, "output"));
}

static void print_table(rf_log *log, const spectrum_list *list)
{
    rf_log_info(log, "%-44s %-12s %9s %9s %9s %6s %9s", "module", "d_out x d_in", "rank W0",
                "rank dW", "W0 + dW", "dW 99%", "intruders");
    int64_t all = 0, top = 0;
    for (int64_t i = 0; i < list->count; i++) {
        const rf_spectrum_module *m = &list->result[i];
        double effective[RF_SPECTRUM_PARTS];
        char shape[32];
        for (int part = 0; part < RF_SPECTRUM_PARTS; part++)
            effective[part] = rf_effective_rank(m->sigma[part], m->n);
        snprintf(shape, sizeof shape, "%lld x %lld", (long long)m->module.d_out,
                 (long long)m->module.d_in);
        rf_log_info(
            log, "%-44s %-12s %9.2f %9.2f %9.2f %6lld %4lld of %lld", m->module.name, shape,
            effective[RF_SPECTRUM_BASE], effective[RF_SPECTRUM_UPDATE],
            effective[RF_SPECTRUM_TUNED],
            (long long)rf_energy_rank(m->sigma[RF_SPECTRUM_UPDATE], m->n, RF_SPECTRUM_ENERGY),
            (long long)rf_spectrum_intruders(m), (long long)m->top);
        all += rf_spectrum_intruders(m);
        top += m->top;
    }
    rf_log_info(log,
                "intruders: %lld of %lld leading directions have a cosine below %.1f to all "
                "of W0's",
                (long long)all, (long long)top, RF_SPECTRUM_COSINE);
}

static rf_status write_file(const rf_session *s, const rf_environment *env, const source *from,
                            const spectrum_list *list, const char *path)
{
    rf_attribute attributes[RF_ORIGIN_ATTRIBUTES + 1];
    char *yaml = rf_config_yaml(s->config);
    if (!yaml) return rf_fail(RF_RESOURCES, "no memory");
    const rf_origin origin = {.config = yaml,
                              .base_digest = s->base_digest,
                              .data_digest = "",
                              .command_line = env->command_line,
                              .hosts = env->log->host,
                              .blas = env->blas,
                              .program = env->program,
                              .ranks = s->grid.size,
                              .threads = env->threads};
    const int count = rf_origin_attributes(&origin, attributes);
    attributes[count] = (rf_attribute){
        .name = "adapter",
        .text = from->checkpoint ? rf_checkpoint_path(from->checkpoint) : from->peft};
    const rf_status status =
        rf_spectrum_write(path, list->result, list->count, attributes, count + 1);
    free(yaml);
    return status;
}

static rf_status report(const rf_session *s, const rf_environment *env, const source *from,
                        const spectrum_list *list)
{
    const char *output = rf_config_string(s->config, "output");
    char path[PATH_MAX];
    if (s->grid.rank != 0) return RF_OK;
    RF_TRY(rf_folder_make(output));
    if (snprintf(path, sizeof path, "%s/spectrum.h5", output) >= (int)sizeof path)
        return rf_fail(RF_USAGE, "'output' is too long a path (%s)",
                       rf_config_where(s->config, "output"));
    RF_TRY(write_file(s, env, from, list, path));
    print_table(s->log, list);
    rf_log_info(s->log, "written: %s", path);
    return RF_OK;
}

static rf_status run(rf_config *config, const rf_environment *env, source *from, rf_session *s,
                     spectrum_list *list)
{
    const rf_bounds least = {.tokens = 1, .samples = 1, .length = 1, .leaves = 1};
    RF_TRY_ALL(env->world, rf_config_require(config, "output"));
    RF_TRY(source_find(from, config, env));
    RF_TRY_ALL(env->world, check_source(from, config));
    RF_TRY(source_open_session(from, s, config, env));
    RF_TRY(rf_session_plan(s, &least, 0, source_has_weights(from, s)));
    rf_session_print_plan(s);
    RF_TRY(rf_session_allocate(s));
    RF_TRY(rf_session_weights(s));
    RF_TRY_ALL(env->world, spectrum_list_make(list, s));
    RF_TRY(source_read(from, s));
    rf_decoder_prepare(s->decoder);
    RF_TRY(spectrum_compute(list, s, rf_session_distribute_above(s)));
    return rf_agree(env->world, report(s, env, from, list));
}

rf_status rf_spectrum(rf_config *config, const rf_environment *environment)
{
    source from = {0};
    rf_session session = {0};
    spectrum_list list = {0};
    const rf_status status = run(config, environment, &from, &session, &list);
    spectrum_list_destroy(&list);
    rf_session_close(&session);
    source_close(&from);
    return status;
}
