/* Layout, memory plan and weights of a session. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "refract/comm/agree.h"
#include "refract/io/model_files.h"
#include "refract/io/weights.h"
#include "refract/train/session.h"
#include "session_parts.h"

/* auto: data parallel while there are micro-batches for all ranks, then tensor parallel. */
static int choose_tensor(rf_session *s, const rf_bounds *bounds)
{
    if (s->imagined_tensor > 0) return s->imagined_tensor;
    if (!rf_config_is_auto(s->config, "parallel.tensor"))
        return (int)rf_config_int(s->config, "parallel.tensor");
    int size = 1, tp = 1;
    MPI_Comm_size(s->world, &size);
    if (s->imagined_size > 0) size = s->imagined_size;
    const int64_t slices = rf_config_int(s->config, "parallel.slices");
    while (size / tp > bounds->leaves && 2 * tp <= slices && size % (2 * tp) == 0) tp *= 2;
    if (s->imagined_size == 0) rf_config_resolve_int(s->config, "parallel.tensor", tp);
    return tp;
}

static rf_adapter_options adapter_options(const rf_session *s)
{
    rf_adapter_options options = rf_adapter_options_read(s->trained);
    if (!s->start) return options;
    options.use_rslora = s->start->use_rslora;
    options.init = RF_ADAPTER_DEFAULT;
    return options;
}

static int is_bf16(const rf_session *s)
{
    return strcmp(rf_config_string(s->config, "compute.precision"), "bf16") == 0;
}

static rf_status make_decoder(rf_session *s, const rf_bounds *bounds,
                              const session_storage *storage, int training, int with_adapter)
{
    const rf_decoder_options options = {
        .config = &s->model,
        .storage = storage->dtype,
        .storage_of = storage->tensors ? rf_model_files_storage : NULL,
        .storage_context = storage->tensors,
        .trains = training || with_adapter ? s->trains : NULL,
        .adapter = !with_adapter      ? NULL
                   : s->is_estimating ? &rf_adapter_lora
                                      : s->kind,
        .bottleneck = with_adapter ? s->bottleneck : (rf_bottlenecks){0},
        .pruning = with_adapter ? s->pruning : NULL,
        .has_masks = with_adapter && s->is_estimating,
        .measures = with_adapter && s->is_estimating && training,
        .targets = s->start ? s->start->targets : s->targets,
        .adapter_options = adapter_options(s),
        .saved = with_adapter && s->kind ? s->saved : (rf_names){0},
        .training = training,
        .max_tokens = bounds->tokens,
        .max_samples = bounds->samples,
        .max_length = bounds->length,
        .leaves = bounds->leaves,
        .threads = s->threads,
        .is_bf16 = is_bf16(s)};
    if (bounds->length > s->model.max_position)
        rf_log_info(s->log, "note: samples of %lld tokens exceed the model's max_position %lld",
                    (long long)bounds->length, (long long)s->model.max_position);
    return rf_decoder_create(&s->decoder, &s->grid, &options);
}

static rf_status make_grid(rf_session *s, int tp)
{
    const int slices = (int)rf_config_int(s->config, "parallel.slices");
    if (s->imagined_size > 0)
        return rf_grid_imagine(&s->grid, s->imagined_size, s->imagined_rank, tp, slices);
    return rf_grid_create(&s->grid, s->world, tp, slices);
}

void rf_session_unplan(rf_session *s)
{
    rf_decoder_destroy(&s->decoder);
    rf_shared_destroy(&s->shared);
    rf_grid_destroy(&s->grid);
}

static rf_status plan(rf_session *s, const rf_bounds *bounds, int training, int with_adapter)
{
    session_storage storage;
    RF_TRY(session_choose_storage(s, &storage));
    const rf_status status =
        rf_agree(s->world, make_decoder(s, bounds, &storage, training, with_adapter));
    rf_safetensors_close(&storage.tensors);
    RF_TRY(status);
    if (s->start && with_adapter && s->imagined_size == 0)
        RF_TRY_ALL(s->world, session_match_start(s));
    s->borrows_base = rf_resident_lend(s->resident, s->trained, s->decoder);
    RF_TRY(session_share_base(s));
    s->run = rf_arena_counting("run");
    s->step = rf_arena_counting("step");
    s->scratch = rf_arena_counting("scratch");
    rf_decoder_layout(s->decoder, &s->run, &s->step, &s->scratch);
    return RF_OK;
}

