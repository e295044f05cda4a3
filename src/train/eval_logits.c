#include <stdlib.h>

#include "eval_parts.h"
#include "refract/comm/agree.h"
#include "refract/comm/stop.h"
#include "refract/store/h5.h"

/* What is being written: on root the file, everywhere the rows of one piece. */
typedef struct writing {
    rf_h5 *file;     /* NULL but on root */
    rf_real *logits; /* [RF_HEAD_ROWS, vocab] */
    int64_t done, vocab;
} writing;

static rf_status make_sets(writing *w, int64_t tokens)
{
    const rf_h5_layout logits = rf_h5_matrix(RF_DTYPE_REAL, tokens, w->vocab);
    const rf_h5_layout whole = rf_h5_vector(RF_I64, tokens);
    RF_TRY(rf_h5_create_set(w->file, "/logits", &logits));
    RF_TRY(rf_h5_describe(w->file, "/logits", "1", "logits of the token after each position"));
    RF_TRY(rf_h5_create_set(w->file, "/sample", &whole));
    RF_TRY(rf_h5_describe(w->file, "/sample", "1", "index of the sample"));
    RF_TRY(rf_h5_create_set(w->file, "/position", &whole));
    return rf_h5_describe(w->file, "/position", "1", "position within the sample, from 0");
}

static rf_status open_all(writing *w, const rf_session *s, const char *path, int64_t tokens)
{
    w->vocab = s->model.vocab;
    w->logits = malloc(sizeof *w->logits * (size_t)(RF_HEAD_ROWS * w->vocab));
    if (!w->logits) return rf_fail(RF_RESOURCES, "no memory for logits");
    if (s->grid.rank != 0) return RF_OK;
    RF_TRY(rf_h5_open(&w->file, path, RF_H5_CREATE, MPI_COMM_NULL));
    return make_sets(w, tokens);
}

static rf_status write_rows(writing *w, const rf_micro *micro, int64_t first, int64_t count)
{
    int64_t sample[RF_HEAD_ROWS], position[RF_HEAD_ROWS], s = 0;
    if (!w->file) return RF_OK;
    for (int64_t i = 0; i < count; i++) {
        while (first + i >= micro->begin[s + 1]) s++;
        sample[i] = micro->sample[s];
        position[i] = micro->position[first + i];
    }
    const int64_t begin[2] = {w->done, 0}, size[2] = {count, w->vocab};
    RF_TRY(rf_h5_write(w->file, "/logits", RF_DTYPE_REAL, begin, size, w->logits));
    RF_TRY(rf_h5_write(w->file, "/sample", RF_I64, begin, size, sample));
    return rf_h5_write(w->file, "/position", RF_I64, begin, size, position);
}

static rf_status write_micro(writing *w, const rf_session *s, rf_evaluator *evaluator,
                             const rf_micro *micro)
{
    rf_decoder_forward(s->decoder, rf_micro_view_fill(&evaluator->view, micro, 0, 0));
    for (int64_t first = 0; first < micro->tokens; first += RF_HEAD_ROWS) {
        int64_t row[RF_HEAD_ROWS];
        const int64_t left = micro->tokens - first;
        const int64_t count = left < RF_HEAD_ROWS ? left : RF_HEAD_ROWS;
        for (int64_t i = 0; i < count; i++) row[i] = first + i;
        rf_decoder_logits(s->decoder, row, count, w->logits);
        RF_TRY_ALL(s->world, write_rows(w, micro, first, count));
        w->done += count;
    }
    return RF_OK;
}

rf_status eval_write_logits(const rf_session *s, rf_evaluator *evaluator, const char *path,
                            const rf_stop_watch *watch)
{
    writing w = {0};
    const rf_step_batches *all = rf_batches_step(evaluator->batches, 0);
    rf_status status = rf_agree(s->world, open_all(&w, s, path, all->tokens));
    for (int64_t i = 0; i < all->micro_count && status == RF_OK; i++)
        status =
            rf_stop_agreed(s->world, watch) != RF_STOP_NONE
                ? rf_fail(RF_STOPPED, "stopped while writing logits. Run the same command again")
                : write_micro(&w, s, evaluator, &all->micro[i]);
    free(w.logits);
    const rf_status closed = rf_agree(s->world, rf_h5_close(&w.file));
    return status == RF_OK ? closed : status;
}
