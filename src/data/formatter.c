#include "refract/data/formatter.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "encoder.h"
#include "formats.h"
#include "refract/data/samples.h"

struct rf_formatter {
    rf_format format;
    int automatic;        /* 1: the template follows the format */
    rf_template template; /* the one asked for; name NULL: none was */
    rf_chat *chat;        /* NULL: none */
    char *refusal;        /* automatic: why the tokeniser's chat template cannot be used */
    rf_encoder encoder;   /* tokenizer NULL: none */
};

/* A row's pieces, and whether BOS and EOS are still to be put around them. */
typedef struct rendering {
    rf_transcript pieces;
    int frame;
} rendering;

static rf_status own_chat(rf_formatter *f, const rf_tokenizer *tokenizer, const char *family)
{
    const int32_t bos = rf_tokenizer_bos(tokenizer), eos = rf_tokenizer_eos(tokenizer);
    const char *bos_text = bos >= 0 ? rf_tokenizer_piece(tokenizer, bos) : NULL;
    const char *eos_text = eos >= 0 ? rf_tokenizer_piece(tokenizer, eos) : NULL;
    if (family) return rf_chat_named(&f->chat, family, bos_text, eos_text);
    const char *jinja = rf_tokenizer_chat_template(tokenizer);
    if (jinja) return rf_chat_recognise(&f->chat, jinja, bos_text, eos_text);
    return rf_fail(RF_USAGE, "the tokenizer has no chat_template. Set data.template to chatml, "
                             "llama-3, zephyr, llama-2 or mistral");
}

/* A chat template that cannot be used matters only once a chat is met. */
static rf_status automatic_template(rf_formatter *f, const rf_tokenizer *tokenizer)
{
    f->automatic = 1;
    if (!tokenizer) return RF_OK;
    const rf_status status = own_chat(f, tokenizer, NULL);
    if (status != RF_USAGE) return status;
    f->refusal = strdup(rf_status_message());
    return f->refusal ? RF_OK : rf_fail(RF_RESOURCES, "no memory for the templates");
}

static rf_status unknown_template(const char *name)
{
    rf_text names = {0};
    for (int i = 0; i < rf_template_count(); i++) {
        rf_status status = rf_text_add(&names, rf_template_builtin(i)->name);
        if (status == RF_OK) status = rf_text_add(&names, ", ");
        if (status != RF_OK) break;
    }
    rf_fail(RF_USAGE,
            "unknown template '%s' (data.template). Known are %schat, chatml, llama-3, zephyr, "
            "llama-2, mistral; anything else is the path of a template file",
            name, names.bytes ? names.bytes : "");
    free(names.bytes);
    return RF_USAGE;
}

static rf_status find_template(rf_formatter *f, const char *name, const rf_tokenizer *tokenizer)
{
    if (strcmp(name, "auto") == 0) return automatic_template(f, tokenizer);
    const int family = rf_chat_is_family(name);
    if (family || strcmp(name, "chat") == 0) {
        if (!tokenizer)
            return rf_fail(RF_USAGE, "template '%s' needs a tokenizer (data.template)", name);
        return own_chat(f, tokenizer, family ? name : NULL);
    }
    const rf_template *known = rf_template_find(name);
    if (known) {
        f->template = *known;
        return RF_OK;
    }
    if (access(name, F_OK) != 0 && !strchr(name, '/') && !strchr(name, '.'))
        return unknown_template(name);
    return rf_template_read(&f->template, name);
}

static rf_status check_pair(const rf_formatter *f, rf_format format)
{
    if (f->automatic) return RF_OK;
    RF_ASSERT(f->chat || f->template.name, "a formatter without a template");
    const int plain = format == RF_FORMAT_TEXT || format == RF_FORMAT_TOKENS ||
                      format == RF_FORMAT_CLASSIFICATION;
    if (plain && (f->chat || strcmp(f->template.name, "none") != 0))
        return rf_fail(RF_USAGE,
                       "rows of format %s take no template (data.template). Leave it at auto",
                       rf_format_name(format));
    if (format == RF_FORMAT_CHAT && !f->chat)
        return rf_fail(RF_USAGE,
                       "template '%s' does not fit rows of format chat (data.template). Use chat "
                       "or a chat family by name",
                       f->template.name);
    return RF_OK;
}

