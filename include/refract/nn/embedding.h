/** The vocabulary-parallel embedding, forward and backward. */
#ifndef RF_NN_EMBEDDING_H
#define RF_NN_EMBEDDING_H

#include "refract/nn/linear.h"

/**
 * h [tokens, d] = rows ids [tokens] of the table E [vocab, d] (a layer cut by RF_ROWS). Rows of
 * other ranks come over exactly. Collective over tp.
 */
void rf_embedding_forward(rf_linear_context *context, const rf_linear *table, rf_real *h,
                          const int32_t *ids, int64_t tokens);

/**
 * dE += rows of dh [tokens, d], in token order for each row: table->dw is added to, so that a tied
 * head comes first. Local.
 */
void rf_embedding_backward(const rf_linear_context *context, const rf_linear *table,
                           const rf_real *dh, const int32_t *ids, int64_t tokens);

#endif
