/* Frozen base weights, once on each node. */
#include <string.h>

#include "refract/comm/agree.h"
#include "session_parts.h"

/* The most ranks of any node that hold the same slices. Collective over world. */
static int most_alike(const rf_grid *grid)
{
    MPI_Comm node;
    int alike = 1;
    MPI_Comm_split_type(grid->dp, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_size(node, &alike);
    MPI_Comm_free(&node);
    MPI_Allreduce(MPI_IN_PLACE, &alike, 1, MPI_INT, MPI_MAX, grid->world);
    return alike;
}

/* Only weights that stay as the files have them. The same on all ranks. */
static int may_share(const rf_session *s)
{
    return !s->borrows_base && s->grid.dp_size > 1 && !rf_config_has_method(s->trained, "light") &&
           strcmp(rf_config_string(s->config, "model.init"), "pretrained") == 0 &&
           !rf_decoder_moves_base(s->decoder);
}

static int is_frozen(const rf_param *row)
{
    return !row->adapter && !row->trained;
}

/* A plan for ranks that are not there: what would be lent takes no memory of theirs. */
static void imagine(rf_session *s, size_t bytes)
{
    static char nowhere;
    rf_params *params = &s->decoder->params;
    for (int64_t i = 0; i < params->count; i++)
        if (is_frozen(&params->row[i])) params->row[i].lent = &nowhere;
    s->shared.size = bytes;
}

/* Rows go round among the ranks that share them, so that all of them read. */
static void lend(rf_session *s)
{
    rf_params *params = &s->decoder->params;
    char *at = s->shared.base;
    int rank = 0, size = 1;
    MPI_Comm_rank(s->shared.node, &rank);
    MPI_Comm_size(s->shared.node, &size);
    for (int64_t i = 0, turn = 0; i < params->count; i++) {
        rf_param *row = &params->row[i];
        if (!is_frozen(row)) continue;
        row->lent = at;
        row->is_filled = turn++ % size != rank;
        at += rf_param_bytes(row);
    }
}

rf_status session_share_base(rf_session *s)
{
    size_t bytes = 0;
    const rf_params *params = &s->decoder->params;
    s->shared = (rf_shared){.node = MPI_COMM_NULL, .window = MPI_WIN_NULL};
    if (!may_share(s)) return RF_OK;
    for (int64_t i = 0; i < params->count; i++)
        if (is_frozen(&params->row[i])) bytes += rf_param_bytes(&params->row[i]);
    if (bytes > 0 && s->imagined_size > 0) imagine(s, bytes);
    if (bytes == 0 || s->imagined_size > 0 || most_alike(&s->grid) == 1) return RF_OK;
    if (rf_agree(s->world, rf_shared_create(&s->shared, s->grid.dp, bytes)) == RF_OK) {
        lend(s);
        return RF_OK;
    }
    rf_shared_destroy(&s->shared);
    if (s->grid.rank == 0)
        rf_log_warning(s->log, "every rank holds a base of its own: %s", rf_status_message());
    return RF_OK;
}

void session_publish_base(const rf_session *s)
{
    if (s->shared.size > 0) rf_shared_publish(&s->shared);
}