static rf_status set_up(rf_formatter *f, const char *format, const char *template,
                        const rf_tokenizer *tokenizer)
{
    const int found = rf_format_find(format);
    if (found < 0)
        return rf_fail(RF_USAGE,
                       "unknown format '%s' (data.format). Known are auto, text, completion, "
                       "alpaca, chat, gsm8k, classification, tokens",
                       format);
    f->format = (rf_format)found;
    RF_TRY(find_template(f, template, tokenizer));
    RF_TRY(check_pair(f, f->format));
    return tokenizer ? rf_encoder_create(&f->encoder, tokenizer) : RF_OK;
}

rf_status rf_formatter_create(rf_formatter **formatter, const char *format, const char *template,
                              const rf_tokenizer *tokenizer)
{
    *formatter = NULL;
    rf_formatter *f = calloc(1, sizeof *f);
    if (!f) return rf_fail(RF_RESOURCES, "no memory for the templates");
    const rf_status status = set_up(f, format, template, tokenizer);
    if (status != RF_OK) rf_formatter_destroy(&f);
    *formatter = f;
    return status;
}

void rf_formatter_destroy(rf_formatter **formatter)
{
    if (!*formatter) return;
    rf_template_release(&(*formatter)->template);
    rf_chat_destroy(&(*formatter)->chat);
    rf_encoder_destroy(&(*formatter)->encoder);
    free((*formatter)->refusal);
    free(*formatter);
    *formatter = NULL;
}

static rf_status render_messages(const rf_formatter *f, const rf_message *messages, int64_t count,
                                 int reply, rendering *out)
{
    if (!f->chat) return rf_fail(RF_USAGE, "%s", f->refusal ? f->refusal : "no chat template");
    out->frame = 0;
    if (reply && count > 0 && messages[count - 1].role == RF_ASSISTANT) count--;
    return rf_chat_render(f->chat, messages, count, reply, &out->pieces);
}

static rf_status render_chat(const rf_formatter *f, const json_t *row, int reply, rendering *out)
{
    rf_conversation conversation;
    rf_status status = rf_row_conversation(&conversation, row);
    if (status == RF_OK)
        status = render_messages(f, conversation.messages, conversation.count, reply, out);
    rf_conversation_free(&conversation);
    return status;
}

static const rf_template *template_for(const rf_formatter *f, rf_format format)
{
    if (!f->automatic) return &f->template;
    if (format == RF_FORMAT_ALPACA) return rf_template_find("alpaca");
    return rf_template_find(format == RF_FORMAT_GSM8K ? "gsm8k" : "none");
}

static rf_status join_texts(const rf_template *template, const rf_record *record, int reply,
                            rf_text *prompt, rf_text *answer, rf_transcript *pieces)
{
    RF_TRY(rf_template_render(template, record, prompt, answer));
    RF_TRY(rf_transcript_append(pieces, (rf_bytes){prompt->bytes, prompt->length}, 0));
    if (reply || record->output.length == 0) return RF_OK;
    return rf_transcript_append(pieces, (rf_bytes){answer->bytes, answer->length}, 1);
}

/* A record through a chat template: the user asks, the assistant answers. */
static rf_status record_as_chat(const rf_formatter *f, const rf_record *record, int reply,
                                rf_text *prompt, rf_text *answer, rendering *out)
{
    RF_TRY(rf_template_render(rf_template_find("none"), record, prompt, answer));
    const rf_message messages[] = {{RF_USER, {prompt->bytes, prompt->length}},
                                   {RF_ASSISTANT, {answer->bytes, answer->length}}};
    return render_messages(f, messages, 2, reply, out);
}

static rf_status render_record(const rf_formatter *f, rf_format format, const json_t *row,
                               int reply, rendering *out)
{
    rf_record record;
    rf_text prompt = {0}, answer = {0};
    RF_TRY(rf_row_record(&record, format, row, !reply));
    const rf_status status =
        !f->automatic && f->chat
            ? record_as_chat(f, &record, reply, &prompt, &answer, out)
            : join_texts(template_for(f, format), &record, reply, &prompt, &answer, &out->pieces);
    free(prompt.bytes);
    free(answer.bytes);
    return status;
}

static rf_status render(const rf_formatter *f, rf_format format, const json_t *row, int reply,
                        rendering *out)
{
    *out = (rendering){.frame = 1};
    if (format == RF_FORMAT_CHAT) return render_chat(f, row, reply, out);
    if (format != RF_FORMAT_TEXT) return render_record(f, format, row, reply, out);
    rf_record record;
    RF_TRY(rf_row_record(&record, format, row, 1));
    return rf_transcript_append(&out->pieces, record.output, !reply);
}

