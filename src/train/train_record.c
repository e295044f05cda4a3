/* Telemetry of a run: OUTPUT/run.h5. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "refract/io/telemetry.h"
#include "train_parts.h"

/* Adapted modules in model order, with the places of their factors in the table. */
rf_status training_record_modules(training *t)
{
    const rf_decoder *m = t->session.decoder;
    rf_recorder *rec = &t->recorder;
    rec->module = calloc((size_t)m->adapted + 1, sizeof *rec->module);
    rec->names = calloc((size_t)m->adapted + 1, sizeof *rec->names);
    if (!rec->module || !rec->names) return rf_fail(RF_RESOURCES, "no memory for telemetry");
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const int kind = (int)(i % RF_LINEARS);
        if (block->adapter_row[kind] < 0) continue;
        const rf_linear *linear = &block->linear[kind];
        const int64_t at = rec->modules++;
        const size_t length = strlen(linear->name) - strlen(".weight");
        memcpy(rec->names[at], linear->name, length);
        rec->module[at] = (rf_telemetry_module){
            .name = rec->names[at],
            .kind = strrchr(rec->names[at], '.') + 1,
            .layer = i / RF_LINEARS,
            .d_in = linear->shape.cols,
            .d_out = linear->shape.rows,
            .r = block->adapter[kind].r,
            .scaling = (double)(rf_real)rf_adapter_scaling(&block->adapter[kind])};
        if (block->adapter[kind].r > rec->rank_r) rec->rank_r = block->adapter[kind].r;
    }
    return RF_OK;
}

static rf_status take_memory(training *t)
{
    rf_recorder *rec = &t->recorder;
    const size_t cells = (size_t)(rec->modules * rec->rank_r) + 1;
    rec->parts = calloc(2 * cells * (size_t)t->session.grid.slices, sizeof *rec->parts);
    rec->norms = calloc(3 * cells, sizeof *rec->norms);
    rec->row = calloc((size_t)rec->modules + 1, sizeof *rec->row);
    if (!rec->parts || !rec->norms || !rec->row)
        return rf_fail(RF_RESOURCES, "no memory for telemetry");
    return RF_OK;
}

rf_status training_record_stage(training *t)
{
    rf_recorder *rec = &t->recorder;
    rec->own = rec->own_rank_r = 0;
    for (int64_t i = 0; i < rec->modules && rec->own < t->modules.count; i++) {
        const rf_module *module = &t->modules.item[rec->own];
        if (strcmp(rec->names[i], module->name) != 0) continue;
        rec->row[rec->own++] = i;
        if (module->r > rec->own_rank_r) rec->own_rank_r = module->r;
    }
    RF_ASSERT(rec->own == t->modules.count, "%lld modules of the stage are the run's",
              (long long)rec->own);
    if (!t->session.pruning) return RF_OK;
    const rf_telemetry_stage stage = {.first_step = t->trainer.first,
                                      .row = rec->row,
                                      .module_count = rec->own,
                                      .rank_r = rec->own_rank_r};
    return rf_telemetry_enter(rec->file, &stage);
}

/* How large the run is; returns the number of attributes. */
static int add_sizes(const training *t, rf_attribute *attributes)
{
    const rf_params *params = &t->session.decoder->params;
    attributes[0] = (rf_attribute){.name = "total_steps", .number = t->steps};
    attributes[1] = (rf_attribute){.name = "parameters", .number = rf_params_total_global(params)};
    attributes[2] =
        (rf_attribute){.name = "trained_parameters", .number = rf_params_trained_global(params)};
    return 3;
}

static rf_status open_file(training *t)
{
    rf_recorder *rec = &t->recorder;
    const rf_session *s = &t->session;
    char path[PATH_MAX];
    rf_attribute attributes[RF_ORIGIN_ATTRIBUTES + 3];
    const char *phases[RF_STEP_PHASES + RF_PHASES];
    const rf_origin origin = training_origin(t);
    int attribute_count = rf_origin_attributes(&origin, attributes);
    attribute_count += add_sizes(t, attributes + attribute_count);
    for (int i = 0; i < RF_STEP_PHASES; i++) phases[i] = rf_step_phase_name(i);
    for (int i = 0; i < RF_PHASES; i++) phases[RF_STEP_PHASES + i] = rf_phase_name((rf_phase)i);
    const rf_telemetry_data data[] = {
        {"train", t->samples->account},
        {"eval", t->held_out ? t->held_out->account : (rf_account){0}}};
    RF_TRY(rf_run_folder_file(t->run.folder, "run.h5", path, sizeof path));
    const rf_telemetry_options options = {.path = path,
                                          .resume_step = t->trainer.step,
                                          .evaluated_step = t->evaluated_step,
                                          .attributes = attributes,
                                          .attribute_count = attribute_count,
                                          .modules = rec->module,
                                          .module_count = rec->modules,
                                          .rank_r = rec->rank_r,
                                          .phases = phases,
                                          .phase_count = RF_STEP_PHASES + RF_PHASES,
                                          .data = data,
                                          .data_count = t->held_out ? 2 : 1,
                                          .layers = s->model.layers,
                                          .heads = s->model.heads,
                                          .d_ff = s->model.d_ff};
    return rf_telemetry_open(&rec->file, s->grid.rank, t->log, &options);
}

rf_status training_record_open(training *t)
{
    RF_TRY_ALL(t->env->world, take_memory(t));
    RF_TRY_ALL(t->env->world, open_file(t));
    return rf_agree(t->env->world, training_record_stage(t));
}

rf_status training_record_close(training *t)
{
    rf_recorder *rec = &t->recorder;
    const rf_status status = rf_telemetry_close(&rec->file);
    free(rec->module);
    free(rec->names);
    free(rec->parts);
    free(rec->norms);
    free(rec->row);
    *rec = (rf_recorder){0};
    return status;
}

