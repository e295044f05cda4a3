/* The prune between the two stages of a run: what is kept is carried into a smaller model. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "refract/comm/agree.h"
#include "train_parts.h"

/* Trained values on their way: global, already cut. */
typedef struct carried {
    char name[RF_NAME_BYTES];
    int64_t rows, cols;
    rf_real *data; /* [rows, cols]; owned */
} carried;

typedef struct luggage {
    carried *item; /* [count]; owned */
    int64_t count;
    int64_t *features, *ranks; /* indices kept of a module; owned */
} luggage;

static rf_status no_memory(void)
{
    return rf_fail(RF_RESOURCES, "no memory to carry adapters over the prune");
}

/* Where a trained tensor belongs: indices kept of its rows and columns, NULL = all. */
typedef struct role {
    const int64_t *row_index, *col_index;
    int64_t rows, cols;
} role;

/* A tensor on every rank, then the part of it that is kept. Collective over world. */
static rf_status carry(luggage *l, const rf_decoder *m, const rf_param *row, const role *part)
{
    const rf_grid *grid = m->grid;
    carried *to = &l->item[l->count];
    rf_real *all = calloc((size_t)(row->shape.rows * row->shape.cols + 1), sizeof *all);
    snprintf(to->name, sizeof to->name, "%s", row->name);
    to->rows = part->rows;
    to->cols = part->cols;
    to->data = malloc((size_t)(part->rows * part->cols + 1) * sizeof *to->data);
    l->count++;
    rf_status status = rf_agree(grid->world, all && to->data ? RF_OK : no_memory());
    if (status == RF_OK)
        status = rf_tensor_collect(grid, 0, grid->rank == 0 ? all : NULL, row->data, &row->shape,
                                   sizeof *all);
    for (int64_t i = 0; i < row->shape.rows && status == RF_OK; i++)
        MPI_Bcast(all + i * row->shape.cols, (int)(row->shape.cols * (int64_t)sizeof *all),
                  MPI_BYTE, 0, grid->world);
    for (int64_t i = 0; i < part->rows && status == RF_OK; i++)
        for (int64_t j = 0; j < part->cols; j++)
            to->data[i * part->cols + j] =
                all[(part->row_index ? part->row_index[i] : i) * row->shape.cols +
                    (part->col_index ? part->col_index[j] : j)];
    free(all);
    return status;
}

/* What is kept of a tensor whose cut dimension is the module's. */
static role role_of(const rf_param *row, const int64_t *features, int64_t count)
{
    role part = {.rows = row->shape.rows, .cols = row->shape.cols};
    if (row->shape.split == RF_ROWS) {
        part.row_index = features;
        part.rows = count;
    } else if (row->shape.split == RF_COLS) {
        part.col_index = features;
        part.cols = count;
    }
    return part;
}

/* The adapter of one linear layer. */
static rf_status carry_linear(luggage *l, const rf_decoder *m, const rf_pruned *pruned, int64_t i,
                              const uint8_t *rank_kept)
{
    const rf_block *block = &m->block[i / RF_LINEARS];
    const int kind = (int)(i % RF_LINEARS);
    const int64_t features =
        rf_pruning_features(pruned->pruning, i / RF_LINEARS, (rf_linear_kind)kind, l->features);
    int64_t ranks = 0;
    if (pruned->pruning->rank[i] == 0) return RF_OK;
    for (int64_t k = 0; k < block->adapter[kind].r; k++)
        if (rank_kept[k]) l->ranks[ranks++] = k;
    const rf_param *a = &m->params.row[block->adapter_row[kind]], *b = a + 1;
    role of_a = role_of(a, l->features, features), of_b = role_of(b, l->features, features);
    of_a.row_index = of_b.col_index = l->ranks;
    of_a.rows = of_b.cols = ranks;
    RF_TRY(carry(l, m, a, &of_a));
    return carry(l, m, b, &of_b);
}

