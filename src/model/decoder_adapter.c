/* The adapters of a decoder. */
#include "decoder_parts.h"
#include "refract/base/rng.h"

rf_status decoder_add_adapter(rf_decoder *m, rf_block *block, int kind)
{
    const rf_linear *linear = &block->linear[kind];
    block->bound[kind] = (rf_adapter){.kind = m->kind,
                                      .options = &block->adapter[kind],
                                      .shape = linear->shape,
                                      .dtype = linear->dtype,
                                      .slice_begin = m->grid->slice_begin,
                                      .slice_end = m->grid->slice_end,
                                      .lowrank = &block->lowrank[kind]};
    return rf_adapters_add(&m->adapters, &block->bound[kind]);
}

void decoder_bind_adapter(rf_decoder *m, rf_block *block, int kind)
{
    const int64_t first = block->adapter_row[kind];
    if (first < 0) return;
    rf_adapter_tensor tensors[RF_ADAPTER_TENSORS];
    rf_adapter *adapter = &block->bound[kind];
    const int count = m->kind->tensors(&adapter->shape, adapter->options, tensors);
    adapter->w = m->params.row[block->weight_row[kind]].data;
    for (int i = 0; i < count; i++) {
        adapter->value[i] = m->params.row[first + i].data;
        adapter->gradient[i] = decoder_gradient(m, first + i);
    }
    m->kind->bind(adapter);
    adapter->lowrank->stream = rf_stream(block->linear[kind].name, 0, 0);
}

void rf_decoder_start_adapters(rf_decoder *m, int is_fresh)
{
    rf_adapters_prepare(&m->adapters, RF_ADAPTER_BASE);
    if (is_fresh) rf_adapters_prepare(&m->adapters, RF_ADAPTER_FRESH);
}

void rf_decoder_prepare(rf_decoder *m)
{
    rf_adapters_prepare(&m->adapters, RF_ADAPTER_STEP);
}

int rf_decoder_moves_base(const rf_decoder *m)
{
    for (int64_t i = 0; i < m->config.layers * RF_LINEARS; i++) {
        const rf_block *block = &m->block[i / RF_LINEARS];
        const int kind = (int)(i % RF_LINEARS);
        if (block->adapter_row[kind] >= 0 && rf_adapter_moves_base(&block->adapter[kind])) return 1;
    }
    return 0;
}