rf_status rf_session_plan(rf_session *s, const rf_bounds *bounds, int training, int with_adapter)
{
    RF_TRY(make_grid(s, choose_tensor(s, bounds)));
    return plan(s, bounds, training, with_adapter);
}

rf_status rf_session_replan(rf_session *s, const rf_bounds *bounds, int training)
{
    rf_decoder_destroy(&s->decoder);
    rf_shared_destroy(&s->shared);
    rf_arena_destroy(&s->run);
    rf_arena_destroy(&s->step);
    rf_arena_destroy(&s->scratch);
    return plan(s, bounds, training, 1);
}

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

/* What of the base is trained: a method may leave most of it as it is. */
static void print_trained(const rf_session *s)
{
    const rf_params *params = &s->decoder->params;
    const char *first = "none";
    int64_t count = 0;
    for (int64_t i = params->count - 1; i >= 0; i--) {
        if (!params->row[i].trained) continue;
        first = params->row[i].name;
        count++;
    }
    rf_log_info(s->log, "trained: %lld of %lld tensors of the base model, the first '%s'",
                (long long)count, (long long)params->count, first);
}

void rf_session_print_plan(const rf_session *s)
{
    const rf_params *params = &s->decoder->params;
    char held[SESSION_HELD_BYTES];
    session_held_types(s, held);
    const int64_t total = rf_params_total_global(params);
    const int64_t trained = rf_params_trained_global(params);
    rf_log_info(s->log, "layout: %d rank%s x %d thread%s, dp %d x tp %d, %d slices", s->grid.size,
                s->grid.size == 1 ? "" : "s", s->threads, s->threads == 1 ? "" : "s",
                s->grid.dp_size, s->grid.tp_size, s->grid.slices);
    rf_log_info(s->log, "model: %lld parameters, %lld trained (%.3f %%), base held as %s",
                (long long)total, (long long)trained, 100.0 * (double)trained / (double)total,
                held);
    if (s->decoder->bf16 && !rf_bf16_is_fast() && s->grid.rank == 0)
        rf_log_warning(s->log,
                       "compute.precision: bf16 has no fast products on this CPU (avx512_bf16 "
                       "or amx): its operands are rounded, then multiplied in " RF_REAL_NAME);
    if (s->trains) print_trained(s);
    if (s->decoder->cut_weights > 0)
        rf_log_info(
            s->log,
            "note: %d tensors are held as bf16, since a cut would go through the blocks of %s",
            s->decoder->cut_weights, rf_config_string(s->config, "model.storage"));
    if (s->borrows_base)
        rf_log_info(s->log, "base: %.1f MiB on each node, shared by all runs",
                    mib(rf_resident_bytes(s->resident)));
    if (s->shared.size > 0)
        rf_log_info(s->log, "base: %.1f MiB, held once by the ranks of a node that have the same",
                    mib(s->shared.size));
    rf_log_info(s->log,
                "memory per rank: run %.1f MiB, step %.1f MiB, scratch %.1f MiB, together %.1f MiB",
                mib(s->run.peak), mib(s->step.peak), mib(s->scratch.peak),
                mib(s->run.peak + s->step.peak + s->scratch.peak));
}