/* Squares of one factor's rank vectors on this rank: rows of A, columns of B. */
static void add_squares(double *parts, int slices, const rf_grid *grid, const rf_param *row,
                        int rank_is_row)
{
    const int cut = row->shape.split != RF_REPLICATED;
    for (int s = cut ? grid->slice_begin : 0; s < (cut ? grid->slice_end : 1); s++) {
        const rf_real *x =
            (const rf_real *)row->data + rf_slice_offset(&row->shape, grid->slice_begin, s);
        const int64_t rows = rf_slice_rows(&row->shape, s), cols = rf_slice_cols(&row->shape, s);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++) {
                const double value = (double)x[i * cols + j];
                parts[(rank_is_row ? i : j) * slices + s] += value * value;
            }
    }
}

/* norms [3][modules, R]: importance, norm_a, norm_b; the same bits on every layout. */
static void measure_ranks(training *t)
{
    rf_recorder *rec = &t->recorder;
    const rf_decoder *m = t->session.decoder;
    const rf_grid *grid = &t->session.grid;
    const int slices = grid->slices;
    const int64_t cells = rec->own * rec->own_rank_r;
    double *a = rec->parts, *b = rec->parts + cells * slices;
    memset(rec->parts, 0, (size_t)(2 * cells * slices) * sizeof *rec->parts);
    int64_t at = 0;
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const int64_t first = m->block[i / RF_LINEARS].adapter_row[i % RF_LINEARS];
        if (first < 0) continue;
        add_squares(a + at * slices, slices, grid, &m->params.row[first], 1);
        add_squares(b + at * slices, slices, grid, &m->params.row[first + 1], 0);
        at += rec->own_rank_r;
    }
    /* a part is non-zero on one rank or equal on all: or-ing the bits puts them together */
    if (grid->tp_size > 1)
        MPI_Allreduce(MPI_IN_PLACE, rec->parts, (int)(2 * cells * slices), MPI_UINT64_T, MPI_BOR,
                      grid->tp);
    for (int64_t i = 0; i < cells; i++) {
        const int64_t own = i / rec->own_rank_r;
        double squares[2] = {0, 0};
        for (int s = 0; s < slices; s++) {
            squares[0] += a[i * slices + s];
            squares[1] += b[i * slices + s];
        }
        const int exists = i % rec->own_rank_r < t->modules.item[own].r;
        rec->norms[cells + i] = exists ? sqrt(squares[0]) : NAN;
        rec->norms[2 * cells + i] = exists ? sqrt(squares[1]) : NAN;
        rec->norms[i] =
            rec->norms[cells + i] * rec->norms[2 * cells + i] * rec->module[rec->row[own]].scaling;
    }
}

static int records_ranks(const training *t, int64_t step)
{
    const int64_t every = rf_config_int(t->config, "telemetry.ranks_every");
    return t->recorder.modules > 0 && every > 0 && step % every == 0;
}

void training_record_ranks(training *t, int64_t step)
{
    if (!records_ranks(t, step)) return;
    measure_ranks(t);
    rf_methods_importance(&t->trainer.methods, t->recorder.norms, t->recorder.own_rank_r);
}

static rf_status record_ranks(const training *t, int64_t step)
{
    const rf_recorder *rec = &t->recorder;
    const int64_t cells = rec->own * rec->own_rank_r;
    if (!records_ranks(t, step)) return RF_OK;
    return rf_telemetry_ranks(rec->file, step, rec->norms, rec->norms + cells,
                              rec->norms + 2 * cells);
}

/* Mean over ranks of the step's phases; the decoder's clocks run on from what they were before. */
static void mean_phases(const training *t, const rf_step_report *report, double *mean)
{
    double mine[RF_STEP_PHASES + RF_PHASES];
    memcpy(mine, report->phase, sizeof report->phase);
    for (int i = 0; i < RF_PHASES; i++)
        mine[RF_STEP_PHASES + i] = t->session.decoder->seconds[i] - t->recorder.before[i];
    MPI_Reduce(mine, mean, RF_STEP_PHASES + RF_PHASES, MPI_DOUBLE, MPI_SUM, 0, t->env->world);
    for (int i = 0; i < RF_STEP_PHASES + RF_PHASES; i++) mean[i] /= t->session.grid.size;
}

static rf_status record_step(training *t, const rf_step_report *report, const double *phases)
{
    const rf_step_row row = {.step = report->step,
                             .loss = report->loss,
                             .grad_norm = report->grad_norm,
                             .learning_rate = report->learning_rate,
                             .tokens = report->tokens,
                             .label_tokens = report->label_tokens,
                             .samples = report->samples,
                             .seconds = report->seconds,
                             .phase_seconds = phases};
    RF_TRY(rf_telemetry_step(t->recorder.file, &row));
    const rf_method_step step = rf_trainer_method_step(&t->trainer, report);
    RF_TRY(rf_methods_report(&t->trainer.methods, &step, t->recorder.file));
    return record_ranks(t, report->step);
}

rf_status training_record_step(training *t, const rf_step_report *report)
{
    double phases[RF_STEP_PHASES + RF_PHASES] = {0};
    mean_phases(t, report, phases);
    return rf_agree(t->env->world, record_step(t, report, phases));
}

rf_status training_record_evaluation(training *t)
{
    const rf_eval_row row = {.step = t->trainer.step,
                             .loss = t->evaluation.loss,
                             .label_tokens = t->evaluation.label_tokens,
                             .correct = t->evaluation.correct,
                             .total = t->evaluation.samples};
    return rf_agree(t->env->world, rf_telemetry_eval(t->recorder.file, &row));
}
