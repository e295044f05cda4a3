/*
 * LoRA-RITE: Adam with matrix moments in the basis of the other factor, so that the update does not
 * depend on how B A is split. Yen et al. 2025, arXiv:2410.20625, algorithm 1.
 *
 * For A with B = U R (U orthonormal, R upper; of B with A^T = U R likewise), G = dA^T [d_in, r]:
 *
 *   D = G R^-1                             unmagnified gradient, clipped over all factors
 *   P = U(t)^T U(t-1)                      change of basis
 *   V <- b2 P V P^T + (1 - b2) D^T D / d_in
 *   M <- b1 M P^T + (1 - b1) D V^-1/2
 *   A^T <- A^T - lr M R^-T
 *
 * with b = beta (1 - beta^(t-1)) / (1 - beta^t). As released: D is left out where its root mean
 * square exceeds 1, before the norm for clipping to 1 is taken; where R is singular (B = 0 at the
 * start) its inverse is 0, and nothing moves. The mass that leaves the basis is not followed. R is
 * the Cholesky factor of the Gram matrix, so U needs no forming: P = R(t)^-T (B(t)^T B(t-1))
 * R(t-1)^-1. M lives in the first moments, the factors of the step before in the second ones.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "factors.h"
#include "hooks.h"
#include "refract/linalg/dense.h"
#include "refract/method/shares.h"

enum { SIDES = 2 };

typedef struct lorarite {
    rf_method_context context;
    rf_shares shares;
    rf_workspace workspace;
    int64_t *square_at; /* [modules + 1] first of a module's two [r, r] in the states; owned */
    double *second;     /* V of every factor: [modules, 2, r, r] */
    double *inverse;    /* R^-1 of the step before, 0 where singular */
} lorarite;

/* In: Gram matrices of the factors, of their gradients; factors now times factors before. */
static int64_t measured_items(int64_t r)
{
    return 2 * SIDES * rf_triangle_items(r) + SIDES * r * r;
}

/* Out, for either factor: R^-1, P, D^T D before clipping. */
static int64_t result_items(int64_t r)
{
    return SIDES * 3 * r * r;
}

static rf_status create(void **out, const rf_method_context *context)
{
    lorarite *self = calloc(1, sizeof *self);
    *out = self;
    const int64_t count = context->modules->count;
    if (self) self->square_at = calloc((size_t)count + 1, sizeof *self->square_at);
    if (!self || !self->square_at) return rf_fail(RF_RESOURCES, "no memory for lorarite");
    self->context = *context;
    for (int64_t m = 0; m < count; m++) {
        const int64_t r = context->modules->item[m].r;
        self->square_at[m + 1] = self->square_at[m] + SIDES * r * r;
    }
    return rf_shares_create(&self->shares, context->grid, context->modules, measured_items,
                            result_items);
}

static void destroy(void *opaque)
{
    lorarite *self = opaque;
    rf_shares_destroy(&self->shares);
    free(self->square_at);
    free(self);
}

static void layout(void *opaque, rf_arena *run, rf_arena *scratch)
{
    lorarite *self = opaque;
    const int64_t r = self->context.modules->most_r, count = self->context.modules->count;
    const int64_t factor = factor_work(r, self->context.grid), dense = rf_dense_work(r) + r;
    self->second = RF_TAKE(run, double, self->square_at[count]);
    self->inverse = RF_TAKE(run, double, self->square_at[count]);
    rf_shares_layout(&self->shares, scratch);
    wide_workspace_layout(&self->workspace, scratch, self->context.threads,
                          4 * r * r + (factor > dense ? factor : dense));
}

static void start(void *opaque)
{
    lorarite *self = opaque;
    const size_t items = (size_t)self->square_at[self->context.modules->count];
    memset(self->second, 0, items * sizeof *self->second);
    memset(self->inverse, 0, items * sizeof *self->inverse);
}

static const rf_param *row_of(const lorarite *self, int64_t m, rf_side side)
{
    const rf_module *module = &self->context.modules->item[m];
    return &self->context.params->row[side == RF_FACTOR_A ? module->a : module->b];
}

/* A module's matrix of one factor in one of the states. */
static double *state_of(const lorarite *self, double *state, int64_t m, rf_side side)
{
    const int64_t r = self->context.modules->item[m].r;
    return state + self->square_at[m] + (side == RF_FACTOR_A ? 0 : r * r);
}

/* This rank's part of what the owner of module m needs of one factor. */
static void measure(const lorarite *self, int64_t m, rf_side side, const rf_real *gradient)
{
    const rf_param *row = row_of(self, m, side);
    if (!rf_shares_measures_row(&self->shares, m, row)) return;
    const rf_grid *grid = self->context.grid;
    const int64_t r = self->context.modules->item[m].r, items = rf_triangle_items(r);
    const int at = side == RF_FACTOR_A ? 0 : 1;
    double *node = rf_shares_node(&self->shares, m), *work = wide_workspace_mine(&self->workspace);
    factor_gram(node + at * items, row->data, row, grid, side, work);
    factor_gram(node + (2 + at) * items, gradient + row->offset, row, grid, side, work);
    factor_cross(node + 4 * items + at * r * r, row->data,
                 self->context.params->moment2 + row->offset, row, grid, side, work);
}