/* [CLS] first [SEP] second [SEP], as the post-processor frames; the class is the last token's
 * label. */
static rf_status encode_class(const rf_formatter *f, const json_t *row, rf_ids *ids, rf_ids *labels)
{
    const rf_encoder *encoder = &f->encoder;
    const int64_t begin = ids->count;
    rf_class_row found;
    RF_TRY(rf_row_class(&found, row));
    RF_TRY(rf_ids_append(ids, encoder->prefix.ids, encoder->prefix.count));
    RF_TRY(rf_encoder_text(encoder, found.first, RF_TEXT_STARTS, ids));
    RF_TRY(rf_ids_append(ids, encoder->suffix.ids, encoder->suffix.count));
    if (found.second.at) {
        RF_TRY(rf_encoder_text(encoder, found.second, RF_TEXT_STARTS, ids));
        RF_TRY(rf_ids_append(ids, encoder->suffix.ids, encoder->suffix.count));
    }
    if (!labels || ids->count == begin) return RF_OK;
    RF_TRY(rf_labels_repeat(labels, RF_NO_LABEL, ids->count - begin - 1));
    return rf_ids_append(labels, &found.label, 1);
}

/* The row's format, once it is sure that template and tokeniser go with it. */
static rf_status settle_format(const rf_formatter *f, const json_t *row, rf_format *format)
{
    *format = f->format;
    if (f->format == RF_FORMAT_AUTO) {
        RF_TRY(rf_format_detect(format, row));
        RF_TRY(check_pair(f, *format));
    }
    if (*format != RF_FORMAT_TOKENS && !f->encoder.tokenizer)
        return rf_fail(RF_USAGE, "rows of format %s need a tokenizer", rf_format_name(*format));
    return RF_OK;
}

rf_status rf_formatter_encode(const rf_formatter *formatter, const json_t *row, int train_on_inputs,
                              rf_ids *ids, rf_ids *labels, int *is_text)
{
    rf_format format = RF_FORMAT_AUTO;
    RF_TRY(settle_format(formatter, row, &format));
    *is_text = format == RF_FORMAT_TEXT;
    if (format == RF_FORMAT_TOKENS) return rf_row_tokens(ids, labels, row);
    if (format == RF_FORMAT_CLASSIFICATION) return encode_class(formatter, row, ids, labels);
    const int64_t begin = ids->count;
    rendering out;
    rf_status status = render(formatter, format, row, 0, &out);
    if (status == RF_OK)
        status = rf_encoder_transcript(&formatter->encoder, &out.pieces, out.pieces.count,
                                       out.frame, ids, labels);
    rf_transcript_free(&out.pieces);
    if (status == RF_OK && (train_on_inputs || *is_text) && ids->count > begin)
        memcpy(labels->ids + begin, ids->ids + begin,
               (size_t)(ids->count - begin) * sizeof *ids->ids);
    return status;
}

rf_status rf_formatter_prompt(const rf_formatter *formatter, const json_t *row, rf_ids *ids)
{
    rf_format format = RF_FORMAT_AUTO;
    RF_TRY(settle_format(formatter, row, &format));
    if (format == RF_FORMAT_CLASSIFICATION) return encode_class(formatter, row, ids, NULL);
    rendering out;
    if (format == RF_FORMAT_TOKENS) {
        rf_ids labels = {0};
        const rf_status status = rf_row_tokens(ids, &labels, row);
        free(labels.ids);
        return status;
    }
    rf_status status = render(formatter, format, row, 1, &out);
    if (status == RF_OK)
        status = rf_encoder_transcript(&formatter->encoder, &out.pieces, out.pieces.count,
                                       out.frame, ids, NULL);
    rf_transcript_free(&out.pieces);
    return status;
}

rf_status rf_formatter_stream(const rf_formatter *formatter, rf_bytes text, int first, rf_ids *ids)
{
    const rf_encoder *encoder = &formatter->encoder;
    if (!encoder->tokenizer) return rf_fail(RF_USAGE, "running text needs a tokenizer");
    if (first) RF_TRY(rf_ids_append(ids, encoder->prefix.ids, encoder->prefix.count));
    return rf_encoder_text(encoder, text, first ? RF_TEXT_STARTS : RF_TEXT_GOES_ON, ids);
}
