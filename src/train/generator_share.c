/* Completions of one replica, on every rank. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "generator_parts.h"
#include "refract/comm/agree.h"

/* What stands before a completion's ids and text. */
typedef struct header {
    int64_t at, count, finish, length;
} header;

static rf_status pack(const rf_generator *g, rf_text *packed)
{
    for (int64_t i = 0; i < g->count; i++) {
        const sequence *q = &g->sequence[i];
        const header head = {q->at, q->count, q->finish, (int64_t)q->grown.text.length};
        if (!q->is_done) continue;
        RF_TRY(rf_text_append(packed, (const char *)&head, sizeof head));
        RF_TRY(rf_text_append(packed, (const char *)q->ids, (size_t)q->count * sizeof *q->ids));
        if (head.length > 0)
            RF_TRY(rf_text_append(packed, q->grown.text.bytes, q->grown.text.length));
    }
    if (packed->length <= INT_MAX) return RF_OK;
    return rf_fail(RF_RESOURCES, "more than 2 GiB of text at once. Use a smaller batch");
}

static rf_status take(rf_completion *to, const header *head, const char *rest)
{
    const size_t ids = (size_t)head->count * sizeof *to->ids, length = (size_t)head->length;
    *to = (rf_completion){.ids = malloc(ids + sizeof *to->ids),
                          .count = head->count,
                          .text = malloc(length + 1),
                          .finish = (rf_finish)head->finish};
    if (!to->ids || !to->text) {
        rf_completion_free(to);
        return rf_fail(RF_RESOURCES, "no memory for a completion");
    }
    memcpy(to->ids, rest, ids);
    memcpy(to->text, rest + ids, length);
    to->text[length] = 0;
    return RF_OK;
}

static rf_status unpack(const generation *now, const char *bytes, size_t length)
{
    header head;
    for (size_t at = 0; at < length;) {
        memcpy(&head, bytes + at, sizeof head);
        at += sizeof head;
        RF_TRY(take(&now->completions[head.at], &head, bytes + at));
        at += (size_t)head.count * sizeof(int32_t) + (size_t)head.length;
    }
    return RF_OK;
}

/* Where each replica's bytes go. */
static rf_status place(const rf_grid *grid, const rf_text *mine, int **counts, char **all,
                       size_t *total)
{
    int *sizes = malloc(2 * (size_t)grid->dp_size * sizeof *sizes), own = (int)mine->length;
    *counts = sizes;
    RF_ASSERT(sizes, "no memory for %d numbers", 2 * grid->dp_size);
    MPI_Allgather(&own, 1, MPI_INT, sizes, 1, MPI_INT, grid->dp);
    *total = 0;
    for (int q = 0; q < grid->dp_size; q++) {
        sizes[grid->dp_size + q] = (int)*total;
        *total += (size_t)sizes[q];
    }
    *all = malloc(*total + 1);
    if (!*all || *total > INT_MAX)
        return rf_fail(RF_RESOURCES, "no memory for %.1f MiB of text. Use a smaller batch",
                       (double)*total / 1048576.0);
    return RF_OK;
}

rf_status generator_spread(generation *now, int64_t first, int64_t count)
{
    const rf_session *s = now->g->session;
    rf_text mine = {0};
    char *all = NULL;
    int *counts = NULL;
    size_t total = 0;
    for (int64_t i = 0; i < count; i++) rf_completion_free(&now->completions[first + i]);
    rf_status status = rf_agree(s->world, pack(now->g, &mine));
    if (status == RF_OK) status = rf_agree(s->world, place(&s->grid, &mine, &counts, &all, &total));
    if (status == RF_OK) {
        MPI_Allgatherv(mine.bytes, (int)mine.length, MPI_BYTE, all, counts,
                       counts + s->grid.dp_size, MPI_BYTE, s->grid.dp);
        status = rf_agree(s->world, unpack(now, all, total));
    }
    free(counts);
    free(all);
    free(mine.bytes);
    return status;
}
