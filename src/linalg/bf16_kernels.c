#include "bf16_kernels.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>

enum { SLOTS = 1024, MOST = 768 }; /* of the table of shapes; more than MOST: it starts anew */

/* One shape's kernel, with the memory objects that carry its operands' addresses. */
typedef struct kernel {
    bf16_product of;
    dnnl_primitive_t run; /* NULL: the slot is free */
    dnnl_memory_t a, b, c;
} kernel;

struct bf16_kernels {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    int count;
    kernel slot[SLOTS];
};

int rf_bf16_is_fast(void)
{
    const unsigned has = (unsigned)dnnl_get_effective_cpu_isa();
    return (has & dnnl_cpu_isa_avx512_core_bf16) == dnnl_cpu_isa_avx512_core_bf16;
}

const char *rf_bf16_kernels(void)
{
    const unsigned has = (unsigned)dnnl_get_effective_cpu_isa();
    if (!rf_bf16_is_fast()) return "none";
    return (has & dnnl_cpu_isa_avx512_core_amx) == dnnl_cpu_isa_avx512_core_amx ? "amx"
                                                                                : "avx512_bf16";
}

rf_status bf16_kernels_create(bf16_kernels **kernels)
{
    bf16_kernels *k = calloc(1, sizeof *k);
    *kernels = k;
    if (k && dnnl_engine_create(&k->engine, dnnl_cpu, 0) == dnnl_success &&
        dnnl_stream_create(&k->stream, k->engine, dnnl_stream_default_flags) == dnnl_success)
        return RF_OK;
    bf16_kernels_destroy(kernels);
    return rf_fail(RF_RESOURCES, "oneDNN cannot start (out of memory). Use compute.precision: f32");
}

static void clear(bf16_kernels *kernels)
{
    for (int i = 0; i < SLOTS; i++) {
        kernel *slot = &kernels->slot[i];
        if (!slot->run) continue;
        dnnl_primitive_destroy(slot->run);
        dnnl_memory_destroy(slot->a);
        dnnl_memory_destroy(slot->b);
        dnnl_memory_destroy(slot->c);
        *slot = (kernel){0};
    }
    kernels->count = 0;
}

void bf16_kernels_destroy(bf16_kernels **kernels)
{
    if (!*kernels) return;
    clear(*kernels);
    if ((*kernels)->stream) dnnl_stream_destroy((*kernels)->stream);
    if ((*kernels)->engine) dnnl_engine_destroy((*kernels)->engine);
    free(*kernels);
    *kernels = NULL;
}

static void check(dnnl_status_t status, const kernel *slot)
{
    RF_ASSERT(status == dnnl_success, "oneDNN status %d for bf16 [%lld, %lld] x %lld", (int)status,
              (long long)slot->of.m, (long long)slot->of.n, (long long)slot->of.k);
}

static dnnl_memory_t matrix(const bf16_kernels *kernels, const kernel *slot,
                            dnnl_memory_desc_t *desc, dnnl_data_type_t type, const dnnl_dims_t size,
                            const dnnl_dims_t stride)
{
    dnnl_memory_t memory = NULL;
    check(dnnl_memory_desc_init_by_strides(desc, 2, size, type, stride), slot);
    check(dnnl_memory_create(&memory, desc, kernels->engine, DNNL_MEMORY_NONE), slot);
    return memory;
}

static void make(const bf16_kernels *kernels, kernel *slot)
{
    const bf16_product *p = &slot->of;
    dnnl_memory_desc_t a, b, c;
    dnnl_matmul_desc_t product;
    dnnl_post_ops_t sum = NULL;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t description = NULL;
    slot->a = matrix(kernels, slot, &a, dnnl_bf16, (dnnl_dims_t){p->m, p->k},
                     p->ta == RF_T ? (dnnl_dims_t){1, p->m} : (dnnl_dims_t){p->k, 1});
    slot->b = matrix(kernels, slot, &b, dnnl_bf16, (dnnl_dims_t){p->k, p->n},
                     p->tb == RF_T ? (dnnl_dims_t){1, p->ldb} : (dnnl_dims_t){p->ldb, 1});
    slot->c =
        matrix(kernels, slot, &c, dnnl_f32, (dnnl_dims_t){p->m, p->n}, (dnnl_dims_t){p->ldc, 1});
    check(dnnl_primitive_attr_create(&attributes), slot);
    check(dnnl_post_ops_create(&sum), slot);
    if (p->adds) check(dnnl_post_ops_append_sum(sum, 1), slot);
    check(dnnl_primitive_attr_set_post_ops(attributes, sum), slot);
    check(dnnl_matmul_desc_init(&product, &a, &b, NULL, &c), slot);
    check(dnnl_primitive_desc_create(&description, &product, attributes, kernels->engine, NULL),
          slot);
    check(dnnl_primitive_create(&slot->run, description), slot);
    dnnl_primitive_desc_destroy(description);
    dnnl_primitive_attr_destroy(attributes);
    dnnl_post_ops_destroy(sum);
}

static int same(const bf16_product *x, const bf16_product *y)
{
    return x->m == y->m && x->n == y->n && x->k == y->k && x->ldb == y->ldb && x->ldc == y->ldc &&
           x->ta == y->ta && x->tb == y->tb && x->adds == y->adds;
}

static uint64_t place(const bf16_product *p)
{
    const int64_t kind = (p->ta == RF_T ? 4 : 0) + (p->tb == RF_T ? 2 : 0) + p->adds;
    const int64_t sizes[] = {p->m, p->n, p->k, p->ldb, p->ldc, kind};
    uint64_t at = 0;
    for (int i = 0; i < 6; i++) at = (at + (uint64_t)sizes[i]) * 0x9E3779B97F4A7C15u;
    return at >> 32;
}

static kernel *find(bf16_kernels *kernels, const bf16_product *product)
{
    if (kernels->count >= MOST) clear(kernels);
    for (uint64_t at = place(product);; at++) {
        kernel *slot = &kernels->slot[at % SLOTS];
        if (slot->run && same(&slot->of, product)) return slot;
        if (slot->run) continue;
        *slot = (kernel){.of = *product};
        make(kernels, slot);
        kernels->count++;
        return slot;
    }
}

static void put(dnnl_exec_arg_t *arg, int which, dnnl_memory_t memory, const void *data,
                const kernel *slot)
{
    check(dnnl_memory_set_data_handle(memory, (void *)(uintptr_t)data), slot);
    *arg = (dnnl_exec_arg_t){.arg = which, .memory = memory};
}

/* oneDNN cuts the work by the number of threads it believes it has: it is told one, in the calling
 * thread only. */
void bf16_kernels_multiply(bf16_kernels *kernels, const bf16_product *product, const uint16_t *a,
                           const uint16_t *b, float *c)
{
    const int threads = omp_get_max_threads();
    dnnl_exec_arg_t args[3];
    omp_set_num_threads(1);
    const kernel *slot = find(kernels, product);
    put(&args[0], DNNL_ARG_SRC, slot->a, a, slot);
    put(&args[1], DNNL_ARG_WEIGHTS, slot->b, b, slot);
    put(&args[2], DNNL_ARG_DST, slot->c, c, slot);
    check(dnnl_primitive_execute(slot->run, kernels->stream, 3, args), slot);
    check(dnnl_stream_wait(kernels->stream), slot);
    omp_set_num_threads(threads);
}
