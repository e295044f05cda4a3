/**
 * Adapters of one linear layer: what a kind adds to y = x W^T, and the registry of kinds.
 *
 * Every low-rank kind reaches the kernels as an rf_lowrank:
 *
 *   y = out_scale (x W^T + s (drop(x) A^T) mid B^T) + bias
 *
 * with the diagonals mid [r] and out_scale [d_out]. The kind says which tensors it trains, how they
 * start, what it derives from them before a pass and how the kernels' gradients become theirs. The
 * kernels of layer nn and the model never name a kind.
 */
#ifndef RF_ADAPTER_ADAPTER_H
#define RF_ADAPTER_ADAPTER_H

#include <stdint.h>

#include "refract/base/arena.h"
#include "refract/base/config.h"
#include "refract/base/real.h"
#include "refract/linalg/gemm.h"
#include "refract/linalg/init.h"
#include "refract/linalg/tensor.h"

/** A low-rank update as the kernels see it; all arrays are borrowed. */
typedef struct rf_lowrank {
    int64_t r;
    rf_real scaling;  /**< s = alpha / r, or alpha / sqrt(r) */
    const rf_real *a; /**< A [r, d_in]: columns cut like the input of a row-parallel layer */
    const rf_real *b; /**< B [d_out, r]: rows cut like the output of a column-parallel layer */
    rf_real *da, *db; /**< gradients of a and b, same shapes; written, not added to */
    /**
     * [r] the diagonal between B and A, NULL = ones. It has been multiplied into a or b (that array
     * is then not the trained tensor), so the kernels pass it over.
     */
    const rf_real *mid;
    const rf_real *out_scale; /**< [d_out], cut like B's rows; NULL = ones */
    rf_real *dout_scale;      /**< its gradient; written */
    double dropout;           /**< probability, on the adapter's input */
    uint64_t stream;          /**< of the module, for dropout */
} rf_lowrank;

/** How factors start. */
typedef enum rf_adapter_init {
    RF_ADAPTER_DEFAULT,  /**< A uniform in +-1/sqrt(d_in), B zero */
    RF_ADAPTER_GAUSSIAN, /**< A normal with standard deviation 1/r, B zero */
    RF_ADAPTER_RANDOM,   /**< A uniform as above, B uniform in +-1/sqrt(r); the base is moved */
    RF_ADAPTER_PISSA     /**< leading singular vectors of W; the base is moved */
} rf_adapter_init;

/** What the user asks of one module. */
typedef struct rf_adapter_options {
    int64_t r;
    double alpha;
    double dropout;
    int use_rslora;
    rf_adapter_init init;
    double temperature; /**< of gates */
    double rank_shift;  /**< s = alpha / (r + rank_shift): AdaLoRA's released code has one */
    double lr_ratio;    /**< learning rate of B and magnitudes over that of A; 0 = 1 */
    int is_ungated;     /**< 1: gradients of B are left without the gate, s G A^T, for a method that
                             refactors them and then puts it on */
} rf_adapter_options;

/** The keys of a configuration that adapters read; r and alpha are those without a pattern. Local.
 */
rf_adapter_options rf_adapter_options_read(const rf_config *config);

enum { RF_ADAPTER_TENSORS = 4 };

/** One trained tensor of a kind. */
typedef struct rf_adapter_tensor {
    const char *suffix; /**< behind the module's name, as PEFT spells it: "lora_A.weight" */
    const char *field;  /**< in checkpoints: "A" */
    rf_shape shape;
    rf_init init;
    double lr_scale; /**< learning rate = that of the run * lr_scale */
    int is_internal; /**< 1: PEFT folders have no such tensor */
} rf_adapter_tensor;

typedef struct rf_adapter_kind rf_adapter_kind;

/** The adapter of one module; everything is borrowed. */
typedef struct rf_adapter {
    const rf_adapter_kind *kind; /**< NULL: the module has none */
    const rf_adapter_options *options;
    rf_shape shape; /**< of W */
    rf_dtype dtype; /**< how W is held */
    void *w;        /**< this rank's slices [slice_begin, slice_end) */
    int slice_begin, slice_end;
    rf_real *value[RF_ADAPTER_TENSORS];    /**< in the order of `tensors`, this rank's slices */
    rf_real *gradient[RF_ADAPTER_TENSORS]; /**< NULL while no gradient is wanted */
    rf_lowrank *lowrank;                   /**< the kernels' view, written by the kind */
    rf_real *start[2];                     /**< A and B at the start where the base was moved */
    rf_real *derived;                      /**< the kind's own, from its layout */
    double *derived_wide;
} rf_adapter;

