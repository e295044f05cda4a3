#include "refract/data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer_private.h"

rf_status rf_ids_append(rf_ids *list, const int32_t *ids, int64_t count)
{
    if (count > list->capacity - list->count) {
        int64_t capacity = list->capacity ? list->capacity : 64;
        while (capacity < list->count + count) capacity *= 2;
        void *grown = realloc(list->ids, (size_t)capacity * sizeof *list->ids);
        if (!grown)
            return rf_fail(RF_RESOURCES, "not enough memory for %lld ids", (long long)capacity);
        list->ids = grown;
        list->capacity = capacity;
    }
    if (count) memcpy(list->ids + list->count, ids, (size_t)count * sizeof *ids);
    list->count += count;
    return RF_OK;
}

/* Appends the normal form of raw[begin, end) to the pieces, cut at the added tokens in it. */
static rf_status take_stretch(const rf_tokenizer *t, rf_matcher *matcher, const char *raw,
                              rf_stretch stretch, rf_text *form, rf_words *pieces)
{
    const size_t begin = pieces->text.length, first = pieces->spans.count;
    int at_start = stretch.begin == 0;
    form->length = 0;
    RF_TRY(rf_text_append(form, raw + stretch.begin, stretch.end - stretch.begin));
    RF_TRY(rf_normalizer_apply(&t->normalizer, matcher, form, &pieces->spare_text, &at_start));
    RF_TRY(rf_text_append(&pieces->text, form->bytes, form->length));
    RF_TRY(rf_added_find(&t->added, &t->added.normalized, pieces->text.bytes, begin,
                         pieces->text.length, &pieces->spans));
    if (pieces->spans.count > first && pieces->spans.items[first].begin == begin)
        pieces->spans.items[first].at_start = at_start;
    return RF_OK;
}

/* Text to words and added tokens. */
static rf_status cut_text(const rf_tokenizer *t, rf_matcher *matcher, const char *text,
                          size_t length, rf_words *pieces)
{
    rf_stretches raw = {0};
    rf_text form = {0};
    rf_status status = rf_added_find(&t->added, &t->added.raw, text, 0, length, &raw);
    for (size_t i = 0; i < raw.count && status == RF_OK; i++) {
        if (raw.items[i].token < 0)
            status = take_stretch(t, matcher, text, raw.items[i], &form, pieces);
        else
            status = rf_stretches_append(&pieces->spans, (rf_stretch){.token = raw.items[i].token});
    }
    if (status == RF_OK) status = rf_splitter_apply(&t->splitter, matcher, pieces);
    rf_stretches_free(&raw);
    rf_text_free(&form);
    return status;
}

static rf_status encode_pieces(const rf_tokenizer *t, const rf_words *pieces, rf_ids *out)
{
    rf_bpe_work *work = NULL;
    RF_TRY(rf_bpe_work_create(&work, pieces->text.length));
    rf_status status = RF_OK;
    for (size_t i = 0; i < pieces->spans.count && status == RF_OK; i++) {
        const rf_stretch span = pieces->spans.items[i];
        status = span.token >= 0 ? rf_ids_append(out, &span.token, 1)
                                 : rf_bpe_encode(t->model, work, pieces->text.bytes + span.begin,
                                                 span.end - span.begin, out);
    }
    rf_bpe_work_destroy(&work);
    return status;
}

rf_status rf_tokenizer_encode(const rf_tokenizer *tokenizer, const char *text, size_t length,
                              int special, rf_ids *out)
{
    const size_t valid = rf_utf8_valid(text, length);
    const int64_t before = out->count;
    if (valid < length)
        return rf_fail(RF_INPUT, "the text is not UTF-8 (byte %zu of %zu). Convert it to UTF-8",
                       valid, length);
    rf_matcher matcher = {0};
    rf_words pieces = {0};
    const rf_post *post = &tokenizer->post;
    rf_status status = cut_text(tokenizer, &matcher, text, length, &pieces);
    if (status == RF_OK && special)
        status = rf_ids_append(out, post->before.ids, post->before.count);
    if (status == RF_OK) status = encode_pieces(tokenizer, &pieces, out);
    if (status == RF_OK && special)
        status = rf_ids_append(out, post->behind.ids, post->behind.count);
    if (status != RF_OK) out->count = before;
    rf_words_free(&pieces);
    rf_matcher_free(&matcher);
    return status;
}