/* r_inverse <- R^-1 of the Gram matrix in `gram`, which is lost; 0 where it is singular. */
static void invert_root(double *r_inverse, double *gram, int64_t r)
{
    static const double least = 1e-7; /* of the largest on R's diagonal: beyond it R is noise */
    int is_singular = rf_dense_cholesky(gram, r) != 0;
    double most = 0;
    for (int64_t i = 0; i < r; i++) most = fmax(most, gram[i * r + i]);
    for (int64_t i = 0; i < r; i++) is_singular |= !(gram[i * r + i] > least * most);
    memset(r_inverse, 0, (size_t)(r * r) * sizeof *r_inverse);
    if (is_singular) return;
    for (int64_t i = 0; i < r; i++) r_inverse[i * r + i] = 1;
    rf_dense_solve_upper(r_inverse, gram, r, r);
}

/* out = a^T b c, all [r, r]; work [r, r]. */
static void between(double *out, const double *a, const double *b, const double *c, int64_t r,
                    double *work)
{
    rf_dense_gemm(RF_T, RF_N, r, r, r, 1, a, r, b, r, 0, work, r);
    rf_dense_gemm(RF_N, RF_N, r, r, r, 1, work, r, c, r, 0, out, r);
}

/* On the owner: R^-1, P and D^T D of one factor. */
static void solve(const lorarite *self, int64_t m, rf_side side)
{
    const int64_t r = self->context.modules->item[m].r, items = rf_triangle_items(r);
    const int at = side == RF_FACTOR_A ? 0 : 1, other = 1 - at;
    const double *total = rf_shares_total(&self->shares, m);
    double *r_inverse = rf_shares_result(&self->shares, m) + at * 3 * r * r;
    double *p = r_inverse + r * r, *squares = p + r * r;
    double *a = wide_workspace_mine(&self->workspace), *work = a + r * r;
    rf_triangle_unpack(a, total + other * items, r);
    invert_root(r_inverse, a, r);
    between(p, r_inverse, total + 4 * items + other * r * r, state_of(self, self->inverse, m, side),
            r, work);
    rf_triangle_unpack(a, total + (2 + at) * items, r);
    between(squares, r_inverse, a, r_inverse, r, work);
}

/* What every rank is told of one factor of module m; D^T D is set to 0 where D is left out. */
typedef struct basis {
    const double *r_inverse, *p, *squares;
    double norm2; /* |D|^2, 0 where it is left out */
} basis;

static basis basis_of(const lorarite *self, int64_t m, rf_side side)
{
    const rf_module *module = &self->context.modules->item[m];
    const int64_t r = module->r;
    const double n = (double)(side == RF_FACTOR_A ? module->d_in : module->d_out);
    const double *at = rf_shares_get(&self->shares, m) + (side == RF_FACTOR_A ? 0 : 3 * r * r);
    basis b = {.r_inverse = at, .p = at + r * r, .squares = at + 2 * r * r};
    for (int64_t i = 0; i < r; i++) b.norm2 += b.squares[i * r + i];
    if (b.norm2 > n * (double)r) b.norm2 = 0;
    return b;
}

/* What D is multiplied by for a norm of at most 1 over all factors. */
static double clip_of(const lorarite *self)
{
    double norm2 = 0;
    for (int64_t m = 0; m < self->context.modules->count; m++)
        for (rf_side side = RF_FACTOR_A; side <= RF_FACTOR_B; side++)
            norm2 += basis_of(self, m, side).norm2;
    return norm2 > 1 ? 1 / sqrt(norm2) : 1;
}

static double decay(double beta, int64_t t)
{
    return beta * (1 - pow(beta, (double)(t - 1))) / (1 - pow(beta, (double)t));
}

/* k <- R^-1 V^-1/2 after V's update; v [r, r] is the state; work [2 r r] and for the eigenvalues.
 */
static void precondition(double *k, double *v, const basis *b, double decay2, double fresh,
                         double epsilon, int64_t r, double *work)
{
    double *a = work, *values = a + r * r, *rest = values + r;
    rf_dense_gemm(RF_N, RF_N, r, r, r, 1, b->p, r, v, r, 0, a, r);
    rf_dense_gemm(RF_N, RF_T, r, r, r, decay2, a, r, b->p, r, 0, k, r);
    for (int64_t i = 0; i < r; i++)
        for (int64_t j = 0; j < r; j++)
            v[i * r + j] = (k[i * r + j] + k[j * r + i]) / 2 +
                           fresh * (b->squares[i * r + j] + b->squares[j * r + i]) / 2;
    memcpy(a, v, (size_t)(r * r) * sizeof *a);
    memset(k, 0, (size_t)(r * r) * sizeof *k);
    if (fresh <= 0 || rf_dense_eigen(values, a, r, 1, rest) != 0) return;
    for (int64_t i = 0; i < r; i++) { /* the scaled vectors' outer products: rows of a */
        const double scale = 1 / (sqrt(fmax(values[i], 0)) + epsilon);
        for (int64_t x = 0; x < r; x++)
            for (int64_t y = 0; y < r; y++) k[x * r + y] += scale * a[i * r + x] * a[i * r + y];
    }
    rf_dense_gemm(RF_N, RF_N, r, r, r, 1, b->r_inverse, r, k, r, 0, a, r);
    memcpy(k, a, (size_t)(r * r) * sizeof *k);
}

