/**
 * Causal attention with grouped key/value heads, packed samples and a sliding window, block by
 * block with a running softmax: no [tokens, tokens] matrix is ever stored, and work is done only
 * where the mask allows.
 *
 * Dao et al. 2022, arXiv:2205.14135, and Dao 2023, arXiv:2307.08691. Each (sample, key/value head)
 * is computed apart, with block shapes that follow from the sample and the group alone: its bits do
 * not depend on the other samples and heads of the call, nor on the threads.
 */
#ifndef RF_NN_ATTENTION_H
#define RF_NN_ATTENTION_H

#include <stdatomic.h>
#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/base/real.h"
#include "refract/linalg/bf16.h"
#include "refract/linalg/tiles.h"

/**
 * What attends to what. The queries of sample s are rows q_begin[s] .. q_begin[s + 1] and its keys
 * rows k_begin[s] .. k_end[s]; there are at least as many keys, and the queries belong to the last
 * ones (the earlier ones may come from a cache). In training both are the same rows: k_begin =
 * begin, k_end = begin + 1.
 *
 * Query head h of key/value head g stands at columns (g * group + h) * d_head.
 */
typedef struct rf_attention {
    int64_t d_head;
    int64_t kv_heads; /**< of this slice */
    int64_t group;    /**< query heads per key/value head */
    int64_t window;   /**< key j visible to i iff i - window < j <= i; 0 = all j <= i */
    int64_t samples;
    const int64_t *q_begin; /**< [samples + 1] */
    const int64_t *k_begin; /**< [samples] */
    const int64_t *k_end;   /**< [samples] */
    int64_t q_stride;       /**< items between rows of q and dq */
    int64_t o_stride;       /**< of o and do */
    int64_t kv_stride;      /**< of k, v, dk, dv */
} rf_attention;

/**
 * One slice of heads with its arrays; rows = q_begin[samples].
 *
 *   o, d_o, q, dq  [rows, kv_heads * group * d_head]
 *   k, v, dk, dv   [key rows, kv_heads * d_head]
 *   lse            [kv_heads * group, rows]           log of the softmax's sum, kept for backward
 */
typedef struct rf_attention_pass {
    rf_attention shape;
    rf_real *o, *lse; /**< written by forward, read by backward */
    const rf_real *q, *k, *v;
    const rf_real *d_o; /**< backward only, like the gradients */
    rf_real *dq, *dk, *dv;
} rf_attention_pass;

/** One piece of work of one thread. */
typedef struct rf_attention_task {
    const rf_attention_pass *pass;
    int64_t sample, kv_head;
    int64_t block; /**< of queries (forward) or keys (backward), within the sample */
    int64_t first; /**< query blocks of the slices, samples and heads before this one */
    int64_t heads; /**< query heads of the slices before this one */
} rf_attention_task;

/** Scratch that all threads of a call share. */
typedef struct rf_attention_scratch {
    int64_t most_tasks, most_rows;
    rf_attention_task *task; /**< [most_tasks] */
    atomic_int *done;        /**< [most_tasks] key blocks that a query block's dq holds already */
    rf_real *delta;          /**< [all heads, most_rows] rowsum(do * o) */
    const rf_bf16 *bf16;     /**< products of operands rounded to bf16; NULL: in rf_real */
} rf_attention_scratch;

/**
 * Cuts the shared scratch, bf16 NULL, for calls with `kv_heads` key/value heads in all their slices
 * and at most `rows` query rows (backward: key rows too) in at most `samples` samples. Local.
 */
void rf_attention_scratch_layout(rf_attention_scratch *scratch, rf_arena *arena, int64_t kv_heads,
                                 int64_t group, int64_t rows, int64_t samples);

/** Reals of its workspace that each thread needs, with bf16 or not. Local. */
int64_t rf_attention_items(int64_t group, int64_t d_head);

/**
 * o_i = sum_j p_ij v_j, p_i = softmax over the visible j of q_i k_j / sqrt(d_head), for all slices.
 *
 * Local, called outside of parallel regions; threads share out (slice, sample, head, query block).
 */
void rf_attention_forward(const rf_attention_pass *passes, int count,
                          const rf_attention_scratch *scratch, const rf_workspace *workspace);

/**
 * dq, dk, dv from d_o, for all slices; all three are written, not added to, in the rows that
 * samples hold.
 *
 * Threads share out (slice, sample, head, key block); the parts of one dq row are added in the
 * order of the key blocks. Local, called outside of parallel regions.
 */
void rf_attention_backward(const rf_attention_pass *passes, int count,
                           const rf_attention_scratch *scratch, const rf_workspace *workspace);

#endif