static int is_of_linear(const rf_decoder *m, int64_t row)
{
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        if (row == block->weight_row[i % RF_LINEARS] || row == block->bias_row[i % RF_LINEARS])
            return 1;
    }
    return m->params.row[row].adapter;
}

/* Everything that is trained but masks. Collective over world. */
static rf_status pack(luggage *l, const rf_decoder *m, const rf_pruned *pruned)
{
    int64_t most = 1, at = 0;
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_linear *linear = &m->block[i / RF_LINEARS].linear[i % RF_LINEARS];
        if (linear->shape.rows > most) most = linear->shape.rows;
        if (linear->shape.cols > most) most = linear->shape.cols;
        if (linear->lowrank && linear->lowrank->r > most) most = linear->lowrank->r;
    }
    l->item = calloc((size_t)m->params.count + 1, sizeof *l->item);
    l->features = calloc((size_t)(2 * most), sizeof *l->features);
    RF_TRY_ALL(m->grid->world, l->item && l->features ? RF_OK : no_memory());
    l->ranks = l->features + most;
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const int kind = (int)(i % RF_LINEARS);
        RF_TRY(carry_linear(l, m, pruned, i, pruned->rank_kept + at));
        if (block->adapter_row[kind] >= 0) at += block->adapter[kind].r;
    }
    for (int64_t i = 0; i < m->params.count; i++) {
        const rf_param *row = &m->params.row[i];
        const role all = {.rows = row->shape.rows, .cols = row->shape.cols};
        if (row->trained && !is_of_linear(m, i)) RF_TRY(carry(l, m, row, &all));
    }
    return RF_OK;
}

static void unpack(const luggage *l, rf_decoder *m)
{
    for (int64_t i = 0; i < l->count; i++) {
        const carried *from = &l->item[i];
        const rf_param *row = rf_params_find(&m->params, from->name);
        RF_ASSERT(row && row->trained && row->shape.rows == from->rows &&
                      row->shape.cols == from->cols,
                  "'%s' is carried with another shape", from->name);
        rf_shape_scatter(row->data, from->data, &row->shape, m->grid->slice_begin,
                         m->grid->slice_end, sizeof *from->data);
    }
    rf_decoder_start_adapters(m, 1);
}

static void throw_away(luggage *l)
{
    for (int64_t i = 0; i < l->count; i++) free(l->item[i].data);
    free(l->item);
    free(l->features);
}

static double mib(size_t bytes)
{
    return (double)bytes / 1048576.0;
}

static size_t planned(const rf_session *s)
{
    return s->run.peak + s->step.peak + s->scratch.peak;
}

/* The second stage on what is left: another plan, other memory, nothing of the optimizer's. */
static rf_status rebuild(training *t, const luggage *l)
{
    rf_session *s = &t->session;
    const size_t before = planned(s);
    s->is_estimating = 0;
    RF_TRY(training_plan_stage(t));
    rf_session_print_plan(s);
    rf_log_info(t->log, "memory per rank before the prune: %.1f MiB, after it: %.1f MiB",
                mib(before), mib(planned(s)));
    RF_TRY(training_take_memory(t));
    unpack(l, s->decoder);
    rf_methods_start(&t->trainer.methods);
    return RF_OK;
}

rf_status training_prune(training *t, const rf_step_report *report)
{
    rf_session *s = &t->session;
    rf_pruned pruned = {0};
    luggage l = {0};
    const rf_method_step step = rf_trainer_method_step(&t->trainer, report);
    rf_status status = rf_agree(
        t->env->world, rf_methods_prune(&t->trainer.methods, &step, t->recorder.file, &pruned));
    if (status == RF_OK) status = pack(&l, s->decoder, &pruned);
    s->pruning = pruned.pruning;
    if (status == RF_OK) status = rebuild(t, &l);
    if (status == RF_OK) status = rf_agree(t->env->world, training_record_stage(t));
    throw_away(&l);
    free(pruned.rank_kept);
    return status;
}