/* x <- x m^T for a factor whose columns are ranks, x <- m x where its rows are. */
static void turn(const lorarite *self, rf_real *x, const rf_param *row, rf_side side, double *m,
                 double *work)
{
    const int64_t r = side == RF_FACTOR_A ? row->shape.rows : row->shape.cols;
    for (int64_t i = 0; side == RF_FACTOR_B && i < r; i++)
        for (int64_t j = 0; j < i; j++) {
            const double swap = m[i * r + j];
            m[i * r + j] = m[j * r + i];
            m[j * r + i] = swap;
        }
    factor_multiply(x, row, self->context.grid, side, m, work);
}

static void update_factor(lorarite *self, int64_t m, rf_side side, double clip,
                          const rf_method_step *step, rf_real *gradient)
{
    const rf_module *module = &self->context.modules->item[m];
    const rf_adamw *adamw = self->context.adamw;
    const rf_param *row = row_of(self, m, side);
    const basis b = basis_of(self, m, side);
    const int64_t r = module->r, n = side == RF_FACTOR_A ? module->d_in : module->d_out;
    const double decay1 = decay(adamw->beta1, step->number);
    const double decay2 = decay(adamw->beta2, step->number);
    const double rate = step->rate * row->lr_scale;
    double *k = wide_workspace_mine(&self->workspace), *x = k + r * r, *work = x + r * r;
    rf_real *value = self->context.params->value + row->offset, *fresh = gradient + row->offset;
    rf_real *first = self->context.params->moment1 + row->offset;
    memcpy(self->context.params->moment2 + row->offset, value, (size_t)row->items * sizeof *value);

    precondition(k, state_of(self, self->second, m, side), &b, decay2,
                 b.norm2 > 0 ? (1 - decay2) * clip * clip / (double)n : 0, adamw->epsilon, r, x);
    for (int64_t i = 0; i < r; i++) /* turn takes the transpose of what is on the right of G */
        for (int64_t j = 0; j < r; j++) x[j * r + i] = (1 - decay1) * clip * k[i * r + j];
    turn(self, fresh, row, side, x, work);
    for (int64_t i = 0; i < r * r; i++) x[i] = decay1 * b.p[i];
    turn(self, first, row, side, x, work);
    for (int64_t i = 0; i < row->items; i++) fresh[i] = first[i] = first[i] + fresh[i];
    memcpy(x, b.r_inverse, (size_t)(r * r) * sizeof *x);
    turn(self, fresh, row, side, x, work);
    for (int64_t i = 0; i < row->items; i++)
        value[i] = (rf_real)((1 - rate * adamw->weight_decay) * (double)value[i] -
                             rate * (double)fresh[i]);
    memcpy(state_of(self, self->inverse, m, side), b.r_inverse, (size_t)(r * r) * sizeof *x);
}

static void update(void *opaque, const rf_method_step *step, rf_real *gradient, unsigned char *done)
{
    lorarite *self = opaque;
    const int64_t count = self->context.modules->count;
    rf_shares_start(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++)
        for (rf_side s = RF_FACTOR_A; rf_shares_measures(&self->shares, m) && s <= RF_FACTOR_B; s++)
            measure(self, m, s, gradient);
    rf_shares_sum(&self->shares);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++)
        for (rf_side s = RF_FACTOR_A; rf_shares_owns(&self->shares, m) && s <= RF_FACTOR_B; s++)
            solve(self, m, s);
    rf_shares_spread(&self->shares);
    const double clip = clip_of(self);
#pragma omp parallel for schedule(dynamic)
    for (int64_t m = 0; m < count; m++) {
        for (rf_side s = RF_FACTOR_A; s <= RF_FACTOR_B; s++)
            update_factor(self, m, s, clip, step, gradient);
        done[self->context.modules->item[m].a] = 1;
        done[self->context.modules->item[m].b] = 1;
    }
}

static rf_status fields(void *opaque, int64_t step, rf_fields *table)
{
    (void)step;
    lorarite *self = opaque;
    const int64_t items = self->square_at[self->context.modules->count];
    RF_TRY(rf_fields_add(table, rf_shape_replicated(items, 1), RF_F64, self->second,
                         "/method/lorarite/second_moments"));
    return rf_fields_add(table, rf_shape_replicated(items, 1), RF_F64, self->inverse,
                         "/method/lorarite/inverse_roots");
}

const rf_method_hooks lorarite_hooks = {.create = create,
                                        .destroy = destroy,
                                        .layout = layout,
                                        .start = start,
                                        .update = update,
                                        .fields = fields};
