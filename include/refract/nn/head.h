/**
 * The vocabulary-parallel LM head with the cross-entropy loss: only at positions that carry a
 * label, in chunks of RF_HEAD_ROWS, so that no [tokens, vocab] matrix is ever stored.
 */
#ifndef RF_NN_HEAD_H
#define RF_NN_HEAD_H

#include "refract/nn/linear.h"

enum { RF_HEAD_ROWS = 256 };

/** Working memory of the head; borrowed. */
typedef struct rf_head_scratch {
    rf_real *logits; /**< [RF_HEAD_ROWS, local vocab], slice by slice */
    double *parts;   /**< [RF_HEAD_ROWS, slices, 4] */
    double *lse;     /**< [RF_HEAD_ROWS] */
} rf_head_scratch;

/** Cuts the memory out of an arena. Local. */
void rf_head_scratch_layout(rf_head_scratch *scratch, rf_arena *arena, const rf_linear *head,
                            const rf_grid *grid);

/** What a pass over `rows` labelled positions yields. */
typedef struct rf_head_result {
    double loss; /**< sum of -log p(target), nats */
    unsigned char
        *correct; /**< [rows] target is the most likely token; borrowed, NULL = not wanted */
} rf_head_result;

/**
 * Loss of x [rows, d] (normed hidden states) against target [rows]; with dx != NULL also
 * dx [rows, d] = d(scale loss)/dx and, where the head is trained, head->dw (written). dx may be x.
 * The log-sum-exp is merged from (max, sum) per vocabulary slice in tree order; ties of the most
 * likely token go to the lowest id. Collective over tp.
 */
void rf_head_loss(rf_linear_context *context, const rf_linear *head, rf_head_scratch *scratch,
                  rf_head_result *result, const rf_real *x, const int32_t *target, int64_t rows,
                  rf_real scale, rf_real *dx);

/**
 * Logits [rows, vocab] of x [rows, d], on every rank; rows <= RF_HEAD_ROWS. Collective over tp.
 */
void rf_head_logits(rf_linear_context *context, const rf_linear *head, rf_head_scratch *scratch,
                    rf_real *logits, const rf_real *x, int64_t rows);

#endif
