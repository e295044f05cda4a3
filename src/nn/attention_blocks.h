/** What the forward and backward passes of attention share: blocks, tasks, masks. Private to nn. */
#ifndef RF_NN_ATTENTION_BLOCKS_H
#define RF_NN_ATTENTION_BLOCKS_H

#include "refract/linalg/vecmath.h"
#include "refract/nn/attention.h"

enum {
    RF_KEY_BLOCK = 192,  /**< keys of a block; a multiple of RF_SUM_LANES */
    RF_STACKED_ROWS = 96 /**< aimed at: queries of a block, the heads of a group stacked */
};

/** Queries of one head in a block: few enough that little is computed above the diagonal. */
static inline int64_t rf_query_rows(int64_t group)
{
    const int64_t rows = (RF_STACKED_ROWS / group + 8) / 16 * 16;
    return rows < 16 ? 16 : rows;
}

/** Rows of a block as bf16 products take them: few shapes, few kernels. */
static inline int64_t rf_whole_stacked(int64_t stacked)
{
    return (stacked + RF_BF16_ROWS - 1) / RF_BF16_ROWS * RF_BF16_ROWS;
}

/** Keys likewise. */
static inline int64_t rf_whole_keys(int64_t keys)
{
    return (keys + RF_SUM_LANES - 1) / RF_SUM_LANES * RF_SUM_LANES;
}

/** One thread's operands in bf16, each dense, with zeros behind its last row. */
typedef struct rf_attention_halves {
    const rf_bf16 *bf16;     /**< NULL: products in rf_real */
    uint16_t *query, *d_out; /**< [whole stacked, d_head] */
    uint16_t *key, *value;   /**< [RF_KEY_BLOCK + RF_SUM_LANES, d_head] */
    uint16_t *p, *ds;        /**< [whole stacked, whole keys] */
    rf_real *part;           /**< [RF_KEY_BLOCK, d_head] or [whole stacked, d_head] */
    rf_real *scratch;
} rf_attention_halves;

/** Cuts them out of the part of a thread's items that is theirs. */
rf_attention_halves rf_attention_halves_of(const rf_bf16 *bf16, rf_real *items, int64_t group,
                                           int64_t d_head);

/** Where that part begins: reals that blocks of queries need in rf_real. */
int64_t rf_attention_reals(int64_t group, int64_t d_head);

/** to [whole, cols] = rows of x (row stride `stride`) in bf16, then zeros. */
void rf_halve_rows(uint16_t *to, const rf_real *x, int64_t stride, int64_t rows, int64_t whole,
                   int64_t cols);

/** Queries of one sample and key/value head, the heads of its group stacked: [group, rows]. */
typedef struct rf_query_block {
    int64_t row;      /**< its first query's row in q, o, lse */
    int64_t rows;     /**< queries of one head */
    int64_t stacked;  /**< group * rows */
    int64_t position; /**< of its first query among the sample's keys */
    int64_t head;     /**< first query head */
} rf_query_block;

/** Queries [begin, end) of a sample. */
rf_query_block rf_query_block_of(const rf_attention *shape, int64_t sample, int64_t kv_head,
                                 int64_t begin, int64_t end);

/** to [stacked, d_head] = scale * the block's rows of x. */
void rf_query_block_gather(rf_real *to, const rf_real *x, int64_t stride, rf_real scale,
                           const rf_query_block *block, int64_t d_head);

typedef struct rf_span {
    int64_t begin, end;
} rf_span;

/** Keys that at least one of the queries at positions [first, last] sees. */
static inline rf_span rf_visible_keys(int64_t window, int64_t first, int64_t last)
{
    const int64_t low = window > 0 ? first - window + 1 : 0;
    return (rf_span){low > 0 ? low : 0, last + 1};
}

/** The part of keys [begin, end) that the query at `position` sees, counted from begin. */
static inline rf_span rf_visible_part(int64_t window, int64_t position, int64_t begin, int64_t end)
{
    const rf_span keys = rf_visible_keys(window, position, position);
    const int64_t low = keys.begin > begin ? keys.begin - begin : 0;
    const int64_t high = (keys.end < end ? keys.end : end) - begin;
    return (rf_span){low, high > low ? high : low};
}

/** A span widened to whole rows of lanes, as sums and maxima want it. */
static inline rf_span rf_whole_lanes(rf_span span)
{
    return (rf_span){span.begin / RF_SUM_LANES * RF_SUM_LANES,
                     (span.end + RF_SUM_LANES - 1) / RF_SUM_LANES * RF_SUM_LANES};
}

/** Queries and keys of a sample. */
static inline int64_t rf_sample_queries(const rf_attention *shape, int64_t sample)
{
    return shape->q_begin[sample + 1] - shape->q_begin[sample];
}

static inline int64_t rf_sample_keys(const rf_attention *shape, int64_t sample)
{
    return shape->k_end[sample] - shape->k_begin[sample];
}

/**
 * Lists the tasks of the forward pass (blocks of queries) or the backward pass (blocks of keys),
 * those that see or are seen most first, key blocks of a sample in rising order; returns their
 * number.
 */
int64_t rf_attention_list(const rf_attention_scratch *scratch, const rf_attention_pass *passes,
                          int count, int backward);

#endif
