/* The small net behind reference trajectories, by plain loops in double. */
#include <math.h>
#include <stdlib.h>

#include "method_bench.h"
#include "rf_test.h"

/* out [rows, n] = in [rows, m] w [n, m]^T */
static void forward(double *out, const double *in, const double *w, int64_t rows, int64_t n,
                    int64_t m)
{
    for (int64_t t = 0; t < rows; t++)
        for (int64_t i = 0; i < n; i++) {
            double sum = 0;
            for (int64_t j = 0; j < m; j++) sum += in[t * m + j] * w[i * m + j];
            out[t * n + i] = sum;
        }
}

static void scores(double *sigma, const double *gate, int64_t r, double temperature)
{
    double most = gate ? gate[0] : 0, sum = 0;
    for (int64_t k = 1; gate && k < r; k++) most = fmax(most, gate[k]);
    for (int64_t k = 0; k < r; k++)
        sum += sigma[k] = gate ? exp((gate[k] - most) / temperature) : 1;
    for (int64_t k = 0; k < r; k++) sigma[k] *= (double)r / sum;
}

/* A layer as it stands. */
typedef struct layer {
    double *a, *b, *g, *w, *sigma; /* w = W + s B D A */
} layer;

static layer take_layer(const toy *net, const bench *b, int i)
{
    const rf_module *m = &b->module[i];
    layer l = {.a = bench_get(b, BENCH_VALUE, i, 'A'), .b = bench_get(b, BENCH_VALUE, i, 'B')};
    if (m->gate >= 0) l.g = bench_get(b, BENCH_VALUE, i, 'g');
    l.w = calloc((size_t)(m->d_out * m->d_in), sizeof *l.w);
    l.sigma = calloc((size_t)m->r, sizeof *l.sigma);
    assert_true(l.w && l.sigma);
    scores(l.sigma, l.g, m->r, net->temperature);
    for (int64_t o = 0; o < m->d_out; o++)
        for (int64_t j = 0; j < m->d_in; j++) {
            double sum = 0;
            for (int64_t k = 0; k < m->r; k++)
                sum += l.b[o * m->r + k] * l.sigma[k] * l.a[k * m->d_in + j];
            l.w[o * m->d_in + j] = net->w[i][o * m->d_in + j] + m->scaling * sum;
        }
    return l;
}

static void drop_layer(layer *l)
{
    free(l->a);
    free(l->b);
    free(l->g);
    free(l->w);
    free(l->sigma);
}

/* Gradients of A, B and gate from dw = dL/dW'; returns the sum of their squares. */
static double factor_gradients(const toy *net, bench *b, int i, const layer *l, const double *dw)
{
    const rf_module *m = &b->module[i];
    const int64_t r = m->r, n = m->d_in;
    double *da = calloc((size_t)(r * n), sizeof *da),
           *db = calloc((size_t)(m->d_out * r), sizeof *db);
    double *u = calloc((size_t)r, sizeof *u), squares = 0, mean = 0;
    assert_true(da && db && u);
    for (int64_t o = 0; o < m->d_out; o++)
        for (int64_t k = 0; k < r; k++) {
            double ungated = 0;
            for (int64_t j = 0; j < n; j++) {
                ungated += dw[o * n + j] * l->a[k * n + j];
                da[k * n + j] += m->scaling * l->sigma[k] * l->b[o * r + k] * dw[o * n + j];
            }
            db[o * r + k] = m->scaling * l->sigma[k] * ungated;
            u[k] += m->scaling * l->b[o * r + k] * ungated;
        }
    for (int64_t k = 0; k < r; k++) mean += l->sigma[k] / (double)r * u[k];
    for (int64_t k = 0; k < r; k++) u[k] = l->sigma[k] / net->temperature * (u[k] - mean);
    bench_set(b, BENCH_GRADIENT, i, 'A', da);
    bench_set(b, BENCH_GRADIENT, i, 'B', db);
    if (m->gate >= 0) bench_set(b, BENCH_GRADIENT, i, 'g', u);
    for (int64_t k = 0; k < r * n; k++) squares += da[k] * da[k];
    for (int64_t k = 0; k < m->d_out * r; k++) squares += db[k] * db[k];
    for (int64_t k = 0; m->gate >= 0 && k < r; k++) squares += u[k] * u[k];
    free(da);
    free(db);
    free(u);
    return squares;
}

double toy_gradient(const toy *net, bench *b, double *norm)
{
    const int64_t rows = net->rows;
    layer l[4];
    double *h[5], loss = 0, squares = 0;
    assert_true(net->layers >= 1 && net->layers <= 4);
    for (int i = 0; i <= net->layers; i++) {
        h[i] = calloc((size_t)(rows * net->dim[i]), sizeof *h[i]);
        assert_non_null(h[i]);
    }
    for (int64_t i = 0; i < rows * net->dim[0]; i++) h[0][i] = net->x[i];
    for (int i = 0; i < net->layers; i++) {
        l[i] = take_layer(net, b, i);
        forward(h[i + 1], h[i], l[i].w, rows, net->dim[i + 1], net->dim[i]);
        for (int64_t j = 0; i + 1 < net->layers && j < rows * net->dim[i + 1]; j++)
            h[i + 1][j] = tanh(h[i + 1][j]);
    }
    const int64_t outputs = rows * net->dim[net->layers];
    double *dh = calloc((size_t)outputs, sizeof *dh);
    assert_non_null(dh);
    for (int64_t i = 0; i < outputs; i++) {
        const double off = h[net->layers][i] - net->y[i];
        loss += off * off / (double)outputs;
        dh[i] = 2 * off / (double)outputs;
    }
    for (int i = net->layers - 1; i >= 0; i--) { /* dh [rows, dim[i + 1]] before the activation */
        const int64_t n = net->dim[i + 1], m = net->dim[i];
        double *dw = calloc((size_t)(n * m), sizeof *dw),
               *below = calloc((size_t)(rows * m), sizeof *below);
        assert_true(dw && below);
        for (int64_t t = 0; t < rows; t++)
            for (int64_t o = 0; o < n; o++)
                for (int64_t j = 0; j < m; j++) {
                    dw[o * m + j] += dh[t * n + o] * h[i][t * m + j];
                    below[t * m + j] += dh[t * n + o] * l[i].w[o * m + j];
                }
        for (int64_t j = 0; i > 0 && j < rows * m; j++) below[j] *= 1 - h[i][j] * h[i][j];
        squares += factor_gradients(net, b, i, &l[i], dw);
        free(dw);
        free(dh);
        dh = below;
    }
    free(dh);
    for (int i = 0; i < net->layers; i++) drop_layer(&l[i]);
    for (int i = 0; i <= net->layers; i++) free(h[i]);
    *norm = sqrt(squares);
    return loss;
}