/** What a preparation may lean on. */
typedef enum rf_adapter_stage {
    RF_ADAPTER_BASE,  /**< the base weights are new: what depends on them alone */
    RF_ADAPTER_FRESH, /**< factors are new: tensors that start from base and factors are set */
    RF_ADAPTER_STEP   /**< the trained tensors are new */
} rf_adapter_stage;

/** Operations that a kind does not need are NULL; all are local. */
struct rf_adapter_kind {
    const char *name;
    const char *paper;
    int is_dora;       /**< PEFT folders of it say use_dora */
    int scales_output; /**< its lowrank has an out_scale */
    int has_own_start; /**< 1: its factors start in one way only, RF_ADAPTER_DEFAULT */
    /** Tensors for a weight [d_out, d_in] of the given shape and cut; returns their number. */
    int (*tensors)(const rf_shape *weight, const rf_adapter_options *options,
                   rf_adapter_tensor tensors[RF_ADAPTER_TENSORS]);
    /** Cuts `derived` and `derived_wide` out of an arena. */
    void (*layout)(rf_adapter *adapter, rf_arena *arena);
    /** Points adapter->lowrank at values, gradients and what is derived. */
    void (*bind)(rf_adapter *adapter);
    /** Reals of scratch that `measure` and `prepare` want. */
    int64_t (*scratch)(const rf_adapter *adapter);
    /** Doubles per slice of W that are to be summed over all slices before `prepare`. */
    int64_t (*parts)(const rf_adapter *adapter);
    /** The parts of one slice. */
    void (*measure)(const rf_adapter *adapter, rf_adapter_stage stage, int slice, double *parts,
                    rf_real *scratch);
    /** What is derived from the tensors; sums [parts]. Called for RF_ADAPTER_BASE first. */
    void (*prepare)(rf_adapter *adapter, rf_adapter_stage stage, const double *sums,
                    rf_real *scratch);
    /** After a backward pass: gradients of the kernels' arrays -> those of the tensors. */
    void (*finish)(rf_adapter *adapter);
};

/** The kind of that name, NULL if there is none. Local. */
const rf_adapter_kind *rf_adapter_find(const char *name);
/** Number of kinds, and kind number `index` in alphabetical order, from 0. Local. */
int rf_adapter_count(void);
const rf_adapter_kind *rf_adapter_at(int index);
/** The kind that `method` names: the one of that name, else lora. Local. */
const rf_adapter_kind *rf_adapter_for_config(const rf_config *config);
/** The kind of a PEFT folder. Local. */
const rf_adapter_kind *rf_adapter_for_peft(int use_dora);

/** LoRA (Hu et al. 2021, arXiv:2106.09685). */
extern const rf_adapter_kind rf_adapter_lora;
/** AdaLoRA (Zhang et al. 2023, arXiv:2303.10512). */
extern const rf_adapter_kind rf_adapter_adalora;
/** BeamLoRA (Gu et al. 2025, ACL 2025 long 582). */
extern const rf_adapter_kind rf_adapter_beamlora;

/** DoRA (Liu et al. 2024, arXiv:2402.09353). */
extern const rf_adapter_kind rf_adapter_dora;

/** s = alpha / r, or alpha / sqrt(r) (rsLoRA, Kalajdzievski 2023, arXiv:2312.03732). Local. */
double rf_adapter_scaling(const rf_adapter_options *options);

/**
 * w [rows, cols] of one slice of this rank: W -> out_scale (W + s B mid A), after a preparation.
 * Local.
 */
void rf_adapter_merge(const rf_adapter *adapter, int slice, rf_real *w);

/**
 * One slice of this rank in double precision, both [rows, cols]: start <- W as it was before the
 * first step (with what a moved base gave up), merged <- out_scale (W + s B mid A). After a
 * preparation. Local; RF_RESOURCES.
 */
rf_status rf_adapter_wide(const rf_adapter *adapter, int slice, double *start, double *merged);

/** 1 when these factors start non-zero, and the base gives up s B A for them. Local. */
int rf_adapter_moves_base(const rf_adapter_options *options);

/**
 * The update over the base of the files as one pair of factors: gates multiplied into B; where the
 * base was moved, the difference to the start with twice the rank. rf_adapter_is_plain: A and B as
 * they are say it already. a, b: this rank's slices, shaped as A and B with the r of
 * rf_adapter_export_options, whose alpha keeps the scale. After a preparation. Local.
 */
int rf_adapter_is_plain(const rf_adapter *adapter);
rf_adapter_options rf_adapter_export_options(const rf_adapter_options *options);
void rf_adapter_export(const rf_adapter *adapter, rf_real *a, rf_real *b);

#endif
