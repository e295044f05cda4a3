/** A small decoder with adapters of any kind and start, and one micro-batch, on any grid. */
#ifndef ADAPTED_MODEL_H
#define ADAPTED_MODEL_H

#include "refract/model/decoder.h"

enum { ADAPTED_TOKENS = 40, ADAPTED_SAMPLES = 3, ADAPTED_LOGITS = 8, ADAPTED_VOCAB = 61 };

typedef struct adapted_model {
    rf_model_config config;
    rf_grid grid;
    rf_decoder *decoder;
    rf_arena run, step, scratch;
    rf_real *gradient;
    int64_t begin[ADAPTED_SAMPLES + 1], row[ADAPTED_TOKENS];
    int32_t ids[ADAPTED_TOKENS], position[ADAPTED_TOKENS], target[ADAPTED_TOKENS];
    rf_tokens tokens;
} adapted_model;

/** kind NULL: the base alone. Base weights are the same whatever the adapters. Collective. */
adapted_model *adapted_model_create(MPI_Comm comm, int tp, const rf_adapter_kind *kind,
                                    rf_adapter_options options);
/** The same cut down to what `pruning` leaves (NULL: all), or with trained masks and measures.
 * Collective. */
adapted_model *adapted_model_create_part(MPI_Comm comm, int tp, const rf_adapter_kind *kind,
                                         rf_adapter_options options, const rf_pruning *pruning,
                                         int has_masks);
/** The base with bottlenecks instead. Collective. */
adapted_model *adapted_model_create_bottlenecks(MPI_Comm comm, int tp, rf_bottlenecks bottlenecks);
/** Its shape. Local. */
rf_model_config adapted_model_config(void);
void adapted_model_destroy(adapted_model *model);

/** Moves every trained tensor away from its start, the same on every grid. Local. */
void adapted_model_perturb(adapted_model *model);

/** Loss of the micro-batch; with gradients, into model->gradient. Collective. */
double adapted_model_loss(adapted_model *model, int with_gradient);
/** Logits [ADAPTED_LOGITS, ADAPTED_VOCAB] of the first tokens. Collective. */
void adapted_model_logits(adapted_model *model, rf_real *logits);

/** Module i of the model (layers * RF_LINEARS of them), NULL when it has no adapter. Local. */
rf_adapter *adapted_model_adapter(const adapted_model *model, int64_t i);

#endif