/* Memory of this node against what its ranks plan to take. */
static rf_status check_node(const rf_session *s, size_t bytes)
{
    MPI_Comm node;
    MPI_Comm_split_type(s->world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    double mine = (double)bytes, all = 0;
    MPI_Allreduce(&mine, &all, 1, MPI_DOUBLE, MPI_SUM, node);
    MPI_Comm_free(&node);
    struct sysinfo info;
    if (sysinfo(&info) != 0) return RF_OK;
    const double has = (double)info.totalram * (double)info.mem_unit;
    if (all <= has) return RF_OK;
    return rf_fail(RF_RESOURCES,
                   "the ranks of host %s plan %.1f GiB, the host has %.1f GiB. Use more hosts, a "
                   "larger parallel.tensor or a smaller train.micro_tokens",
                   s->log->host, all / 1073741824.0, has / 1073741824.0);
}

static rf_status take(rf_session *s, size_t run, size_t step, size_t scratch)
{
    RF_TRY(rf_arena_create(&s->run, "run", run));
    RF_TRY(rf_arena_create(&s->step, "step", step));
    return rf_arena_create(&s->scratch, "scratch", scratch);
}

rf_status rf_session_allocate(rf_session *s)
{
    const size_t run = s->run.peak, step = s->step.peak, scratch = s->scratch.peak;
    RF_TRY_ALL(s->world,
               check_node(s, run + step + scratch + (s->shared.is_writer ? s->shared.size : 0)));
    RF_TRY_ALL(s->world, take(s, run, step, scratch));
    rf_decoder_layout(s->decoder, &s->run, &s->step, &s->scratch);
    rf_decoder_bind(s->decoder);
    return RF_OK;
}

/* Magnitudes come from the base where a folder of plain LoRA has none. */
static void drop_magnitudes(rf_field *fields, int64_t *count)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < *count; i++)
        if (!strstr(fields[i].path, ".lora_magnitude_vector")) fields[kept++] = fields[i];
    *count = kept;
}

/* The adapter of a PEFT folder, whose tensors are named as the table's rows. */
static rf_status read_start(rf_session *s)
{
    rf_field *fields = NULL;
    int64_t count = 0;
    RF_TRY_ALL(s->world, rf_params_fields(&s->decoder->params, RF_ROWS_PEFT, &fields, &count));
    if (!s->start->use_dora) drop_magnitudes(fields, &count);
    const rf_status status = rf_peft_read(s->start, &s->grid, fields, count);
    free(fields);
    return status;
}

int64_t rf_session_distribute_above(rf_session *s)
{
    if (rf_config_is_auto(s->config, "linalg.distribute_above"))
        rf_config_resolve_int(s->config, "linalg.distribute_above", (int64_t)1 << 27);
    return rf_config_int(s->config, "linalg.distribute_above");
}

static rf_status take_principal(rf_session *s)
{
    rf_adapters *adapters = &s->decoder->adapters;
    const int64_t most = rf_session_distribute_above(s), above = rf_adapters_above(adapters, most);
    if (above > 0 && s->grid.rank == 0)
        rf_log_warning(s->log,
                       "%lld weights have more than linalg.distribute_above = %lld elements: "
                       "ScaLAPACK factorises them, and training depends on the number of ranks",
                       (long long)above, (long long)most);
    return rf_adapters_take_principal(adapters, most);
}

/* Start values of adapters, and what they take from the base. */
static rf_status start_adapters(rf_session *s)
{
    rf_adapters *adapters = &s->decoder->adapters;
    rf_params_init(&s->decoder->params, &s->grid, (uint64_t)rf_config_int(s->trained, "train.seed"),
                   1, 0);
    if (s->start && !s->pruning) /* else they were a stage ago */
        RF_TRY(read_start(s));
    else if (strcmp(rf_config_string(s->trained, "lora.init"), "pissa") == 0)
        RF_TRY(take_principal(s));
    RF_TRY(rf_adapters_move_base(adapters));
    rf_decoder_start_adapters(s->decoder, !(s->start && s->start->use_dora));
    return RF_OK;
}

rf_status rf_session_weights(rf_session *s)
{
    const uint64_t seed = (uint64_t)rf_config_int(s->config, "train.seed");
    const char *path = rf_config_string(s->config, "model.path");
    const int random = strcmp(rf_config_string(s->config, "model.init"), "random") == 0;
    if (s->borrows_base) {
        snprintf(s->base_digest, sizeof s->base_digest, "%s", rf_resident_digest(s->resident));
    } else if (random) {
        rf_params_init(&s->decoder->params, &s->grid, seed, 0, 1);
        snprintf(s->base_digest, sizeof s->base_digest, "random, seed %llu",
                 (unsigned long long)seed);
    } else {
        RF_TRY(s->pruning ? rf_weights_load_pruned(s->decoder, s->pruning, path)
                          : rf_weights_load(&s->grid, &s->decoder->params, path, s->model.tied));
        session_publish_base(s);
        RF_TRY(rf_weights_digest(s->world, path, s->base_digest));
    }
    return s->decoder->adapted || s->decoder->bottleneck.size > 0 ? start_adapters(s) : RF_OK;
}