static rf_status collect_pieces(const rf_tokenizer *t, const int32_t *ids, int64_t count,
                                int skip_special, rf_words *pieces)
{
    RF_TRY(rf_text_reserve(&pieces->text, 1));
    for (int64_t i = 0; i < count; i++) {
        const rf_added_token *added = rf_added_of_id(&t->added, ids[i]);
        if (added && added->special && skip_special) continue;
        const rf_bytes piece =
            added ? (rf_bytes){added->content, added->length} : rf_bpe_piece_of(t->model, ids[i]);
        if (!piece.at)
            return rf_fail(
                RF_INPUT,
                "id %d is not in the vocabulary of %lld ids. The model and the tokeniser "
                "do not belong together",
                ids[i], (long long)rf_tokenizer_size(t));
        const size_t begin = pieces->text.length;
        RF_TRY(rf_text_append(&pieces->text, piece.at, piece.length));
        RF_TRY(
            rf_stretches_append(&pieces->spans, (rf_stretch){begin, pieces->text.length, -1, 0}));
    }
    return RF_OK;
}

rf_status rf_tokenizer_decode(const rf_tokenizer *tokenizer, const int32_t *ids, int64_t count,
                              int skip_special, char **text, size_t *length)
{
    rf_matcher matcher = {0};
    rf_words pieces = {0};
    *text = NULL;
    rf_status status = collect_pieces(tokenizer, ids, count, skip_special, &pieces);
    if (status == RF_OK) status = rf_decoding_apply(&tokenizer->decoder, &matcher, &pieces);
    if (status == RF_OK) status = rf_text_append(&pieces.text, "", 0); /* at least the NUL */
    if (status == RF_OK) {
        *text = pieces.text.bytes;
        if (length) *length = pieces.text.length;
        pieces.text = (rf_text){0};
    }
    rf_words_free(&pieces);
    rf_matcher_free(&matcher);
    return status;
}

int64_t rf_tokenizer_size(const rf_tokenizer *tokenizer)
{
    const rf_added *added = &tokenizer->added;
    const int64_t size = rf_bpe_size(tokenizer->model);
    const int64_t last = added->count ? added->by_id[added->count - 1].token->id : -1;
    return last >= size ? last + 1 : size;
}

int32_t rf_tokenizer_find(const rf_tokenizer *tokenizer, rf_bytes content)
{
    const rf_added_token *added =
        rf_added_of_content(&tokenizer->added, content.at, content.length);
    return added ? added->id : rf_bpe_id(tokenizer->model, content.at, content.length);
}

int32_t rf_tokenizer_id(const rf_tokenizer *tokenizer, const char *content)
{
    return rf_tokenizer_find(tokenizer, (rf_bytes){content, strlen(content)});
}

const char *rf_tokenizer_piece(const rf_tokenizer *tokenizer, int32_t id)
{
    const rf_added_token *added = rf_added_of_id(&tokenizer->added, id);
    return added ? added->content : rf_bpe_piece_of(tokenizer->model, id).at;
}

int32_t rf_tokenizer_bos(const rf_tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t rf_tokenizer_eos(const rf_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

int32_t rf_tokenizer_pad(const rf_tokenizer *tokenizer)
{
    return tokenizer->pad;
}

int32_t rf_tokenizer_unk(const rf_tokenizer *tokenizer)
{
    return tokenizer->unk;
}

const char *rf_tokenizer_chat_template(const rf_tokenizer *tokenizer)
{
    return tokenizer->chat_template;
}
